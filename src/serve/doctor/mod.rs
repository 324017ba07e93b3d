//! What keeps a service from its work: looked for beside a running one, or before the first start. Nothing is mended.
//!
//! What stands in the spool and on its disk is looked at in `disk`; how others are spoken with is left to `alert` and
//! `deliver`.

mod disk;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Datelike};
use serde::Serialize;

use super::config::{Config, Receive, Study};
use super::process::Process;
use super::said::Said;
use super::worker::{Answer, Request};
use crate::alert::Occasion;
use crate::net::Standing;
use crate::phantom::{self, Hematoma, Side, Site, Spec};
use crate::watch;

/// Name and number of the contract.
pub const SCHEMA: &str = "hemapatch.doctor/1";

/// Time in which a certificate is to be renewed.
const SOON: Duration = Duration::from_secs(30 * 86_400);
/// Time for whoever is connected with.
const PATIENCE: Duration = Duration::from_secs(5);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// The service does its work, and somebody should know.
    Warn,
    /// It keeps the service from its work.
    Wrong,
}

impl State {
    /// As it stands on the page and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Wrong => "wrong",
        }
    }
}

/// What was looked at, and how it is. It names no patient and no study.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Name and number of the contract.
    pub schema: &'static str,
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub state: State,
    /// What was found, on one line.
    pub detail: String,
    /// What it is for.
    pub intended_use: &'static str,
}

impl Check {
    /// A check.
    pub fn new(check: impl Into<String>, state: State, detail: impl Into<String>) -> Check {
        // Peers and systems have their say in it.
        let detail = detail.into().replace(char::is_control, " ");
        Check { schema: SCHEMA, check: check.into(), state, detail, intended_use: "research use only" }
    }

    /// One of something that works, or is wrong.
    fn of(check: impl Into<String>, found: Result<String, String>) -> Check {
        match found {
            Ok(detail) => Check::new(check, State::Ok, detail),
            Err(detail) => Check::new(check, State::Wrong, detail),
        }
    }
}

/// Looks at all that the service of a configuration needs; `tell` hears of each check as soon as it is made. `model` is the
/// check of the model, which whoever calls has found.
pub fn examine(config: &Config, model: Check, tell: &mut dyn FnMut(Check)) {
    let short: String = config.sha256.chars().take(12).collect();
    tell(Check::new("configuration", State::Ok, format!("can be used; SHA-256 {short}...")));
    let is_model = model.state != State::Wrong;
    tell(model);
    // Without a model there is nothing to try, and that is said already.
    if is_model {
        tell(Check::of("judging", judging(&config.study)));
    }
    tell(clock(SystemTime::now()));
    let is_held = disk::examine(config, tell);
    match &config.receive {
        Some(receive) => tell(receives(receive, is_held)),
        None if config.watch.is_none() => {
            tell(Check::new("receive", State::Warn, "nothing arrives: neither receive nor watch is set"));
        }
        None => {}
    }
    if let Some(watch) = &config.watch {
        tell(watched(watch));
    }
    if let Some(web) = &config.web {
        tell(Check::of("web", listens(web.listen, is_held)));
    }
    if config.alert.is_empty() {
        tell(Check::new("alert", State::Warn, "nobody is told: no [[alert]] is set"));
    }
    for alert in &config.alert {
        tell(Check::of(format!("alert {}", alert.name), alert.probe(PATIENCE)));
    }
    for destination in &config.deliver {
        tell(Check::of(format!("deliver {}", destination.name), destination.probe(PATIENCE)));
    }
}

/// A study with a hematoma, drawn and judged by a process like the service's own.
fn judging(settings: &Study) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (objects, results) = (folder.path().join("objects"), folder.path().join("results"));
    let volume_ml = 30.0;
    let hematoma = Hematoma { site: Site::Putamen, side: Side::Left, volume_ml, markers: Vec::new() };
    // As few slices as show it well; as many pixels as scanners send.
    let spec = Spec { slices: 5, hematoma: Some(hematoma), ..Spec::default() };
    phantom::write_series(&spec, &objects, &mut |_, _| ())
        .map_err(|error| format!("a study cannot be drawn: {error}"))?;
    let since = Instant::now();
    let mut process = Process::start(settings)?;
    // Reports on studies that cannot be read are called so; no other.
    let (study_uid, refused) = ("2.25.0".to_owned(), Vec::new());
    let request = Request::Judge { study_uid, objects, results, refused, said: Said::default() };
    match process.ask(&request, Duration::from_secs(settings.seconds))? {
        Answer::Judged { outcome: Occasion::Alert, .. } => {
            let seconds = since.elapsed().as_secs_f64();
            Ok(format!(
                "a drawn hematoma of {volume_ml} mL alerts, {seconds:.1} s after the process was started"
            ))
        }
        Answer::Judged { outcome, .. } => {
            Err(format!("a drawn hematoma of {volume_ml} mL does not alert: {}", outcome.name()))
        }
        Answer::NotWritten { why } => Err(format!("results cannot be written: {why}")),
        Answer::Looked { .. } => Err("the worker said what it should not".to_owned()),
    }
}

