//! What an agent counts since its start, with names and words for the status and the metrics.

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What happened since the start of the process.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }
        impl Counters {
            /// Name, help and value of each.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc,)*), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Readings committed to the outbox.
    readings_committed,
    /// Among those, readings marked late.
    readings_late,
    /// Among those, readings marked suspect: ahead of the gateway's clock.
    readings_suspect,
    /// Readings of channels that the profile does not have; kept in the dead-letter file.
    readings_unknown_channel,
    /// Readings with an impossible event time; kept in the dead-letter file.
    readings_untimed,
    /// Readings recorded while the clock was not set.
    readings_without_clock,
    /// Of such readings, those that got their time and number since.
    readings_placed,
    /// Readings of boots that never saw a clock, numbered to be sent without a time.
    readings_sent_untimed,
    /// Readings for a turbine or from a source that is not configured.
    readings_unassigned,
    /// Readings refused because too many waited for the disk.
    readings_overrun,
    /// Records committed to the outbox.
    records_committed,
    /// Bytes of the committed records.
    record_bytes_committed,
    /// Transactions of the outbox.
    commits,
    /// Transactions that met a full disk.
    commits_disk_full,
    /// Publishes sent, retries included.
    publishes,
    /// Bytes of their topics and payloads.
    publish_bytes,
    /// Publishes that the broker took.
    pubacks,
    /// Records that the cloud acknowledged.
    records_acked,
    /// Records that the cloud refused.
    records_refused,
    /// Records sent again because their acknowledgement did not come in time.
    records_ack_timeout,
    /// Records sent again because the cloud asked.
    records_resent,
    /// Seqs the cloud asked for that are no longer here.
    seqs_resend_lost,
    /// Unacknowledged records evicted by the disk budget: lost.
    records_evicted_unacked,
    /// Readings in unacknowledged records evicted by the disk budget: lost.
    readings_evicted_unacked,
    /// Acknowledged records that left the disk.
    records_evicted_acked,
    /// Records whose bytes were damaged on the disk.
    records_corrupt,
    /// Downlink messages that made no sense.
    downlinks_bad,
    /// Times the link came up.
    link_ups,
    /// Times the link went down or could not be made.
    link_downs,
    /// Epochs begun.
    epochs_opened,
    /// Times the wall clock was set back.
    clock_set_back,
}
