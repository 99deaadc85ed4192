//! Work on the members that makes a change durable, without doing IO itself.
//!
//! ```text
//!  stage 1: zeroes and writes, all members ──▶ flush all ──▶ stage 2 … ──▶ flush all ──▶ result
//! ```
//!
//! Invariants
//! - No operation of a stage is given out before every operation of the stage before, and the flushes after it,
//!   completed well on all members. The order of stages is what makes changes safe; it holds on every drive.
//! - After the first error nothing more is given out; the result appears when everything in flight came back.
//! - At most [`JOB_DEPTH_MAX`] operations are in flight on one member, so hosts are not crowded out.

use crate::change::Gain;
use crate::drive::{Drive, MemberIndex};
use crate::limits::{JOB_DEPTH_MAX, ZERO_BLOCKS_MAX};
use block::{BLOCK_SIZE, Blocks, Completion, IoBuf, Lba, MediaError, Op, Tag};
use control::{ControlError, ErrorKind};
use ondisk::PoolRecord;
use ondisk::limits::TRANSFER_BYTES_MAX;
use std::collections::VecDeque;
use thiserror::Error;
use uuid::Uuid;

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("drive {serial} failed to {what}: {error}")]
pub struct JobError {
    /// What was being done: "zero new extents".
    pub what: &'static str,
    /// The drive.
    pub serial: String,
    /// What the drive said.
    pub error: MediaError,
    /// Some members may hold the new record, others not: the next import decides whether the change happened.
    pub is_undecided: bool,
}

impl From<JobError> for ControlError {
    fn from(error: JobError) -> Self {
        let remedy = if error.is_undecided {
            "restart the engine: it will find out whether the change happened, until then the pool accepts no changes"
        } else {
            "the change did not happen; check the drive, then try again"
        };
        Self::new(ErrorKind::Unavailable, error.to_string())
            .object(format!("drive/{}", error.serial))
            .remedy(remedy)
    }
}

/// One piece of work on a member.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Zero { lba: Lba, blocks: Blocks },
    Write { lba: Lba, bytes: Vec<u8> },
}

/// Work in any order on all members, followed by a flush of all members.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) what: &'static str,
    /// From its first operation on, what the next import finds is undecided until the stage is complete.
    pub(crate) is_commit: bool,
    /// By member.
    pub(crate) queues: Vec<VecDeque<Work>>,
}

impl Stage {
    pub(crate) fn new(what: &'static str, is_commit: bool, members: usize) -> Self {
        Self { what, is_commit, queues: (0..members).map(|_| VecDeque::new()).collect() }
    }

    pub(crate) fn push(&mut self, member: usize, work: Work) {
        self.queues[member].push_back(work);
    }
}

/// What a job is for; decides what [`crate::Pool::finish`] does with it.
#[derive(Debug)]
pub(crate) enum Goal {
    /// The record as it is, durable everywhere.
    Settle,
    /// The first record.
    Create,
    /// Zeroes where a volume is to have extents; the record follows.
    Gain(Box<Gain>),
    /// A new record.
    Change(Box<PoolRecord>),
    /// Blank drives.
    Delete,
    /// A blank drive, of no pool.
    Wipe,
}

/// What a job of a pool of the thin engine asks for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// An empty pool.
    Create,
    /// That the volumes become as this record has them.
    Change(&'a PoolRecord),
    /// That the drive is blank.
    Delete,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    piece_max: Blocks,
    in_flight: usize,
    needs_flush: bool,
}

/// A change on its way to the drives. When [`Job::result`] is there, give it to [`crate::Pool::begin_commit`] if it
/// [prepares](Job::is_preparing) a change, that of a wipe to [`crate::finish_wipe`], else to [`crate::Pool::finish`]; do not
/// drop it before: its pool would stay busy.
#[must_use]
#[derive(Debug)]
pub struct Job {
    pub(crate) pool: Uuid,
    pub(crate) goal: Goal,
    serials: Vec<String>,
    members: Vec<Member>,
    stages: VecDeque<Stage>,
    is_flushing: bool,
    has_committed: bool,
    /// The member that is asked first next time.
    turn: usize,
    in_flight: Vec<(Tag, usize)>,
    next_tag: u64,
    failure: Option<JobError>,
    done: u64,
    total: u64,
}

