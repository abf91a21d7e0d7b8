//! How much a turbine needs somebody: one number from 0 (calm) to 100, for sorting.
//!
//! The worst thing counts, what comes beside it adds a little, so that a turbine with two faults stands before one with
//! one, and no number of small things outweighs a great one.

use super::power::{IEC_FORCED_OUTAGE, IEC_PARTIAL_PERFORMANCE, IEC_SUSPENDED};
use super::{Fresh, Limit};

/// Points by what is wrong: the worst of them is taken.
const ALARM: f64 = 85.0;
const ALARM_PROVISIONAL: f64 = 75.0;
const WARNING: f64 = 50.0;
const WARNING_PROVISIONAL: f64 = 40.0;
const STALE: f64 = 60.0;
const QUARANTINED: f64 = 70.0;
const FORCED_OUTAGE: f64 = 65.0;
const SUSPENDED: f64 = 30.0;
const DERATED: f64 = 35.0;
const NEVER: f64 = 5.0;
/// An alert that somebody has acknowledged counts this part.
const ACKNOWLEDGED: f64 = 0.5;
/// At most for further alerts, and for the part of the available power that is not made.
const MORE_ALERTS_MAX: f64 = 5.0;
const SHORTFALL_MAX: f64 = 10.0;

/// Open alerts of a turbine, shelved ones left out of `worst`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct AlertTally {
    /// Open.
    pub open: u32,
    /// Of those, alarms.
    pub critical: u32,
    /// Of those, not confirmed.
    pub provisional: u32,
    /// Of those, neither acknowledged nor shelved.
    pub unacknowledged: u32,
    /// Points of the worst one.
    worst: f64,
}

impl AlertTally {
    /// Takes in one open alert.
    #[allow(clippy::fn_params_excessive_bools)] // four facts of an alert, in one place
    pub fn add(&mut self, critical: bool, provisional: bool, acknowledged: bool, shelved: bool) {
        self.open += 1;
        self.critical += u32::from(critical);
        self.provisional += u32::from(provisional);
        self.unacknowledged += u32::from(!acknowledged && !shelved);
        if shelved {
            return;
        }
        let points = match (critical, provisional) {
            (true, false) => ALARM,
            (true, true) => ALARM_PROVISIONAL,
            (false, false) => WARNING,
            (false, true) => WARNING_PROVISIONAL,
        };
        let part = if acknowledged { ACKNOWLEDGED } else { 1.0 };
        self.worst = self.worst.max(points * part);
    }
}

/// What the score looks at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Urgency {
    /// How new the newest reading is.
    pub fresh: Fresh,
    /// Open alerts.
    pub alerts: AlertTally,
    /// IEC 61400-26 state.
    pub iec_state: Option<i64>,
    /// Why it makes less than it could.
    pub limit: Limit,
    /// Power and what the wind would give, kW.
    pub power: Option<(f64, f64)>,
    /// Epochs with conflicting bytes.
    pub quarantined_epochs: u32,
}

/// From 0 (calm) to 100, in steps of a tenth.
pub fn need(u: &Urgency) -> f64 {
    let state = match u.iec_state {
        Some(IEC_FORCED_OUTAGE) => FORCED_OUTAGE,
        Some(IEC_SUSPENDED) => SUSPENDED,
        Some(IEC_PARTIAL_PERFORMANCE) if u.limit == Limit::Derate => DERATED,
        _ => 0.0,
    };
    let fresh = match u.fresh {
        Fresh::Live => 0.0,
        Fresh::Stale => STALE,
        Fresh::Never => NEVER,
    };
    let derated = if u.limit == Limit::Derate {
        DERATED
    } else {
        0.0
    };
    let quarantined = if u.quarantined_epochs > 0 {
        QUARANTINED
    } else {
        0.0
    };
    let worst = [u.alerts.worst, state, fresh, derated, quarantined]
        .into_iter()
        .fold(0.0, f64::max);
    let more = f64::from(u.alerts.unacknowledged.saturating_sub(1)).min(MORE_ALERTS_MAX);
    // what is asked for is no shortfall, and of a silent turbine nobody knows
    let short = match u.power {
        Some((made, available)) if u.fresh == Fresh::Live && u.limit != Limit::Curtailment => {
            shortfall(made, available) * SHORTFALL_MAX
        }
        _ => 0.0,
    };
    ((worst + more + short).clamp(0.0, 100.0) * 10.0).round() / 10.0
}

/// Part of the available power that is not made, from 0 to 1. Below a tenth is noise.
fn shortfall(made: f64, available: f64) -> f64 {
    if available <= 0.0 || !made.is_finite() || !available.is_finite() {
        return 0.0;
    }
    let part = ((available - made) / available).clamp(0.0, 1.0);
    if part < 0.1 { 0.0 } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Urgency {
        Urgency {
            fresh: Fresh::Live,
            alerts: AlertTally::default(),
            iec_state: Some(1),
            limit: Limit::None,
            power: Some((1_500.0, 1_500.0)),
            quarantined_epochs: 0,
        }
    }

    fn with_alerts(alerts: &[(bool, bool, bool, bool)]) -> f64 {
        let mut u = calm();
        for (critical, provisional, acknowledged, shelved) in alerts {
            u.alerts
                .add(*critical, *provisional, *acknowledged, *shelved);
        }
        need(&u)
    }

    #[test]
    fn the_worst_counts_and_the_rest_adds_a_little() {
        assert_eq!(need(&calm()), 0.0);
        assert_eq!(with_alerts(&[(true, false, false, false)]), 85.0);
        assert_eq!(with_alerts(&[(true, true, false, false)]), 75.0);
        assert_eq!(with_alerts(&[(false, false, false, false)]), 50.0);
        assert_eq!(with_alerts(&[(true, false, true, false)]), 42.5);
        assert_eq!(with_alerts(&[(true, false, false, true)]), 0.0);
        let warnings = [(false, false, false, false); 200];
        assert_eq!(with_alerts(&warnings), 55.0);
        let stale = Urgency {
            fresh: Fresh::Stale,
            ..calm()
        };
        assert_eq!(need(&stale), 60.0);
        let never = Urgency {
            fresh: Fresh::Never,
            ..calm()
        };
        assert_eq!(need(&never), 5.0);
    }

    #[test]
    fn a_derate_needs_somebody_and_a_curtailment_does_not() {
        let mut u = calm();
        u.iec_state = Some(2);
        u.power = Some((750.0, 1_500.0));
        u.limit = Limit::Derate;
        assert_eq!(need(&u), 40.0);
        u.limit = Limit::Curtailment;
        assert_eq!(need(&u), 0.0);
        u.limit = Limit::None;
        assert_eq!(need(&u), 5.0);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut u = calm();
        for _ in 0..9 {
            u.alerts.add(true, false, false, false);
        }
        u.power = Some((f64::NAN, 1.0));
        assert_eq!(need(&u), 90.0);
        u.power = Some((-1e9, 1.0));
        assert_eq!(need(&u), 100.0);
    }
}
