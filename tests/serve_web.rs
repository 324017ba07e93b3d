//! A machine can see how the service is: on this machine alone, without anything of a patient.

mod service;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use service::orthanc::free_port;
use service::program::{BLEED, phantom, python};
use service::{Service, configure, slices};

fn get(port: u16, path: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(format!("http://127.0.0.1:{port}{path}")).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// The samples of a page as Prometheus' own parser reads them, or what is wrong with it.
fn parsed(page: &str) -> Result<Vec<Value>, String> {
    let mut parser = Command::new(python())
        .arg("tests/peers/metrics.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let samples = String::from_utf8(output.stdout).unwrap();
    Ok(samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The value of a sample, by its whole name.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.rsplit_once(' ').is_some_and(|(own, _)| own == name));
    line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn metrics_count_what_happened_and_name_no_study() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = free_port();
    let more = format!("[study]\nsettled_s = 0\n[web]\nlisten = '127.0.0.1:{port}'\n");
    let service = Service::start(&configure(folder.path(), &more));
    // Nothing was sent, so no process judges either.
    let idle_mb = sample(&get(port, "/metrics").1, "hemapatch_resident_bytes") / 1e6;
    assert!(idle_mb < 30.0, "{idle_mb} MB before anything was sent");
    let mut sender = service.associate().unwrap();
    let slices = slices(&folder.path().join("bleed"));
    for slice in &slices {
        assert_eq!(sender.store(slice), Some(0));
    }
    sender.release();
    service.wait_for("verdict");
    service.wait_for("told");
    assert_eq!(get(port, "/healthz").0, 200);
    let (status, metrics) = get(port, "/metrics");
    assert_eq!(status, 200);
    assert_eq!(sample(&metrics, "hemapatch_stored_total{again=\"no\"}"), slices.len() as f64);
    assert!(sample(&metrics, "hemapatch_verdict_total{outcome=\"alert\"}") >= 1.0);
    assert!(sample(&metrics, "hemapatch_verdict_after_seconds_count") >= 1.0);
    assert!(sample(&metrics, "hemapatch_spool_free_bytes") > 0.0);
    let resident_mb = sample(&metrics, "hemapatch_resident_bytes") / 1e6;
    assert!(resident_mb < 40.0, "{resident_mb} MB after a study");
    // Every line is a comment or a sample; none has a UID or its pseudonym.
    let study = std::fs::read_dir(folder.path().join("spool/studies")).unwrap().next().unwrap().unwrap();
    assert!(!metrics.contains(study.file_name().to_str().unwrap()) && !metrics.contains("study="));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("hemapatch_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let samples = parsed(&metrics).unwrap_or_else(|why| panic!("{why}\n{metrics}"));
    assert_eq!(samples.len(), metrics.lines().filter(|line| !line.starts_with('#')).count());
    assert!(samples.contains(&json!(["hemapatch_stored_total", {"again": "no"}, slices.len() as f64])));
    assert_eq!(get(port, "/KEY").0, 404);
}

#[test]
fn prometheus_reads_any_label_and_complains_of_what_is_no_page() {
    // The line that `vitals` writes of such a label: src/serve/vitals.rs compares with the same file.
    let line = include_str!("peers/wild_labels.txt");
    let page =
        |kind: &str| format!("# HELP hemapatch_told_total Told.\n# TYPE hemapatch_told_total {kind}\n{line}");
    let name = "the \"red\" lamp at C:\\new\nand a brace } , = #";
    assert_eq!(parsed(&page("counter")), Ok(vec![json!(["hemapatch_told_total", {"alert": name}, 2.0])]));
    let histogram = "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n";
    for (broken, why) in [
        (line, "no type"),
        (&page("kind"), "Invalid metric type"),
        (&page("counter").replace("} 2", "} two"), "two"),
        (&page("counter").replace("# HELP", "# HELO"), "no help"),
        (&page("counter").replace("_total", ""), "without _total"),
        (&(page("counter") + line), "twice"),
        (histogram, "not cumulative"),
        (&histogram.replace("+Inf\"} 1", "+Inf\"} 3"), "not its count"),
    ] {
        let complaint = parsed(broken).unwrap_err();
        assert!(complaint.contains(why), "{complaint}");
    }
}

#[test]
fn a_full_disk_and_an_open_address_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = configure(folder.path(), &format!("[web]\nlisten = '127.0.0.1:{port}'\n"));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("keep_free_mb = 1\n", "keep_free_mb = 1000000000\n")).unwrap();
    let _service = Service::start(&config);
    let (status, health) = get(port, "/healthz");
    assert_eq!(status, 503);
    assert!(health.contains("no object is taken"), "{health}");
    let open = text + &format!("[web]\nlisten = '0.0.0.0:{port}'\n");
    std::fs::write(&config, open.replacen(&format!("[web]\nlisten = '127.0.0.1:{port}'\n"), "", 1)).unwrap();
    let (code, _, complaint) = service::program::run(&["config", "check", config.to_str().unwrap()]);
    assert!(code == 2 && complaint.contains("web.listen"), "{complaint}");
}
