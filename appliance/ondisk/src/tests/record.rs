//! The pool record: round trips, limits, and each rule that can be broken.

use super::{drive, sample};
use crate::limits::{
    HOSTS_MAX, MEMBERS_MAX, NQN_LEN_MAX, RECORD_BYTES_MAX, REGISTRANTS_MAX, RUNS_MAX, VOLUMES_MAX,
};
use crate::{
    Access, Inconsistency, LbaSize, LoadError, MemberRecord, Name, Place, PoolRecord, Registrant,
    Reservation, ReservationType, Reserved, Run, Serial, Settings, Slot, VolumeRecord, claimed_len,
};
use uuid::Uuid;

/// Goal: what is stored is what is loaded, and bytes behind the record do not matter.
#[test]
fn record_comes_back() {
    let record = sample();
    let mut bytes = record.encode(1);
    bytes.extend_from_slice(&[0xee; 4096]);
    assert_eq!(claimed_len(&bytes), Ok(4096));
    assert_eq!(PoolRecord::decode(&bytes, Slot::A), Ok((record, Place { drive: drive(1), member: 1 })));
}

/// Goal: the largest pool that the limits allow has a record, and it has the greatest length.
#[test]
fn largest_record_fits_its_slot() {
    let runs_each = u32::try_from(RUNS_MAX / VOLUMES_MAX).expect("a small number");
    let mut record = sample();
    record.members = (0..MEMBERS_MAX)
        .map(|m| MemberRecord {
            drive: drive(u16::try_from(m).expect("a small number")),
            serial: Serial::new("S123456789012345678Z").expect("a good serial"),
            extents: u32::MAX,
        })
        .collect();
    record.volumes = (0..u32::try_from(VOLUMES_MAX).expect("a small number"))
        .map(|v| VolumeRecord {
            uuid: Uuid::from_u128(u128::from(v) + 1),
            name: Name::new(&format!("volume-{v}")).expect("a good name"),
            nsid: v + 1,
            extents: runs_each,
            revision: 2,
            settings: full_settings(v),
            runs: (0..runs_each)
                .map(|r| Run { member: 3, first: (v * runs_each + r) * 2, count: 1, position: r })
                .collect(),
        })
        .collect();
    let bytes = record.encode(15);
    assert_eq!(bytes.len(), RECORD_BYTES_MAX);
    assert_eq!(PoolRecord::decode(&bytes, Slot::A).expect("it is valid").0, record);
}

/// The most hosts and registrants that the volumes of a full pool can have.
fn full_settings(volume: u32) -> Settings {
    let host = |n: usize| super::host(&format!("{n:0>width$}", width = NQN_LEN_MAX));
    let registrants = (1..=REGISTRANTS_MAX / VOLUMES_MAX)
        .map(|n| Registrant { host: Uuid::from_u128(n as u128), key: u64::from(volume) })
        .collect();
    let reserved = Some(Reserved { kind: ReservationType::ExclusiveAccessAll, holder: None });
    Settings {
        access: Access::Hosts((0..HOSTS_MAX).map(host).collect()),
        reservation: Some(Box::new(Reservation { generation: u32::MAX, registrants, reserved })),
        ..Settings::new(LbaSize::B512)
    }
}

/// Goal: a record is told apart from one in the wrong slot (misdirected), of another drive (copied inside), and one
/// that was written in part.
#[test]
fn misdirected_and_torn_records_are_refused() {
    let bytes = sample().encode(0);
    assert_eq!(
        PoolRecord::decode(&bytes, Slot::B),
        Err(LoadError::Misplaced { meant: 256, found: 512 }),
        "a record read from the other slot"
    );
    let mut torn = big().encode(0);
    let len = torn.len();
    assert!(len > 4096);
    torn[4096..].fill(0);
    assert!(matches!(PoolRecord::decode(&torn, Slot::A), Err(LoadError::Checksum { .. })));
    assert_eq!(PoolRecord::decode(&torn[..4096], Slot::A), Err(LoadError::Truncated { len: 4096 }));
    assert_eq!(PoolRecord::decode(&[0; 4096], Slot::A), Err(LoadError::Blank));
    assert_eq!(PoolRecord::decode(&[1; 4096], Slot::A), Err(LoadError::NotOurs));
}