impl Job {
    pub(crate) fn new(pool: Uuid, goal: Goal, drives: &[Drive], stages: Vec<Stage>) -> Self {
        let members: Vec<Member> = drives
            .iter()
            .map(|drive| {
                let piece = drive.geometry.transfer_max.0.min((TRANSFER_BYTES_MAX / BLOCK_SIZE) as u64);
                Member { piece_max: Blocks(piece.max(1)), in_flight: 0, needs_flush: false }
            })
            .collect();
        let mut total = 0;
        for stage in &stages {
            assert_eq!(stage.queues.len(), members.len(), "a stage has a queue for each member");
            for (queue, member) in stage.queues.iter().zip(&members) {
                total += 1 + queue.iter().map(|work| pieces(work, member.piece_max)).sum::<u64>();
            }
        }
        Self {
            pool,
            goal,
            serials: drives.iter().map(|d| d.serial.clone()).collect(),
            members,
            stages: stages.into(),
            is_flushing: false,
            has_committed: false,
            turn: 0,
            in_flight: Vec::new(),
            next_tag: 0,
            failure: None,
            done: 0,
            total,
        }
    }

    /// The next operation, for a member of the pool; the tag is unique within the job. Call until `None`, after the
    /// start and after each completion. `None` also while `alloc`, which gives a buffer of exactly the length asked
    /// for, has none: then call again later.
    pub fn poll_op<B: IoBuf>(
        &mut self,
        mut alloc: impl FnMut(usize) -> Option<B>,
    ) -> Option<(MemberIndex, Tag, Op<B>)> {
        if self.failure.is_some() {
            return None;
        }
        let stage = self.stages.front_mut()?;
        let count = self.members.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let member = &mut self.members[index];
            if member.in_flight >= JOB_DEPTH_MAX {
                continue;
            }
            let op = if self.is_flushing {
                core::mem::take(&mut member.needs_flush).then_some(Op::Flush)
            } else {
                next_piece(&mut stage.queues[index], member.piece_max, &mut alloc)
            };
            let Some(op) = op else { continue };
            member.in_flight += 1;
            self.turn = index + 1;
            self.has_committed |= stage.is_commit;
            let tag = Tag(self.next_tag);
            self.next_tag += 1;
            self.in_flight.push((tag, index));
            return Some((MemberIndex(u16::try_from(index).unwrap_or(u16::MAX)), tag, op));
        }
        None
    }

    /// The end of an operation that [`Job::poll_op`] gave.
    ///
    /// # Panics
    /// If no operation with this tag is in flight.
    pub fn on_completion<B: IoBuf>(&mut self, completion: Completion<B>) {
        let Completion { tag, result, buf } = completion;
        drop(buf);
        let place = self.in_flight.iter().position(|(t, _)| *t == tag);
        let place = place.expect("a completion answers an operation of this job");
        let (_, index) = self.in_flight.swap_remove(place);
        self.members[index].in_flight -= 1;
        match result {
            Ok(()) => self.done += 1,
            Err(error) => self.fail(index, error),
        }
        if self.failure.is_none() && self.in_flight.is_empty() {
            self.advance();
        }
    }

    fn fail(&mut self, index: usize, error: MediaError) {
        let what = self.stages.front().map_or("finish", |stage| stage.what);
        let first =
            JobError { what, serial: self.serials[index].clone(), error, is_undecided: self.has_committed };
        self.failure.get_or_insert(first);
    }

    /// Nothing is in flight: goes on to the flushes, or to the next stage.
    fn advance(&mut self) {
        let Some(stage) = self.stages.front() else { return };
        if self.is_flushing {
            if self.members.iter().all(|m| !m.needs_flush) {
                self.is_flushing = false;
                self.stages.pop_front();
                self.begin_stage();
            }
        } else if stage.queues.iter().all(VecDeque::is_empty) {
            self.begin_flush();
        }
    }

    /// A stage without work is only its flushes.
    pub(crate) fn begin_stage(&mut self) {
        if self.stages.front().is_some_and(|s| s.queues.iter().all(VecDeque::is_empty)) {
            self.begin_flush();
        }
    }

    fn begin_flush(&mut self) {
        self.is_flushing = true;
        for member in &mut self.members {
            member.needs_flush = true;
        }
    }

    /// How it ended: `None` while operations are to be done or in flight.
    #[must_use]
    pub fn result(&self) -> Option<Result<(), JobError>> {
        if !self.in_flight.is_empty() {
            return None;
        }
        match &self.failure {
            Some(failure) => Some(Err(failure.clone())),
            None => self.stages.is_empty().then_some(Ok(())),
        }
    }

    /// What the thin engine is asked for, if the job's pool is its; [`Job::end`] says how that ended.
    ///
    /// # Panics
    /// If no job of such a pool can want this.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        match &self.goal {
            Goal::Create => Asked::Create,
            Goal::Change(record) => Asked::Change(record),
            Goal::Delete => Asked::Delete,
            Goal::Settle | Goal::Gain(_) | Goal::Wipe => {
                unreachable!("a pool of the thin engine is settled, zeroes nothing, and is no drive")
            }
        }
    }

    /// The thin engine has done what was asked for, or has failed; whether it may have done it nevertheless is for the next import
    /// to find out.
    pub fn end(&mut self, result: Result<(), MediaError>, is_undecided: bool) {
        self.stages.clear();
        if let Err(error) = result {
            let serial = self.serials.first().cloned().unwrap_or_default();
            self.failure = Some(JobError { what: "make the change durable", serial, error, is_undecided });
        }
    }

    /// Prepares a change, and changes nothing that is stored: settings of the pool's volumes may change meanwhile.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        matches!(self.goal, Goal::Gain(_))
    }

    /// Operations done, and in all.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.total)
    }
}

