//! Placeholder.
pub mod outbox;
