//! Years of readings in event time: a turbine's row after row, each second or as ten-minute statistics.
//!
//! Invariants: one row at a time is held, however long the run is; a ten-minute row is computed from the readings that the
//! channels' sensors gave in it, of each second or each ten seconds as the fleet's pace is.

use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, MINUTE_US, SECOND_US};

use crate::channels::statistic;
use crate::fleet::Pace;
use crate::signal::Signal as S;
use crate::statistic::{Fold, Spread, Sum};
use crate::turbine::{Due, Turbine};

/// What a row stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// A moment: every second what is due then.
    Second,
    /// Ten minutes: means of analogue channels, circular ones of angles, roots of mean squares of rms channels, the last
    /// value of everything else; a channel that is a statistic by its name tells that one. The time is the start.
    TenMinutes,
}

impl Period {
    /// Its length, microseconds.
    pub fn us(self) -> i64 {
        match self {
            Self::Second => SECOND_US,
            Self::TenMinutes => 10 * MINUTE_US,
        }
    }

    /// The physics' step that goes with it; ten minutes may have [`Pace::EachSecond`] as well.
    pub fn pace(self) -> Pace {
        match self {
            Self::Second => Pace::Second,
            Self::TenMinutes => Pace::TenSeconds,
        }
    }
}

/// What a turbine does from a time on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateChange {
    /// From when.
    pub at: EventTime,
    /// IEC 61400-26-1, coded as in the profile.
    pub iec_state: u8,
    /// Code of `operating_state`.
    pub operating_state: u8,
    /// Alarm code that is on, or 0.
    pub alarm_code: u16,
}

/// A turbine's rows from one time to another.
#[derive(Clone, Debug)]
pub struct Recorder {
    turbine: Turbine,
    period: Period,
    next: EventTime,
    to: EventTime,
    folds: Vec<Fold>,
    sums: Vec<Sum>,
    channels: Vec<u16>,
    raw: Vec<i64>,
    bad: Vec<(u16, Quality)>,
    spreads: Vec<Option<Spread>>,
    states: Vec<StateChange>,
    /// The last of them.
    state: Option<(u8, u8, u16)>,
}

impl Recorder {
    /// Rows of `from` (rounded up to the period's grid) to below `to`; the turbine stands at `from`, and its fleet has the
    /// pace of the period.
    pub fn new(turbine: Turbine, from: EventTime, to: EventTime, period: Period) -> Self {
        let channels = &turbine.catalogue().channels;
        let fold = |c| Fold::new(c, statistic(&c.name), period.us());
        let folds: Vec<Fold> = channels.iter().map(fold).collect();
        let us = period.us();
        Self {
            sums: vec![Sum::default(); folds.len()],
            next: EventTime(from.0 + (us - from.0.rem_euclid(us)) % us),
            turbine,
            period,
            to,
            folds,
            channels: Vec::new(),
            raw: Vec::new(),
            bad: Vec::new(),
            spreads: Vec::new(),
            states: Vec::new(),
            state: None,
        }
    }

    /// Its turbine.
    pub fn turbine(&self) -> &Turbine {
        &self.turbine
    }

    /// The next row; `None`: the end. A row that is not whole before the end is left out.
    pub fn row(&mut self) -> Option<Due<'_>> {
        let at = self.next;
        if at.plus_us(self.period.us()) > self.to {
            return None;
        }
        self.next = at.plus_us(self.period.us());
        match self.period {
            Period::Second => {
                self.turbine.advance(at);
                self.note(at);
                Some(self.turbine.step(at))
            }
            Period::TenMinutes => Some(self.fold(at)),
        }
    }

    /// What the turbine did since the last call, beginning with what it did first.
    pub fn states(&mut self) -> std::vec::Drain<'_, StateChange> {
        self.states.drain(..)
    }

    /// Notes another state.
    fn note(&mut self, at: EventTime) {
        let of = |signal| self.turbine.truth(signal);
        let (iec_state, operating_state) = (of(S::IecState) as u8, of(S::OperatingState) as u8);
        let now = (iec_state, operating_state, of(S::AlarmCode) as u16);
        if self.state.replace(now) != Some(now) {
            self.states.push(StateChange {
                at,
                iec_state,
                operating_state,
                alarm_code: now.2,
            });
        }
    }

    fn fold(&mut self, at: EventTime) -> Due<'_> {
        self.sums.fill(Sum::default());
        let step = self.turbine.step_us();
        for i in 0..self.period.us() / step {
            let now = at.plus_us(i * step);
            let due = self.turbine.step(now);
            let mut bad = due.bad.iter().peekable();
            for (i, (channel, raw)) in due.channels.iter().zip(due.raw).enumerate() {
                let sum = &mut self.sums[usize::from(*channel)];
                if let Some((_, quality)) = bad.next_if(|(at, _)| usize::from(*at) == i) {
                    sum.bad = Some(*quality);
                } else {
                    sum.add(*raw, &self.folds[usize::from(*channel)]);
                }
            }
            self.note(now);
        }
        self.channels.clear();
        self.raw.clear();
        self.bad.clear();
        self.spreads.clear();
        for (position, (sum, fold)) in self.sums.iter().zip(&self.folds).enumerate() {
            if sum.n == 0 {
                let Some(quality) = sum.bad else { continue };
                self.bad.push((self.channels.len() as u16, quality));
            }
            self.channels.push(position as u16);
            self.raw.push(sum.value(fold));
            self.spreads.push(sum.spread(fold));
        }
        Due {
            at,
            channels: &self.channels,
            raw: &self.raw,
            bad: &self.bad,
            spreads: &self.spreads,
        }
    }
}
