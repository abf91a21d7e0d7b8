//! The disk budget: how much must leave, and which tier it is taken from.
//!
//! Invariant: by acknowledgement level first (what the cloud has for certain leaves first), then by class, then by age; an
//! unacknowledged `Open`, `Gap` or `Seal` never leaves. What waits for a clock leaves behind the unsent of its class.

use std::collections::BTreeSet;

use windlass_shared::id::TurbineId;

use crate::settings::DiskSettings;
use crate::store::{RowClass, RowLevel, Usage};

/// Rows of one turbine, level and class.
pub(crate) type Tier = (TurbineId, RowLevel, RowClass);

/// In this order they leave.
const ORDER: [(RowLevel, RowClass); 14] = [
    (RowLevel::Safe, RowClass::Diagnostic),
    (RowLevel::Safe, RowClass::Condition),
    (RowLevel::Safe, RowClass::Compliance),
    (RowLevel::Safe, RowClass::Mark),
    (RowLevel::Logged, RowClass::Diagnostic),
    (RowLevel::Logged, RowClass::Condition),
    (RowLevel::Logged, RowClass::Compliance),
    (RowLevel::Logged, RowClass::Mark),
    (RowLevel::Unacked, RowClass::Diagnostic),
    (RowLevel::Waiting, RowClass::Diagnostic),
    (RowLevel::Unacked, RowClass::Condition),
    (RowLevel::Waiting, RowClass::Condition),
    (RowLevel::Unacked, RowClass::Compliance),
    (RowLevel::Waiting, RowClass::Compliance),
];

/// Bytes that must leave now.
pub(crate) fn excess(settings: &DiskSettings, usage: &Usage) -> u64 {
    let low = settings.budget_bytes / 1000 * settings.low_water_permille;
    let over = if usage.used > settings.budget_bytes {
        usage.used - low
    } else {
        0
    };
    // the disk is nearly full: only what is free inside the file may be used
    let short =
        usage.disk_free < settings.disk_free_min_bytes && usage.reusable < settings.room_bytes / 2;
    over.max(if short { settings.room_bytes } else { 0 })
}

/// The next tier to take from: the first in order that has rows, of the turbine that has most bytes in it.
pub(crate) fn next_tier(usage: &Usage, empty: &BTreeSet<Tier>) -> Option<Tier> {
    ORDER.iter().find_map(|&(level, class)| {
        usage
            .turbines
            .iter()
            .map(|(turbine, tallies)| (tallies.get(level, class), turbine))
            .filter(|(tally, _)| tally.rows > 0)
            .map(|(tally, turbine)| (tally.bytes, (turbine.clone(), level, class)))
            .filter(|(_, tier)| !empty.contains(tier))
            .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)))
            .map(|(_, tier)| tier)
    })
}
