//! The cloud aggregator's roles around the pure core: logs, MQTT, stores, HTTP.
//!
//! Invariant: nothing is acknowledged, published or shown before the log has it.

pub mod lake;
pub mod log;
pub mod replay;
pub mod stop;
