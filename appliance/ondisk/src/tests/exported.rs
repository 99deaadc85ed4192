//! What volumes of the thin engine carry for hosts.

use super::{Random, host};
use crate::limits::{ATTRIBUTES_MAX, HOSTS_MAX, REGISTRANTS_PER_VOLUME_MAX};
use crate::thin::Exported;
use crate::{
    Access, HostNqn, LbaSize, Registrant, Reservation, ReservationType, Reserved, Settings, WriteProtect,
};
use expect_test::expect;
use proptest::prelude::*;
use uuid::Uuid;

fn sample() -> Exported {
    let registrant = |n: u128, key| Registrant { host: Uuid::from_u128(n), key };
    let reservation = Reservation {
        generation: 9,
        registrants: vec![registrant(0xaa, 0x0abc), registrant(0xbb, 0x0def)],
        reserved: Some(Reserved { kind: ReservationType::WriteExclusiveRegistrants, holder: Some(1) }),
    };
    let settings = Settings {
        lba_size: LbaSize::B512,
        access: Access::Hosts(vec![host("nqn.a"), host("nqn.b")]),
        write_protect: WriteProtect::On,
        reservation: Some(Box::new(reservation)),
    };
    Exported { nsid: 3, revision: 6, settings }
}

fn plain() -> Exported {
    Exported { nsid: 1, revision: 2, settings: Settings::new(LbaSize::B4096) }
}

/// Goal: no stored byte changes by accident.
#[test]
fn exported_bytes() {
    expect![[r#"
        0000  01 00 09 01 03 00 00 00 06 00 00 00 00 00 00 00  ................
        0010  01 01 03 00 01 00 02 00 09 00 00 00 02 00 00 00  ................
        0020  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 aa  ................
        0030  bc 0a 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
        0040  00 00 00 00 00 00 00 bb ef 0d 00 00 00 00 00 00  ................
        0050  05 6e 71 6e 2e 61 05 6e 71 6e 2e 62  .nqn.a.nqn.b
        005c
        0000  01 00 0c 00 01 00 00 00 02 00 00 00 00 00 00 00  ................
        0010  00 00 00 00 ff ff 00 00 00 00 00 00 00 00 00 00  ................
        0020"#]]
    .assert_eq(&[sample(), plain()].map(|e| super::golden::dump(&e.encode())).join("\n"));
}

/// Goal: every value comes back, a list that lets nobody in is not taken for everybody, and the largest fits.
#[test]
fn exported_values_come_back() {
    let mut all = vec![sample(), plain()];
    for access in [Access::Hosts(vec![]), Access::Everybody] {
        for write_protect in [WriteProtect::Off, WriteProtect::On, WriteProtect::Permanent] {
            let settings = Settings { access: access.clone(), write_protect, ..plain().settings };
            all.push(Exported { settings, ..plain() });
        }
    }
    for kind in (1..=6).filter_map(ReservationType::of) {
        let mut one = sample();
        let holder = (!kind.is_held_by_all()).then_some(0);
        one.settings.reservation.as_mut().expect("it has one").reserved = Some(Reserved { kind, holder });
        all.push(one);
    }
    let mut largest = sample();
    let nqn = |n: usize| HostNqn::new(&format!("{n:0223}")).expect("a name");
    largest.settings.access = Access::Hosts((0..HOSTS_MAX).map(nqn).collect());
    let registrant = |n: usize| Registrant { host: Uuid::from_u128(n as u128 + 1), key: n as u64 };
    let registrants = (0..REGISTRANTS_PER_VOLUME_MAX).map(registrant).collect();
    let reservation = Reservation { generation: u32::MAX, registrants, reserved: None };
    largest.settings.reservation = Some(Box::new(reservation));
    assert!(largest.encode().len() <= ATTRIBUTES_MAX);
    all.push(largest);
    for exported in all {
        assert_eq!(Exported::decode(&exported.encode()), Ok(exported));
    }
}

/// Goal: bytes that were changed anywhere are refused, or are what they say: nothing has two meanings, and no length is believed.
#[test]
fn changed_bytes_are_refused_or_valid() {
    let good = sample().encode();
    let mut accepted = 0;
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut bytes = good.to_vec();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len());
            bytes[at] = random.next().to_le_bytes()[0];
        }
        bytes.truncate(good.len() - random.below(2) * random.below(good.len()));
        if let Ok(found) = Exported::decode(&bytes) {
            assert_eq!(*found.encode(), *bytes, "seed {seed}");
            accepted += 1;
        }
    }
    assert!(accepted > 1000, "{accepted} were valid");
}

proptest! {
    /// Goal: arbitrary bytes, also behind a good version, are answered.
    #[test]
    fn arbitrary_attributes_are_answered(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(version) = bytes.first_chunk_mut() {
            *version = [1, 0];
        }
        if let Ok(found) = Exported::decode(&bytes) {
            prop_assert_eq!(&*found.encode(), &bytes[..]);
        }
    }
}
