//! A drive in memory: for tests, and to see what the rest of the way costs.

use crate::limits::{FILE_DEPTH_MAX, FILE_TRANSFER_BLOCKS_MAX};
use crate::{Device, Sleep};
use block::{BlockDevice, Blocks, Bytes, Completion, Geometry, Lba, MediaError, Op, Tag};
use dma::DmaBuf;
use std::collections::VecDeque;

/// A drive whose blocks live as long as the value.
#[derive(Debug)]
pub struct RamDevice {
    bytes: Vec<u8>,
    blocks: Blocks,
    done: VecDeque<Completion<DmaBuf>>,
}

impl RamDevice {
    /// A zeroed drive of `size` bytes, rounded down to whole blocks. Memory is taken when it is first written.
    #[must_use]
    pub fn new(size: Bytes) -> Self {
        let blocks = size.blocks_floor();
        let len = blocks.buffer_len().unwrap_or(0);
        Self { bytes: vec![0; len], blocks, done: VecDeque::with_capacity(FILE_DEPTH_MAX as usize) }
    }

    fn range(&mut self, lba: Lba, blocks: Blocks) -> Result<&mut [u8], MediaError> {
        let end = lba.checked_add(blocks).filter(|end| end.0 <= self.blocks.0);
        let (Some(_), Some(start), Some(len)) = (end, lba.byte_offset(), blocks.buffer_len()) else {
            return Err(MediaError::OutOfRange);
        };
        let start = usize::try_from(start).map_err(|_| MediaError::OutOfRange)?;
        self.bytes.get_mut(start..start + len).ok_or(MediaError::OutOfRange)
    }

    fn execute(&mut self, op: &mut Op<DmaBuf>) -> Result<(), MediaError> {
        if matches!(op, Op::Flush) {
            return Ok(());
        }
        let (lba, blocks) = op.range().ok_or(MediaError::OutOfRange)?;
        let place = self.range(lba, blocks)?;
        match op {
            Op::Read { buf, .. } => buf.as_mut().copy_from_slice(place),
            Op::Write { buf, .. } => place.copy_from_slice(buf.as_ref()),
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

    fn submit(&mut self, tag: Tag, mut op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
        if self.done.len() >= FILE_DEPTH_MAX as usize {
            return Err(op);
        }
        let result = self.execute(&mut op);
        self.done.push_back(Completion { tag, buf: op.into_buf(), result });
        Ok(())
    }

    fn kick(&mut self) {}

    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        self.done.pop_front()
    }
}

impl Device for RamDevice {
    fn prepare_sleep(&mut self) -> Sleep {
        if self.done.is_empty() { Sleep::Fine } else { Sleep::Poll }
    }
}
