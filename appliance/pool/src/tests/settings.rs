//! Settings of volumes: kept through restarts, bounded, and durable before they are current.

use super::bench::Bench;
use super::{grow, job, shown, uuid, volume};
use crate::{
    Access, Begun, HostNqn, LbaSize, Pool, Registrant, Reservation, ReservationType, Reserved, Settings,
    WriteProtect,
};
use control::{ControlError, CreateVolume};
use expect_test::expect;

fn with_volume() -> (Bench, Pool) {
    let (mut bench, mut pool) = Bench::with_tank(2);
    run(&mut bench, &mut pool, |pool| pool.begin_create_volume(&volume(1, 2)));
    (bench, pool)
}

fn run(bench: &mut Bench, pool: &mut Pool, begin: impl FnOnce(&mut Pool) -> Result<Begun, ControlError>) {
    let job = job(begin(pool));
    bench.run(pool, job).expect("no cut").expect("no fault");
}

fn hosts(names: impl IntoIterator<Item = u32>) -> Access {
    Access::Hosts(names.into_iter().map(|n| HostNqn::new(&format!("nqn.h{n:03}")).expect("good")).collect())
}

fn registrants(count: u64) -> Reservation {
    let registrant = |n| Registrant { host: uuid(b'H', n + 1), key: n };
    Reservation { generation: 1, registrants: (0..count).map(registrant).collect(), reserved: None }
}

fn settings(pool: &Pool, number: u64) -> &Settings {
    &pool.volume(uuid(b'V', number)).expect("it is there").settings
}

/// Goal: each setting is current after its job, found again after a restart, and only the operator's count as a revision.
#[test]
fn settings_come_back_after_a_restart() {
    let (mut bench, mut pool) = with_volume();
    let id = uuid(b'V', 1);
    assert_eq!(settings(&pool, 1), &Settings::new(LbaSize::B4096));
    run(&mut bench, &mut pool, |pool| pool.begin_set_access(id, hosts([7, 3, 7])));
    assert_eq!(pool.volumes()[0].revision, 3);
    run(&mut bench, &mut pool, |pool| pool.begin_set_guard(id, None, WriteProtect::On));
    let reserved = Some(Reserved { kind: ReservationType::ExclusiveAccess, holder: Some(1) });
    let reservation = Reservation { reserved, ..registrants(2) };
    run(&mut bench, &mut pool, |pool| pool.begin_set_guard(id, Some(reservation.clone()), WriteProtect::On));
    let expected = Settings {
        lba_size: LbaSize::B4096,
        access: hosts([3, 7]),
        write_protect: WriteProtect::On,
        reservation: Some(Box::new(reservation.clone())),
    };
    assert_eq!(settings(&pool, 1), &expected);
    assert_eq!((pool.volumes()[0].revision, pool.status("nqn").revision), (3, 5));
    let mut pool = bench.reopen();
    assert_eq!(settings(&pool, 1), &expected);
    for begun in [
        pool.begin_set_access(id, hosts([3, 7])),
        pool.begin_set_guard(id, Some(reservation), WriteProtect::On),
    ] {
        assert!(matches!(begun, Ok(Begun::Unchanged)), "{begun:?}");
    }
}

/// Goal: a volume is created with its settings at once: there is no moment at which others could use it.
#[test]
fn volume_is_created_with_its_settings() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    let wanted = Settings { access: hosts([1]), ..Settings::new(LbaSize::B512) };
    let allowed_hosts = crate::settings::allowed_hosts(&wanted.access);
    let request = CreateVolume { allowed_hosts, block_size: 512, ..volume(1, 2) };
    run(&mut bench, &mut pool, |pool| pool.begin_create_volume(&request));
    assert_eq!(settings(&bench.reopen(), 1), &wanted);
    assert_eq!(pool.volume_statuses("nqn")[0].block_size, 512);
    assert!(matches!(pool.begin_create_volume(&request), Ok(Begun::Unchanged)));
    for other in [
        CreateVolume { block_size: 4096, ..request.clone() },
        CreateVolume { allowed_hosts: control::AllowedHosts::default(), ..request.clone() },
    ] {
        expect!["AlreadyExists | volume 56000000-0400-0800-0000-000000000001 exists with another name, size, block size or hosts | volume/v1 | id | choose another UUID"].assert_eq(&shown(pool.begin_create_volume(&other)));
    }
    run(&mut bench, &mut pool, |pool| pool.begin_grow_volume(&grow(1, 5)));
    assert_eq!(settings(&bench.reopen(), 1), &wanted, "a volume that grows keeps its blocks");
}

/// Goal: what does not fit the record, or cannot be undone, is refused before anything is written.
#[test]
fn settings_are_bounded() {
    let (mut bench, mut pool) = with_volume();
    let id = uuid(b'V', 1);
    run(&mut bench, &mut pool, |pool| pool.begin_set_access(id, hosts(0..256)));
    run(&mut bench, &mut pool, |pool| pool.begin_set_guard(id, None, WriteProtect::Permanent));
    let mut text = String::new();
    for refused in [
        pool.begin_set_access(id, hosts(0..257)),
        pool.begin_set_guard(id, Some(registrants(65)), WriteProtect::Permanent),
        pool.begin_set_guard(id, None, WriteProtect::Off),
        pool.begin_set_access(uuid(b'V', 9), Access::Everybody),
    ] {
        text += &shown(refused);
        text.push('\n');
    }
    expect![[r#"
        ResourceExhausted | the volumes of pool "tank" would name 257 hosts, at most 256 fit | volume/v1 | allowed_hosts | name fewer hosts, or use another pool
        ResourceExhausted | 65 registrants, at most 64 fit | volume/v1 |  | unregister hosts that do not need their registration
        FailedPrecondition | volume "v1" is write protected for ever | volume/v1 |  | copy what it holds to another volume
        NotFound | pool "tank" has no volume 56000000-0400-0800-0000-000000000009 | volume/56000000-0400-0800-0000-000000000009 |  | list the volumes to see which exist
    "#]].assert_eq(&text);
    assert_eq!(pool.status("nqn").revision, 4, "nothing was changed or left busy");
    assert_eq!(settings(&bench.reopen(), 1).access, hosts(0..256), "a record of many blocks comes back");
}
