//! Finding pools again: drives that moved, lag, are missing, copied, or too old.

use super::bench::Bench;
use super::{job, tank, uuid, volume, volumes};
use crate::{Imported, Role};
use control::PoolState;
use ondisk::Slot;

/// A pool "tank" with volumes `v1` to `vn`, so its generation is n + 1.
fn bench_with(drives: usize, count: u64) -> Bench {
    let (mut bench, mut pool) = Bench::with_tank(drives);
    add(&mut bench, &mut pool, 1..=count);
    bench
}

fn add(bench: &mut Bench, pool: &mut crate::Pool, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let job = job(pool.begin_create_volume(&volume(number, 2)));
        bench.run(pool, job).expect("no cut").expect("no fault");
    }
}

fn detail(imported: &Imported) -> (PoolState, &str) {
    assert!(imported.pools.is_empty(), "it must not be served");
    let [offline] = imported.offline.as_slice() else { panic!("one pool: {:?}", imported.offline) };
    (offline.state, &offline.detail)
}

/// Overwrites the head of a slot, as bit rot would.
fn damage(bench: &mut Bench, drive: usize, slot: Slot) {
    bench.drives[drive].drive.put(slot.lba().0 * 4096 + 90, b"rot");
}

/// Goal: a pool is found whatever slots its drives are in, and its members keep their numbers.
#[test]
fn drives_that_changed_places_are_found_by_identity() {
    let mut bench = bench_with(3, 2);
    bench.drives.rotate_left(1);
    let pool = bench.reopen();
    let serials: Vec<&str> = pool.drives().iter().map(|d| d.serial.as_str()).collect();
    let places: Vec<u32> = pool.drives().iter().map(|d| d.id.0).collect();
    assert_eq!((serials, places), (vec!["S0", "S1", "S2"], vec![2, 0, 1]));
    assert_eq!(volumes(&pool), [("v1".to_owned(), 1, 2), ("v2".to_owned(), 2, 2)]);
}

/// Goal: a drive keeps its place under another serial number (another enclosure, a renamed file), and says the new one.
#[test]
fn drive_with_another_serial_number_is_still_a_member() {
    let mut bench = bench_with(2, 1);
    bench.drives[1].drive.serial = "MOVED".to_owned();
    let pool = bench.reopen();
    assert_eq!(pool.status("nqn").drive_serials, ["S0", "MOVED"]);
}

/// Goal: a pool without one of its drives is not served, and says which drives are missing and what it had.
#[test]
fn missing_drives_are_named() {
    let mut bench = bench_with(3, 2);
    bench.drives.remove(2);
    bench.drives.remove(0);
    let imported = bench.import();
    assert_eq!(detail(&imported), (PoolState::Incomplete, "missing drives S0, S2"));
    let pool = &imported.offline[0];
    assert_eq!((pool.name(), pool.present.as_slice()), ("tank", ["S1".to_owned()].as_slice()));
    let status = pool.status("nqn");
    assert_eq!((status.revision, status.drive_serials), (3, vec!["S0".into(), "S1".into(), "S2".into()]));
    let listed: Vec<String> = pool.volume_statuses("nqn").into_iter().map(|v| v.name).collect();
    assert_eq!(listed, ["v1", "v2"]);
    assert_eq!(imported.drives[0].role, Role::Member(uuid(b'P', 1)));
}

/// Goal: a drive that was away while nothing changed completes the pool again.
#[test]
fn returned_drive_completes_the_pool() {
    let mut bench = bench_with(2, 1);
    let away = bench.drives.remove(1);
    assert_eq!(detail(&bench.import()).0, PoolState::Incomplete);
    bench.drives.push(away);
    assert_eq!(volumes(&bench.reopen()).len(), 1);
}

/// Goal: a member that missed the last change gets it before anything is served; the older record never wins.
#[test]
fn lagging_member_is_brought_up_to_date() {
    let mut bench = bench_with(2, 1);
    let before = bench.drives[0].drive.clone();
    let mut pool = bench.reopen();
    add(&mut bench, &mut pool, [2]);
    bench.drives[0].drive = before;
    let pool = bench.reopen();
    assert_eq!(volumes(&pool).len(), 2);
    bench.drives.remove(1);
    let alone = bench.import();
    assert_eq!(alone.offline[0].record.as_ref().map(|r| r.generation), Some(3), "drive S0 has it now");
}

/// Goal: a member two or more changes behind is an old copy: its data may be as old, so the pool is not served.
#[test]
fn drive_from_the_past_is_not_served() {
    let mut bench = bench_with(2, 1);
    let before = bench.drives[0].drive.clone();
    let mut pool = bench.reopen();
    add(&mut bench, &mut pool, [2, 3]);
    bench.drives[0].drive = before;
    let imported = bench.import();
    let expected = "drive S0 has generation 2, the pool is at 4: it is an older copy, or lost what it had confirmed; \
                    put the original drive back and restart";
    assert_eq!(detail(&imported), (PoolState::Damaged, expected));
}

/// Goal: a damaged record on one member is repaired from another one, in either slot, or in both.
#[test]
fn damaged_records_are_repaired_from_another_member() {
    for slots in [&[Slot::A][..], &[Slot::B], &Slot::ALL] {
        let mut bench = bench_with(2, 2);
        for slot in slots {
            damage(&mut bench, 0, *slot);
        }
        assert_eq!(volumes(&bench.reopen()).len(), 2);
        damage(&mut bench, 1, Slot::A);
        damage(&mut bench, 1, Slot::B);
        assert_eq!(volumes(&bench.reopen()).len(), 2, "the first repair reached the drive: {slots:?}");
    }
}

