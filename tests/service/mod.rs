//! Runs `hemapatch serve`, and sends to it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use serde_json::Value;
use std::net::TcpStream;

pub mod archive;
#[cfg(feature = "tls")]
pub mod certificates;
pub mod orthanc;
#[path = "../program/mod.rs"]
pub mod program;
pub mod storescp;

/// Nothing that is waited for takes so long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// A service with a spool, which is ended when the value goes.
pub struct Service {
    child: Child,
    lines: Receiver<Value>,
    /// Lines that were waited for, and those before them.
    seen: RefCell<Vec<Value>>,
    /// Where it listens.
    pub address: String,
}

/// A configuration in a folder: spool, alerts of all occasions to a file, and what is added.
pub fn configure(folder: &Path, more: &str) -> PathBuf {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "[spool]\nfolder = {:?}\nkeep_free_mb = 1\n\
         [receive]\nlisten = '127.0.0.1:0'\n[[receive.peer]]\nae_title = 'CT1'\naddress = '127.0.0.1'\n\
         [[alert]]\nname = 'log'\non = ['early', 'alert', 'no_alert', 'refused']\nlog = {:?}\n{more}",
        at("spool"),
        at("alerts.jsonl"),
    );
    let path = folder.join("hemapatch.toml");
    fs::write(&path, text).unwrap();
    path
}

impl Service {
    /// Starts it and waits until it listens.
    pub fn start(config: &Path) -> Service {
        let mut command = program::hemapatch();
        command.arg("serve").arg("--config").arg(config);
        Service::start_as(command)
    }

    /// Starts it by a command that becomes it, and waits until it listens.
    pub fn start_as(mut command: Command) -> Service {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the service starts");
        let output = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut service = Service { child, lines, seen: RefCell::default(), address: String::new() };
        service.address = service.wait_for("listening")["address"].as_str().unwrap().to_owned();
        service
    }

    /// Waits until something is told in its journal.
    pub fn wait_for(&self, event: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {event} is told"));
            self.seen.borrow_mut().push(line.clone());
            if line["event"] == event {
                return line;
            }
            assert!(line.is_object(), "{line}");
        }
    }

    /// As a power cut does, but for the disk.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it; its journal, from its start to its end.
    pub fn journal(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut journal = self.seen.take();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => journal.push(line),
                Err(RecvTimeoutError::Disconnected) => return journal,
                Err(RecvTimeoutError::Timeout) => panic!("its journal does not end"),
            }
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the system tells of its process.
    pub fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.id().to_string()).join(name)
    }

    /// A program of DCMTK on it, as the given title.
    pub fn dcmtk(&self, name: &str, title: &str, arguments: &[&str]) -> bool {
        let (host, port) = self.address.split_once(':').unwrap();
        let mut command = Command::new(name);
        command.args(["-aet", title, "-aec", "HEMAPATCH", host, port]).args(arguments);
        let output =
            command.output().unwrap_or_else(|error| panic!("{name}, which `make setup` installs: {error}"));
        output.status.success()
    }

    /// Sends the slices of a folder over an association of their own.
    pub fn send(&self, folder: &Path) {
        let mut sender = self.associate().unwrap();
        for slice in slices(folder) {
            assert_eq!(sender.store(&slice), Some(0));
        }
        sender.release();
    }

    /// An association for CT slices.
    pub fn associate(&self) -> Option<Sender> {
        associate(&self.address)
    }
}

