//! Volumes: create, grow, delete; what is refused and why.

use super::bench::Bench;
use super::{MIB, grow, job, shown, uuid, volume, volumes};
use crate::{Begun, Pool, WriteProtect};
use control::{CreateVolume, ErrorKind, VolumeState};
use expect_test::expect;

fn create(bench: &mut Bench, pool: &mut Pool, number: u64, size_mib: u64) {
    let job = job(pool.begin_create_volume(&volume(number, size_mib)));
    bench.run(pool, job).expect("no cut").expect("no fault");
}

fn delete(bench: &mut Bench, pool: &mut Pool, number: u64) {
    let job = job(pool.begin_delete_volume(uuid(b'V', number)));
    bench.run(pool, job).expect("no cut").expect("no fault");
}

/// Goal: a volume is there after its job, is found again after a restart, and says when it changed.
#[test]
fn volumes_come_back_after_a_restart() {
    let (mut bench, mut pool) = Bench::with_tank(2);
    create(&mut bench, &mut pool, 1, 10);
    create(&mut bench, &mut pool, 2, 20);
    let job = job(pool.begin_grow_volume(&grow(1, 30)));
    bench.run(&mut pool, job).expect("no cut").expect("no fault");
    let status = pool.volume_statuses("nqn.x");
    let shown: Vec<_> =
        status.iter().map(|v| (v.name.as_str(), v.size_bytes / MIB, v.revision, v.state)).collect();
    assert_eq!(shown, [("v1", 30, 4, VolumeState::Online), ("v2", 20, 3, VolumeState::Online)]);
    assert_eq!(pool.free_bytes(), (110 - 50) * MIB);
    assert_eq!(bench.reopen().volume_statuses("nqn.x"), status);
}

/// Goal: namespace identifiers are the smallest free ones, and never change while a volume lives.
#[test]
fn namespace_identifiers_are_stable() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    for number in 1..=4 {
        create(&mut bench, &mut pool, number, 1);
    }
    delete(&mut bench, &mut pool, 2);
    delete(&mut bench, &mut pool, 1);
    create(&mut bench, &mut pool, 5, 1);
    create(&mut bench, &mut pool, 6, 1);
    create(&mut bench, &mut pool, 7, 1);
    let nsids: Vec<_> = volumes(&pool).into_iter().map(|(name, nsid, _)| (nsid, name)).collect();
    let expected = [(1, "v5"), (2, "v6"), (3, "v3"), (4, "v4"), (5, "v7")];
    assert_eq!(nsids, expected.map(|(nsid, name)| (nsid, name.to_owned())));
}

/// Goal: a request that was done already changes nothing, so a client may repeat it.
#[test]
fn repeated_requests_change_nothing() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    create(&mut bench, &mut pool, 1, 4);
    assert!(matches!(pool.begin_create_volume(&volume(1, 4)), Ok(Begun::Unchanged)));
    assert!(matches!(pool.begin_grow_volume(&grow(1, 4)), Ok(Begun::Unchanged)));
    assert_eq!(pool.status("nqn").revision, 2);
}

