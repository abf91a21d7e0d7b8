//! Where a replay stands, as the outbox stores it: one line of text.
//!
//! `1 <offset> <line> <header> {<turbine>=<promise>}`: version, bytes, lines, FNV-1a of the header line in hexadecimal, and
//! per turbine the promise in microseconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use windlass_shared::id::TurbineId;
use windlass_shared::time::EventTime;

const VERSION: &str = "1";

/// Where a replay stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Bytes behind which everything is still to be read.
    pub offset: u64,
    /// Line of the next row, from 1.
    pub line: u64,
    /// Which file it is about.
    pub header: u64,
    /// Nothing on time is earlier.
    pub promises: BTreeMap<TurbineId, EventTime>,
}

impl Position {
    /// The beginning of a file.
    pub fn behind_header(header: &[u8]) -> Self {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let mut position = Self {
            offset: 0,
            line: 1,
            header: header.iter().fold(0xcbf2_9ce4_8422_2325, fnv),
            promises: BTreeMap::new(),
        };
        position.pass(header);
        position
    }

    /// These bytes are done with.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        self.line += bytes.split(|b| *b == b'\n').count() as u64 - 1;
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{VERSION} {} {} {:016x}",
            self.offset, self.line, self.header
        );
        for (turbine, promise) in &self.promises {
            // writing to a String does not fail
            write!(text, " {turbine}={}", promise.0).ok();
        }
        text.into_bytes()
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let bad = |what: &str| format!("`{text}`: {what}");
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return Err(bad("another version"));
        }
        let mut number = |what: &str, radix: u32| {
            let word = words
                .next()
                .and_then(|w| u64::from_str_radix(w, radix).ok());
            word.ok_or_else(|| bad(what))
        };
        let (offset, line) = (number("no offset", 10)?, number("no line", 10)?);
        let header = number("no header", 16)?;
        let promise = |word: &str| {
            let (turbine, us) = word.split_once('=')?;
            Some((TurbineId::new(turbine).ok()?, EventTime(us.parse().ok()?)))
        };
        let promises = words.map(|w| promise(w).ok_or_else(|| bad("no promise")));
        Ok(Self {
            offset,
            line,
            header,
            promises: promises.collect::<Result<_, _>>()?,
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
            .promises
            .insert(TurbineId::new("T-1").unwrap(), EventTime(-7));
        position.pass(b"1,\"x\ny\"\n");
        assert_eq!((position.offset, position.line), (13, 4));
        assert_eq!(Position::parse(&position.to_bytes()), Ok(position));
        for bad in [
            "",
            "2 1 1 0",
            "1 1",
            "1 1 1 0 T1",
            "1 1 1 0 T1=x",
            "1 a 1 0",
        ] {
            assert!(Position::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Position::parse(&[0xff]).is_err());
    }
}