/// An association for CT slices with whoever listens there.
pub fn associate(address: &str) -> Option<Sender> {
    let options = ClientAssociationOptions::new()
        .calling_ae_title("CT1")
        .called_ae_title("HEMAPATCH")
        .with_presentation_context(CT, vec!["1.2.840.10008.1.2.1"]);
    options.establish(address).ok().map(|association| Sender { association, message: 0 })
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// Sends slices one by one.
pub struct Sender {
    association: ClientAssociation<TcpStream>,
    message: u16,
}

/// A slice as it is sent.
#[derive(Clone)]
pub struct Slice {
    pub instance_uid: String,
    pub data_set: Vec<u8>,
}

/// SHA-256 of a data set: thousands of them do not fit into memory.
pub type Digest = [u8; 32];

impl Slice {
    pub fn digest(&self) -> Digest {
        use sha2::Digest as _;
        sha2::Sha256::digest(&self.data_set).into()
    }
}

/// The slices of a folder of files.
pub fn slices(folder: &Path) -> Vec<Slice> {
    program::files(folder).iter().map(|path| slice(path)).collect()
}

/// The slice in a file with a preamble and the usual meta group, as phantoms and results are written.
pub fn slice(path: &Path) -> Slice {
    let bytes = fs::read(path).unwrap();
    let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
    let meta = &bytes[144..144 + length];
    // (0002,0003): the UID behind tag, representation and length.
    let at = meta.windows(6).position(|window| window == b"\x02\0\x03\0UI").unwrap() + 6;
    let uid_length = usize::from(u16::from_le_bytes([meta[at], meta[at + 1]]));
    let uid = std::str::from_utf8(&meta[at + 2..at + 2 + uid_length]).unwrap();
    Slice { instance_uid: uid.trim_end_matches('\0').to_owned(), data_set: bytes[144 + length..].to_vec() }
}

impl Sender {
    /// Sends a slice; the status of the answer, None where the other end is gone.
    pub fn store(&mut self, slice: &Slice) -> Option<u16> {
        // Below 0x0209, which looks like the tag that is searched for in answers.
        self.message = self.message % 500 + 1;
        let context = self.association.presentation_contexts().first()?.id;
        let command = store_request(self.message, &slice.instance_uid);
        let value = |value_type, is_last, data: &[u8]| PDataValue {
            presentation_context_id: context,
            value_type,
            is_last,
            data: data.to_vec(),
        };
        let send = |association: &mut ClientAssociation<TcpStream>, value| {
            association.send(&Pdu::PData { data: vec![value] }).ok()
        };
        send(&mut self.association, value(PDataValueType::Command, true, &command))?;
        let mut parts = slice.data_set.chunks(16_000).peekable();
        while let Some(part) = parts.next() {
            send(&mut self.association, value(PDataValueType::Data, parts.peek().is_none(), part))?;
        }
        let Pdu::PData { data } = self.association.receive().ok()? else { return None };
        let answer = &data.first()?.data;
        let at = answer.windows(8).position(|window| window == [0, 0, 0, 9, 2, 0, 0, 0])? + 8;
        Some(u16::from_le_bytes([answer[at], answer[at + 1]]))
    }

    /// Sends half of a slice; what comes then is up to the caller.
    pub fn begin(&mut self, slice: &Slice) {
        let context = self.association.presentation_contexts().first().unwrap().id;
        let command = store_request(7, &slice.instance_uid);
        let half = &slice.data_set[..slice.data_set.len() / 2];
        let parts = half.chunks(16_000).map(|part| (PDataValueType::Data, false, part));
        for (value_type, is_last, data) in
            [(PDataValueType::Command, true, &command[..])].into_iter().chain(parts)
        {
            let value =
                PDataValue { presentation_context_id: context, value_type, is_last, data: data.to_vec() };
            if self.association.send(&Pdu::PData { data: vec![value] }).is_err() {
                return;
            }
        }
    }

    /// Ends the association as it should be.
    pub fn release(self) {
        let _ = self.association.release();
    }
}

fn store_request(message: u16, instance_uid: &str) -> Vec<u8> {
    command_set(&[
        (0x0002, CT.as_bytes()),
        (0x0100, &1u16.to_le_bytes()),
        (0x0110, &message.to_le_bytes()),
        (0x0700, &0u16.to_le_bytes()),
        (0x0800, &0u16.to_le_bytes()),
        (0x1000, instance_uid.as_bytes()),
    ])
}

/// A command set: elements of group 0000 in ascending order, and their length before them.
pub fn command_set(elements: &[(u16, &[u8])]) -> Vec<u8> {
    let body: Vec<u8> = elements.iter().flat_map(|(number, value)| element(0, *number, value)).collect();
    [element(0, 0, &(body.len() as u32).to_le_bytes()), body].concat()
}

/// An element in implicit VR little endian, with a NUL where its length would be odd.
pub fn element(group: u16, number: u16, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    [&group.to_le_bytes()[..], &number.to_le_bytes(), &(value.len() as u32).to_le_bytes(), &value].concat()
}

/// The notices in a file.
pub fn notices(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON document a line")).collect()
}
