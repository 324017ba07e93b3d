//! A machine can see how the service is: on this machine alone, without anything of a patient.

mod service;

use service::orthanc::free_port;
use service::program::{BLEED, phantom};
use service::{Service, configure, slices};

fn get(port: u16, path: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(format!("http://127.0.0.1:{port}{path}")).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
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
    let idle_mb = sample(&metrics, "hemapatch_resident_bytes") / 1e6;
    assert!(idle_mb < 150.0, "{idle_mb} MB");
    // Every line is a comment or a sample; none has a UID or its pseudonym.
    let study = std::fs::read_dir(folder.path().join("spool/studies")).unwrap().next().unwrap().unwrap();
    assert!(!metrics.contains(study.file_name().to_str().unwrap()) && !metrics.contains("study="));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("hemapatch_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(get(port, "/KEY").0, 404);
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
