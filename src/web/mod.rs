//! A page for machines: answers GET and HEAD on this machine, and nothing else. What the pages say is left to `serve`.
//!
//! # Source
//! RFC 9110, RFC 9112: one request a connection, heads of a bounded size in a bounded time.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::net::{Stream, Timed};

/// Bytes of a request's head.
const MOST_HEAD: usize = 8 << 10;
/// Time for a head to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once; more are closed.
const AT_ONCE: usize = 16;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The code: 200, 503.
    pub status: u16,
    /// The media type.
    pub kind: &'static str,
    /// The text.
    pub text: String,
}

impl Page {
    fn plain(status: u16, text: &str) -> Page {
        Page { status, kind: "text/plain; charset=utf-8", text: format!("{text}\n") }
    }
}

/// Answers for ever; `pages` has the page of a path.
///
/// # Errors
/// The listener is broken.
pub fn answer(listener: &TcpListener, pages: &(dyn Fn(&str) -> Option<Page> + Sync)) -> io::Result<()> {
    let at_once = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                // Out of files or memory, or a peer that is gone already: the next one may do.
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if at_once.fetch_add(1, Ordering::AcqRel) >= AT_ONCE {
                at_once.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let at_once = &at_once;
            let serve = move || {
                // Whoever does not take its answer goes without.
                let _ = Stream::accept(stream, None, PATIENCE).and_then(|stream| converse(stream, pages));
                at_once.fetch_sub(1, Ordering::AcqRel);
            };
            if std::thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, serve).is_err() {
                at_once.fetch_sub(1, Ordering::AcqRel);
            }
        }
    })
}

/// Answers the one request of a connection.
///
/// # Errors
/// The peer takes nothing any more, or said nothing whole in time.
pub fn converse<S: Timed>(mut stream: S, pages: &dyn Fn(&str) -> Option<Page>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    let (page, has_body) = loop {
        if let Some(answer) = respond(&head, pages) {
            break answer;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_patience(left)?;
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => head.extend(&part[..count]),
        }
    };
    let reason = match page.status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    let Page { status, kind, text } = &page;
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nAllow: GET, HEAD\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    if has_body {
        stream.write_all(text.as_bytes())?;
    }
    stream.flush()
}

/// The answer to a head, and whether its text is sent; None where the head has not come as a whole.
fn respond(head: &[u8], pages: &dyn Fn(&str) -> Option<Page>) -> Option<(Page, bool)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() <= MOST_HEAD => return None,
        Ok(httparse::Status::Complete(length)) if length <= MOST_HEAD => {}
        _ => return Some((Page::plain(400, "no request that can be answered"), true)),
    }
    let method = request.method.unwrap_or_default();
    if !matches!(method, "GET" | "HEAD") {
        return Some((Page::plain(405, "only GET and HEAD are answered"), true));
    }
    let path = request.path.unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let page = pages(path).unwrap_or_else(|| Page::plain(404, "there is /healthz, and /metrics"));
    Some((page, method == "GET"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pages(path: &str) -> Option<Page> {
        (path == "/healthz").then(|| Page::plain(200, "ok"))
    }

    fn status(head: &str) -> Option<(u16, bool)> {
        respond(head.as_bytes(), &pages).map(|(page, has_body)| (page.status, has_body))
    }

    #[test]
    fn only_what_is_there_is_answered() {
        assert_eq!(status("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), Some((200, true)));
        assert_eq!(status("HEAD /healthz?x=1 HTTP/1.1\r\n\r\n"), Some((200, false)));
        assert_eq!(status("GET /../KEY HTTP/1.1\r\n\r\n"), Some((404, true)));
        assert_eq!(status("POST /healthz HTTP/1.1\r\n\r\n"), Some((405, true)));
        assert_eq!(status("GET /healthz HTTP/1.1\r\n"), None);
        assert_eq!(status("\u{16}\u{3}\u{1}"), Some((400, true)));
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(MOST_HEAD))), Some((400, true)));
    }

    #[test]
    fn a_head_is_as_long_as_it_may_be_in_whatever_pieces_it_comes() {
        // The fuzz target `page`: a head over the limit was answered where its end came with the byte that was too many.
        let head = |bytes: usize| format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(bytes - 30));
        assert_eq!(head(MOST_HEAD).len(), MOST_HEAD);
        assert_eq!(status(&head(MOST_HEAD)), Some((200, true)));
        assert_eq!(status(&head(MOST_HEAD + 1)), Some((400, true)));
        assert_eq!(status(&head(MOST_HEAD + 1)[..MOST_HEAD]), None);
    }

    proptest! {
        #[test]
        fn no_head_brings_it_down(head in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = respond(&head, &pages);
        }
    }
}
