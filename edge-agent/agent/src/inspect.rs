//! `windlass-edge outbox inspect`, and the status when no agent runs: reads an outbox without changing it.

use crate::cli::{Exit, InspectArgs};
use crate::config::Config;
use crate::status::StatusDoc;

/// Why an outbox cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Placeholder.
    #[error("{0}")]
    Unreadable(String),
}

impl InspectError {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Text or JSON.
pub fn inspect(args: &InspectArgs) -> Result<String, InspectError> {
    Err(InspectError::Unreadable(format!("{args:?}")))
}

/// What the outbox tells of a gateway whose agent does not run.
pub fn offline_status(config: &Config) -> Result<StatusDoc, InspectError> {
    Err(InspectError::Unreadable(format!("{:?}", config.gateway)))
}
