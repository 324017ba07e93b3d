//! The box beside the scanner: receives, looks while studies arrive, tells, and loses nothing.
//!
//! One process holds the spool. It listens, and says when studies are looked at; looking is done by a worker, a process
//! that may die. What must survive a crash is a file before anybody hears of it; everything else is found again in the
//! spool. So there is no way to stop it but to end it, and nothing to do first.

pub mod alerts;
pub mod audit;
mod config;
pub mod doctor;
mod journal;
mod key;
mod open;
mod process;
mod refusals;
pub mod replay;
mod retention;
mod said;
mod studies;
mod verdict;
mod vitals;
pub mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use thiserror::Error;

pub use config::{Config, ConfigError};

use crate::alert::{self, Channel};
use crate::deliver::{self, Destination, News, Outbox};
use crate::dimse::Report;
use crate::limits::Limits;
use crate::output::OutputError;
use crate::receive::{self, Event};
use crate::spool::{Spool, SpoolError};
use crate::{watch, web};
use journal::Journal;
use refusals::Refusals;
use studies::{Happening, Studies};

/// Why a service, or a process of it, cannot go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder in which everything is kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The spool's disk, while studies are worked on: without the path, which names one.
    #[error("the spool: {0}")]
    Disk(String),
    /// A file of TLS, which could be used a moment ago.
    #[error("receive.tls: {0}")]
    Tls(String),
    /// The results of a study.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A process cannot speak with the one that started it.
    #[error("a process of the service cannot speak with it: {0}")]
    Pipe(#[source] io::Error),
}

/// Serves until the process is ended. `give_up` is told where nothing can be promised any more, and does not return.
///
/// # Errors
/// The spool is held by another process, or its disk refuses; the address cannot be listened on.
pub fn serve(config: &Config, give_up: &(dyn Fn(ServeError) + Sync)) -> Result<(), ServeError> {
    let spool = Spool::open(&config.spool.folder, config.spool.keep_free_mb.saturating_mul(1_000_000))?;
    let journal = Journal::new(&config.spool.folder, key::read_or_make(&config.spool.folder)?);
    let version = ("version", env!("CARGO_PKG_VERSION"));
    journal.tell("started", &[version, ("config_sha256", &config.sha256)]);
    let limits = Limits::default();
    let (mut channels, mut tellers): (Vec<Channel>, Vec<_>) = (Vec::new(), Vec::new());
    for alert in &config.alert {
        let folder = config.spool.folder.join("alerts").join(&alert.name);
        let Some(way) = alert.way() else { continue };
        let (channel, teller) = alert::channel_in(folder, alert.on.clone(), way)?;
        channels.push(channel);
        tellers.push((alert.name.clone(), teller));
    }
    let (mut outboxes, mut couriers): (Vec<Outbox>, Vec<_>) = (Vec::new(), Vec::new());
    for destination in &config.deliver {
        let folder = config.spool.folder.join("deliver").join(&destination.name);
        let Some(to) = destination.to() else { continue };
        let (outbox, courier) = deliver::outbox_in(folder, destination.on.clone(), to)?;
        outboxes.push(outbox);
        couriers.push((destination.name.clone(), courier));
    }
    let (channels, outboxes) = (channels, outboxes);
    // Before anything is taken up: whoever cannot listen should not work on what another box may be given.
    let listen = |address: SocketAddr| {
        TcpListener::bind(address).map_err(|source| ServeError::Listen { address, source })
    };
    let reports = config.deliver.iter().any(Destination::reports);
    let settings = config.receive.as_ref().map(|receive| receive.settings(reports)).transpose();
    let settings = settings.map_err(ServeError::Tls)?;
    let listener = config.receive.as_ref().map(|receive| listen(receive.listen)).transpose()?;
    let page = config.web.as_ref().map(|web| listen(web.listen)).transpose()?;
    let disk = |error: SpoolError| ServeError::Disk(error.reason());
    let refusals = Refusals::find(&spool, MOST_WITHOUT_OBJECTS).map_err(disk)?;
    let mut studies =
        Studies::resume(&spool, config, &refusals, &channels, &outboxes, &journal).map_err(disk)?;
    let (happened, happenings) = channel();
    let objects = |study_uid: &str| spool.study(study_uid).join("objects");
    std::thread::scope(|scope| {
        let (journal, objects, refusals) = (&journal, &objects, &refusals);
        for (name, teller) in tellers {
            scope.spawn(move || {
                let _watch = CrashOnly;
                teller.tell(objects, &|notice, ended| {
                    let (study_uid, which) = notice.split_once('-').unwrap_or((notice, ""));
                    let about = [("alert", name.as_str()), ("study", study_uid), ("notice", which)];
                    match ended {
                        Ok(()) => journal.tell("told", &about),
                        Err(why) => journal.tell("not_told", &[&about[..], &[("why", why)]].concat()),
                    }
                });
            });
        }
        for (name, courier) in couriers {
            scope.spawn(move || {
                let _watch = CrashOnly;
                courier.deliver(&|news| note(journal, &name, &news));
            });
        }
        if let Some(page) = &page {
            let spool = &spool;
            // Without it the service does its work all the same.
            scope.spawn(move || web::answer(page, &|path| journal.vitals.page(path, config, spool)));
        }
        let working = scope.spawn(move || {
            let _watch = CrashOnly;
            if let Err(error) = studies.work(&happenings) {
                // Verdicts cannot be kept any more. Whoever watches the service starts it again.
                give_up(ServeError::Disk(error.reason()));
            }
        });
        if let Some(settings) = &config.watch {
            let (happened, spool, limits) = (happened.clone(), &spool, &limits);
            scope.spawn(move || {
                let _watch = CrashOnly;
                watch::watch(settings, spool, limits, &|event| drop_in(journal, refusals, &happened, event));
            });
        }
        if let (Some(listener), Some(receive), Some(settings)) = (&listener, &config.receive, &settings) {
            let address = listener.local_addr().unwrap_or(receive.listen);
            journal.tell("listening", &[("address", &address.to_string())]);
            let happened = std::sync::Mutex::new(happened);
            let happen = |happening| {
                if let Ok(happened) = happened.lock() {
                    // The other end lives as long as the process.
                    let _ = happened.send(happening);
                }
            };
            let tell = |association: u64, event: Event| match event {
                Event::Stored { study_uid, again } => {
                    let stored = Instant::now();
                    journal.tell(
                        "stored",
                        &[("study", &study_uid), ("again", if again { "yes" } else { "no" })],
                    );
                    happen(Happening::Arrived { study_uid, association, again, stored });
                }
                Event::Refused { study_uid, status, why } => {
                    let (code, study) = (format!("{status:04X}"), study_uid.unwrap_or_default());
                    journal.tell("not_stored", &[("study", &study), ("status", &code), ("why", &why)]);
                    // Without room it comes again.
                    if !(0xA700..=0xA7FF).contains(&status) && refusals.note(&study, why) {
                        happen(Happening::Refused { study_uid: study });
                    }
                }
                Event::Reported(report) => take(journal, &outboxes, &report),
            };
            let ended = |association: u64, from: IpAddr, end: receive::End| {
                journal.tell("association", &[("from", &from.to_string()), ("ended", &format!("{end:?}"))]);
                if association > 0 {
                    happen(Happening::Ended { association });
                }
            };
            if let Err(source) = receive::receive(listener, settings, &spool, &limits, &tell, &ended) {
                // Those who tell and send would go on for ever.
                give_up(ServeError::Listen { address, source });
            }
            return Ok(());
        }
        // Nothing arrives: what was left is finished, and that is all.
        drop(happened);
        // A panic there is one here.
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(())
    })
}

