//! Commands that bring a list of ranges, and go through it step by step: Dataset Management and Copy.
//!
//! Deallocating means writing zeroes as long as pools are thick: their space cannot be given back, so what a host gains is
//! that the blocks read the same from then on, whatever drives do. It costs what Write Zeroes costs: drives that have the
//! command only note it, others write.
//!
//! Copying goes through one buffer, piece by piece: a piece ends where the source, the destination, or the range does.
//!
//! ```text
//!  source        |   128 KiB   |   128 KiB   |        pieces end at these boundaries,
//!  destination        |   128 KiB   |                 and at these: each is one operation for either drive
//!  pieces        [----|--------|----|--------]
//! ```
//!
//! Invariant: the list is checked as a whole before the first of its ranges is used, and read again for each step: it stays in
//! the command's own buffer.

use crate::Target;
use crate::chunks::Part;
use crate::command::Command;
use crate::io::Batch;
use crate::limits::{CHUNK_BYTES, ZERO_BLOCKS_MAX, ZERO_OPS_PER_STEP_MAX};
use crate::steps::status_of;
use block::{BLOCK_SIZE, Blocks, Lba, Op, Tag};
use nvme_spec::Status;
use nvme_subsystem::{Copying, Dataset};

const CHUNK_BLOCKS: u64 = (CHUNK_BYTES / BLOCK_SIZE) as u64;

/// Where a command is in its list of ranges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// The range that is next.
    range: usize,
    /// Blocks of it that are done.
    blocks: u64,
    /// Blocks of all ranges that are done.
    total: u64,
    /// Blocks that were read, and are to be written.
    piece: u64,
}

/// The data of a command that is a list of ranges.
pub(crate) fn list(command: &Command) -> &[u8] {
    command.chunks.bytes(&Part { index: 0, range: 0..command.len }).expect("the list is here")
}

impl Target {
    /// The next ranges that a host does not need any more, until there are enough operations. Blocks of which it needs a
    /// part stay as they are.
    pub(crate) fn plan_dataset(
        &self,
        batch: &mut Batch,
        tag: Tag,
        command: &mut Command,
        volume: u64,
        dataset: Dataset,
    ) -> Result<(), Status> {
        let ranges = dataset.ranges(list(command))?;
        if !dataset.is_deallocate() {
            return Ok(());
        }
        let mut position = command.position;
        while batch.len() < ZERO_OPS_PER_STEP_MAX
            && let Some(span) = ranges.get(position.range)
        {
            let (lba, blocks) = span.inner();
            let now = (blocks.0 - position.blocks).min(ZERO_BLOCKS_MAX);
            if now > 0 {
                let from = Lba(lba.0 + position.blocks);
                self.plan_zeroes(batch, tag, volume, (from, Blocks(now)), false).map_err(status_of)?;
            }
            position = position.after(now, blocks);
        }
        command.position = position;
        Ok(())
    }

    /// The piece that was read is written, or the next one is read.
    pub(crate) fn plan_copy(
        &self,
        batch: &mut Batch,
        tag: Tag,
        command: &mut Command,
        volume: u64,
        copying: Copying,
    ) -> Result<(), Status> {
        let ranges = copying.ranges(list(command))?;
        let position = command.position;
        let Some(span) = ranges.get(position.range) else { return Ok(()) };
        let (from, blocks) = span.blocks();
        let from = Lba(from.0 + position.blocks);
        let to = Lba(ranges.to().blocks().0.0 + position.total);
        let is_read = position.piece == 0;
        let piece = if is_read {
            let to_boundary = |lba: Lba| CHUNK_BLOCKS - lba.0 % CHUNK_BLOCKS;
            (blocks.0 - position.blocks).min(to_boundary(from)).min(to_boundary(to))
        } else {
            position.piece
        };
        let len = Blocks(piece).buffer_len().expect("at most a buffer");
        let (drive, lba) = self.locate(volume, if is_read { from } else { to }, 0..len)?;
        let mut buf = command.aside.take(0).expect("the buffer is here");
        let op = if is_read {
            command.position.piece = piece;
            buf.resize(len);
            Op::Read { lba, buf }
        } else {
            command.position = position.after(piece, blocks);
            Op::Write { lba, buf, fua: copying.fua() }
        };
        batch.push((drive, tag, op));
        Ok(())
    }
}

impl Position {
    /// After `count` more blocks of a range that has `blocks`.
    fn after(self, count: u64, blocks: Blocks) -> Self {
        let (done, total) = (self.blocks + count, self.total + count);
        if done == blocks.0 {
            Self { range: self.range + 1, blocks: 0, total, piece: 0 }
        } else {
            Self { range: self.range, blocks: done, total, piece: 0 }
        }
    }
}
