//! What a command does, step by step: the operations that its next step needs, and what is made of those before.
//!
//! | command | steps |
//! |---|---|
//! | Read, Write, Verify, Write Zeroes, Flush | one |
//! | Compare | read into buffers aside; compare |
//! | Dataset Management | zeroes, a bounded number of operations at a time |
//!
//! Each buffer of a command lies in one piece on one drive (see `chunks`), so reads and writes are one operation for each
//! buffer. Zeroes follow the map; Flush goes to every drive of the pool.
//!
//! Deallocating means writing zeroes as long as pools are thick: their space cannot be given back, so what a host gains is
//! that the blocks read the same from then on, whatever drives do. It costs what Write Zeroes costs: drives that have the
//! command only note it, others write.
//!
//! Invariant: after a failure no step follows; operations of the step that failed still come back.

use crate::Target;
use crate::chunks::{Chunks, Part};
use crate::command::Command;
use crate::io::{Batch, tag};
use crate::limits::{CHUNKS_MAX, ZERO_BLOCKS_MAX, ZERO_OPS_PER_STEP_MAX};
use block::{Blocks, Lba, Op, Tag};
use core::ops::Range;
use nvme_spec::Status;
use nvme_subsystem::{Dataset, Io, IoKind, Span};
use nvme_tcp::Slot;
use pool::{DriveId, MapError};

/// Where a command goes through a list of ranges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// The range that is next.
    range: usize,
    /// Blocks of it that are done.
    blocks: u64,
}

/// A command of which a step has come back may have another one.
pub(crate) fn has_more(io: &Io) -> bool {
    match io.kind {
        IoKind::Read { .. }
        | IoKind::Write { .. }
        | IoKind::Verify { .. }
        | IoKind::WriteZeroes { .. }
        | IoKind::Flush => false,
        IoKind::Compare { .. } | IoKind::Dataset(_) => true,
    }
}

/// Buffers that a command needs beside those for its data: bytes, and where they lie in the volume.
pub(crate) fn aside(io: &Io) -> Option<Span> {
    match io.kind {
        IoKind::Compare { span } => Some(span),
        IoKind::Read { .. }
        | IoKind::Write { .. }
        | IoKind::Verify { .. }
        | IoKind::WriteZeroes { .. }
        | IoKind::Dataset(_)
        | IoKind::Flush => None,
    }
}

impl Target {
    /// The operations of a command's next step. After an error those that were planned are still done: their buffers are
    /// with them.
    pub(crate) fn plan(
        &self,
        batch: &mut Batch,
        (place, slot): (usize, Slot),
        command: &mut Command,
        io: Io,
    ) -> Result<(), Status> {
        let tag = |index| tag(place, slot, index);
        match io.kind {
            IoKind::Read { span } | IoKind::Verify { span } => {
                self.plan_reads(batch, tag, &mut command.chunks, io.volume, span)
            }
            IoKind::Write { span, fua } => {
                self.plan_writes(batch, tag, &mut command.chunks, io.volume, (span, fua))
            }
            IoKind::Compare { span } if command.step == 0 => {
                let tag = |index| tag(CHUNKS_MAX + index);
                self.plan_reads(batch, tag, &mut command.aside, io.volume, span)
            }
            IoKind::Compare { .. } => compare(&command.chunks, &command.aside),
            IoKind::WriteZeroes { span, fua, deallocate: _ } => {
                let (lba, blocks) = span.blocks();
                self.plan_zeroes(batch, tag(0), io.volume, (lba, blocks), fua).map_err(status_of)
            }
            IoKind::Dataset(dataset) => self.plan_dataset(batch, tag(0), command, io.volume, dataset),
            IoKind::Flush => {
                let (pool, _) = self.exported(io.volume).ok_or(MapError::NoVolume).map_err(status_of)?;
                let flush = |drive: &pool::Drive| (drive.id, tag(0), Op::Flush);
                batch.extend(pool.drives().iter().map(flush));
                Ok(())
            }
        }
    }

