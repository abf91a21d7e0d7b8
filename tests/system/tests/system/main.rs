//! Tests over real processes. One binary, so that those that mostly wait run beside each other.

mod api;
mod bad_input;
mod benchmarks;
mod demo;
mod disasters;
mod files;
mod kills;
mod load;
mod mosquitto_rights;
mod own_clock;
mod scenario;
mod strangers;
mod without_clock;