/// A record of several blocks.
fn big() -> PoolRecord {
    let mut record = sample();
    record.volumes = (0..40)
        .map(|v| VolumeRecord {
            uuid: Uuid::from_u128(u128::from(v) + 1),
            name: Name::new(&format!("v{v}")).expect("a good name"),
            nsid: v + 1,
            extents: 1,
            revision: 2,
            settings: Settings::new(LbaSize::B4096),
            runs: vec![Run { member: 0, first: v, count: 1, position: 0 }],
        })
        .collect();
    record
}

/// Goal: every rule between the parts of a record is checked; each case breaks one.
#[test]
fn broken_rules_are_named() {
    type Break = fn(&mut PoolRecord);
    let cases: &[(Break, Inconsistency)] = &[
        (|r| r.generation = 0, Inconsistency::Generation(0)),
        (|r| r.generation = 1, Inconsistency::Generation(1)),
        (|r| r.members.clear(), Inconsistency::NotAMember),
        (|r| r.pool = Uuid::nil(), Inconsistency::NilUuid),
        (|r| r.volumes[0].uuid = Uuid::nil(), Inconsistency::NilUuid),
        (|r| r.members[1].drive = drive(0), Inconsistency::Duplicate { what: "members", key: "UUID" }),
        (
            |r| r.volumes[1].uuid = r.volumes[0].uuid,
            Inconsistency::Duplicate { what: "volumes", key: "UUID" },
        ),
        (
            |r| r.volumes[1].name = r.volumes[0].name.clone(),
            Inconsistency::Duplicate { what: "volumes", key: "name" },
        ),
        (|r| r.volumes[0].nsid = 0, Inconsistency::VolumeOrder),
        (|r| r.volumes[0].nsid = 3, Inconsistency::VolumeOrder),
        (|r| r.volumes[0].extents = 97, Inconsistency::Coverage(1)),
        (|r| r.volumes[0].runs[1].position = 65, Inconsistency::Coverage(1)),
        (|r| r.volumes[1].runs[0].count = 0, Inconsistency::Coverage(3)),
        (|r| r.volumes[1].runs.clear(), Inconsistency::Coverage(3)),
        (|r| r.volumes[0].runs[0].member = 2, Inconsistency::OutOfBounds(1)),
        (|r| r.volumes[0].runs[0].first = 937, Inconsistency::OutOfBounds(1)),
        (|r| r.volumes[0].runs[0].first = u32::MAX, Inconsistency::OutOfBounds(1)),
        (|r| r.volumes[1].runs[0].first = 38, Inconsistency::Shared { member: 1, extent: 38 }),
        (
            |r| r.members = vec![r.members[0].clone(); 17],
            Inconsistency::TooMany { what: "members", count: 17, max: 16 },
        ),
    ];
    assert_eq!(sample().check(), Ok(()));
    for (index, (damage, expected)) in cases.iter().enumerate() {
        let mut record = sample();
        damage(&mut record);
        assert_eq!(record.check(), Err(expected.clone()), "case {index}");
    }
}

/// Goal: what breaks a rule of the bytes, with a good checksum, is refused.
#[test]
fn sealed_nonsense_is_refused() {
    let length = |needed, len| LoadError::from(Inconsistency::Length { needed, len });
    let cases: &[(usize, u8, LoadError)] = &[
        (20, 9, LoadError::Version { version: 9, known: 2 }),
        (20, 0, LoadError::Version { version: 0, known: 2 }),
        (22, 1, Inconsistency::Reserved.into()),
        (73, 0, length(256, 0)),
        (74, 4, length(256, 266_240)),
        (76, 0, Inconsistency::NotAMember.into()),
        (76, 2, Inconsistency::NotAMember.into()),
        (79, 1, length(17_632, 4096)),
        (84, 200, length(45_600, 4096)),
        (86, 3, Inconsistency::Length { needed: 1272, len: 4096 }.into()),
        (88, b'T', Inconsistency::Text(crate::TextError::Character(b'T')).into()),
        (150, b'x', Inconsistency::Text(crate::TextError::Character(b'x')).into()),
        (255, 1, Inconsistency::Reserved.into()),
        (64, 7, Inconsistency::Generation(7).into()),
        (4095, 1, Inconsistency::Reserved.into()),
    ];
    for (at, value, expected) in cases {
        let mut bytes = sample().encode(1);
        bytes[*at] = *value;
        crate::stamp::seal(&mut bytes);
        assert_eq!(PoolRecord::decode(&bytes, Slot::A), Err(expected.clone()), "byte {at} = {value}");
    }
}
