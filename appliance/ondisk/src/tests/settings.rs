//! The settings of volumes: what may be stored, and what bytes mean nothing.

use super::{host, sample};
use crate::limits::{HOSTS_MAX, REGISTRANTS_MAX, REGISTRANTS_PER_VOLUME_MAX};
use crate::wire::VolumeV2;
use crate::{
    Access, HostNqn, Inconsistency, LbaSize, LoadError, PoolRecord, Registrant, Reservation, ReservationType,
    Reserved, Settings, Slot, TextError, WriteProtect,
};
use core::mem::offset_of;
use uuid::Uuid;

/// The first volume's entry: behind the header and two members.
const VOLUME_AT: usize = 256 + 2 * 64;

fn stored(settings: Settings) -> Settings {
    let mut record = sample();
    record.volumes[1].settings = settings;
    let (mut record, _) = PoolRecord::decode(&record.encode(0), Slot::A).expect("it is valid");
    record.volumes.remove(1).settings
}

fn reservation(registrants: u16, reserved: Option<Reserved>) -> Settings {
    let registrant = |n: u16| Registrant { host: Uuid::from_u128(u128::from(n) + 1), key: u64::from(n) };
    let registrants = (0..registrants).map(registrant).collect();
    Settings {
        reservation: Some(Box::new(Reservation { generation: 7, registrants, reserved })),
        ..Settings::new(LbaSize::B4096)
    }
}

/// Goal: every value of each setting comes back; a list that lets nobody in is not taken for one that lets everybody in.
#[test]
fn settings_come_back() {
    let plain = || Settings::new(LbaSize::B512);
    let mut all = vec![plain(), Settings::new(LbaSize::B4096)];
    for access in [Access::Hosts(vec![]), Access::Hosts(vec![host("nqn.b"), host("nqn.c")])] {
        all.push(Settings { access, ..plain() });
    }
    for write_protect in [WriteProtect::On, WriteProtect::Permanent] {
        all.push(Settings { write_protect, ..plain() });
    }
    all.push(reservation(0, None));
    all.push(reservation(3, None));
    for kind in (1..=6).filter_map(ReservationType::of) {
        let holder = (!kind.is_held_by_all()).then_some(2);
        all.push(reservation(3, Some(Reserved { kind, holder })));
    }
    assert_eq!(all.len(), 14);
    for settings in all {
        assert_eq!(stored(settings.clone()), settings);
    }
}

/// Goal: each rule of settings is checked before storing; each case breaks one.
#[test]
fn broken_rules_are_named() {
    let held = |kind, holder| Some(Reserved { kind, holder });
    let per_volume = u16::try_from(REGISTRANTS_PER_VOLUME_MAX).expect("small");
    let too_many = |what, max| Inconsistency::TooMany { what, count: max + 1, max };
    let twice = {
        let mut settings = reservation(2, None);
        let reservation = settings.reservation.as_mut().expect("it was given");
        reservation.registrants[1].host = reservation.registrants[0].host;
        settings
    };
    let access = |hosts| Settings { access: Access::Hosts(hosts), ..Settings::new(LbaSize::B512) };
    let exclusive = ReservationType::ExclusiveAccess;
    let cases = [
        (access(vec![host("b"), host("a")]), Inconsistency::Hosts),
        (access(vec![host("a"), host("a")]), Inconsistency::Hosts),
        (
            access((0..HOSTS_MAX - 1).map(|n| host(&format!("h{n:04}"))).collect()),
            too_many("hosts", HOSTS_MAX),
        ),
        (reservation(per_volume + 1, None), too_many("registrants of a volume", REGISTRANTS_PER_VOLUME_MAX)),
        (twice, Inconsistency::Duplicate { what: "registrants", key: "host" }),
        (reservation(2, held(exclusive, None)), Inconsistency::Reservation(3)),
        (reservation(2, held(exclusive, Some(2))), Inconsistency::Reservation(3)),
        (reservation(2, held(ReservationType::WriteExclusiveAll, Some(0))), Inconsistency::Reservation(3)),
        (reservation(0, held(ReservationType::WriteExclusiveAll, None)), Inconsistency::Reservation(3)),
    ];
    for (index, (settings, expected)) in cases.into_iter().enumerate() {
        let mut record = sample();
        record.volumes[1].settings = settings;
        assert_eq!(record.check(), Err(expected), "case {index}");
    }
}

