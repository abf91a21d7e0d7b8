//! The aggregator's logic without a runtime: what ingest lets through, what the task of a partition makes of the log,
//! what its detectors raise, and where the lake cuts its files.
//!
//! Invariant: nothing here reads a clock, a disk, a network or a random number, and nothing iterates in hash order.
//! Everything is a function of the log's entries, so that running the log again gives the same bytes.

pub mod admit;
pub mod bench;
pub mod cut;
pub mod detect;
pub mod facts;
pub mod fleet;
pub mod ingest;
pub mod logtime;
pub mod output;
pub mod recovery;
pub mod task;
pub mod topic;
pub mod worker;