    fn plan_reads(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        chunks: &mut Chunks,
        volume: u64,
        span: Span,
    ) -> Result<(), Status> {
        for index in 0..chunks.count() {
            let (drive, lba) = self.locate(volume, span.blocks().0, chunks.range(index))?;
            let buf = chunks.take(index).expect("all buffers are here");
            batch.push((drive, tag(index), Op::Read { lba, buf }));
        }
        Ok(())
    }

    fn plan_writes(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        chunks: &mut Chunks,
        volume: u64,
        (span, fua): (Span, bool),
    ) -> Result<(), Status> {
        for index in 0..chunks.count() {
            let (drive, lba) = self.locate(volume, span.blocks().0, chunks.range(index))?;
            let buf = chunks.take(index).expect("all buffers are here");
            batch.push((drive, tag(index), Op::Write { lba, buf, fua }));
        }
        Ok(())
    }

    /// Where the bytes of one buffer lie.
    fn locate(&self, volume: u64, lba: Lba, bytes: Range<usize>) -> Result<(DriveId, Lba), Status> {
        let find = || {
            let (pool, nsid) = self.exported(volume).ok_or(MapError::NoVolume)?;
            let (skip, blocks) = (Blocks::of_buffer(bytes.start), Blocks::of_buffer(bytes.len()));
            let (Some(skip), Some(blocks)) = (skip, blocks) else { return Err(MapError::OutOfRange) };
            let lba = lba.checked_add(skip).ok_or(MapError::OutOfRange)?;
            let segment = pool.map(nsid, lba, blocks)?.next().ok_or(MapError::OutOfRange)?;
            assert_eq!(segment.blocks, blocks, "a buffer's blocks lie in one extent");
            Ok((pool.drive(segment.member), segment.lba))
        };
        find().map_err(status_of)
    }

    fn plan_zeroes(
        &self,
        batch: &mut Batch,
        tag: Tag,
        volume: u64,
        (lba, blocks): (Lba, Blocks),
        fua: bool,
    ) -> Result<(), MapError> {
        let (pool, nsid) = self.exported(volume).ok_or(MapError::NoVolume)?;
        for segment in pool.map(nsid, lba, blocks)? {
            let drive = pool.drive(segment.member);
            let (mut lba, mut left) = (segment.lba, segment.blocks.0);
            while left > 0 {
                let blocks = Blocks(left.min(ZERO_BLOCKS_MAX));
                batch.push((drive, tag, Op::WriteZeroes { lba, blocks, fua }));
                lba = Lba(lba.0 + blocks.0);
                left -= blocks.0;
            }
        }
        Ok(())
    }

    /// The next ranges that a host does not need any more, until there are enough operations. Blocks of which it needs a
    /// part stay as they are.
    fn plan_dataset(
        &self,
        batch: &mut Batch,
        tag: Tag,
        command: &mut Command,
        volume: u64,
        dataset: Dataset,
    ) -> Result<(), Status> {
        let whole = Part { index: 0, range: 0..command.len };
        let ranges = dataset.ranges(command.chunks.bytes(&whole).expect("the list is here"))?;
        if !dataset.is_deallocate() {
            return Ok(());
        }
        let position = &mut command.position;
        while batch.len() < ZERO_OPS_PER_STEP_MAX
            && let Some(span) = ranges.get(position.range)
        {
            let (lba, blocks) = span.inner();
            let now = (blocks.0 - position.blocks).min(ZERO_BLOCKS_MAX);
            if now > 0 {
                let from = Lba(lba.0 + position.blocks);
                self.plan_zeroes(batch, tag, volume, (from, Blocks(now)), false).map_err(status_of)?;
            }
            position.blocks += now;
            if position.blocks == blocks.0 {
                *position = Position { range: position.range + 1, blocks: 0 };
            }
        }
        Ok(())
    }
}

/// What is stored is what the host sent.
fn compare(sent: &Chunks, stored: &Chunks) -> Result<(), Status> {
    if sent.equals(stored) { Ok(()) } else { Err(Status::COMPARE_FAILURE.dnr()) }
}

fn status_of(error: MapError) -> Status {
    match error {
        // The volume went away, or shrank, after the command was checked.
        MapError::NoVolume => Status::INVALID_NAMESPACE.dnr(),
        MapError::OutOfRange => Status::LBA_OUT_OF_RANGE.dnr(),
    }
}
