//! Jobs: order, depth, waiting for buffers, errors, progress.

use super::bench::Bench;
use super::{job, volume};
use crate::limits::{JOB_DEPTH_MAX, ZERO_BLOCKS_MAX};
use crate::{Begun, Drive, DriveId, Job, MemberIndex};
use block::{Blocks, Completion, Geometry, MediaError, Op, Tag};

fn next(job: &mut Job) -> Option<(MemberIndex, Tag, Op<Vec<u8>>)> {
    job.poll_op(|len| Some(vec![0; len]))
}

fn complete(job: &mut Job, tag: Tag, op: Op<Vec<u8>>, result: Result<(), MediaError>) {
    job.on_completion(Completion { tag, buf: op.into_buf(), result });
}

fn name(op: &Op<Vec<u8>>) -> &'static str {
    match op {
        Op::Read { .. } => "read",
        Op::Write { .. } => "write",
        Op::WriteZeroes { .. } => "zero",
        Op::Flush => "flush",
    }
}

/// Goal: zeroes, flush all, record on all, flush all: no operation is given out before the stage before is complete
/// on every member.
#[test]
fn stages_wait_for_all_members() {
    let (_, mut pool) = Bench::with_tank(2);
    let mut job = job(pool.begin_create_volume(&volume(1, 2)));
    let mut rounds = Vec::new();
    loop {
        if job.result().is_some() && job.is_preparing() {
            job = pool.begin_commit(job).expect("nothing came between");
            rounds.push("commit".to_owned());
        }
        if job.result().is_some() {
            break;
        }
        let mut round = Vec::new();
        while let Some((member, tag, op)) = next(&mut job) {
            round.push((member.0, tag, op));
        }
        rounds
            .push(round.iter().map(|(m, _, op)| format!("{} {m}", name(op))).collect::<Vec<_>>().join(", "));
        // All but one complete: nothing more may be given out.
        let last = round.pop().expect("a job that waits has something in flight");
        for (_, tag, op) in round {
            complete(&mut job, tag, op, Ok(()));
            assert!(next(&mut job).is_none());
        }
        complete(&mut job, last.1, last.2, Ok(()));
    }
    assert_eq!(rounds, ["zero 0", "flush 1, flush 0", "commit", "write 0, write 1", "flush 0, flush 1"]);
    assert_eq!(job.result(), Some(Ok(())));
    assert_eq!(job.progress(), (4, 4));
    pool.finish(job).expect("it went well");
}

/// Goal: a large volume is zeroed in bounded pieces, and never more than the depth in flight on one drive.
#[test]
fn zeroing_is_bounded() {
    let geometry = Geometry {
        blocks: Blocks(1 << 28),
        transfer_max: Blocks(32),
        depth_max: 64,
        is_volatile: true,
        is_block_atomic: true,
    };
    let drive = Drive { id: DriveId(0), serial: "S0".to_owned(), geometry };
    let drives = [crate::KnownDrive { drive, role: crate::Role::Blank }];
    let (mut pool, mut creation) =
        crate::begin_create_pool(&super::tank(1), &drives, &[], || super::uuid(b'D', 1))
            .expect("a good request");
    drain(&mut creation);
    pool.finish(creation).expect("it went well");

    let size_mib = 500 * 1024 + 3;
    let mut job = job(pool.begin_create_volume(&volume(1, size_mib)));
    let mut zeroed = 0;
    let mut waiting = Vec::new();
    while zeroed < size_mib * 256 {
        while let Some((_, tag, op)) = next(&mut job) {
            waiting.push((tag, op));
        }
        assert!(waiting.len() <= JOB_DEPTH_MAX);
        let (tag, op) = waiting.remove(0);
        let (_, blocks) = op.range().expect("a zeroing");
        assert!(blocks <= ZERO_BLOCKS_MAX);
        zeroed += blocks.0;
        complete(&mut job, tag, op, Ok(()));
    }
    let (done, total) = job.progress();
    assert!(done > 16_000 && total - done < 10, "{done} of {total}");
    drain(&mut job);
    let mut commit = pool.begin_commit(job).expect("it went well");
    drain(&mut commit);
    pool.finish(commit).expect("it went well");
}

/// Completes everything.
fn drain(job: &mut Job) {
    while let Some((_, tag, op)) = next(job) {
        complete(job, tag, op, Ok(()));
    }
    assert_eq!(job.result(), Some(Ok(())));
}

/// Goal: without a buffer a job waits, and goes on when there is one.
#[test]
fn job_waits_for_buffers() {
    let (_, mut pool) = Bench::with_tank(1);
    let mut delete = job(pool.begin_delete_pool());
    let (_, tag, op) = next(&mut delete).expect("the zeroing needs no buffer");
    complete(&mut delete, tag, op, Ok(()));
    let (_, tag, op) = next(&mut delete).expect("nor does the flush");
    complete(&mut delete, tag, op, Ok(()));
    assert!(delete.poll_op(|_| None::<Vec<u8>>).is_none());
    assert_eq!(delete.result(), None);
    drain(&mut delete);
}

/// Goal: after an error nothing more is given out, and the result waits for what is in flight.
#[test]
fn failed_job_waits_for_what_is_in_flight() {
    let (_, mut pool) = Bench::with_tank(2);
    let mut create = job(pool.begin_create_volume(&volume(1, 2)));
    let (_, tag, op) = next(&mut create).expect("the zeroing");
    complete(&mut create, tag, op, Ok(()));
    let first = next(&mut create).expect("a flush");
    let second = next(&mut create).expect("another flush");
    complete(&mut create, first.1, first.2, Err(MediaError::Gone));
    assert!(next(&mut create).is_none());
    assert_eq!(create.result(), None);
    complete(&mut create, second.1, second.2, Err(MediaError::TimedOut));
    let error = create.result().expect("nothing is in flight").expect_err("it failed");
    assert_eq!(error.to_string(), "drive S1 failed to zero new extents: the device is gone");
    assert!(!error.is_undecided);
    assert_eq!(pool.begin_commit(create).map(drop), Err(error.into()));
    assert!(
        matches!(pool.begin_create_volume(&volume(2, 55)), Ok(Begun::Job(_))),
        "nothing is held any more"
    );
}

/// Goal: a drive that takes one block per transfer gets its record in pieces, in order.
#[test]
fn records_are_cut_to_the_transfer_size() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    for number in 1..=40 {
        let job = job(pool.begin_create_volume(&volume(number, 1)));
        bench.run(&mut pool, job).expect("no cut").expect("no fault");
    }
    bench.drives[0].drive.geometry.transfer_max = Blocks(1);
    let mut pool = bench.reopen();
    let delete = job(pool.begin_delete_volume(super::uuid(b'V', 1)));
    bench.run(&mut pool, delete).expect("no cut").expect("no fault");
    assert_eq!(bench.reopen().volumes().len(), 39);
}
