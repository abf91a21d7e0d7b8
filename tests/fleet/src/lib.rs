//! The rig behind the demo and the system tests: real processes over real MQTT, faults on the way, and a ledger that
//! believes no counter of the product.
//!
//! Invariant: what is expected is read from the gateways' outboxes, as they are written; what is found is read from the
//! lake's files and the status store. Neither goes through the product's own accounting.

pub mod bench_edge;
pub mod bench_fleet;
pub mod calendar;
pub mod clock;
pub mod closing;
pub mod demo;
pub mod generate;
pub mod http;
pub mod interrupt;
pub mod ledger;
pub mod load;
pub mod mosquitto;
pub mod mqtt;
pub mod own_clock;
pub mod pki;
pub mod process;
pub mod proxy;
pub mod replay;
pub mod rig;
pub mod run;
pub mod spec;
pub mod storm;