/// Goal: each request that cannot be done names the object, the field and the remedy.
#[test]
fn bad_requests_are_refused_with_a_remedy() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    create(&mut bench, &mut pool, 1, 4);
    let with = |change: fn(&mut CreateVolume)| {
        let mut request = volume(2, 1);
        change(&mut request);
        request
    };
    let mut text = String::new();
    for request in [
        with(|r| r.name = "no spaces".into()),
        with(|r| r.uuid = uuid::Uuid::nil()),
        with(|r| r.size_bytes = 0),
        with(|r| r.size_bytes = MIB + 1),
        with(|r| r.size_bytes = u64::MAX - (MIB - 1)),
        with(|r| r.size_bytes = 52 * MIB),
        with(|r| r.block_size = 1024),
        with(|r| r.name = "v1".into()),
        volume(1, 5),
    ] {
        text += &shown(pool.begin_create_volume(&request));
        text.push('\n');
    }
    for request in [grow(1, 3), grow(1, 60), grow(7, 3)] {
        text += &shown(pool.begin_grow_volume(&request));
        text.push('\n');
    }
    text += &shown(pool.begin_delete_volume(uuid(b'V', 7)));
    expect![[r#"
        InvalidArgument | "no spaces" is no name for a volume: it has a character that is not allowed (byte 0x20) | volume/no spaces | name | use 1 to 63 characters of a-z, 0-9 and -
        InvalidArgument | the UUID of a volume must not be nil | volume/v2 | id | send a random UUID (version 4)
        InvalidArgument | 0 bytes is not a multiple of 1 MiB | volume/v2 | size_bytes | choose 1048576 bytes, or another multiple of 1048576
        InvalidArgument | 1048577 bytes is not a multiple of 1 MiB | volume/v2 | size_bytes | choose 2097152 bytes, or another multiple of 1048576
        ResourceExhausted | 17592186044415 MiB is more than a volume can have | volume/v2 | size_bytes | choose a size that the pool has free
        ResourceExhausted | pool "tank" has 51 MiB free, 52 MiB are needed | volume/v2 | size_bytes | choose a size of at most 53477376 bytes, or use another pool
        InvalidArgument | a volume cannot have blocks of 1024 bytes | volume/v2 | block_size | use 512 or 4096
        AlreadyExists | pool "tank" has a volume "v1" already | volume/v1 | name | choose another name
        AlreadyExists | volume 56000000-0400-0800-0000-000000000001 exists with another name, size, block size or hosts | volume/v1 | id | choose another UUID
        InvalidArgument | volume "v1" has 4 MiB and cannot become smaller | volume/v1 | size_bytes | choose a size of at least 4194304 bytes
        ResourceExhausted | pool "tank" has 51 MiB free, 56 MiB are needed | volume/v1 | size_bytes | choose a size of at most 57671680 bytes, or use another pool
        NotFound | pool "tank" has no volume 56000000-0400-0800-0000-000000000007 | volume/56000000-0400-0800-0000-000000000007 |  | list the volumes to see which exist
        NotFound | pool "tank" has no volume 56000000-0400-0800-0000-000000000007 | volume/56000000-0400-0800-0000-000000000007 |  | list the volumes to see which exist"#]].assert_eq(&text);
    assert_eq!(pool.status("nqn").revision, 2, "nothing was changed or left busy");
}

/// Goal: a full pool says that it is full; freed space is free.
#[test]
fn freed_space_is_free_again() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    create(&mut bench, &mut pool, 1, 30);
    create(&mut bench, &mut pool, 2, 25);
    expect![[r#"ResourceExhausted | pool "tank" is full, 1 MiB are needed | volume/v3 | size_bytes | delete a volume, or use another pool"#]].assert_eq(&shown(pool.begin_create_volume(&volume(3, 1))));
    delete(&mut bench, &mut pool, 1);
    create(&mut bench, &mut pool, 3, 30);
}

/// Goal: one change at a time; the second is told to wait.
#[test]
fn second_change_has_to_wait() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    let first = job(pool.begin_create_volume(&volume(1, 1)));
    expect![[
        r#"Unavailable | pool "tank" is busy with another change | pool/tank |  | try again in a moment"#
    ]]
    .assert_eq(&shown(pool.begin_create_volume(&volume(2, 1))));
    assert!(pool.is_settled(), "volumes are served while a change is on its way");
    bench.run(&mut pool, first).expect("no cut").expect("no fault");
    create(&mut bench, &mut pool, 2, 1);
}

/// Goal: while a volume is zeroed settings of others change, and nothing that gives extents away or takes them; afterwards both
/// changes are there, also after a restart.
#[test]
fn only_settings_change_beside_zeroing() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    create(&mut bench, &mut pool, 1, 1);
    let mut zeroing = job(pool.begin_create_volume(&volume(2, 1)));
    assert!(zeroing.is_preparing());
    for refused in [
        pool.begin_create_volume(&volume(3, 1)),
        pool.begin_grow_volume(&grow(1, 2)),
        pool.begin_delete_volume(uuid(b'V', 1)),
        pool.begin_delete_pool(),
    ] {
        let error = refused.expect_err("it would move extents");
        assert_eq!((error.kind, error.object.as_str()), (ErrorKind::Unavailable, "pool/tank"));
    }
    let guard = job(pool.begin_set_guard(uuid(b'V', 1), None, WriteProtect::On));
    assert!(!guard.is_preparing());
    bench.run(&mut pool, guard).expect("no cut").expect("no fault");
    assert_eq!(volumes(&bench.reopen()).len(), 1, "what is being zeroed is not there");
    bench.work(&pool, &mut [&mut zeroing]).expect("no cut");
    let commit = pool.begin_commit(zeroing).expect("nothing is in the way");
    bench.run(&mut pool, commit).expect("no cut").expect("no fault");
    let reopened = bench.reopen();
    assert_eq!(volumes(&reopened), [("v1".to_owned(), 1, 1), ("v2".to_owned(), 2, 1)]);
    assert_eq!(reopened.volumes()[0].settings.write_protect, WriteProtect::On);
    assert_eq!(pool.volumes()[1].revision, 4, "it changed with its own record");
}

