//! The physics of a simulated wind fleet: seeded, reproducible readings of every channel, and the truth behind them.
//!
//! ```
//! use std::sync::Arc;
//! use windlass_fleet_model::{Fleet, Pace, Scenario};
//! use windlass_shared::{catalogue, time::EventTime};
//!
//! let scenario = "name = \"x\"\nseed = 1\n[[farm]]\nid = \"N\"\nzone = \"Europe/Berlin\"\nprofile = \"p\"\nturbines = 2";
//! let scenario = Scenario::parse("x.toml", scenario)?;
//! let profile = "name = \"p\"\nversion = 1\nchannels = [{ id = 1, name = \"active_power\", unit = \"kW\", scale = 0.1,
//!     period = \"1s\", class = \"compliance\", rate_group = \"fast\" }]";
//! let profile = Arc::new(catalogue::parse("p.toml", profile)?);
//! let begins = EventTime(1_767_225_600_000_000);
//! let fleet = Fleet::new(&scenario, scenario.seed, &[profile], begins, Pace::Second)?;
//! let mut turbine = fleet.turbine(0);
//! let due = turbine.step(begins.plus_us(5_000_000));
//! assert_eq!((due.channels, due.raw.len()), (&[0][..], 1));
//! # Ok::<(), windlass_shared::settings::Problems>(())
//! ```
//!
//! Pure: no clock, no disk, no threads. A [`Fleet`] makes its [`Turbine`]s one by one; each is independent of the others,
//! so that any number of them runs on any number of threads and gives the same bytes. Randomness comes from a key (seed and name) and
//! the time; no platform's libm is in it.

pub mod control;
pub mod csv;
pub mod fault;
pub mod machine;
pub mod moment;
pub mod noise;
pub mod numbering;
pub mod record;
pub mod scenario;
pub mod signal;
pub mod statistic;
pub mod waveform;

mod auxiliary;
mod channels;
mod drive;
mod electrical;
mod fleet;
mod layout;
mod plant;
mod rime;
mod thermal;
mod turbine;
mod vibration;
mod weather;

pub use fleet::{Fleet, Incident, Operated, Pace, Seat};
pub use rime::{ICE_STOP, Icing, Stop};
pub use scenario::Scenario;
pub use turbine::{Due, Turbine};
