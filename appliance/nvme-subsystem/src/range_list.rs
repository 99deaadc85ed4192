//! The range lists of Dataset Management and Copy: data that arrives behind the command, read where it lies.
//!
//! Invariant: a list exists only if all of its ranges are valid, so nothing has been changed when one of them is refused. It
//! copies nothing: each range is read from the bytes again when it is its turn.

use crate::limits::{COPY_BLOCKS_MAX, COPY_RANGE_BLOCKS_MAX};
use crate::span::Span;
use block::{BLOCK_SIZE, Bytes};
use nvme_spec::{CopyRange, DatasetRange, Status};
use zerocopy::FromBytes;

/// A Dataset Management command, but for its ranges (NVM 1.1 §3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// How many ranges there are: 1 to 256.
    pub(crate) count: u16,
    /// Bytes of data that the host sends; hosts may send more than the ranges need.
    pub(crate) data_len: u32,
    /// The ranges may be deallocated. Everything else that the command can say is a hint without effect.
    pub(crate) is_deallocate: bool,
    /// Bytes of a logical block as a power of two.
    pub(crate) lba_shift: u8,
    /// Size of the namespace.
    pub(crate) size: Bytes,
}

impl Dataset {
    /// The ranges are to be deallocated.
    #[must_use]
    pub fn is_deallocate(&self) -> bool {
        self.is_deallocate
    }

    /// The ranges in `data`, all of them checked.
    ///
    /// # Errors
    /// LBA Out of Range for the command if any range ends behind the namespace.
    pub fn ranges<'a>(&self, data: &'a [u8]) -> Result<DatasetRanges<'a>, Status> {
        let len = usize::from(self.count).saturating_mul(size_of::<DatasetRange>());
        let bytes = data.get(..len).ok_or(Status::INVALID_SGL_LENGTH.dnr())?;
        let entries = <[DatasetRange]>::ref_from_bytes(bytes).map_err(|_| Status::INTERNAL_ERROR.dnr())?;
        let ranges = DatasetRanges { entries, lba_shift: self.lba_shift };
        for index in 0..ranges.len() {
            let span = ranges.get(index).ok_or(Status::LBA_OUT_OF_RANGE.dnr())?;
            if span.end() > self.size {
                return Err(Status::LBA_OUT_OF_RANGE.dnr());
            }
        }
        Ok(ranges)
    }
}

/// Checked ranges of a Dataset Management command.
#[derive(Clone, Copy, Debug)]
pub struct DatasetRanges<'a> {
    entries: &'a [DatasetRange],
    lba_shift: u8,
}

impl DatasetRanges<'_> {
    /// How many.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a list has one range at least")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// One of them; it may be empty. `None` behind the last.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Span> {
        let entry = self.entries.get(index)?;
        span(entry.slba.get(), u64::from(entry.nlb.get()), self.lba_shift)
    }
}

/// A Copy command, but for its source ranges (NVM 1.1 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    /// How many ranges there are: 1 to [`crate::limits::COPY_RANGES_MAX`].
    pub(crate) count: u16,
    /// Bytes of data that the host sends; hosts may send more than the ranges need.
    pub(crate) data_len: u32,
    /// Where the first range goes; the others follow it.
    pub(crate) to: Bytes,
    /// Complete only when durable.
    pub(crate) fua: bool,
    /// Bytes of a logical block as a power of two.
    pub(crate) lba_shift: u8,
    /// Size of the namespace.
    pub(crate) size: Bytes,
}

impl Copying {
    /// Complete only when durable.
    #[must_use]
    pub fn fua(&self) -> bool {
        self.fua
    }

    /// Its ranges may start and end within blocks.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        1u64.checked_shl(u32::from(self.lba_shift)).is_none_or(|bytes| bytes < BLOCK_SIZE as u64)
    }

    /// The ranges in `data`, all of them checked.
    ///
    /// # Errors
    /// Command Size Limit Exceeded beyond [`COPY_RANGE_BLOCKS_MAX`] or [`COPY_BLOCKS_MAX`]; LBA Out of Range for a source or
    /// the destination behind the namespace; Overlapping I/O Range if a source and the destination have blocks in common:
    /// what is copied would depend on the order of our steps.
    pub fn ranges<'a>(&self, data: &'a [u8]) -> Result<CopyRanges<'a>, Status> {
        let len = usize::from(self.count).saturating_mul(size_of::<CopyRange>());
        let bytes = data.get(..len).ok_or(Status::INVALID_SGL_LENGTH.dnr())?;
        let entries = <[CopyRange]>::ref_from_bytes(bytes).map_err(|_| Status::INTERNAL_ERROR.dnr())?;
        let blocks = |entry: &CopyRange| u32::from(entry.nlb_z.get()).saturating_add(1);
        let total = entries.iter().fold(0u32, |sum, entry| sum.saturating_add(blocks(entry)));
        let is_long = entries.iter().any(|entry| blocks(entry) > u32::from(COPY_RANGE_BLOCKS_MAX));
        if is_long || total > COPY_BLOCKS_MAX {
            return Err(Status::SIZE_LIMIT_EXCEEDED.dnr());
        }
        let total = u64::from(total).checked_shl(u32::from(self.lba_shift)).unwrap_or(u64::MAX);
        let to = Span::new(self.to, Bytes(total)).ok_or(Status::LBA_OUT_OF_RANGE.dnr())?;
        let ranges = CopyRanges { entries, lba_shift: self.lba_shift, to };
        for index in 0..entries.len() {
            let from = ranges.get(index).ok_or(Status::LBA_OUT_OF_RANGE.dnr())?;
            if from.end() > self.size || to.end() > self.size {
                return Err(Status::LBA_OUT_OF_RANGE.dnr());
            }
            if from.overlaps(to) {
                return Err(Status::OVERLAPPING_RANGE.dnr());
            }
        }
        Ok(ranges)
    }
}

/// Checked ranges of a Copy command.
#[derive(Clone, Copy, Debug)]
pub struct CopyRanges<'a> {
    entries: &'a [CopyRange],
    lba_shift: u8,
    to: Span,
}

impl CopyRanges<'_> {
    /// Where all of it goes.
    #[must_use]
    pub fn to(&self) -> Span {
        self.to
    }

    /// All of them, and the destination, start and end between blocks.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut sources = (0..).map_while(|index| self.get(index));
        self.to.is_whole() && sources.all(Span::is_whole)
    }

    /// What is copied, range by range; `None` behind the last.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Span> {
        let entry = self.entries.get(index)?;
        span(entry.slba.get(), u64::from(entry.nlb_z.get()).saturating_add(1), self.lba_shift)
    }
}

/// Logical blocks as a span; `None` past the end of the number range.
pub(crate) fn span(slba: u64, count: u64, lba_shift: u8) -> Option<Span> {
    let bytes = |blocks: u64| blocks.checked_mul(1u64.checked_shl(u32::from(lba_shift))?).map(Bytes);
    Span::new(bytes(slba)?, bytes(count)?)
}
