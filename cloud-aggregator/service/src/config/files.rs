//! The files that the configuration names: the fleet registry with its profiles, and the detectors.

use std::path::Path;

use windlass_cloud_core::detect::Detectors;
use windlass_cloud_core::fleet::Fleet;

use super::ConfigError;
use crate::causes::Causes;

/// Reads a text file; `what` is for the message.
pub fn read_text(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

/// The fleet registry and the profiles that it names, relative to it.
pub fn load_fleet(path: &Path) -> Result<Fleet, ConfigError> {
    let text = read_text("fleet registry", path)?;
    let name = path.display().to_string();
    let profiles = Fleet::profile_paths(&name, &text).map_err(|e| named(&e))?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut loaded = Vec::with_capacity(profiles.len());
    let mut wrong = Vec::new();
    for profile in profiles {
        match read_text("profile", &base.join(&profile)) {
            Ok(text) => loaded.push((profile, text)),
            Err(e) => wrong.push(format!("{name}: {}", Causes(&e))),
        }
    }
    if !wrong.is_empty() {
        return Err(ConfigError::Named(wrong));
    }
    Fleet::parse(&name, &text, &loaded).map_err(|e| named(&e))
}

fn named(e: &dyn std::error::Error) -> ConfigError {
    ConfigError::Named(vec![e.to_string()])
}

/// `detectors.toml`, checked. It comes into force by way of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DetectorFile {
    /// Counts up with each change of the file.
    pub version: u64,
    /// The file.
    pub text: String,
}

impl DetectorFile {
    /// Reads and checks it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text("detectors", path)?;
        let detectors =
            Detectors::parse(&path.display().to_string(), &text).map_err(|e| named(&e))?;
        Ok(Self {
            version: detectors.version,
            text,
        })
    }
}
