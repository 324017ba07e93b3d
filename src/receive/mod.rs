//! Objects that scanners and archives send: a Storage SCP that also answers C-ECHO, and hears what archives keep.
//! What the objects say is left to `dicom`, where they go to `spool`, what is done with them to `serve`.
//!
//! Nobody is let in who is not listed, by title and address. An object is answered with success once it is durable in
//! the spool. Nothing of a peer is held in memory but one unit; its objects go straight to the disk.

mod association;
mod negotiate;
mod peers;
mod store;

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

pub use association::{End, converse};
use association::{NO_ROOM, turn_away};
pub use peers::{Network, Peer};

use crate::dimse::{AeTitle, Report};
use crate::limits::Limits;
use crate::net::{Server, Stream};
use crate::spool::Spool;

/// As many peers at once are told that there is no room; the connections of more are closed.
const TURNED_AWAY: usize = 16;

/// How associations are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our title.
    pub ae_title: AeTitle,
    /// Who may send.
    pub peers: Vec<Peer>,
    /// How they show who they are; None where they connect without TLS.
    pub tls: Option<Server>,
    /// Associations at once; more are told to come again later.
    pub associations: usize,
    /// New associations a second; more wait.
    pub associations_per_second: u32,
    /// Bytes of a unit, told to peers.
    pub pdu_bytes: u32,
    /// Bytes of an object.
    pub object_bytes: u64,
    /// Time between two objects.
    pub idle: Duration,
    /// Time for a unit.
    pub patience: Duration,
    /// Time for an object.
    pub object_time: Duration,
    /// Whether archives may report what they keep.
    pub reports: bool,
}

/// What happens, as it is told to whoever serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An object is durable in the spool.
    Stored {
        /// Its study.
        study_uid: String,
        /// True where it had been sent before.
        again: bool,
    },
    /// An object was not kept.
    Refused {
        /// Its study, where that could be read.
        study_uid: Option<String>,
        /// What the peer was answered.
        status: u16,
        /// Why.
        why: String,
    },
    /// An archive tells what it keeps.
    Reported(Report),
}

/// Takes connections for ever. Each association has a thread; `tell` hears of what happens in the association of a number,
/// `ended` of its end.
///
/// # Errors
/// The listener is broken.
pub fn receive(
    listener: &TcpListener,
    settings: &Settings,
    spool: &Spool,
    limits: &Limits,
    tell: &(dyn Fn(u64, Event) + Sync),
    ended: &(dyn Fn(u64, IpAddr, End) + Sync),
) -> io::Result<()> {
    let (at_once, turned_away) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let numbers = AtomicU64::new(1);
    let mut rate = Rate::new(settings.associations_per_second);
    // When one that is not listed was told of last.
    let mut last_stranger: Option<Instant> = None;
    std::thread::scope(|scope| {
        loop {
            let (stream, from) = match listener.accept() {
                Ok((stream, from)) => (stream, from.ip().to_canonical()),
                Err(error) if is_passing(&error) => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Whoever is not listed under any title has no word said to, and does not fill the journal.
            if !settings.peers.iter().any(|peer| peer.address.contains(from)) {
                if last_stranger.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
                    last_stranger = Some(Instant::now());
                    ended(0, from, End::Rejected("its address is not listed"));
                }
                continue;
            }
            let is_full = at_once.load(Ordering::Acquire) >= settings.associations;
            let threads = if is_full { &turned_away } else { &at_once };
            if is_full && threads.load(Ordering::Acquire) >= TURNED_AWAY {
                ended(0, from, End::Rejected(NO_ROOM));
                continue;
            }
            rate.wait();
            threads.fetch_add(1, Ordering::AcqRel);
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let serve = move || {
                let serve = || {
                    let stream = match Stream::accept(stream, settings.tls.as_ref(), settings.patience) {
                        Ok(stream) => stream,
                        Err(error) => return End::Gone(error.to_string()),
                    };
                    if is_full {
                        return turn_away(stream, settings);
                    }
                    converse(stream, from, settings, spool, limits, &|event| tell(number, event))
                };
                // A mistake of ours ends this association alone.
                let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(serve));
                threads.fetch_sub(1, Ordering::AcqRel);
                ended(number, from, end.unwrap_or_else(|_| End::Aborted("a mistake of ours".to_owned())));
            };
            if std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, serve).is_err() {
                threads.fetch_sub(1, Ordering::AcqRel);
                ended(number, from, End::Rejected("no thread can be had"));
            }
        }
    })
}

/// Whether the next connection may be had all the same.
fn is_passing(error: &io::Error) -> bool {
    // accept(2): all but a listener that is none. What it tells of the network, or of too many open files, passes.
    let broken = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP];
    !broken.iter().any(|broken| error.raw_os_error() == Some(broken.raw_os_error()))
}

/// A bucket of permits that fills up with time.
struct Rate {
    per_second: f64,
    permits: f64,
    since: Instant,
}

impl Rate {
    fn new(per_second: u32) -> Rate {
        let per_second = f64::from(per_second.max(1));
        Rate { per_second, permits: per_second, since: Instant::now() }
    }

    /// Waits for a permit.
    fn wait(&mut self) {
        let now = Instant::now();
        let fresh = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.permits = (self.permits + fresh).min(self.per_second) - 1.0;
        self.since = now;
        if self.permits < 0.0 {
            std::thread::sleep(Duration::from_secs_f64(-self.permits / self.per_second));
        }
    }
}