fn clock(now: SystemTime) -> Check {
    let time = DateTime::<chrono::Utc>::from(now);
    let text = time.format("%Y-%m-%d %H:%M:%S UTC");
    // Older than this program, or than any of it will be.
    match (2024..2100).contains(&time.year()) {
        true => Check::new("clock", State::Ok, text.to_string()),
        false => Check::new(
            "clock",
            State::Warn,
            format!("{text}: it is not set; notices and the audit log carry its time"),
        ),
    }
}

fn receives(receive: &Receive, is_held: bool) -> Check {
    let address = receive.listen;
    let listens = match listens(address, is_held) {
        Err(why) => return Check::new("receive", State::Wrong, why),
        Ok(listens) => listens,
    };
    match receive.tls.as_ref().map(|tls| tls.standing(SOON)) {
        Some(Ok(Standing::Unusable(why)) | Err(why)) => {
            let why = format!("{listens}; peers cannot take our certificate: {why}");
            return Check::new("receive", State::Wrong, why);
        }
        Some(Ok(Standing::EndsSoon)) => {
            let why = format!("{listens}; our certificate ends within {} days", SOON.as_secs() / 86_400);
            return Check::new("receive", State::Warn, why);
        }
        _ => {}
    }
    if !address.ip().is_loopback() && receive.tls.is_none() {
        let open = "without TLS: whoever is on the way can read what is sent";
        return Check::new("receive", State::Warn, format!("{listens}; {open}"));
    }
    if address.port() == 0 {
        return Check::new("receive", State::Warn, format!("{listens}; no sender can know it"));
    }
    Check::new("receive", State::Ok, listens)
}

/// Whether somebody listens at an address where a service runs, or could.
fn listens(address: SocketAddr, is_held: bool) -> Result<String, String> {
    if !is_held {
        let bound = TcpListener::bind(address);
        bound.map_err(|error| format!("{address}: cannot be listened on: {error}"))?;
        return Ok(format!("{address}: can be listened on"));
    }
    if address.port() == 0 {
        return Ok(format!("{address}: another port at each start"));
    }
    let reached: io::Result<TcpStream> = TcpStream::connect_timeout(&from_here(address), PATIENCE);
    reached.map_err(|error| format!("{address}: a service runs, but is not reached: {error}"))?;
    Ok(format!("{address}: the service is reached"))
}

/// How this machine reaches itself, also where all its addresses are meant.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Files are read, and then removed.
fn watched(settings: &watch::Settings) -> Check {
    let folder = settings.folder.display();
    match watch::probe(settings) {
        Ok(0) => Check::new("watch", State::Ok, format!("{folder}: files can be taken from it")),
        Ok(count) => {
            let said =
                format!("{folder}: folders in it from which files are taken, but not removed: {count}");
            Check::new("watch", State::Warn, said)
        }
        Err(why) => {
            Check::new("watch", State::Wrong, format!("{folder}: files cannot be taken from it: {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_not_set_is_seen() {
        let at = |seconds| clock(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).state;
        assert_eq!(at(0), State::Warn);
        assert_eq!(at(1_764_000_000), State::Ok);
        assert_eq!(at(9_000_000_000), State::Warn);
    }

    #[test]
    fn an_open_address_without_tls_is_said() {
        let receive = |listen: &str| {
            let text = format!("listen = '{listen}'\n[[peer]]\nae_title = 'CT1'\naddress = '10.0.0.1'\n");
            receives(&toml::from_str(&text).unwrap(), false)
        };
        assert!(receive("0.0.0.0:0").detail.contains("TLS"));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = taken.local_addr().unwrap();
        assert_eq!(receive(&there.to_string()).state, State::Wrong);
        assert_eq!(listens(there, true), Ok(format!("{there}: the service is reached")));
    }

    #[test]
    fn a_study_that_would_not_be_seen_is_said_without_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let settings = watch::Settings { folder: folder.path().to_owned(), settle_s: 2.0 };
        assert_eq!(watched(&settings).state, State::Ok);
        std::fs::create_dir_all(folder.path().join("1/2/3/4/5/6/7/8/Doe^Jane")).unwrap();
        let found = watched(&settings);
        assert!(found.state == State::Wrong && !found.detail.contains("Doe"), "{}", found.detail);
    }

    #[test]
    fn a_detail_is_one_line() {
        assert_eq!(Check::new("a", State::Ok, "one\ntwo\u{1b}[31m").detail, "one two [31m");
    }
}
