//! Questions to a service on this machine: one GET, one answer.
//!
//! Invariant: the connection is closed after the answer, so that the answer is all that is read.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How long an answer may take.
const ANSWER_BOUND: Duration = Duration::from_mins(1);

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 and the like.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Asks for `path` on a port of the loopback interface.
pub fn get(port: u16, path: &str) -> Result<Answer> {
    let ask = || -> Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER_BOUND))?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = ask().with_context(|| format!("GET http://127.0.0.1:{port}{path}"))?;
    parse(&text).with_context(|| format!("GET http://127.0.0.1:{port}{path}"))
}

/// An answer of HTTP/1.0: no chunks.
fn parse(text: &str) -> Result<Answer> {
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("no end of the header")?;
    let first = head.lines().next().unwrap_or_default();
    let mut words = first.split(' ');
    let version = words.next().unwrap_or_default();
    ensure!(
        version.starts_with("HTTP/1."),
        "found {first:?}, expected a status line of HTTP/1"
    );
    let status = words.next().unwrap_or_default();
    Ok(Answer {
        status: status
            .parse()
            .with_context(|| format!("status {status:?}"))?,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_what_is_none_is_refused() {
        let answer = parse("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (404, "{}"));
        for wrong in ["", "hello\r\n\r\n", "HTTP/1.1 what\r\n\r\n"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