/// Goal: registrants of all volumes together are bounded.
#[test]
fn registrants_of_a_pool_are_bounded() {
    let mut record = sample();
    let template = record.volumes.remove(1);
    record.volumes.clear();
    for n in 0..u32::try_from(REGISTRANTS_MAX / REGISTRANTS_PER_VOLUME_MAX).expect("small") + 1 {
        let mut volume = template.clone();
        volume.uuid = Uuid::from_u128(u128::from(n) + 1);
        volume.name = crate::Name::new(&format!("v{n}")).expect("a good name");
        volume.nsid = n + 1;
        volume.runs[0].first = n * 5;
        volume.settings = reservation(u16::try_from(REGISTRANTS_PER_VOLUME_MAX).expect("small"), None);
        record.volumes.push(volume);
    }
    let (count, max) = (REGISTRANTS_MAX + REGISTRANTS_PER_VOLUME_MAX, REGISTRANTS_MAX);
    assert_eq!(record.check(), Err(Inconsistency::TooMany { what: "registrants", count, max }));
    record.volumes.pop();
    assert_eq!(record.check(), Ok(()));
}

/// Goal: bytes of a volume that mean nothing are refused, although the checksum holds.
#[test]
fn sealed_nonsense_is_refused() {
    let unknown = |what, value| LoadError::from(Inconsistency::Meaning { nsid: 1, what, value });
    let contradiction = || LoadError::from(Inconsistency::Reservation(1));
    let cases = [
        (offset_of!(VolumeV2, lba_shift), 10, unknown("size of blocks", 10)),
        (offset_of!(VolumeV2, write_protect), 3, unknown("write protection", 3)),
        (offset_of!(VolumeV2, access), 2, unknown("access", 2)),
        (offset_of!(VolumeV2, access), 0, Inconsistency::Reserved.into()),
        (offset_of!(VolumeV2, persistence), 2, unknown("persistence", 2)),
        (offset_of!(VolumeV2, persistence), 0, contradiction()),
        (offset_of!(VolumeV2, reservation), 7, unknown("reservation", 7)),
        (offset_of!(VolumeV2, reservation), 0, contradiction()),
        (offset_of!(VolumeV2, reservation), 5, contradiction()),
        (offset_of!(VolumeV2, holder), 2, contradiction()),
        (offset_of!(VolumeV2, registrant_count), 3, contradiction()),
        (
            offset_of!(VolumeV2, registrant_count),
            1,
            Inconsistency::Length { needed: 256 + 2 * 64 + 2 * 160 + 3 * 16 + 2 * 224 + 2 * 24, len: 4096 }
                .into(),
        ),
        (offset_of!(VolumeV2, hosts), 4, Inconsistency::Hosts.into()),
        (offset_of!(VolumeV2, hosts), 1, Inconsistency::Hosts.into()),
        (offset_of!(VolumeV2, reserved0), 1, Inconsistency::Reserved.into()),
        (offset_of!(VolumeV2, reserved1), 1, Inconsistency::Reserved.into()),
        (offset_of!(VolumeV2, reserved2), 1, Inconsistency::Reserved.into()),
    ];
    for (at, value, expected) in cases {
        let mut bytes = sample().encode(1);
        bytes[VOLUME_AT + at] = value;
        crate::stamp::seal(&mut bytes);
        assert_eq!(PoolRecord::decode(&bytes, Slot::A), Err(expected), "byte {at} = {value}");
    }
}

/// Goal: NQNs of hosts are bounded and cannot hide control characters.
#[test]
fn nqns_are_checked() {
    let longest = "x".repeat(223);
    assert_eq!(HostNqn::new(&longest).map(|n| n.as_str().len()), Ok(223));
    assert_eq!(HostNqn::new(&"x".repeat(224)), Err(TextError::TooLong { len: 224, max: 223 }));
    assert_eq!(HostNqn::new(""), Err(TextError::Empty));
    assert_eq!(HostNqn::new("nqn\n"), Err(TextError::Character(b'\n')));
    assert_eq!(
        HostNqn::new("nqn.2025-01.example:höst").map(|n| n.to_string()).as_deref(),
        Ok("nqn.2025-01.example:höst")
    );
}
