//! The demo.

pub mod faults;
pub mod history;
pub mod latency;
