//! The entries of the telemetry topic: a record as it came, or a control entry.
//!
//! Invariant: a record's bytes are kept unchanged; only this file knows the Protobuf messages around them.

use prost::Message;
use prost::bytes::Bytes;
use windlass_shared::id::{Epoch, GatewayId, RecordId, Seq, TurbineId};
use windlass_shared::proto;
use windlass_shared::record::RecordHash;

/// An entry of the telemetry topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logged {
    /// A record that ingest accepted.
    Telemetry {
        /// Who sent it; bound to its certificate.
        gateway: GatewayId,
        /// The bytes of the record.
        record: Bytes,
    },
    /// Once a second, so that log time goes on in silence.
    Tick,
    /// Ingest could not accept the bytes that came under this identity.
    Refused {
        /// Who sent it.
        gateway: GatewayId,
        /// Under which identity.
        id: RecordId,
        /// Why, for people.
        reason: String,
        /// Of the refused bytes, which are in dead-letter.
        sha256: RecordHash,
    },
    /// From here on these detectors run.
    DetectorConfig {
        /// Counts up.
        version: u64,
        /// `detectors.toml`.
        toml: String,
    },
}

/// Why bytes are no entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no telemetry entry: {0}")]
pub struct LoggedError(pub String);

impl Logged {
    /// Its bytes in the log.
    pub fn encode(&self) -> Vec<u8> {
        use proto::control::Control as C;
        use proto::logged::Entry;
        let control = |c| Entry::Control(proto::Control { control: Some(c) });
        let entry = match self {
            Self::Telemetry { gateway, record } => Entry::Telemetry(proto::Telemetry {
                gateway: gateway.to_string(),
                record: record.clone(),
            }),
            Self::Tick => control(C::Tick(proto::Tick {})),
            Self::Refused {
                gateway,
                id,
                reason,
                sha256,
            } => control(C::Refused(proto::Refused {
                gateway: gateway.to_string(),
                turbine: id.turbine.to_string(),
                epoch: id.epoch.0.to_vec(),
                seq: id.seq.0,
                reason: reason.clone(),
                sha256: sha256.0.to_vec(),
            })),
            Self::DetectorConfig { version, toml } => {
                control(C::DetectorConfig(proto::DetectorConfig {
                    version: *version,
                    toml: toml.clone(),
                }))
            }
        };
        proto::Logged { entry: Some(entry) }.encode_to_vec()
    }

    /// Reads an entry of the log.
    pub fn decode(bytes: &[u8]) -> Result<Self, LoggedError> {
        use proto::control::Control as C;
        use proto::logged::Entry;
        let bad = |what: &str| LoggedError(what.to_owned());
        let logged = proto::Logged::decode(bytes).map_err(|e| LoggedError(e.to_string()))?;
        let gateway = |s: &str| GatewayId::new(s).map_err(|e| LoggedError(e.to_string()));
        match logged.entry.ok_or_else(|| bad("empty"))? {
            Entry::Telemetry(t) => Ok(Self::Telemetry {
                gateway: gateway(&t.gateway)?,
                record: t.record,
            }),
            Entry::Control(c) => match c.control.ok_or_else(|| bad("empty control"))? {
                C::Tick(_) => Ok(Self::Tick),
                C::Refused(r) => Ok(Self::Refused {
                    gateway: gateway(&r.gateway)?,
                    id: RecordId {
                        turbine: TurbineId::new(&r.turbine)
                            .map_err(|e| LoggedError(e.to_string()))?,
                        epoch: Epoch(
                            r.epoch
                                .try_into()
                                .map_err(|_| bad("an epoch that is not 16 bytes"))?,
                        ),
                        seq: Seq(r.seq),
                    },
                    reason: r.reason,
                    sha256: RecordHash(
                        r.sha256
                            .try_into()
                            .map_err(|_| bad("a hash that is not 32 bytes"))?,
                    ),
                }),
                C::DetectorConfig(d) => Ok(Self::DetectorConfig {
                    version: d.version,
                    toml: d.toml,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let gateway = GatewayId::new("GW1").unwrap();
        let entries = [
            Logged::Telemetry {
                gateway: gateway.clone(),
                record: Bytes::from_static(&[1, 2, 3]),
            },
            Logged::Tick,
            Logged::Refused {
                gateway,
                id: RecordId {
                    turbine: TurbineId::new("T1").unwrap(),
                    epoch: Epoch([7; 16]),
                    seq: Seq(9),
                },
                reason: "no record".into(),
                sha256: RecordHash([1; 32]),
            },
            Logged::DetectorConfig {
                version: 3,
                toml: "version = 3".into(),
            },
        ];
        for entry in entries {
            assert_eq!(Logged::decode(&entry.encode()), Ok(entry));
        }
        assert!(Logged::decode(&[]).is_err());
        assert!(Logged::decode(&[0xff; 9]).is_err());
    }
}
