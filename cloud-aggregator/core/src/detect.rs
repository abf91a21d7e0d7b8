//! Detectors: what they are (data, in `detectors.toml`), and how they run on live batches and on settled windows.

pub mod alert;

/// A parsed and checked `detectors.toml`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Detectors {
    /// Counts up with each change of the file.
    pub version: u64,
}

/// Everything that is wrong with a detector file, at once.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct DetectorErrors(pub Vec<String>);

impl Detectors {
    /// Parses `detectors.toml` (`path` is for the messages) and reports all mistakes at once.
    pub fn parse(path: &str, text: &str) -> Result<Self, DetectorErrors> {
        todo!("{path} {text}")
    }
}
