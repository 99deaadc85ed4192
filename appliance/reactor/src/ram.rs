//! A drive in memory: for tests, and to see what the rest of the way costs.
//!
//! Operations wait from `submit` to `poll`, as they do with a real drive. Memory is asked for ahead of time in two parts: the
//! first half of a read when it is submitted, while the next command is looked at; the other half while the read before it
//! is copied. (Waiting for memory was a third of a core's time with 4 KiB reads at random places. All of it at once waits for
//! room among the requests that a processor has on the way.) What is written does not go through the caches: nobody reads it
//! soon, and memory that is not read first takes half the time.

use crate::limits::{FILE_DEPTH_MAX, FILE_TRANSFER_BLOCKS_MAX};
use crate::pages::{Pages, prefetch, stream};
use crate::{Device, Sleep};
use block::{BlockDevice, Blocks, Bytes, Completion, Geometry, Lba, MediaError, Op, Tag};
use core::ops::Range;
use dma::DmaBuf;
use std::collections::VecDeque;

/// A drive whose blocks live as long as the value.
#[derive(Debug)]
pub struct RamDevice {
    bytes: Pages,
    blocks: Blocks,
    waiting: VecDeque<(Tag, Op<DmaBuf>)>,
}

impl RamDevice {
    /// A zeroed drive of `size` bytes, rounded down to whole blocks. Memory is taken when it is first written.
    ///
    /// # Panics
    /// If the system has not so much memory.
    #[must_use]
    pub fn new(size: Bytes) -> Self {
        let blocks = size.blocks_floor();
        let len = blocks.buffer_len().unwrap_or(0);
        let bytes = Pages::new(len).expect("memory for a drive");
        Self { bytes, blocks, waiting: VecDeque::with_capacity(FILE_DEPTH_MAX as usize) }
    }

    fn range(&self, lba: Lba, blocks: Blocks) -> Result<Range<usize>, MediaError> {
        let end = lba.checked_add(blocks).filter(|end| end.0 <= self.blocks.0);
        let (Some(_), Some(start), Some(len)) = (end, lba.byte_offset(), blocks.buffer_len()) else {
            return Err(MediaError::OutOfRange);
        };
        let start = usize::try_from(start).map_err(|_| MediaError::OutOfRange)?;
        Ok(start..start + len)
    }

    /// The part of a read's memory that is asked for ahead of time: one block at most.
    fn ahead(&self, op: &Op<DmaBuf>) -> &[u8] {
        let Op::Read { lba, .. } = op else { return &[] };
        let place = self.range(*lba, Blocks(1)).unwrap_or_default();
        &self.bytes.bytes()[place]
    }

    /// Asks for the second half of what the next operation reads.
    fn prepare_next(&self) {
        if let Some((_, op)) = self.waiting.front() {
            let place = self.ahead(op);
            prefetch(&place[place.len() / 2..]);
        }
    }

    fn execute(&mut self, op: &mut Op<DmaBuf>) -> Result<(), MediaError> {
        if matches!(op, Op::Flush) {
            return Ok(());
        }
        let (lba, blocks) = op.range().ok_or(MediaError::OutOfRange)?;
        let place = self.range(lba, blocks)?;
        let place = &mut self.bytes.bytes_mut()[place];
        match op {
            Op::Read { buf, .. } => buf.as_mut().copy_from_slice(place),
            Op::Write { buf, .. } => stream(buf.as_ref(), place),
            Op::WriteZeroes { .. } => place.fill(0),
            Op::Flush => {}
        }
        Ok(())
    }
}

impl BlockDevice for RamDevice {
    type Buf = DmaBuf;

    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.blocks,
            transfer_max: Blocks(FILE_TRANSFER_BLOCKS_MAX),
            depth_max: FILE_DEPTH_MAX,
            is_volatile: false,
            is_block_atomic: true,
        }
    }

    fn submit(&mut self, tag: Tag, op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
        if self.waiting.len() >= FILE_DEPTH_MAX as usize {
            return Err(op);
        }
        let place = self.ahead(&op);
        prefetch(&place[..place.len() / 2]);
        self.waiting.push_back((tag, op));
        if self.waiting.len() == 1 {
            self.prepare_next();
        }
        Ok(())
    }

    fn kick(&mut self) {}

    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        let (tag, mut op) = self.waiting.pop_front()?;
        self.prepare_next();
        let result = self.execute(&mut op);
        Some(Completion { tag, buf: op.into_buf(), result })
    }
}

impl Device for RamDevice {
    fn prepare_sleep(&mut self) -> Sleep {
        if self.waiting.is_empty() { Sleep::Fine } else { Sleep::Poll }
    }
}
