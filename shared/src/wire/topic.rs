//! MQTT topics: the identity of a record travels outside its bytes as well, so that bytes which cannot be decoded still
//! have a seq.
//!
//! Invariant: an identity has exactly one topic (canonical base64url, no leading zeros).

use super::{SEQ_MAX, WireError};
use crate::id::{Epoch, GatewayId, RecordId, Seq, TurbineId};

/// RFC 4648 section 5.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters of 128 bits in base64url without padding.
const EPOCH_CHARS: usize = 22;

/// MQTT topic of a record: `wl1/up/{gateway}/{turbine}/{epoch, 22 characters base64url}/{seq}`.
pub fn up_topic(gateway: &GatewayId, id: &RecordId) -> String {
    let epoch = epoch_text(id.epoch);
    format!("wl1/up/{gateway}/{}/{epoch}/{}", id.turbine, id.seq)
}

/// MQTT topic of what goes down to a gateway: `wl1/down/{gateway}`.
pub fn down_topic(gateway: &GatewayId) -> String {
    format!("wl1/down/{gateway}")
}

/// The gateway and the identity in an MQTT topic.
pub fn parse_up_topic(topic: &str) -> Result<(GatewayId, RecordId), WireError> {
    let fail = |why| WireError::Topic {
        found: topic.chars().take(120).collect(),
        why,
    };
    let mut parts = topic.split('/');
    if (parts.next(), parts.next()) != (Some("wl1"), Some("up")) {
        return Err(fail("it does not begin with wl1/up"));
    }
    let mut part = || parts.next().ok_or_else(|| fail("it has too few parts"));
    let (gateway, turbine, epoch, seq) = (part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(fail("it has too many parts"));
    }
    let id = RecordId {
        turbine: TurbineId::new(turbine).map_err(|_| fail("the turbine is no name"))?,
        epoch: parse_epoch(epoch).ok_or_else(|| fail("the epoch is not 22 of base64url"))?,
        seq: parse_seq(seq).ok_or_else(|| fail("the seq is not 1 to 2^53"))?,
    };
    let gateway = GatewayId::new(gateway).map_err(|_| fail("the gateway is no name"))?;
    Ok((gateway, id))
}

/// The gateway that a down topic addresses.
pub fn parse_down_topic(topic: &str) -> Result<GatewayId, WireError> {
    let fail = |why| WireError::Topic {
        found: topic.chars().take(120).collect(),
        why,
    };
    let name = topic
        .strip_prefix("wl1/down/")
        .ok_or_else(|| fail("it does not begin with wl1/down"))?;
    GatewayId::new(name).map_err(|_| fail("the gateway is no name"))
}

fn epoch_text(epoch: Epoch) -> String {
    let n = u128::from_be_bytes(epoch.0);
    // 22 characters hold 132 bits: the last one ends in four zero bits
    (0..EPOCH_CHARS)
        .map(|i| {
            let six = if i == EPOCH_CHARS - 1 {
                n << 4
            } else {
                n >> (122 - 6 * i)
            };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

fn parse_epoch(text: &str) -> Option<Epoch> {
    if text.len() != EPOCH_CHARS {
        return None;
    }
    let mut n: u128 = 0;
    for (i, c) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|a| *a == c)? as u128;
        if i == EPOCH_CHARS - 1 {
            if six & 15 != 0 {
                return None;
            }
            n = n << 2 | six >> 4;
        } else {
            n = n << 6 | six;
        }
    }
    Some(Epoch(n.to_be_bytes()))
}

fn parse_seq(text: &str) -> Option<Seq> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seq = text.parse().ok()?;
    (1..=SEQ_MAX).contains(&seq).then_some(Seq(seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_topic_by_hand() {
        let gateway = GatewayId::new("GW01").unwrap();
        let id = RecordId {
            turbine: TurbineId::new("T-042").unwrap(),
            // base64 of these by coreutils: AAECAwQFBgcICQoLDA3-_w==
            epoch: Epoch([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xfe, 0xff]),
            seq: Seq(17),
        };
        let topic = up_topic(&gateway, &id);
        assert_eq!(topic, "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/17");
        assert_eq!(parse_up_topic(&topic), Ok((gateway.clone(), id)));
        assert_eq!(down_topic(&gateway), "wl1/down/GW01");
        assert_eq!(parse_down_topic("wl1/down/GW01"), Ok(gateway));
    }

    #[test]
    fn other_topics_are_refused() {
        for topic in [
            "",
            "wl1/up",
            "wl2/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/17",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/17/x",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_x/17",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3+_w/17",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/0",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/017",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/+17",
            "wl1/up/GW01/T-042/AAECAwQFBgcICQoLDA3-_w/9007199254740993",
            "wl1/up/GW 01/T-042/AAECAwQFBgcICQoLDA3-_w/17",
            "wl1/up/GW01/../AAECAwQFBgcICQoLDA3-_w/17",
        ] {
            assert!(
                matches!(parse_up_topic(topic), Err(WireError::Topic { .. })),
                "{topic}"
            );
        }
        assert!(parse_down_topic("wl1/down/").is_err());
        assert!(parse_down_topic("wl1/down/a/b").is_err());
    }

    proptest! {
        #[test]
        fn epochs_come_back(epoch in any::<[u8; 16]>()) {
            prop_assert_eq!(parse_epoch(&epoch_text(Epoch(epoch))), Some(Epoch(epoch)));
        }

        #[test]
        fn any_text_is_safe(text in "\\PC*") {
            prop_assert!(parse_up_topic(&text).is_err());
        }
    }
}
