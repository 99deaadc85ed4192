//! Wiping drives: only what nobody uses, only what was named, and whatever cuts it short, never to bring a pool back.

use super::bench::{Bench, PowerCut};
use super::{job, shown, tank, uuid};
use crate::{Begun, DriveId, Imported, Job, JobError, Role, begin_create_pool, begin_wipe, finish_wipe};
use block::{BlockDevice, Completion, Tag};
use control::{ControlError, CreatePool, WipeDrive};
use expect_test::expect;
use sim::{Drive, SimDrive};

fn request(serial: &str, confirm: &str) -> WipeDrive {
    WipeDrive { serial: serial.to_owned(), confirm: confirm.to_owned() }
}

/// What a request leads to with the drives as they are.
fn begin(bench: &mut Bench, serial: &str, confirm: &str) -> Result<Begun, ControlError> {
    let imported = bench.import();
    begin_wipe(&request(serial, confirm), &imported.drives, &imported.offline).map(|(_, begun)| begun)
}

/// Does the job on one drive, until the power fails after so many operations.
fn run(bench: &mut Bench, drive: usize, job: &mut Job, cut_in: usize) -> Result<(), PowerCut> {
    let mut left = cut_in;
    while job.result().is_none() {
        let device = &mut bench.drives[drive];
        while let Some((_, tag, op)) = job.poll_op(|len| Some(vec![0xaa; len])) {
            device.submit(tag, op).expect("a job stays within its depth");
        }
        if left == 0 {
            bench.power_cut();
            return Err(PowerCut);
        }
        left -= 1;
        device.step(&mut bench.random);
        while let Some(Completion { tag: Tag(tag), buf, result }) = device.poll() {
            job.on_completion(Completion { tag: Tag(tag), buf, result });
        }
    }
    Ok(())
}

fn wipe(bench: &mut Bench, drive: usize, confirm: &str) -> Result<(), JobError> {
    let serial = bench.drives[drive].drive.serial.clone();
    let mut job = job(begin(bench, &serial, confirm));
    run(bench, drive, &mut job, usize::MAX).expect("no cut");
    job.result().expect("it has a result")
}

fn role(bench: &mut Bench, drive: usize) -> Role {
    bench.import().drives[drive].role.clone()
}

