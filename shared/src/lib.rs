//! The words that both tiers share: identities, time, the channel catalogue, the wire format, coverage, panes and
//! windows.
//!
//! Invariant: nothing here reads a clock, a disk, a network or a random number. Everything is a function of its
//! arguments, and every aggregate is independent of the order of arrival.

pub mod catalogue;
pub mod coverage;
pub mod id;
pub mod pane;
pub mod record;
pub mod settings;
pub mod time;
pub mod window;
pub mod wire;

/// Types generated from `proto/windlass/v1/windlass.proto`. Only [`wire`] turns them into the model and back.
#[allow(missing_docs, clippy::pedantic)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/windlass.v1.rs"));
}
