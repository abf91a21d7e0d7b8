//! The wire format as a whole: what goes in comes out, and whatever comes in does no harm.

#![allow(clippy::unwrap_used)] // a test may; the lint only knows the functions marked as tests

#[path = "wire/records.rs"]
mod records;

use proptest::prelude::*;
use windlass_shared::record::{Head, RecordHash};
use windlass_shared::wire::{self, check, decode, encode};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_record_comes_back_and_has_one_form(record in records::record()) {
        prop_assert_eq!(check(&record), Ok(()));
        let bytes = encode(&record);
        prop_assert_eq!(&encode(&record.clone()), &bytes);
        prop_assert_eq!(decode(&bytes), Ok(record));
    }

    #[test]
    fn a_damaged_record_is_refused_or_read_but_never_harmful(
        record in records::record(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut bytes = encode(&record);
        for (at, value, how) in damage {
            let i = at.index(bytes.len());
            match how {
                0 => bytes[i] = value,
                1 => bytes[i] ^= 1 << (value & 7),
                2 => bytes.truncate(i.max(1)),
                _ => bytes.insert(i, value),
            }
        }
        if let Ok(read) = decode(&bytes) {
            // what is accepted is valid, and has a form of its own
            prop_assert_eq!(check(&read), Ok(()));
            prop_assert_eq!(decode(&encode(&read)), Ok(read));
        }
    }

    #[test]
    fn noise_is_refused_or_read_but_never_harmful(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(read) = decode(&bytes) {
            prop_assert_eq!(check(&read), Ok(()));
        }
        if let Ok(read) = wire::decode_downlink(&bytes) {
            prop_assert_eq!(wire::decode_downlink(&wire::encode_downlink(&read)), Ok(read));
        }
        if let Ok(wire::Logged::Control(read)) = wire::decode_logged(&bytes) {
            prop_assert_eq!(
                wire::decode_logged(&wire::encode_control(&read)),
                Ok(wire::Logged::Control(read))
            );
        }
    }
}

#[test]
fn the_chain_joins_head_and_hash() {
    // computed with: (head; printf abc | sha256sum) | xxd -r -p | sha256sum
    let hash = wire::hash(b"abc");
    assert_eq!(
        hash,
        RecordHash([
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad
        ])
    );
    let mut joined = [0u8; 64];
    joined[32..].copy_from_slice(&hash.0);
    let expected = Head(wire::hash(&joined).0);
    assert_eq!(wire::next_head(&Head::default(), &hash), expected);
}