/// How many operations a piece of work takes.
fn pieces(work: &Work, piece_max: Blocks) -> u64 {
    match work {
        Work::Zero { blocks, .. } => blocks.0.div_ceil(ZERO_BLOCKS_MAX.0),
        Work::Write { bytes, .. } => ((bytes.len() / BLOCK_SIZE) as u64).div_ceil(piece_max.0),
    }
}

/// Cuts the next operation off the front of a queue.
fn next_piece<B: IoBuf>(
    queue: &mut VecDeque<Work>,
    piece_max: Blocks,
    alloc: &mut impl FnMut(usize) -> Option<B>,
) -> Option<Op<B>> {
    let (op, is_last) = match queue.front_mut()? {
        Work::Zero { lba, blocks } => {
            let piece = Blocks(blocks.0.min(ZERO_BLOCKS_MAX.0));
            let op = Op::WriteZeroes { lba: *lba, blocks: piece, fua: false };
            *lba = Lba(lba.0 + piece.0);
            *blocks = Blocks(blocks.0 - piece.0);
            (op, *blocks == Blocks(0))
        }
        Work::Write { lba, bytes } => {
            let len = bytes.len().min(piece_max.buffer_len()?);
            let mut buf = alloc(len)?;
            assert_eq!(buf.as_ref().len(), len, "a buffer has the length asked for");
            buf.as_mut().copy_from_slice(&bytes[..len]);
            bytes.drain(..len);
            let op = Op::Write { lba: *lba, buf, fua: false };
            *lba = Lba(lba.0 + (len / BLOCK_SIZE) as u64);
            (op, bytes.is_empty())
        }
    };
    if is_last {
        queue.pop_front();
    }
    Some(op)
}
