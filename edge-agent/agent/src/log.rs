//! Log lines on standard error, as text or JSON lines.
//!
//! Levels say what an operator must do. ERROR: readings are lost or will be; act. WARN: nothing is lost, but look at it.
//! INFO: life (start, link up, stop). DEBUG: for us.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging; `false` when the process already logs (tests).
pub fn start(log: &Log) -> bool {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_target(false).try_init().is_ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().is_ok(),
    }
}
