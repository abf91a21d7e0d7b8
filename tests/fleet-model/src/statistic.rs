//! What becomes of a channel's values over an interval: a mean, the extremes, a standard deviation.
//!
//! Invariants: the result is a function of the values in their order; sums of scaled integers are exact (they stay below
//! 2^53), so ten minutes of them give the same whoever adds them; angles are taken the short way round from the first.

use windlass_shared::catalogue::{Channel, Kind, Raw};
use windlass_shared::record::Quality;

/// What a channel tells of an interval instead of a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistic {
    /// Arithmetic mean, circular for angles.
    Mean,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
    /// Standard deviation over all values (divided by their number).
    Sd,
    /// Seconds of the interval in which a switch was on.
    Seconds,
}

impl Statistic {
    /// Stem and statistic of a name such as `wind_speed_sd`.
    pub fn of(name: &str) -> Option<(&str, Self)> {
        let endings = [
            ("_mean", Self::Mean),
            ("_min", Self::Min),
            ("_max", Self::Max),
            ("_sd", Self::Sd),
        ];
        endings
            .into_iter()
            .find_map(|(ending, statistic)| Some((name.strip_suffix(ending)?, statistic)))
    }
}

/// How values of a kind lie.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Scale {
    Line,
    /// A turn, in the values' unit.
    Circle(f64),
    /// Their squares add up.
    Rms,
    /// The last one counts.
    Last,
}

/// How a channel's values become one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fold {
    scale: Scale,
    float: bool,
    statistic: Option<Statistic>,
    interval_s: f64,
    /// The raw value of 0.
    zero: f64,
}

/// How far a channel's values lay apart, in raw values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Least raw value; of an angle the furthest to the left.
    pub least: i64,
    /// Greatest raw value; of an angle the furthest to the right.
    pub most: i64,
    /// Standard deviation, raw units (units of the channel for a float).
    pub sd: f64,
}

impl Fold {
    /// Of a channel that tells `statistic` of intervals of this length.
    pub fn new(channel: &Channel, statistic: Option<Statistic>, interval_us: i64) -> Self {
        let float = channel.raw == Raw::Float;
        let turn = if float {
            360.0
        } else {
            (360 * channel.scale_den / channel.scale_num) as f64
        };
        let scale = match channel.kind {
            Kind::Analogue => Scale::Line,
            Kind::Angle => Scale::Circle(turn),
            Kind::Rms => Scale::Rms,
            Kind::Counter | Kind::State | Kind::Event | Kind::Setpoint => Scale::Last,
        };
        let zero = if float {
            0.0
        } else {
            -channel.offset_num as f64 / channel.scale_num as f64
        };
        Self {
            scale,
            float,
            statistic,
            interval_s: interval_us as f64 / 1e6,
            zero,
        }
    }

    /// Has it extremes and a deviation besides what it tells? Not what is a state, and not what is a statistic itself.
    pub fn spreads(&self) -> bool {
        self.scale != Scale::Last && self.statistic.is_none()
    }

    fn raw(&self, value: f64) -> i64 {
        if self.float {
            value.to_bits() as i64
        } else {
            libm::rint(value) as i64
        }
    }
}

/// A channel's values so far. Everything is counted from the first one.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sum {
    pub n: u32,
    first: f64,
    last: i64,
    lowest: f64,
    least: f64,
    most: f64,
    total: f64,
    squares: f64,
    /// Of the last value that was none.
    pub bad: Option<Quality>,
}

impl Sum {
    /// Takes a raw value.
    #[inline]
    pub fn add(&mut self, raw: i64, fold: &Fold) {
        self.n += 1;
        self.last = raw;
        if fold.scale == Scale::Last {
            return;
        }
        let x = if fold.float {
            f64::from_bits(raw as u64)
        } else {
            raw as f64
        };
        if self.n == 1 {
            self.first = x;
            self.lowest = x;
        }
        let mut off = x - self.first;
        if let Scale::Circle(turn) = fold.scale {
            off = (off + 0.5 * turn).rem_euclid(turn) - 0.5 * turn;
        }
        self.lowest = self.lowest.min(x);
        self.least = self.least.min(off);
        self.most = self.most.max(off);
        self.total += off;
        self.squares += off * off;
    }