/// Goal: a change that fails before its record is written did not happen, and the next one works.
#[test]
fn failure_before_the_record_changes_nothing() {
    let (mut bench, mut pool) = Bench::with_tank(2);
    bench.drives[0].drive.faults.fails_after = Some(0);
    let first = job(pool.begin_create_volume(&volume(1, 1)));
    let error = bench.run(&mut pool, first).expect("no cut").expect_err("drive S0 fails");
    expect!["Unavailable | drive S0 failed to zero new extents: write fault | drive/S0 |  | the change did not happen; check the drive, then try again"].assert_eq(&shown::<()>(Err(error.into())));
    bench.drives[0].drive.faults.fails_after = None;
    assert!(pool.volumes().is_empty());
    create(&mut bench, &mut pool, 1, 1);
}

/// Goal: a change whose record reached some members only freezes the pool: it serves what it served, refuses changes,
/// and the next import finds the change whole.
#[test]
fn failure_in_the_record_freezes_the_pool() {
    let (mut bench, mut pool) = Bench::with_tank(2);
    create(&mut bench, &mut pool, 1, 1);
    bench.drives[1].drive.faults.fails_after = Some(0);
    let second = job(pool.begin_delete_volume(uuid(b'V', 1)));
    let error = bench.run(&mut pool, second).expect("no cut").expect_err("drive S1 fails");
    expect!["Unavailable | drive S1 failed to write the pool record: write fault | drive/S1 |  | restart the engine: it will find out whether the change happened, until then the pool accepts no changes"].assert_eq(&shown::<()>(Err(error.into())));
    assert_eq!(volumes(&pool).len(), 1);
    assert!(pool.is_settled());
    expect![[r#"FailedPrecondition | pool "tank" accepts no changes after a failed one: drive S1 failed to write the pool record: write fault | pool/tank |  | check the drive, then restart the engine"#]].assert_eq(&shown(pool.begin_create_volume(&volume(2, 1))));
    bench.drives[1].drive.faults.fails_after = None;
    assert_eq!(volumes(&bench.reopen()).len(), 0, "the deletion had reached drive S0");
}

/// Goal: the most volumes that a pool can have are 256; the 257th is refused by that limit.
#[test]
fn number_of_volumes_is_bounded() {
    let mut bench = Bench::of([sim::Drive::new("S0", 400)], 1);
    let mut pool = bench.create(&super::tank(1)).expect("no cut").expect("no fault");
    for number in 1..=256 {
        create(&mut bench, &mut pool, number, 1);
    }
    expect![[r#"ResourceExhausted | pool "tank" has 256 volumes, the most it can have | pool/tank |  | delete a volume, or use another pool"#]].assert_eq(&shown(pool.begin_create_volume(&volume(257, 1))));
    assert_eq!(bench.reopen().volumes().len(), 256);
}