/// Goal: what is in use, unknown or not named is refused with what would be right.
#[test]
fn only_what_is_named_and_not_in_use() {
    let (mut bench, _pool) = Bench::with_tank(2);
    let mut foreign = Drive::new("F0", 64);
    foreign.put(512, b"EFI PART");
    bench.drives.push(SimDrive::new(foreign));
    let mut text = String::new();
    for (serial, confirm) in [("S0", "tank"), ("S9", "tank"), ("F0", ""), ("F0", "tank"), ("F0", "GPT")] {
        text += &shown(begin(&mut bench, serial, confirm));
        text.push('\n');
    }
    // The other drive is gone: the pool will not be online.
    bench.drives.remove(1);
    for confirm in ["", "pond", "F0"] {
        text += &shown(begin(&mut bench, "S0", confirm));
        text.push('\n');
    }
    expect![[r#"
        FailedPrecondition | drive S0 is a member of pool 50000000-0400-0800-0000-000000000001, which is in use | drive/S0 | serial | delete that pool: its drives are blank then
        NotFound | this node has no drive with serial number "S9" | drive/S9 | serial | list the drives to see which there are
        FailedPrecondition | drive F0 carries data: GPT partition table | drive/F0 | confirm | choose another drive; or, to lose that data, confirm with: GPT partition table
        FailedPrecondition | drive F0 carries data: GPT partition table | drive/F0 | confirm | choose another drive; or, to lose that data, confirm with: GPT partition table
        FailedPrecondition | drive F0 carries data: GPT partition table | drive/F0 | confirm | choose another drive; or, to lose that data, confirm with: GPT partition table
        FailedPrecondition | drive S0 is a member of pool "tank", which is not online: missing drive S1 | drive/S0 | confirm | bring the pool online again with all its drives; or, to give it up with all its data, confirm with its name: tank
        FailedPrecondition | drive S0 is a member of pool "tank", which is not online: missing drive S1 | drive/S0 | confirm | bring the pool online again with all its drives; or, to give it up with all its data, confirm with its name: tank
        FailedPrecondition | drive S0 is a member of pool "tank", which is not online: missing drive S1 | drive/S0 | confirm | bring the pool online again with all its drives; or, to give it up with all its data, confirm with its name: tank
    "#]].assert_eq(&text);
    let by_uuid = uuid(b'P', 1).to_string();
    for confirm in ["tank", &by_uuid] {
        assert!(matches!(begin(&mut bench, "S0", confirm), Ok(Begun::Job(_))), "{confirm}");
    }
}

/// Goal: a wiped drive is blank, whatever it was, and a new pool takes it; a blank one needs nothing.
#[test]
fn wiped_drives_are_blank() {
    let (mut bench, _pool) = Bench::with_tank(2);
    bench.drives.remove(1);
    wipe(&mut bench, 0, "tank").expect("no fault");
    assert_eq!(role(&mut bench, 0), Role::Blank);
    assert!(matches!(begin(&mut bench, "S0", ""), Ok(Begun::Unchanged)));
    let mut foreign = Drive::new("F0", 64);
    foreign.put(512, b"EFI PART");
    foreign.put((64 << 20) - 512, b"EFI PART");
    bench.drives.push(SimDrive::new(foreign));
    let found = role(&mut bench, 1).detail();
    wipe(&mut bench, 1, &found).expect("no fault");
    assert_eq!(role(&mut bench, 1), Role::Blank);
    let pool = bench.create(&tank(1)).expect("no cut").expect("no fault");
    assert!(pool.volumes().is_empty());
}

/// Goal: a wipe that the power or a fault ends never brings back a pool that was offline for a reason, here one with an older
/// copy of a drive; and it can be done again. Method: cut after every operation, with 30 outcomes each.
#[test]
fn half_a_wipe_brings_no_pool_back() {
    for outcome in 0..30 {
        for cut_in in 0.. {
            let mut bench = Bench::with_older_copy(outcome);
            let mut job = job(begin(&mut bench, "S0", "tank"));
            let is_done = run(&mut bench, 0, &mut job, cut_in).is_ok();
            let imported = bench.import();
            assert!(imported.pools.is_empty(), "cut after {cut_in} operations, outcome {outcome}");
            let role_now = &imported.drives[0].role;
            let is_member = matches!(role_now, Role::Member(_));
            let confirm = if is_member { "tank".to_owned() } else { role_now.detail() };
            if begin(&mut bench, "S0", &confirm).is_ok_and(|begun| matches!(begun, Begun::Job(_))) {
                wipe(&mut bench, 0, &confirm).expect("no fault");
            }
            assert_eq!(role(&mut bench, 0), Role::Blank);
            if is_done {
                assert!(cut_in > 3, "it had several operations");
                break;
            }
        }
    }
}

/// Goal: a wipe that a fault ends leaves the drive to its pool, which stays offline: no new pool may take the drive, whose label
/// may be as it was, and the same request wipes it. Method: a fault at every operation, at the label and behind it.
#[test]
fn failed_wipe_changes_nothing_that_is_known() {
    for fails_after in 0.. {
        let mut bench = Bench::with_older_copy(0);
        let Imported { mut drives, mut offline, .. } = bench.import();
        let before = (drives.clone(), offline.clone());
        bench.drives[0].drive.faults.fails_after = Some(fails_after);
        let confirmed = request("S0", "tank");
        let mut wiping = job(begin_wipe(&confirmed, &drives, &offline).map(|(_, begun)| begun));
        run(&mut bench, 0, &mut wiping, usize::MAX).expect("no cut");
        if finish_wipe(DriveId(0), &wiping, &mut drives, &mut offline).is_ok() {
            assert!(fails_after > 3, "it had several operations");
            break;
        }
        assert_eq!((&drives, &offline), (&before.0, &before.1), "a fault at operation {fails_after}");
        let pond = CreatePool {
            uuid: uuid(b'P', 2),
            name: "pond".to_owned(),
            overwrite_foreign_data: true,
            ..tank(1)
        };
        let refused =
            begin_create_pool(&pond, &drives, &offline, || uuid(b'D', 9)).expect_err("it is a member");
        assert!(refused.message.contains("is a member of pool"), "{}", refused.message);
        bench.drives[0].drive.faults.fails_after = None;
        let mut wiping = job(begin_wipe(&confirmed, &drives, &offline).map(|(_, begun)| begun));
        run(&mut bench, 0, &mut wiping, usize::MAX).expect("no cut");
        finish_wipe(DriveId(0), &wiping, &mut drives, &mut offline).expect("no fault");
        assert_eq!((&drives[0].role, offline[0].present.as_slice()), (&Role::Blank, &["S1".to_owned()][..]));
        assert_eq!(role(&mut bench, 0), Role::Blank);
    }
}
