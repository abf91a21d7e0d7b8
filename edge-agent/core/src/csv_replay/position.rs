//! Where a replay stands, as the outbox stores it: one line of text.
//!
//! `2 <offset> <line> <header> <length> <hash> {<turbine>=<done>}`: version, bytes, lines, FNV-1a of the header line in
//! hexadecimal, bytes and FNV-1a of the last row (0 0: none was read), and per turbine until when its rows are complete in
//! microseconds. Version 1 had no last row.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use windlass_shared::id::TurbineId;
use windlass_shared::time::EventTime;

/// Where a replay stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Bytes behind which everything is still to be read.
    pub offset: u64,
    /// Line of the next row, from 1.
    pub line: u64,
    /// Which file it is about.
    pub header: u64,
    /// What stands before `offset`.
    pub last_row: Option<LastRow>,
    /// The greatest end of a row's interval.
    pub done: BTreeMap<TurbineId, EventTime>,
}

/// By what the last row is known again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LastRow {
    /// Bytes.
    pub len: u64,
    hash: u64,
}

impl LastRow {
    fn of(bytes: &[u8]) -> Self {
        Self {
            len: bytes.len() as u64,
            hash: fnv(bytes),
        }
    }

    /// Are these its bytes?
    pub fn is(self, bytes: &[u8]) -> bool {
        self == Self::of(bytes)
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.split(|b| *b == b'\n').count() as u64 - 1
}

impl Position {
    /// The beginning of a file.
    pub fn behind_header(header: &[u8]) -> Self {
        let mut position = Self {
            offset: 0,
            line: 1,
            header: fnv(header),
            last_row: None,
            done: BTreeMap::new(),
        };
        position.pass(header);
        position.last_row = None;
        position
    }

    /// This row is done with.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        self.line += lines(bytes);
        self.last_row = Some(LastRow::of(bytes));
    }

    /// The line of the last row, if these bytes stand in its place.
    pub fn line_of_last_row(&self, bytes: &[u8]) -> u64 {
        self.line - lines(bytes).max(1).min(self.line)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let last = self.last_row.unwrap_or(LastRow { len: 0, hash: 0 });
        let mut text = format!(
            "2 {} {} {:016x} {} {:016x}",
            self.offset, self.line, self.header, last.len, last.hash
        );
        for (turbine, done) in &self.done {
            // writing to a String does not fail
            write!(text, " {turbine}={}", done.0).ok();
        }
        text.into_bytes()
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let bad = |what: &str| format!("`{text}`: {what}");
        let mut words = text.split(' ');
        let has_last_row = match words.next() {
            Some("1") => false,
            Some("2") => true,
            _ => return Err(bad("another version")),
        };
        let mut number = |what: &str, radix: u32| {
            let word = words
                .next()
                .and_then(|w| u64::from_str_radix(w, radix).ok());
            word.ok_or_else(|| bad(what))
        };
        let (offset, line) = (number("no offset", 10)?, number("no line", 10)?);
        let header = number("no header", 16)?;
        let mut last_row = None;
        if has_last_row {
            let len = number("no length of the last row", 10)?;
            let hash = number("no hash of the last row", 16)?;
            last_row = (len > 0).then_some(LastRow { len, hash });
        }
        if last_row.is_some_and(|l| l.len > offset) {
            return Err(bad("a last row longer than the file"));
        }
        let done = |word: &str| {
            let (turbine, us) = word.split_once('=')?;
            Some((TurbineId::new(turbine).ok()?, EventTime(us.parse().ok()?)))
        };
        let done = words.map(|w| done(w).ok_or_else(|| bad("no time of a turbine")));
        Ok(Self {
            offset,
            line,
            header,
            last_row,
            done: done.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let mut position = Position::behind_header(b"a,b\r\n");
        position
            .done
            .insert(TurbineId::new("T-1").unwrap(), EventTime(-7));
        position.pass(b"1,\"x\ny\"\n");
        assert_eq!((position.offset, position.line), (13, 4));
        assert_eq!(Position::parse(&position.to_bytes()), Ok(position.clone()));
        assert!(position.last_row.unwrap().is(b"1,\"x\ny\"\n"));
        assert!(!position.last_row.unwrap().is(b"1,\"x\nz\"\n"));
        let old = Position::parse(b"1 13 4 af T-1=-7").unwrap();
        assert_eq!((old.last_row, &old.done), (None, &position.done));
        for bad in [
            "",
            "3 1 1 0 0 0",
            "2 1 1 0",
            "1 1",
            "1 1 1 0 T1",
            "1 1 1 0 T1=x",
            "1 a 1 0",
            "2 5 1 0 6 0",
        ] {
            assert!(Position::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Position::parse(&[0xff]).is_err());
    }
}
