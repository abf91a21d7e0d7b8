//! The log's topics, and which partition a turbine's entries go to.
//!
//! Invariant: all entries about one turbine are in one partition of each topic, so their order is one order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A topic of the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// What ingest and the control plane append: `Logged`.
    Telemetry,
    /// Window results: [`crate::output::FeatureRow`].
    Features,
    /// What detectors raise: [`crate::output::AlertEvent`].
    Alerts,
    /// The newest state of a turbine: [`crate::output::StatusDoc`].
    Status,
    /// What could not be counted, with its bytes: [`crate::output::DeadLetter`].
    DeadLetter,
    /// What goes down to gateways, by gateway: `windlass_shared::wire::Downlink`.
    Downlink,
}

/// A text that names no topic.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no topic: expected telemetry, features, alerts, status, dead-letter or downlink")]
pub struct NoTopic(pub String);

impl Topic {
    /// All topics.
    pub const ALL: [Self; 6] = [
        Self::Telemetry,
        Self::Features,
        Self::Alerts,
        Self::Status,
        Self::DeadLetter,
        Self::Downlink,
    ];
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Features => "features",
            Self::Alerts => "alerts",
            Self::Status => "status",
            Self::DeadLetter => "dead-letter",
            Self::Downlink => "downlink",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Topic {
    type Err = NoTopic;
    fn from_str(s: &str) -> Result<Self, NoTopic> {
        Self::ALL
            .into_iter()
            .find(|t| t.as_str() == s)
            .ok_or_else(|| NoTopic(s.to_owned()))
    }
}

/// Something to append to the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where to.
    pub topic: Topic,
    /// Which of the topic's partitions.
    pub partition: u32,
    /// For example a turbine.
    pub key: String,
    /// The bytes.
    pub value: Vec<u8>,
}

/// The partition of entries with this key (a turbine's name): the first 8 bytes of its SHA-256, big-endian, modulo the
/// number of partitions, which is taken as 1 when it is 0.
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let digest = Sha256::digest(key.as_bytes());
    let head = digest
        .iter()
        .take(8)
        .fold(0_u64, |n, b| (n << 8) | u64::from(*b));
    (head % u64::from(partitions.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_partition() {
        // SHA-256("T001") begins with these 8 bytes; a change here would scatter a turbine's history.
        let digest = Sha256::digest(b"T001");
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        assert_eq!(
            u64::from(partition_of("T001", 64)),
            u64::from_be_bytes(head) % 64
        );
        assert_eq!(partition_of("T001", 0), 0);
    }

    #[test]
    fn names_come_back() {
        for topic in Topic::ALL {
            assert_eq!(topic.as_str().parse(), Ok(topic));
        }
        assert_eq!("x".parse::<Topic>(), Err(NoTopic("x".into())));
    }
}
