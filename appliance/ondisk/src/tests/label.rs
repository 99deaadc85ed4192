//! The drive label.

use super::drive;
use crate::{DriveLabel, Inconsistency, LoadError, Serial};
use uuid::Uuid;

fn label() -> DriveLabel {
    DriveLabel {
        drive: drive(1),
        pool: Uuid::from_u128(7),
        member: 3,
        serial: Serial::new("WD-1234 56").expect("a good serial"),
    }
}

/// Goal: what is stored is what is loaded.
#[test]
fn label_comes_back() {
    assert_eq!(DriveLabel::decode(&label().encode()), Ok(label()));
}

/// Goal: blank, foreign, damaged and too short are different answers.
#[test]
fn label_that_is_none_is_told_from_a_damaged_one() {
    let good = label().encode();
    assert_eq!(DriveLabel::decode(&[0; 4096]), Err(LoadError::Blank));
    assert_eq!(DriveLabel::decode(&[7; 4096]), Err(LoadError::NotOurs));
    assert_eq!(DriveLabel::decode(&good[..512]), Err(LoadError::Truncated { len: 512 }));
    let mut torn = good;
    torn[70] ^= 1;
    assert!(matches!(DriveLabel::decode(&torn), Err(LoadError::Checksum { .. })));
}

/// Goal: every single flipped bit of a label is noticed (or makes it foreign, in its magic).
#[test]
fn every_flipped_bit_is_noticed() {
    let good = label().encode();
    for bit in 0..good.len() * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(DriveLabel::decode(&bad).is_err(), "bit {bit}");
    }
}

/// Goal: a later version, and a member number that cannot be, are refused although the checksum holds.
#[test]
fn sealed_nonsense_is_refused() {
    let mut later = label().encode();
    later[20] = 2;
    crate::stamp::seal(&mut later);
    assert_eq!(DriveLabel::decode(&later), Err(LoadError::Version { version: 2, known: 1 }));

    let mut outside = label().encode();
    outside[64] = 16;
    crate::stamp::seal(&mut outside);
    assert_eq!(DriveLabel::decode(&outside), Err(Inconsistency::NotAMember.into()));

    let mut reserved = label().encode();
    reserved[4095] = 1;
    crate::stamp::seal(&mut reserved);
    assert_eq!(DriveLabel::decode(&reserved), Err(Inconsistency::Reserved.into()));
}
