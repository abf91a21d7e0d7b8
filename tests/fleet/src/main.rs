//! `windlass-fleet`: the demo and the replay of real data.
fn main() {}