/// Ends the process where a thread panics: whoever watches the service starts it again, and everything is found in the
/// spool. A box that receives and tells nobody would be worse.
struct CrashOnly;

impl Drop for CrashOnly {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::exit(1);
        }
    }
}

/// As many studies of which every object was refused have a folder at once.
const MOST_WITHOUT_OBJECTS: usize = 1000;

/// The number of the association that the watched folder stands for: whoever drops files is a sender too.
const DROPPED: u64 = u64::MAX;

/// Tells what became of a file in the watched folder.
fn drop_in(journal: &Journal, refusals: &Refusals<'_>, happened: &Sender<Happening>, event: watch::Event) {
    let happening = match event {
        watch::Event::Taken { study_uid, again } => {
            let stored = Instant::now();
            journal.tell("stored", &[("study", &study_uid), ("again", if again { "yes" } else { "no" })]);
            Happening::Arrived { study_uid, association: DROPPED, again, stored }
        }
        watch::Event::Quiet => Happening::Ended { association: DROPPED },
        watch::Event::Refused { study_uid, is_ct, why } => {
            let study = study_uid.unwrap_or_default();
            journal.tell("not_taken", &[("study", &study), ("why", &why)]);
            // Whoever drops ultrasound here does not want to hear that no head CT was judged.
            let is_new =
                if is_ct { refusals.note(&study, why) } else { refusals.note_beside_others(&study, why) };
            if !is_new {
                return;
            }
            Happening::Refused { study_uid: study }
        }
        watch::Event::Troubled { why } => return journal.tell("watch_troubled", &[("why", &why)]),
    };
    // The other end lives as long as the process.
    let _ = happened.send(happening);
}

/// Tells what became of results.
fn note(journal: &Journal, destination: &str, news: &News<'_>) {
    let to = ("to", destination);
    match news {
        News::Delivered { study_uid, objects, confirmed_by } => {
            let objects = objects.to_string();
            let fields = [to, ("study", study_uid), ("objects", &objects), ("confirmed_by", confirmed_by)];
            journal.tell("delivered", &fields);
        }
        News::NotDelivered { study_uid, why } => {
            journal.tell("not_delivered", &[to, ("study", study_uid), ("why", why)]);
        }
        News::Refused { study_uid, why } => {
            journal.tell("delivery_refused", &[to, ("study", study_uid), ("why", why)]);
        }
    }
}

/// Hands an archive's report to whoever waits for it.
fn take(journal: &Journal, outboxes: &[Outbox], report: &Report) {
    let taken: Result<Vec<bool>, SpoolError> = outboxes.iter().map(|outbox| outbox.report(report)).collect();
    match taken {
        Ok(taken) if taken.contains(&true) => {}
        Ok(_) => journal.tell("report_not_asked_for", &[]),
        // It is asked for again.
        Err(error) => journal.tell("report_not_taken", &[("why", &error.reason())]),
    }
}
