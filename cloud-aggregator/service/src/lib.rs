//! The cloud aggregator's roles around the pure core: logs, MQTT, stores, HTTP.
//!
//! Invariant: nothing is acknowledged, published or shown before the log has it.

pub mod bench;
pub mod broker;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod downlink;
pub mod http;
pub mod ingest;
pub mod lake;
pub mod log;
pub mod metrics;
pub mod mqtt;
pub mod process;
pub mod replay;
pub mod retention;
pub mod run;
pub mod serve;
pub mod stop;