    /// What the channel tells; 0 without any value.
    pub fn value(&self, fold: &Fold) -> i64 {
        if self.n == 0 {
            return 0;
        }
        let n = f64::from(self.n);
        let mean = self.total / n;
        match (fold.scale, fold.statistic) {
            (Scale::Last, _) => self.last,
            (Scale::Rms, None | Some(Statistic::Mean)) => {
                let squares = self.first * (self.first + 2.0 * mean) + self.squares / n;
                fold.raw(squares.max(0.0).sqrt())
            }
            (_, None | Some(Statistic::Mean)) => self.at(mean, fold),
            (_, Some(Statistic::Min)) => self.at(self.least, fold),
            (_, Some(Statistic::Max)) => self.at(self.most, fold),
            (_, Some(Statistic::Sd)) => fold.raw(self.sd() + fold.zero),
            (_, Some(Statistic::Seconds)) => fold.raw((self.first + mean) * fold.interval_s),
        }
    }

    /// Extremes and deviation.
    pub fn spread(&self, fold: &Fold) -> Option<Spread> {
        (self.n > 0 && fold.spreads()).then(|| Spread {
            least: self.at(self.least, fold),
            most: self.at(self.most, fold),
            sd: self.sd(),
        })
    }

    fn sd(&self) -> f64 {
        let n = f64::from(self.n.max(1));
        let mean = self.total / n;
        (self.squares / n - mean * mean).max(0.0).sqrt()
    }

    /// The raw value so far from the first one. Angles stay within a turn where they are counted from 0.
    fn at(&self, off: f64, fold: &Fold) -> i64 {
        let value = if fold.float {
            self.first + off
        } else {
            self.first + libm::rint(off)
        };
        match fold.scale {
            Scale::Circle(turn) if self.lowest >= 0.0 => fold.raw(value.rem_euclid(turn)),
            _ => fold.raw(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_shared::catalogue;

    use super::*;

    fn channel(keys: &str) -> Channel {
        let unit = if keys.contains("angle") { "deg" } else { "u" };
        let text = format!(
            "name = \"x\"\nversion = 1\ndefaults = {{ period = \"10min\", class = \"condition\", rate_group = \"slow\" }}\n\
             channels = [{{ id = 1, name = \"c\", unit = \"{unit}\", {keys} }}]"
        );
        catalogue::parse("x.toml", &text).unwrap().channels[0].clone()
    }

    fn of(keys: &str, statistic: Option<Statistic>, raws: &[i64]) -> (i64, Option<Spread>) {
        let fold = Fold::new(&channel(keys), statistic, 600_000_000);
        let mut sum = Sum::default();
        for raw in raws {
            sum.add(*raw, &fold);
        }
        (sum.value(&fold), sum.spread(&fold))
    }

    #[test]
    fn values_become_what_the_channel_tells() {
        let raws = [4, -2, 5, 9];
        let line = "scale = 0.1";
        let (mean, spread) = of(line, None, &raws);
        let spread = spread.unwrap();
        assert_eq!((mean, spread.least, spread.most), (4, -2, 9));
        // mean 4, squares 0 + 36 + 1 + 25
        assert_eq!(spread.sd, 15.5_f64.sqrt());
        for (statistic, expected) in [
            (Statistic::Mean, 4),
            (Statistic::Min, -2),
            (Statistic::Max, 9),
            (Statistic::Sd, 4),
        ] {
            assert_eq!(of(line, Some(statistic), &raws), (expected, None));
        }
        let (rms, _) = of("scale = 0.1, kind = \"rms\"", None, &[30, 40]);
        assert_eq!(rms, 35, "the root of 1250");
        assert_eq!(of("kind = \"state\"", None, &[3, 1, 2]), (2, None));
        let on = [0, 1, 1, 1];
        assert_eq!(of("scale = 1", Some(Statistic::Seconds), &on).0, 450);
    }

    #[test]
    fn angles_go_the_short_way_round() {
        let compass = "scale = 0.1, kind = \"angle\"";
        let (mean, spread) = of(compass, None, &[3_590, 3_580, 20, 10]);
        let spread = spread.unwrap();
        assert_eq!((mean, spread.least, spread.most), (0, 3_580, 20));
        // from the first: 0, -10, 30, 20
        assert_eq!(spread.sd, 250.0_f64.sqrt());
        let pitch = of("scale = 0.01, kind = \"angle\"", None, &[-100, 50]);
        assert_eq!(pitch.0, -25);
        let bits = [359.5_f64, 1.5].map(|x| x.to_bits() as i64);
        let (mean, _) = of(
            "raw = \"float\", scale = 0.001, kind = \"angle\"",
            None,
            &bits,
        );
        assert_eq!(f64::from_bits(mean as u64), 0.5);
    }
}
