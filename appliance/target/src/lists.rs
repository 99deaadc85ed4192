//! Commands that bring a list of ranges, and go through it step by step: Dataset Management and Copy.
//!
//! Deallocating means writing zeroes. In a thick pool space cannot be given back, so what a host gains is that the blocks
//! read the same from then on, whatever drives do; the thin engine gives it back. It costs what Write Zeroes costs: drives that have the
//! command only note it, others write.
//!
//! Copying goes piece by piece: a piece ends where the source, the destination, or the range does.
//!
//! ```text
//!  source        |   128 KiB   |   128 KiB   |        pieces end at these boundaries,
//!  destination        |   128 KiB   |                 and at these: each is one operation for either drive
//!  pieces        [----|--------|----|--------]
//! ```
//!
//! With 512-byte logical blocks, sources and destination may start and end anywhere within the drives' blocks. A piece then is
//! either whole blocks of the destination, or lies within one of them, which is read first and written with the rest of it:
//!
//! ```text
//!  source             |    4096    |    4096    |    4096    |      read into the first buffer
//!                           [-----|------------|--]
//!  destination   |    4096    |    4096    |    4096    |           the first and the last are read into the second buffer
//!                       [-----|------------|--]                     pieces: a part of a block, whole blocks, a part of a block
//! ```
//!
//! Invariants
//! - The list is checked as a whole before the first of its ranges is used, and read again for each step: it stays in the
//!   command's own buffer.
//! - A Copy that is not of whole blocks is alone at everything between its first and its last block (`ranges`), for the reason
//!   that other partial writes are (`edges`). The bounds of a Copy bound how long.

use crate::Target;
use crate::chunks::Part;
use crate::command::Command;
use crate::io::Batch;
use crate::limits::{CHUNK_BYTES, CHUNKS_MAX, ZERO_BLOCKS_MAX, ZERO_OPS_PER_STEP_MAX};
use crate::steps::status_of;
use block::{BLOCK_SIZE, Blocks, Bytes, Lba, Op, Tag};
use nvme_spec::Status;
use nvme_subsystem::{Copying, Dataset, Span};

const BLOCK: u64 = BLOCK_SIZE as u64;
const CHUNK: u64 = CHUNK_BYTES as u64;

/// Where a command is in its list of ranges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// The range that is next.
    range: usize,
    /// Bytes of it that are done.
    done: u64,
    /// Bytes of all ranges that are done.
    total: u64,
    /// Bytes that were read, and are to be written.
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
        let mut position = command.rest_mut().position;
        let ranges = dataset.ranges(list(command))?;
        if !dataset.is_deallocate() {
            return Ok(());
        }
        while batch.len() < ZERO_OPS_PER_STEP_MAX
            && let Some(span) = ranges.get(position.range)
        {
            let (lba, blocks) = span.inner();
            let done = position.done / BLOCK;
            let now = (blocks.0 - done).min(ZERO_BLOCKS_MAX);
            if now > 0 {
                let from = Lba(lba.0 + done);
                self.plan_zeroes(batch, tag, volume, (from, Blocks(now)), false).map_err(status_of)?;
            }
            position = position.after(now * BLOCK, blocks.0 * BLOCK);
        }
        command.rest_mut().position = position;
        Ok(())
    }

    /// The piece that was read is written, or the next one is read.
    pub(crate) fn plan_copy(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        command: &mut Command,
        volume: u64,
        copying: Copying,
    ) -> Result<(), Status> {
        let position = command.rest_mut().position;
        let ranges = copying.ranges(list(command))?;
        let Some(range) = ranges.get(position.range) else { return Ok(()) };
        let (from, to) = (range.start().0 + position.done, ranges.to().start().0 + position.total);
        let is_read = position.piece == 0;
        let len = if is_read { piece(from, to, range.len().0 - position.done) } else { position.piece };
        let span = |start| Span::new(Bytes(start), Bytes(len)).expect("a part of a range that was checked");
        let (from, to) = (span(from), span(to));
        if is_read {
            command.rest_mut().position.piece = len;
            self.plan_piece_read(batch, tag(CHUNKS_MAX), (command, 0), volume, from)?;
            if !to.is_whole() {
                self.plan_piece_read(batch, tag(CHUNKS_MAX + 1), (command, 1), volume, to)?;
            }
            return Ok(());
        }
        let cover = to.blocks().1.buffer_len().expect("at most a buffer");
        let (drive, lba) = self.locate(volume, to.blocks().0, 0..cover)?;
        // Where the source starts and ends between blocks, the destination does, too: then nothing has to be moved.
        let index = usize::from(!from.is_whole());
        let mut buf = command.rest_mut().aside.take(index).expect("the buffer is here");
        if index > 0 {
            buf.resize(cover);
            let len = usize::try_from(len).expect("at most a buffer");
            let source = &command.rest_mut().aside.buffer(0)[from.lead()..][..len];
            buf.as_mut()[to.lead()..][..len].copy_from_slice(source);
        }
        command.rest_mut().position = position.after(len, range.len().0);
        batch.push((drive, tag(CHUNKS_MAX + index), Op::Write { lba, buf, fua: copying.fua() }));
        Ok(())
    }

    /// Reads the blocks that cover a span into a buffer aside.
    fn plan_piece_read(
        &self,
        batch: &mut Batch,
        tag: Tag,
        (command, index): (&mut Command, usize),
        volume: u64,
        span: Span,
    ) -> Result<(), Status> {
        let (first, blocks) = span.blocks();
        let len = blocks.buffer_len().expect("at most a buffer");
        let (drive, lba) = self.locate(volume, first, 0..len)?;
        let mut buf = command.rest_mut().aside.take(index).expect("the buffer is here");
        buf.resize(len);
        batch.push((drive, tag, Op::Read { lba, buf }));
        Ok(())
    }
}

/// How many of the `left` bytes at `from` go to `to` next: whole blocks there, or a part of one.
fn piece(from: u64, to: u64, left: u64) -> u64 {
    let to_boundary = |byte: u64| CHUNK - byte % CHUNK;
    let most = left.min(to_boundary(from)).min(to_boundary(to));
    match to % BLOCK {
        0 if most < BLOCK => most,
        0 => most - most % BLOCK,
        lead => most.min(BLOCK - lead),
    }
}

impl Position {
    /// After `count` more bytes of a range that has `len`.
    fn after(self, count: u64, len: u64) -> Self {
        let (done, total) = (self.done + count, self.total + count);
        if done == len {
            Self { range: self.range + 1, done: 0, total, piece: 0 }
        } else {
            Self { range: self.range, done, total, piece: 0 }
        }
    }
}
