//! Writes that start or end within a block: of a namespace with 512-byte logical blocks over drives that write 4 KiB.
//!
//! ```text
//!  blocks         |    4096    |    4096    |    4096    |
//!  the host's data     [~~~~~~~~~~~~~~~~~~~~~~~~~~]
//!  edges          |============|            |============|    read first; then written with the data between
//! ```
//!
//! Invariants
//! - Such a command is alone at its blocks from the read of the edges to the end of the write (`ranges`): a write of somebody
//!   else to the rest of an edge would be undone.
//! - Each block is written at once, so it is old or new whatever happens. If the power fails, blocks of a longer write may
//!   differ in that, which is what Identify says (NABSPF).

use crate::Target;
use crate::chunks::Shape;
use crate::command::Command;
use crate::io::Batch;
use crate::limits::{CHUNK_BYTES, CHUNKS_MAX};
use crate::steps::status_of;
use block::{BLOCK_SIZE, Lba, Op, Tag};
use nvme_spec::Status;
use nvme_subsystem::Span;

/// Two buffers of a block each: for the first block, and for the last one where that is another.
pub(crate) const SHAPE: Shape =
    Shape { skew: CHUNK_BYTES - BLOCK_SIZE, lead: 0, len: 2 * BLOCK_SIZE, tail: 0 };

/// The blocks of which a part stays as it is, by the buffer that they are read into.
fn edges(span: Span) -> [Option<Lba>; 2] {
    let (first, blocks) = span.blocks();
    let last = Lba(first.0 + blocks.0 - 1);
    if first == last {
        return [Some(first), None];
    }
    [(span.lead() > 0).then_some(first), (span.tail() > 0).then_some(last)]
}

/// The buffer that holds the last block.
fn last_index(span: Span) -> usize {
    usize::from(span.blocks().1.0 > 1)
}

impl Target {
    /// Reads the edges.
    pub(crate) fn plan_edge_reads(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        command: &mut Command,
        volume: u64,
        span: Span,
    ) -> Result<(), Status> {
        for (index, lba) in (0..).zip(edges(span)) {
            let Some(lba) = lba else { continue };
            let (drive, lba) = self.locate(volume, lba, 0..BLOCK_SIZE)?;
            let buf = command.rest_mut().aside.take(index).expect("the buffer is here");
            batch.push((drive, tag(CHUNKS_MAX + index), Op::Read { lba, buf }));
        }
        Ok(())
    }

    /// Writes the edges with zeroes in the part that the command means; what is between them follows the map.
    pub(crate) fn plan_edge_zeroes(
        &self,
        batch: &mut Batch,
        tag: impl Fn(usize) -> Tag,
        command: &mut Command,
        volume: u64,
        (span, fua): (Span, bool),
    ) -> Result<(), Status> {
        let (inner, count) = span.inner();
        if count.0 > 0 {
            self.plan_zeroes(batch, tag(0), volume, (inner, count), fua).map_err(status_of)?;
        }
        for (index, lba) in (0..).zip(edges(span)) {
            let Some(lba) = lba else { continue };
            let (drive, lba) = self.locate(volume, lba, 0..BLOCK_SIZE)?;
            let mut buf = command.rest_mut().aside.take(index).expect("the buffer is here");
            let start = if index == 0 { span.lead() } else { 0 };
            let end = if index == last_index(span) { BLOCK_SIZE - span.tail() } else { BLOCK_SIZE };
            buf.as_mut()[start..end].fill(0);
            batch.push((drive, tag(CHUNKS_MAX + index), Op::Write { lba, buf, fua }));
        }
        Ok(())
    }
}

/// The edges were read: puts what they hold around the data.
pub(crate) fn merge(command: &mut Command, span: Span) {
    let (chunks, aside) = command.all_chunks();
    chunks.put_edges(aside.buffer(0), aside.buffer(last_index(span)));
}
