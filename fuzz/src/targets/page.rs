//! What is said to the page for machines, and what a worklist answers.

use std::cell::RefCell;

use hemapatch::alert;
use hemapatch::web::{self, Page};

use crate::choices::Choices;
use crate::connection::Connection;

/// Any bytes as a request get a whole answer or none, the same in whatever pieces they come.
pub fn page(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    // A head of nearly as many bytes as it may have, and of more.
    let filling = match first % 8 {
        6 => "a".repeat(8100),
        7 => "a".repeat(8200),
        _ => String::new(),
    };
    let long = format!("GET /healthz?{filling} HTTP/1.1\r\nX: ");
    let said = if filling.is_empty() { rest.to_vec() } else { [long.as_bytes(), rest].concat() };
    let at_once = answer(&said, usize::MAX);
    // A long head is looked at anew with each piece: in small ones, runs would be few.
    let piece = usize::from(first / 8) + if filling.is_empty() { 1 } else { 900 };
    assert_eq!(at_once, answer(&said, piece), "it depends on the pieces");
    if at_once.is_empty() {
        return;
    }
    let text = String::from_utf8(at_once).expect("an answer is a text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a line of status");
    assert!(
        ["200 OK", "400 Bad Request", "404 Not Found", "405 Method Not Allowed"].contains(&status),
        "{status}"
    );
    let length = lines.find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let length: usize = length.parse().expect("a number");
    assert!(body.len() == length || (body.is_empty() && status != "405 Method Not Allowed"), "{text:?}");
}

fn answer(said: &[u8], at_once: usize) -> Vec<u8> {
    let asked = RefCell::new(0);
    let pages = |path: &str| {
        *asked.borrow_mut() += 1;
        assert!(!path.contains('?'), "{path}");
        (path == "/healthz").then(|| Page { status: 200, kind: "application/json", text: "{}\n".to_owned() })
    };
    let mut heard = Vec::new();
    let mut connection = Connection::new(said, &mut heard);
    connection.at_once = at_once;
    web::converse(connection, &pages).expect("the peer hears everything");
    assert!(*asked.borrow() <= 1, "one request a connection");
    heard
}

/// Any bytes as the answer to a message acknowledge it only where they name it, refuse it where they name none, and in whatever pieces they come.
pub fn hl7(input: &[u8]) {
    const MESSAGE: &str = "MSH|^~\\&|\r";
    const CONTROL_ID: &str = "7";
    let mut choices = Choices::new(input);
    let at_once = 1 + usize::from(choices.byte());
    let said = choices.rest();
    let code = |at_once: usize| {
        let mut heard = Vec::new();
        let mut connection = Connection::new(said, &mut heard);
        connection.at_once = at_once;
        let code = alert::exchange(connection, MESSAGE, CONTROL_ID);
        assert_eq!(heard, [b"\x0b", MESSAGE.as_bytes(), b"\x1c\r"].concat());
        code.ok().flatten()
    };
    let whole = code(usize::MAX);
    assert_eq!(whole, code(at_once), "it depends on the pieces");
    let Some(code) = whole else { return };
    let end = said.windows(2).position(|bytes| bytes == b"\x1c\r").expect("only what is whole is read");
    let said = String::from_utf8_lossy(&said[..end]);
    let names_it = |segment: &str| {
        let fields = segment.strip_prefix("MSA")?;
        // Any letter may divide the fields.
        let mut fields = fields.split(fields.chars().next()?).skip(1);
        let (own, id) = (fields.next()?, fields.next().unwrap_or_default());
        // What says no may not know to what.
        let is_nameless = id.is_empty() && ["AE", "AR", "CE", "CR"].contains(&own);
        Some(own == code && (id == CONTROL_ID || is_nameless))
    };
    let mut segments = said.split(['\r', '\n']);
    assert!(segments.any(|segment| names_it(segment) == Some(true)), "{code} of {said:?}");
}
