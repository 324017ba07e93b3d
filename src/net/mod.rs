//! Connections to and from others: plain, or TLS 1.2 and newer, each read within its time.
//! What is said on them is left to `dimse`, `receive`, `alert` and `deliver`.
//!
//! Without the feature `tls`, which brings the only code that is not Rust, a configuration that asks for TLS is refused.

pub mod http;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;

pub use tls::{Client, Server};

/// Time in which a peer objects to our certificate.
const OBJECTION: Duration = Duration::from_millis(500);

/// What becomes readable within a time.
pub trait Timed: Read + Write {
    /// How long the next read may take.
    ///
    /// # Errors
    /// The operating system.
    fn set_patience(&mut self, patience: Duration) -> io::Result<()>;
}

/// `tls` of whoever is connected to: files in PEM, absolute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFiles {
    /// Our certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of whom peers have their certificates.
    pub authorities: Option<PathBuf>,
    /// Said where peers have none: whoever listens on the way cannot read, but anybody may pretend to be a peer.
    #[serde(default)]
    pub without_client_certificates: bool,
}

/// How our own certificate looks to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They can take it.
    Good,
    /// They can take it, but not for long.
    EndsSoon,
    /// It is of another authority than theirs, so that only they know.
    Unknown,
    /// They cannot take it.
    Unusable(String),
}

/// `tls` of whoever connects: files in PEM, absolute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFiles {
    /// Authorities of whom the peer has its certificate; the system's where none are named.
    pub authorities: Option<PathBuf>,
    /// Our certificate, and those between it and its authority, for a peer that wants one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name in the peer's certificate, where it is another than that in its address.
    pub name: Option<String>,
}

impl ServerFiles {
    /// Reads them all.
    ///
    /// # Errors
    /// What is wrong, and with which file.
    pub fn load(&self) -> Result<Server, String> {
        absolute([Some(&self.certificate), Some(&self.key), self.authorities.as_ref()])?;
        if self.authorities.is_some() == self.without_client_certificates {
            let why =
                "needs either authorities, of whom peers have certificates, or without_client_certificates";
            return Err(why.to_owned());
        }
        Server::load(self)
    }

    /// How our certificate looks to peers now, and in a time `ahead`.
    ///
    /// # Errors
    /// What is wrong, and with which file.
    pub fn standing(&self, ahead: Duration) -> Result<Standing, String> {
        tls::standing(self, ahead)
    }
}

impl ClientFiles {
    /// Reads them all.
    ///
    /// # Errors
    /// What is wrong, and with which file.
    pub fn load(&self) -> Result<Client, String> {
        absolute([self.authorities.as_ref(), self.certificate.as_ref(), self.key.as_ref()])?;
        if self.certificate.is_some() != self.key.is_some() {
            return Err("needs certificate and key, or neither".to_owned());
        }
        Client::load(self)
    }
}

fn absolute<const N: usize>(files: [Option<&PathBuf>; N]) -> Result<(), String> {
    let relative = files.into_iter().flatten().find(|file| !file.is_absolute());
    relative.map_or(Ok(()), |file| Err(format!("{}: must be absolute", file.display())))
}

/// A connection.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    Tls(Box<tls::Session>),
}

impl Stream {
    /// Takes a connection that somebody made; with TLS, once it is agreed on within `patience`.
    ///
    /// # Errors
    /// The peer is gone, or cannot show who it is.
    pub fn accept(stream: TcpStream, tls: Option<&Server>, patience: Duration) -> io::Result<Stream> {
        let stream = ready(stream, patience)?;
        Ok(Stream(match tls {
            None => Kind::Plain(stream),
            Some(server) => Kind::Tls(Box::new(server.accept(stream, patience)?)),
        }))
    }

    /// Connects with whoever listens at `address`, a name or number with a port.
    ///
    /// # Errors
    /// Nobody is there, or cannot show who it is.
    pub fn connect(address: &str, tls: Option<&Client>, patience: Duration) -> io::Result<Stream> {
        let stream = ready(connect(address, patience)?, patience)?;
        Ok(Stream(match tls {
            None => Kind::Plain(stream),
            Some(client) => {
                let (name, _) = address.rsplit_once(':').unwrap_or((address, ""));
                let name = name.trim_start_matches('[').trim_end_matches(']');
                Kind::Tls(Box::new(client.connect(stream, name, patience)?))
            }
        }))
    }

    /// Connects with whoever listens at `address`, and says nothing.
    ///
    /// # Errors
    /// As [`connect`](Stream::connect); the peer does not want our certificate.
    pub fn reach(address: &str, tls: Option<&Client>, patience: Duration) -> io::Result<()> {
        let mut stream = Stream::connect(address, tls, patience)?;
        if tls.is_none() {
            return Ok(());
        }
        // RFC 8446 4.4.2.4: in TLS 1.3 the peer looks at our certificate after all is agreed on for us.
        stream.set_patience(OBJECTION)?;
        match stream.read(&mut [0]) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Messages are small, and peers wait for them.
fn ready(stream: TcpStream, patience: Duration) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// A connection with the first address of a name that somebody listens at.
fn connect(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(stream) => stream.read(bytes),
            Kind::Tls(session) => session.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(stream) => stream.write(bytes),
            Kind::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Plain(stream) => stream.flush(),
            Kind::Tls(session) => session.flush(),
        }
    }
}

impl Timed for Stream {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        match &mut self.0 {
            Kind::Plain(stream) => wait_until(stream, Instant::now() + patience),
            Kind::Tls(session) => session.set_patience(patience),
        }
    }
}

/// Lets the next read take until then.
fn wait_until(stream: &TcpStream, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    // A time of zero would mean for ever.
    stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))
}

/// Whether a text is a name or number, a colon and a port.
pub fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(name, port)| (name.is_empty(), port.parse::<u16>()));
    matches!(port, Some((false, Ok(1..))))
}
