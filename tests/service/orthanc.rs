//! Orthanc, an archive that sends to the service and gets its results.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

/// Debian's program lies where only root looks.
const PROGRAM: &str = "/usr/sbin/Orthanc";
const DICOM_WEB: &str = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

/// A running archive, which is ended when the value goes; what it stored stays in its folder.
pub struct Orthanc {
    child: Child,
    http: String,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Orthanc {
    /// Starts it, with everything in a folder, and waits until it listens for DICOM on a port.
    pub fn start(folder: &Path, dicom_port: u16) -> Orthanc {
        Orthanc::start_with(folder, dicom_port, &json!({}))
    }

    /// The same, with more in its configuration.
    pub fn start_with(folder: &Path, dicom_port: u16, more: &Value) -> Orthanc {
        fs::create_dir_all(folder).unwrap();
        let http_port = free_port();
        let mut config = json!({
            "Name": "PACS", "DicomAet": "PACS", "DicomPort": dicom_port, "HttpPort": http_port,
            "StorageDirectory": folder.join("storage"), "IndexDirectory": folder.join("index"),
            "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [DICOM_WEB],
            "DicomModalities": {}, "HttpTimeout": 60,
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = folder.join("orthanc.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg(&path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{PROGRAM}: {error}; `make setup` installs it"));
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, started) = channel();
        std::thread::spawn(move || {
            // To its end: whoever writes into a pipe that nobody reads stands still.
            for line in log.lines().map_while(Result::ok) {
                if line.contains("Orthanc has started") {
                    let _ = sender.send(());
                }
            }
        });
        started.recv_timeout(Duration::from_secs(60)).expect("Orthanc starts");
        Orthanc { child, http: format!("http://127.0.0.1:{http_port}") }
    }

    /// Where its DICOMweb service is.
    pub fn dicom_web(&self) -> String {
        format!("{}/dicom-web", self.http)
    }

    pub fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.http)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Value {
        let mut answer = ureq::post(format!("{}{path}", self.http)).send(body).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Tells it of the service.
    pub fn know(&self, address: &str) {
        self.know_with(address, &json!({}));
    }

    /// The same, with more about it.
    pub fn know_with(&self, address: &str, more: &Value) {
        let (host, port) = address.split_once(':').unwrap();
        let mut modality = json!({"AET": "HEMAPATCH", "Host": host, "Port": port.parse::<u16>().unwrap()});
        modality.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ureq::put(format!("{}/modalities/box", self.http)).send(modality.to_string()).unwrap();
    }

    /// The modality of each instance that it holds, in order.
    pub fn modalities(&self) -> Vec<String> {
        let series = self.get("/series?expand");
        let mut modalities: Vec<String> = series
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|series| {
                let count = series["Instances"].as_array().unwrap().len();
                vec![series["MainDicomTags"]["Modality"].as_str().unwrap().to_owned(); count]
            })
            .collect();
        modalities.sort();
        modalities
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
