//! What a source gave that cannot become a reading: kept as JSON lines beside the outbox, so that nothing vanishes.
//!
//! Two files of bounded size; the older one is replaced when the newer is full. Every line is also counted, so that the
//! counters tell how much the files no longer hold. A line that cannot be written is counted and logged, never fatal.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Size at which a file is full, bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The open file.
pub struct DeadLetter {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// Lines that could not be written.
    pub unwritten: u64,
}

/// One line.
#[derive(Serialize, Debug)]
pub struct Letter<'a> {
    /// From which source.
    pub source: &'a str,
    /// Why it is no reading.
    pub reason: &'a str,
    /// What it was.
    pub what: String,
    /// How many of them this line stands for.
    pub count: u64,
}

impl DeadLetter {
    /// Beside the outbox; opened at the first letter.
    pub fn beside(outbox: &Path) -> Self {
        Self {
            path: crate::run::dead_letter_path(outbox),
            file: None,
            bytes: 0,
            unwritten: 0,
        }
    }

    /// Keeps a letter.
    pub fn keep(&mut self, letter: &Letter<'_>) {
        if let Err(error) = self.write(letter) {
            self.file = None;
            self.unwritten += 1;
            tracing::warn!(path = %self.path.display(), %error, ?letter, "cannot keep a dead letter");
        }
    }

    fn write(&mut self, letter: &Letter<'_>) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX && self.file.is_some() {
            self.file = None;
            std::fs::rename(&self.path, self.path.with_extension("1.jsonl"))?;
        }
        let file = if let Some(file) = &mut self.file {
            file
        } else {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            self.bytes = file.metadata()?.len();
            self.file.insert(file)
        };
        file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_lines_and_the_full_file_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut dead = DeadLetter::beside(&dir.path().join("outbox.db"));
        let letter = |what: &str| Letter {
            source: "a",
            reason: "no number",
            what: what.to_owned(),
            count: 1,
        };
        dead.keep(&letter("x"));
        let path = dir.path().join("outbox.dead-letter.jsonl");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"source\":\"a\",\"reason\":\"no number\",\"what\":\"x\",\"count\":1}\n"
        );
        let big = "y".repeat(FILE_BYTES_MAX as usize - 20);
        dead.keep(&letter(&big));
        let older = dir.path().join("outbox.dead-letter.1.jsonl");
        assert!(std::fs::metadata(older).unwrap().len() < 100);
        assert!(std::fs::metadata(path).unwrap().len() > FILE_BYTES_MAX - 100);
        assert_eq!(dead.unwritten, 0);
    }
}
