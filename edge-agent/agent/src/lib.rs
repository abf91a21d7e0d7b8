//! The edge agent's shell: SQLite, MQTT, sources, clocks, sockets, around the pure core `windlass_edge_core`.
//!
//! Code map: [`run`] is the loop that owns the core; [`disk`] runs [`outbox`] on its own thread, and [`placed`] notes what a
//! boot has placed; [`mqtt`] runs one
//! connection at a time over [`tls`]; [`source`] holds what readings come from; [`books`] notes what [`status`],
//! [`metrics`] and the log show; [`check`] and [`inspect`] answer the command line without an agent.
//!
//! Architecture invariant: no retry, no eviction and no numbering is decided here.

mod books;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
mod deadletter;
mod disk;
mod http;
pub mod inspect;
pub mod log;
mod metrics;
pub mod mqtt;
pub mod outbox;
mod placed;
mod procfs;
pub mod run;
pub mod socket;
pub mod source;
pub mod status;
pub mod tls;
