//! Years of readings in event time: a turbine's row after row, each second or as ten-minute means.
//!
//! Invariant: one row at a time is held, however long the run is.

use windlass_shared::catalogue::{Kind, Raw};
use windlass_shared::record::Quality;
use windlass_shared::time::{EventTime, MINUTE_US, SECOND_US};

use crate::fleet::Pace;
use crate::turbine::{Due, Turbine};

/// What a row stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// A moment: every second what is due then.
    Second,
    /// Ten minutes: means of analogue channels, circular ones of angles, roots of mean squares of rms channels, the last
    /// value of everything else. The time is the start.
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

    /// The physics' step that goes with it.
    pub fn pace(self) -> Pace {
        match self {
            Self::Second => Pace::Second,
            Self::TenMinutes => Pace::TenSeconds,
        }
    }
}

/// How a channel's values become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fold {
    Mean,
    /// Raws of a turn.
    Circle(i64),
    Rms,
    Last,
}

/// A channel's values of a row so far.
#[derive(Clone, Copy, Default, Debug)]
struct Sum {
    n: i64,
    first: i64,
    last: i64,
    least: i64,
    total: i128,
    /// Floats are summed as they are.
    float: f64,
    bad: Option<Quality>,
}

/// A turbine's rows from one time to another.
#[derive(Clone, Debug)]
pub struct Recorder {
    turbine: Turbine,
    period: Period,
    next: EventTime,
    to: EventTime,
    folds: Vec<(Fold, bool)>,
    sums: Vec<Sum>,
    channels: Vec<u16>,
    raw: Vec<i64>,
    bad: Vec<(u16, Quality)>,
}

impl Recorder {
    /// Rows of `from` (rounded up to the period's grid) to below `to`; the turbine stands at `from`.
    pub fn new(turbine: Turbine, from: EventTime, to: EventTime, period: Period) -> Self {
        let channels = &turbine.catalogue().channels;
        let folds: Vec<(Fold, bool)> = channels
            .iter()
            .map(|c| {
                let turn = 360 * c.scale_den / c.scale_num;
                let fold = match c.kind {
                    Kind::Analogue => Fold::Mean,
                    Kind::Angle => Fold::Circle(turn),
                    Kind::Rms => Fold::Rms,
                    Kind::Counter | Kind::State | Kind::Event | Kind::Setpoint => Fold::Last,
                };
                (fold, c.raw == Raw::Float)
            })
            .collect();
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
            Period::Second => Some(self.turbine.step(at)),
            Period::TenMinutes => Some(self.fold(at)),
        }
    }

    fn fold(&mut self, at: EventTime) -> Due<'_> {
        self.sums.fill(Sum::default());
        let step = 10 * SECOND_US;
        for i in 0..self.period.us() / step {
            let due = self.turbine.step(at.plus_us(i * step));
            let mut bad = due.bad.iter().peekable();
            for (i, (channel, raw)) in due.channels.iter().zip(due.raw).enumerate() {
                let sum = &mut self.sums[usize::from(*channel)];
                if let Some((_, quality)) = bad.next_if(|(at, _)| usize::from(*at) == i) {
                    sum.bad = Some(*quality);
                } else {
                    sum.add(*raw, self.folds[usize::from(*channel)]);
                }
            }
        }
        self.channels.clear();
        self.raw.clear();
        self.bad.clear();
        for (position, (sum, fold)) in self.sums.iter().zip(&self.folds).enumerate() {
            if sum.n == 0 {
                let Some(quality) = sum.bad else { continue };
                self.bad.push((self.channels.len() as u16, quality));
            }
            self.channels.push(position as u16);
            self.raw.push(sum.value(*fold));
        }
        Due {
            at,
            channels: &self.channels,
            raw: &self.raw,
            bad: &self.bad,
        }
    }
}

impl Sum {
    fn add(&mut self, raw: i64, (fold, float): (Fold, bool)) {
        if self.n == 0 {
            self.first = raw;
            self.least = raw;
        }
        self.n += 1;
        self.last = raw;
        self.least = self.least.min(raw);
        if float {
            let x = f64::from_bits(raw as u64);
            self.float += if fold == Fold::Rms { x * x } else { x };
            return;
        }
        self.total += match fold {
            Fold::Mean | Fold::Last => i128::from(raw),
            Fold::Rms => i128::from(raw) * i128::from(raw),
            // the short way round from the first
            Fold::Circle(turn) => {
                i128::from((raw - self.first + turn / 2).rem_euclid(turn) - turn / 2)
            }
        };
    }

    fn value(&self, (fold, float): (Fold, bool)) -> i64 {
        if self.n == 0 {
            return 0;
        }
        let n = self.n as f64;
        if float && fold != Fold::Last {
            let mean = self.float / n;
            let value = if fold == Fold::Rms { mean.sqrt() } else { mean };
            return value.to_bits() as i64;
        }
        let mean = self.total as f64 / n;
        match fold {
            Fold::Last => self.last,
            Fold::Mean => libm::rint(mean) as i64,
            Fold::Rms => libm::rint(mean.sqrt()) as i64,
            Fold::Circle(turn) => {
                let angle = self.first + libm::rint(mean) as i64;
                if self.least < 0 {
                    angle
                } else {
                    angle.rem_euclid(turn)
                }
            }
        }
    }
}
