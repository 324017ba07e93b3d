//! A client of HTTP that goes where it is told: through no proxy, after no redirection.
//!
//! # Source
//! RFC 9110; RFC 2818 (HTTP over TLS).

use std::time::Duration;

use ureq::http::Uri;

use super::{Client, ClientFiles, Stream};

/// A client for an address, with this time for all of a request. Files for TLS are read anew, as they may be renewed.
///
/// # Errors
/// Why the address, or a file, cannot be used.
pub fn client(url: &str, tls: Option<&ClientFiles>, patience: Duration) -> Result<ureq::Agent, String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .max_redirects(0)
        // No environment says where what is known of patients goes.
        .proxy(None)
        .user_agent(concat!("hemapatch/", env!("CARGO_PKG_VERSION")));
    let config = match read(url, tls)? {
        (_, None) => config,
        (_, Some(client)) => client.configure(config),
    };
    Ok(config.build().new_agent())
}

/// An address, and how it is spoken with over TLS; None where it is not.
fn read(url: &str, tls: Option<&ClientFiles>) -> Result<(Uri, Option<Client>), String> {
    let wrong = || "must be an address that begins with http:// or https://".to_owned();
    let address = url.parse::<Uri>().ok().filter(|address| address.host().is_some()).ok_or_else(wrong)?;
    let client = match (address.scheme_str(), tls) {
        (Some("http"), None) => None,
        (Some("http"), Some(_)) => return Err("must begin with https:// where tls is set".to_owned()),
        (Some("https"), Some(files)) if files.name.is_some() => {
            return Err("says which name the certificate has: tls.name cannot be set".to_owned());
        }
        (Some("https"), files) => Some(files.cloned().unwrap_or_default().load()?),
        _ => return Err(wrong()),
    };
    Ok((address, client))
}

/// Connects with whoever listens at an address, and says nothing: who it was.
///
/// # Errors
/// Why the address, or a file, cannot be used; nobody is there, or cannot show who it is.
pub fn reach(url: &str, tls: Option<&ClientFiles>, patience: Duration) -> Result<String, String> {
    let (address, client) = read(url, tls)?;
    let port = address.port_u16().unwrap_or(if client.is_some() { 443 } else { 80 });
    let at = format!("{}:{port}", address.host().unwrap_or_default());
    Stream::reach(&at, client.as_ref(), patience).map_err(|error| format!("{at}: {error}"))?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_http() {
        let check = |url: &str, tls| client(url, tls, Duration::from_secs(1)).map(drop);
        assert_eq!(check("http://10.0.0.1:8080/alerts", None), Ok(()));
        for wrong in ["10.0.0.1", "", "ftp://host/", "http:///path"] {
            assert!(check(wrong, None).unwrap_err().contains("http://"), "{wrong}");
        }
        let files = ClientFiles { authorities: Some("/nowhere/ca.pem".into()), ..ClientFiles::default() };
        assert!(check("http://host/", Some(&files)).is_err());
        let missing = check("https://host/", Some(&files)).unwrap_err();
        assert!(missing.contains("/nowhere/ca.pem") || cfg!(not(feature = "tls")), "{missing}");
    }
}
