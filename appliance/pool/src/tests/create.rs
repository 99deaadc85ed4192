//! Creating and deleting pools: what is refused and why, and what is left on the drives.

use super::bench::Bench;
use super::{MIB, job, shown, tank, uuid, volume};
use crate::{Imported, KnownDrive, Role, begin_create_pool};
use block::Blocks;
use control::CreatePool;
use expect_test::{Expect, expect};
use sim::Drive;

/// A node with one drive of each kind.
fn node() -> Vec<KnownDrive> {
    let mut bench = Bench::of(
        [
            Drive::new("BLANK", 64),
            Drive::new("SMALL", 63),
            Drive::new("TORN", 64),
            Drive::new("GPT", 64),
            Drive::new("TWIN", 64),
            Drive::new("TWIN", 64),
            Drive::new("BAD", 64),
            Drive::new("MEMBER", 64),
            Drive::new("BLANK2", 64),
        ],
        1,
    );
    bench.drives[2].drive.geometry.is_block_atomic = false;
    bench.drives[3].drive.put(512, b"EFI PART");
    bench.drives[6].drive.faults.unreadable.insert(0);
    let pond = CreatePool {
        uuid: uuid(b'P', 2),
        name: "pond".into(),
        drive_serials: vec!["MEMBER".into()],
        ..tank(0)
    };
    bench.create(&pond).expect("no cut").expect("no fault");
    bench.import().drives
}

fn refused(change: impl FnOnce(&mut CreatePool), expected: &Expect) {
    let mut request = CreatePool { drive_serials: vec!["BLANK".into()], ..tank(0) };
    change(&mut request);
    expected.assert_eq(&shown(begin_create_pool(&request, &node(), &[], || uuid(b'D', 9))));
}

fn of(request: &mut CreatePool, serials: &[&str]) {
    request.drive_serials = serials.iter().map(|s| (*s).to_owned()).collect();
}

/// Goal: each request that cannot be done names the object, the field and the remedy.
#[test]
fn bad_requests_are_refused_with_a_remedy() {
    refused(
        |r| r.name = "Tank".into(),
        &expect![[
            r#"InvalidArgument | "Tank" is no name for a pool: it has a character that is not allowed (byte 0x54) | pool/Tank | name | use 1 to 63 characters of a-z, 0-9 and -"#
        ]],
    );
    refused(
        |r| r.uuid = uuid::Uuid::nil(),
        &expect![
            "InvalidArgument | the UUID of a pool must not be nil | pool/tank | id | send a random UUID (version 4)"
        ],
    );
    refused(
        |r| of(r, &[]),
        &expect![
            "InvalidArgument | a pool has 1 to 16 drives, not 0 | pool/tank | drive_serials | available blank drives: BLANK, BLANK2"
        ],
    );
    refused(
        |r| of(r, &["BLANK"; 17]),
        &expect![
            "InvalidArgument | a pool has 1 to 16 drives, not 17 | pool/tank | drive_serials | available blank drives: BLANK, BLANK2"
        ],
    );
    refused(
        |r| of(r, &["BLANK", "BLANK"]),
        &expect![
            "InvalidArgument | drive BLANK is named twice | pool/tank | drive_serials | name each drive once"
        ],
    );
    refused(
        |r| of(r, &["NONE"]),
        &expect![[
            r#"NotFound | this node has no drive with serial number "NONE" | drive/NONE | drive_serials | available blank drives: BLANK, BLANK2"#
        ]],
    );
}

/// Goal: each drive that cannot be taken is refused with its reason.
#[test]
fn unsuitable_drives_are_refused_with_a_reason() {
    refused(
        |r| of(r, &["SMALL"]),
        &expect![
            "FailedPrecondition | drive SMALL has 63 MiB, a member needs at least 64 MiB | drive/SMALL | drive_serials | available blank drives: BLANK, BLANK2"
        ],
    );
    refused(
        |r| of(r, &["TORN"]),
        &expect![
            "FailedPrecondition | drive TORN may tear a 4 KiB block when the power fails | drive/TORN | drive_serials | format it with 4096-byte blocks (nvme format --block-size=4096), or choose another drive"
        ],
    );
    refused(
        |r| of(r, &["GPT"]),
        &expect![
            "FailedPrecondition | drive GPT carries data: GPT partition table | drive/GPT | drive_serials | choose another drive, or set overwrite_foreign_data (--overwrite-foreign-data) to lose that data"
        ],
    );
    refused(
        |r| of(r, &["TWIN"]),
        &expect![[
            r#"FailedPrecondition | two drives of this node have the serial number "TWIN" | drive/TWIN | drive_serials | remove one of them: which one is meant cannot be told"#
        ]],
    );
    refused(
        |r| of(r, &["BAD"]),
        &expect![
            "FailedPrecondition | drive BAD does not work: unrecovered read error | drive/BAD | drive_serials | available blank drives: BLANK, BLANK2"
        ],
    );
    refused(
        |r| of(r, &["MEMBER"]),
        &expect![
            "FailedPrecondition | drive MEMBER is a member of pool 50000000-0400-0800-0000-000000000002 | drive/MEMBER | drive_serials | available blank drives: BLANK, BLANK2; or delete that pool first: its drives are blank then"
        ],
    );
}

