//! The aggregate of every channel over one minute. Sums of integers, so that the order of arrival leaves no trace.

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::id::{ChannelId, Epoch, Seq, SeqRange};
use crate::record::Batch;
use crate::time::EventTime;

/// Which records a result was computed from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sources(pub Vec<(Epoch, Vec<SeqRange>)>);

/// One channel over one window, in the channel's raw units. Which fields mean something depends on the kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelAggregate {
    /// Which channel.
    pub channel: ChannelId,
    /// Readings that counted.
    pub n: u64,
    /// Readings that did not, because of their quality.
    pub bad: u64,
    /// What the kind calls for.
    pub value: Aggregate,
}

/// An aggregate by kind, exact, mergeable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Aggregate {
    /// Analogue and rms: sums over raw values.
    Sums {
        /// Sum.
        sum: i128,
        /// Sum of squares.
        sum_sq: i128,
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// Angle: sums of cosine and sine in units of 2^-30.
    Circular {
        /// Sum of cosines.
        cos: i64,
        /// Sum of sines.
        sin: i64,
    },
    /// Counter: increments from reading to reading by (event time, seq, index), roll-over taken out.
    Delta {
        /// Raw increments.
        delta: i128,
        /// Earliest reading (event time, raw).
        first: (EventTime, i64),
        /// Latest reading.
        last: (EventTime, i64),
    },
    /// State: how many readings each state had, by state; each stands for one period.
    States(Vec<(i64, u64)>),
    /// Setpoint: latest by (event time, seq, index), least and greatest.
    Latest {
        /// When.
        at: EventTime,
        /// Raw value.
        raw: i64,
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// Event: (event time, raw code) in order.
    Codes(Vec<(EventTime, i64)>),
}

impl ChannelAggregate {
    /// The channel's headline number in its unit: mean, circular mean, delta, longest state, last setpoint, count of
    /// codes, root mean square. `None` when no reading counted.
    pub fn headline(&self, catalogue: &Catalogue) -> Option<f64> {
        todo!("{catalogue:?}")
    }
}

/// One minute of one turbine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pane {
    /// Its start; it ends a minute later.
    pub start: EventTime,
}

impl Pane {
    /// Adds the readings of `batch` that belong to this minute (not the suspect ones).
    pub fn add(&mut self, catalogue: &Catalogue, epoch: Epoch, seq: Seq, batch: &Batch) {
        todo!("{catalogue:?} {epoch} {seq} {batch:?}")
    }
}
