//! Detectors: what they are (data, in `detectors.toml`), and how they run on live batches and on settled windows.
//!
//! The *settled chain* runs over settled windows in event-time order and is the truth: what it raises is confirmed. Live
//! batches and windows that are not settled yet raise provisional alerts, which the settled chain confirms or withdraws.
//!
//! Invariants: what is confirmed depends on the settled windows alone, not on the order in which records came; ids of
//! alerts and episodes never change; no platform-dependent arithmetic.

pub mod alert;
mod book;
mod chain;
mod config;
mod episodes;
mod marks;
mod minutes;
mod observe;
mod plan;
mod track;

pub use book::Scene;
pub use chain::Chain;
pub use config::{
    Condition, DetectorErrors, Detectors, Limits, On, Operating, Rule, RuleKind, Score, Sides,
    Statistic, Threshold, Transform, When,
};
pub use plan::{Plan, Plans};
