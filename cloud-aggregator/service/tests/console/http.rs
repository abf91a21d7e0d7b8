//! A browser as far as the tests need one: requests over a plain socket, answers with all their bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::rig::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name)?;
        Some(&found.1)
    }
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream
}

pub fn get(port: u16, path: &str) -> Answer {
    ask(port, "GET", path, &[], "")
}

pub fn post(port: u16, path: &str, body: &Value) -> Answer {
    let kind = ("content-type", "application/json");
    ask(port, "POST", path, &[kind], &body.to_string())
}

pub fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = connect(port);
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            request.push_str(part);
        }
    }
    let length = format!("content-length: {}\r\n\r\n", body.len());
    request.push_str(&length);
    request.push_str(body);
    stream.write_all(request.as_bytes()).expect("written");
    read(&mut BufReader::new(stream))
}

fn head(reader: &mut impl BufRead) -> Answer {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line
        .split(' ')
        .nth(1)
        .expect("a status")
        .parse()
        .expect("a number");
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Answer {
        status,
        headers,
        body: Vec::new(),
    }
}

fn read(reader: &mut impl BufRead) -> Answer {
    let mut answer = head(reader);
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = chunk(reader) {
            answer.body.extend(chunk);
        }
    } else {
        reader.read_to_end(&mut answer.body).expect("a body");
    }
    answer
}

fn chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let len = usize::from_str_radix(line.trim(), 16).ok()?;
    let mut bytes = vec![0; len + 2];
    reader.read_exact(&mut bytes).ok()?;
    bytes.truncate(len);
    (len > 0).then_some(bytes)
}

/// An open stream of server-sent events.
pub struct Events {
    reader: BufReader<TcpStream>,
    pub status: u16,
    text: String,
}

impl Events {
    pub fn open(port: u16, path: &str) -> Self {
        let mut stream = connect(port);
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").expect("written");
        let mut reader = BufReader::new(stream);
        let status = head(&mut reader).status;
        Self {
            reader,
            status,
            text: String::new(),
        }
    }

    /// The next event of this name; others are passed over. `None`: the stream ended.
    pub fn next(&mut self, name: &str) -> Option<Value> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |key: &str| {
                    let line = event.lines().find_map(|l| l.strip_prefix(key));
                    line.map(|l| l.trim().to_owned())
                };
                let found = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                if found.0.as_deref() == Some(name) {
                    return Some(serde_json::from_str(&found.1?).expect("JSON"));
                }
            }
            let bytes = chunk(&mut self.reader)?;
            self.text += &String::from_utf8(bytes).expect("text");
        }
    }
}

/// Sends these bytes and never more; comes back with what the server said before it let go.
pub fn no_more_than(port: u16, bytes: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(bytes.as_bytes()).expect("written");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an end");
    String::from_utf8(rest).expect("text")
}
