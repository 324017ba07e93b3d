//! How the service is: what happened since it started, what waits, and whether somebody should look after it.
//!
//! # Source
//! Prometheus text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::config::Config;
use crate::spool::Spool;
use crate::web::Page;

/// Fields of the journal that become labels: each has few values, and none tells of a patient.
const LABELS: [&str; 5] = ["outcome", "alert", "to", "status", "again"];
/// Bounds of the histogram of seconds from the last object to the verdict.
const SECONDS: [f64; 10] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Time after which it is a fault that somebody was not told.
pub const UNTOLD: Duration = Duration::from_secs(120);

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Vitals(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By event and labels, as they are written.
    events: BTreeMap<(String, String), u64>,
    /// Verdicts by how long they took: not above each bound, and all.
    seconds: [u64; SECONDS.len() + 1],
    sum: f64,
}

impl Vitals {
    /// Counts an event of the journal.
    pub fn count(&self, event: &str, fields: &[(&str, &str)]) {
        let label = |(name, value): &(&str, &str)| {
            LABELS.contains(name).then(|| format!("{name}=\"{}\"", escaped(value)))
        };
        let labels: Vec<String> = fields.iter().filter_map(label).collect();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.events.entry((event.to_owned(), labels.join(","))).or_default() += 1;
    }

    /// Notes the time from a study's last object to its verdict.
    pub fn verdict_after(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sum += seconds;
        let first = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        counts.seconds[first..].iter_mut().for_each(|count| *count += 1);
    }

    /// The page of a path.
    pub fn page(&self, path: &str, config: &Config, spool: &Spool) -> Option<Page> {
        match path {
            "/healthz" => Some(health(config, spool)),
            "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                Some(Page { status: 200, kind, text: self.metrics(config, spool) })
            }
            _ => None,
        }
    }

    fn metrics(&self, config: &Config, spool: &Spool) -> String {
        let mut text = String::new();
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = "";
        for ((event, labels), count) in &counts.events {
            if event != last {
                let _ = writeln!(text, "# HELP hemapatch_{event}_total Lines {event} of the journal.");
                let _ = writeln!(text, "# TYPE hemapatch_{event}_total counter");
                last = event;
            }
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "hemapatch_{event}_total{labels} {count}");
        }
        let name = "hemapatch_verdict_after_seconds";
        let _ = writeln!(
            text,
            "# HELP {name} From a study's last object to its verdict.\n# TYPE {name} histogram"
        );
        for (bound, count) in SECONDS.iter().zip(counts.seconds) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let all = counts.seconds[SECONDS.len()];
        let _ = writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {}\n{name}_count {all}",
            counts.sum
        );
        drop(counts);
        let mut gauge = |name: &str, help: &str, values: Vec<(String, f64)>| {
            let _ = writeln!(text, "# HELP hemapatch_{name} {help}\n# TYPE hemapatch_{name} gauge");
            for (labels, value) in values {
                let _ = writeln!(text, "hemapatch_{name}{labels} {value}");
            }
        };
        let waiting = notices(config).map(|(way, ages)| (format!("{{alert=\"{way}\"}}"), ages.len() as f64));
        gauge("notices_waiting", "Notices that somebody was not told of yet.", waiting.collect());
        let waiting = config.deliver.iter().map(|destination| {
            let pending = config.spool.folder.join("deliver").join(&destination.name).join("pending");
            let count = fs::read_dir(pending).map_or(0, |entries| entries.flatten().count());
            (format!("{{to=\"{}\"}}", destination.name), count as f64)
        });
        gauge("deliveries_waiting", "Verdicts whose objects are on their way.", waiting.collect());
        let bytes =
            |value: Option<u64>| value.map(|value| (String::new(), value as f64)).into_iter().collect();
        gauge("spool_free_bytes", "Room on the spool's disk.", bytes(spool.free_bytes().ok()));
        let reserve = config.spool.keep_free_mb.saturating_mul(1_000_000);
        gauge("spool_reserve_bytes", "Room below which objects are refused.", bytes(Some(reserve)));
        gauge("resident_bytes", "Memory of the service, without its worker.", bytes(resident_bytes()));
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        gauge("build_info", "The program. For research use only.", vec![(version, 1.0)]);
        text
    }
}

/// Whether it can do its work.
fn health(config: &Config, spool: &Spool) -> Page {
    let mut wrong: Vec<String> = Vec::new();
    if let Err(error) = spool.check_room() {
        wrong.push(format!("no object is taken: {}", error.reason()));
    }
    for (way, ages) in notices(config) {
        if let Some(oldest) = ages.into_iter().max().filter(|age| *age > UNTOLD) {
            wrong.push(format!("{way}: nobody could be told for {} s", oldest.as_secs()));
        }
    }
    let status = if wrong.is_empty() { 200 } else { 503 };
    let state = if wrong.is_empty() { "ok" } else { "wrong" };
    let text = serde_json::json!({"status": state, "wrong": wrong, "intended_use": "research use only"});
    Page { status, kind: "application/json", text: format!("{text}\n") }
}

/// The ways of telling, and how old the notices are that wait for each.
pub fn notices(config: &Config) -> impl Iterator<Item = (&str, Vec<Duration>)> {
    config.alert.iter().map(|alert| {
        let folder = config.spool.folder.join("alerts").join(&alert.name);
        let ages = ["pending", "running"].iter().flat_map(|state| ages(&folder.join(state)));
        (alert.name.as_str(), ages.collect())
    })
}

fn ages(folder: &Path) -> Vec<Duration> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let notices = entries.filter(|entry| entry.path().extension().is_some_and(|own| own == "json"));
    let age =
        |entry: fs::DirEntry| SystemTime::now().duration_since(entry.metadata().ok()?.modified().ok()?).ok();
    notices.map(|notice| age(notice).unwrap_or_default()).collect()
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_label_is_stands_there_as_prometheus_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
        let path = folder.path().join("hemapatch.toml");
        fs::write(&path, format!("[spool]\nfolder = {:?}\n", folder.path().join("spool"))).unwrap();
        let config = Config::read(&path).unwrap();
        let vitals = Vitals::default();
        for study in ["1", "2"] {
            let name = "the \"red\" lamp at C:\\new\nand a brace } , = #";
            vitals.count("told", &[("study", study), ("alert", name)]);
        }
        let page = vitals.page("/metrics", &config, &spool).unwrap();
        // tests/serve_web.rs has the same file read by Prometheus' own parser.
        let line = include_str!("../../tests/peers/wild_labels.txt");
        assert!(page.text.contains(line), "{}", page.text);
    }

    #[test]
    fn a_verdict_counts_in_every_bucket_above_its_time() {
        let vitals = Vitals::default();
        for seconds in [0.2, 1.0, 1.5, 1000.0] {
            vitals.verdict_after(Duration::from_secs_f64(seconds));
        }
        let counts = vitals.0.lock().unwrap();
        assert_eq!(counts.seconds, [1, 1, 2, 3, 3, 3, 3, 3, 3, 3, 4]);
    }
}
