//! TLS 1.2 and newer, with certificates on both sides. The protocol itself is left to `rustls`, its ciphers to `ring`.
//!
//! # Source
//! RFC 8446, RFC 5246; which versions and ciphers: RFC 9325 (BCP 195), as DICOM PS3.15 B.12 asks for.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, Error, RootCertStore, ServerConfig,
    ServerConnection,
};
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

use super::{ClientFiles, ServerFiles, Standing, Timed, wait_until};

/// Authorities that the system trusts, where no others are named.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Time for the peer to hear that we end the connection.
const FAREWELL: Duration = Duration::from_millis(500);

/// Whoever is connected to: our certificate, and who may connect.
#[derive(Clone)]
pub struct Server(Arc<ServerConfig>);

/// Whoever connects: whom to believe, and our certificate.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    /// The same for HTTP.
    http: TlsConfig,
    name: Option<ServerName<'static>>,
}

// No key stands in a log.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn ciphers() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn fmt::Display| format!("{}: {why}", file.display());
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(&reason(&error)))?.collect();
    let found = found.map_err(|error| wrong(&reason(&error)))?;
    if found.is_empty() { Err(wrong(&"no certificate in PEM in it")) } else { Ok(found) }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    key_twice(file).map(|(key, _)| key)
}

/// A key, and the same for HTTP. Read once, since it may be renewed just now.
fn key_twice(file: &Path) -> Result<(PrivateKeyDer<'static>, PrivateKey<'static>), String> {
    let wrong = |why: &dyn fmt::Display| format!("{}: {why}", file.display());
    let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong(&reason(&error)))?;
    let for_http = PrivateKey::from_pem(&pem).map_err(|error| wrong(&error))?;
    Ok((key, for_http))
}

/// What is wrong with a file in PEM, without what is in it.
fn reason(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error::{Io, NoItemsFound};
    match error {
        Io(error) => error.to_string(),
        NoItemsFound => "nothing in PEM of the kind that is wanted".to_owned(),
        _ => "not PEM".to_owned(),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if file == Path::new(SYSTEM_AUTHORITIES) {
        // Among so many, some old one may be odd.
        roots.add_parsable_certificates(certificates(file)?);
        return Ok(roots);
    }
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

impl Server {
    pub(super) fn load(files: &ServerFiles) -> Result<Server, String> {
        let (chain, key) = (certificates(&files.certificate)?, key(&files.key)?);
        let config = ServerConfig::builder_with_provider(ciphers())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match &files.authorities {
            None => config.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, ciphers()).build();
                config.with_client_cert_verifier(
                    verifier.map_err(|error| format!("{}: {error}", file.display()))?,
                )
            }
        };
        let config = config
            .with_single_cert(chain, key)
            .map_err(|error| format!("{}: {error}", files.certificate.display()))?;
        Ok(Server(Arc::new(config)))
    }

    /// Agrees with whoever connected.
    pub(super) fn accept(&self, stream: TcpStream, patience: Duration) -> io::Result<Session> {
        let connection = ServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        Session::agree(connection.into(), stream, patience)
    }
}

/// How our certificate looks to peers that believe the authorities that we believe.
pub fn standing(files: &ServerFiles, ahead: Duration) -> Result<Standing, String> {
    let chain = certificates(&files.certificate)?;
    let (Some((own, between)), Some(file)) = (chain.split_first(), &files.authorities) else {
        return Ok(Standing::Unknown);
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(file)?), ciphers())
        .build()
        .map_err(|error| format!("{}: {error}", file.display()))?;
    // Looked at last of all, and by which name peers call us is not known here.
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let at = |time: UnixTime| match verifier.verify_server_cert(own, between, &name, &[], time) {
        Ok(_) => Standing::Good,
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Standing::Good,
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Standing::Unknown,
        Err(error) => Standing::Unusable(error.to_string()),
    };
    let now = UnixTime::now();
    let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + ahead);
    Ok(match (at(now), at(later)) {
        (Standing::Good, Standing::Unusable(_)) => Standing::EndsSoon,
        (standing, _) => standing,
    })
}

impl Client {
    pub(super) fn load(files: &ClientFiles) -> Result<Client, String> {
        let trusted = files.authorities.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_AUTHORITIES));
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(&trusted)?), ciphers())
                .build()
                .map_err(|error| format!("{}: {error}", trusted.display()))?;
        let config = ClientConfig::builder_with_provider(ciphers())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_webpki_verifier(verifier);
        let (config, shown) = match (&files.certificate, &files.key) {
            (Some(certificate), Some(file)) => {
                let (chain, (key, for_http_too)) = (certificates(certificate)?, key_twice(file)?);
                let shown = ClientCert::new_with_certs(&for_http(&chain), for_http_too);
                let config = config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("{}: {error}", certificate.display()))?;
                (config, Some(shown))
            }
            _ => (config.with_no_client_auth(), None),
        };
        let http = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(ciphers())
            .root_certs(RootCerts::new_with_certs(&for_http(&certificates(&trusted)?)))
            .client_cert(shown)
            .build();
        let name = files.name.as_ref().map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a host"))
        });
        Ok(Client { config: Arc::new(config), http, name: name.transpose()? })
    }

    /// Agrees with whoever was connected to.
    pub(super) fn connect(&self, stream: TcpStream, name: &str, patience: Duration) -> io::Result<Session> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
        };
        let connection = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        Session::agree(connection.into(), stream, patience)
    }

    /// Lets HTTP be spoken over TLS.
    pub(super) fn configure(&self, config: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
        config.tls_config(self.http.clone())
    }
}

fn for_http(chain: &[CertificateDer<'_>]) -> Vec<Certificate<'static>> {
    chain.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

/// A connection that is agreed on.
pub struct Session {
    connection: Connection,
    stream: TcpStream,
    /// What is read until then is in time.
    until: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.stream).finish()
    }
}

impl Session {
    fn agree(connection: Connection, stream: TcpStream, patience: Duration) -> io::Result<Session> {
        let mut session = Session { connection, stream, until: Instant::now() + patience };
        session.send()?;
        while session.connection.is_handshaking() {
            session.hear()?;
        }
        Ok(session)
    }

    /// Reads what has come, and answers what the protocol itself asks.
    fn hear(&mut self) -> io::Result<()> {
        // A peer that sends a byte now and then is no faster than one that sends nothing: the time is that of the whole.
        if Instant::now() >= self.until {
            return Err(ErrorKind::TimedOut.into());
        }
        wait_until(&self.stream, self.until)?;
        match self.connection.read_tls(&mut self.stream) {
            Ok(0) if self.connection.is_handshaking() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let processed = self.connection.process_new_packets();
        // Also why it is not agreed on.
        let sent = self.send();
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, format!("TLS: {error}")))?;
        sent
    }

    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.stream) {
                // What is to be sent is kept here: told to whoever writes, it would be written twice.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => drop(sent?),
            }
        }
        Ok(())
    }
}

impl Read for Session {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.hear()?,
                read => return read,
            }
        }
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.connection.writer().write(bytes)?;
        self.send()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.writer().flush()?;
        self.send()
    }
}

impl Timed for Session {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.until = Instant::now() + patience;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Peers tell an end from a cut by it. Whether they hear it changes nothing.
        self.connection.send_close_notify();
        if self.stream.set_write_timeout(Some(FAREWELL)).is_ok() {
            let _ = self.send();
        }
    }
}