/// Goal: a member of a pool that is not online, which cannot be deleted, is refused with what can be done.
#[test]
fn member_of_an_offline_pool_is_refused_with_a_way_out() {
    let (mut bench, _pool) = Bench::with_tank(2);
    bench.drives.remove(1);
    let Imported { drives, offline, .. } = bench.import();
    let pond = CreatePool { uuid: uuid(b'P', 2), ..tank(1) };
    expect![[r#"FailedPrecondition | drive S0 is a member of pool "tank", which is not online: missing drive S1 | drive/S0 | drive_serials | no blank drive is available: add one, or list the drives to see what they carry; or give that pool up with all its data and wipe its drives (ironbay drive wipe)"#]]
        .assert_eq(&shown(begin_create_pool(&pond, &drives, &offline, || uuid(b'D', 9))));
}

/// Goal: foreign data may be overwritten if that is said, a member of a pool never.
#[test]
fn overwriting_takes_foreign_drives_and_no_members() {
    let nobody = || uuid(b'D', 9);
    let mut request = CreatePool { overwrite_foreign_data: true, ..tank(0) };
    of(&mut request, &["GPT"]);
    assert!(begin_create_pool(&request, &node(), &[], nobody).is_ok());
    of(&mut request, &["MEMBER"]);
    assert!(begin_create_pool(&request, &node(), &[], nobody).is_err());
    of(&mut request, &["TORN"]);
    assert!(begin_create_pool(&request, &node(), &[], nobody).is_err());
}

/// Goal: a new pool shows its drives' space, less the start and end of each.
#[test]
fn new_pool_is_empty_and_complete() {
    let (mut bench, pool) = Bench::with_tank(2);
    let status = pool.status("nqn.x");
    assert_eq!((status.size_bytes, status.free_bytes), (2 * 55 * MIB, 2 * 55 * MIB));
    assert_eq!((status.revision, status.drive_serials), (1, vec!["S0".to_owned(), "S1".to_owned()]));
    assert!(pool.is_settled() && pool.volumes().is_empty());
    assert_eq!(bench.reopen().status("nqn.x"), pool.status("nqn.x"));
}

/// Goal: nothing of a drive's former life comes back: not its partition tables once the pool is deleted, and not an
/// older pool's records while the new one is young.
#[test]
fn former_life_of_a_drive_is_erased() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    for number in 1..6 {
        let job = job(pool.begin_create_volume(&volume(number, 1)));
        bench.run(&mut pool, job).expect("no cut").expect("no fault");
    }
    // Somebody partitions the drive; the old records are still behind the table.
    bench.drives[0].drive.put(0, &[0; 4096]);
    bench.drives[0].drive.put(512, b"EFI PART");
    bench.drives[0].drive.put((64 << 20) - 512, b"EFI PART");
    let request = CreatePool { overwrite_foreign_data: true, ..tank(1) };
    let mut pool = bench.create(&request).expect("no cut").expect("no fault");
    assert_eq!(bench.reopen().status("nqn").revision, 1, "generation 6 is gone");
    let delete = job(pool.begin_delete_pool());
    bench.run(&mut pool, delete).expect("no cut").expect("no fault");
    assert!(pool.is_gone());
    assert_eq!(bench.import().drives[0].role, Role::Blank, "no old partition table came back");
}

/// Goal: a pool with volumes is not deleted, and says which they are.
#[test]
fn pool_with_volumes_is_not_deleted() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    for number in 1..6 {
        let job = job(pool.begin_create_volume(&volume(number, 1)));
        bench.run(&mut pool, job).expect("no cut").expect("no fault");
    }
    expect![[r#"FailedPrecondition | pool "tank" still has volumes (v1, v2, v3, …) | pool/tank |  | delete its volumes first"#]].assert_eq(&shown(pool.begin_delete_pool()));
}

/// Goal: a creation that fails before any record was written is known not to have happened.
#[test]
fn failed_creation_leaves_no_pool() {
    let mut bench = Bench::new(2, 1);
    bench.drives[1].drive.faults.fails_after = Some(2);
    let error = bench.create(&tank(2)).expect("no cut").expect_err("drive S1 fails");
    assert_eq!(error.to_string(), "drive S1 failed to erase: write fault");
    assert!(!error.is_undecided);
    let imported = bench.import();
    assert!(imported.pools.is_empty() && imported.offline.is_empty());
}

/// Goal: a creation that the power ends never brings back the pool that a drive was a member of, even if somebody took that
/// drive for one to be overwritten. Method: cut after every operation, with 30 outcomes each.
#[test]
fn half_a_creation_brings_no_pool_back() {
    for outcome in 0..30 {
        for cut_in in 0.. {
            let mut bench = Bench::with_older_copy(outcome);
            let mut drives = bench.import().drives;
            drives[0].role = Role::Damaged("taken for one that nobody needs".to_owned());
            let pond = CreatePool { uuid: uuid(b'P', 2), overwrite_foreign_data: true, ..tank(1) };
            let begun = begin_create_pool(&pond, &drives, &[], || uuid(b'D', 9));
            let (mut pool, job) = begun.expect("it may be overwritten");
            bench.steps.cut_in = Some(cut_in);
            let is_done = bench.run(&mut pool, job).is_ok();
            bench.power_cut();
            let former = bench.import().pools.iter().any(|pool| pool.uuid() == uuid(b'P', 1));
            assert!(!former, "cut after {cut_in} operations, outcome {outcome}");
            if is_done {
                assert!(cut_in > 10, "it had several operations");
                break;
            }
        }
    }
}

/// Goal: the smallest drive that is allowed has room for a volume.
#[test]
fn smallest_drive_is_enough() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.drives[0].drive.geometry.blocks, Blocks(16384));
    let mut pool = bench.create(&tank(1)).expect("no cut").expect("no fault");
    let job = job(pool.begin_create_volume(&volume(1, 55)));
    bench.run(&mut pool, job).expect("no cut").expect("no fault");
    assert_eq!(pool.free_bytes(), 0);
}