/// Goal: a damaged label is written again from the record.
#[test]
fn damaged_label_is_repaired() {
    let mut bench = bench_with(2, 1);
    let good = bench.drives[0].drive.block(0);
    bench.drives[0].drive.put(80, b"!");
    bench.reopen();
    assert_eq!(bench.drives[0].drive.block(0), good);
}

/// Goal: without any valid record the pool is damaged and says what is wrong with each drive; nothing is forgotten.
#[test]
fn pool_without_a_valid_record_is_damaged() {
    let mut bench = bench_with(1, 1);
    damage(&mut bench, 0, Slot::A);
    damage(&mut bench, 0, Slot::B);
    let imported = bench.import();
    let (state, why) = detail(&imported);
    assert_eq!(state, PoolState::Damaged);
    assert!(why.starts_with("no drive of it has a valid record: drive S0 (slot A: its checksum is"), "{why}");
    assert_eq!(imported.drives[0].role, Role::Member(uuid(b'P', 1)));
    assert_eq!(imported.offline[0].status("nqn").drive_serials, ["S0"]);
}

/// Goal: a drive and its copy are never used together, nor is one of them chosen.
#[test]
fn copied_drive_is_refused() {
    let mut bench = bench_with(2, 1);
    let mut copy = bench.drives[0].drive.clone();
    copy.serial = "COPY".to_owned();
    bench.drives.push(sim::SimDrive::new(copy));
    let imported = bench.import();
    let expected = "drives S0 and COPY both claim to be member 0 (recorded as S0): one is a copy of the other; \
                    remove the copy and restart";
    assert_eq!(detail(&imported), (PoolState::Damaged, expected));
    assert_eq!(imported.drives[2].role, Role::Member(uuid(b'P', 1)), "it is not offered for a new pool");
}

/// Goal: two halves of a pool that were changed apart from each other are not joined.
#[test]
fn different_histories_are_refused() {
    let mut bench = bench_with(2, 1);
    let common: Vec<_> = bench.drives.iter().map(|d| d.drive.clone()).collect();
    let mut pool = bench.reopen();
    add(&mut bench, &mut pool, [2]);
    let one_history = bench.drives[0].drive.clone();
    for (sim, drive) in bench.drives.iter_mut().zip(common) {
        sim.drive = drive;
    }
    let mut pool = bench.reopen();
    add(&mut bench, &mut pool, [3]);
    bench.drives[0].drive = one_history;
    let (state, why) = {
        let imported = bench.import();
        let (state, why) = detail(&imported);
        (state, why.to_owned())
    };
    assert_eq!(state, PoolState::Damaged);
    assert!(why.contains("different records of generation 3"), "{why}");
}

/// Goal: a drive that shrank (another image, a host protected area) is noticed.
#[test]
fn smaller_drive_is_refused() {
    let mut bench = bench_with(2, 1);
    bench.drives[1].drive.geometry.blocks.0 -= 256;
    assert_eq!(detail(&bench.import()), (PoolState::Damaged, "drive S1 is smaller than when it joined"));
}

/// Goal: two pools on one node do not disturb each other.
#[test]
fn pools_are_told_apart() {
    let mut bench = Bench::new(3, 1);
    bench.create(&tank(2)).expect("no cut").expect("no fault");
    let mut second = tank(0);
    second.uuid = uuid(b'P', 2);
    second.name = "pond".to_owned();
    second.drive_serials = vec!["S2".to_owned()];
    bench.create(&second).expect("no cut").expect("no fault");
    let imported = bench.import();
    let names: Vec<&str> = imported.pools.iter().map(crate::Pool::name).collect();
    assert_eq!(names, ["tank", "pond"]);
}

/// Goal: a drive that a retried creation left behind is free again, and does not disturb the pool it names.
#[test]
fn leftover_of_an_earlier_attempt_is_free() {
    let mut bench = Bench::new(3, 1);
    let mut attempt = tank(0);
    attempt.drive_serials = vec!["S1".to_owned(), "S2".to_owned()];
    bench.drives[1].drive.faults.fails_after = Some(6);
    let error = bench.create(&attempt).expect("no cut").expect_err("drive S1 fails");
    assert!(!error.is_undecided, "{error}");
    bench.drives[1].drive.faults.fails_after = None;
    attempt.drive_serials = vec!["S0".to_owned(), "S1".to_owned()];
    bench.create(&attempt).expect("no cut").expect("no fault");
    let imported = bench.import();
    assert_eq!(imported.pools.len(), 1);
    assert_eq!(imported.drives[2].role, Role::Leftover);
}

/// Goal: nothing is served or changed between import and settling; a settling that fails may be tried again.
#[test]
fn unsettled_pool_serves_nothing() {
    let mut bench = bench_with(2, 1);
    let mut pool = bench.import().pools.remove(0);
    assert!(pool.begin_create_volume(&volume(9, 1)).is_err());
    bench.drives[0].drive.faults.fails_after = Some(0);
    let settle = job(pool.begin_settle());
    let error = bench.run(&mut pool, settle).expect("no cut").expect_err("drive S0 fails");
    assert_eq!(error.to_string(), "drive S0 failed to bring the pool record up to date: write fault");
    assert!(!pool.is_settled());
    bench.drives[0].drive.faults.fails_after = None;
    let settle = job(pool.begin_settle());
    bench.run(&mut pool, settle).expect("no cut").expect("no fault");
    assert!(pool.is_settled());
}
