//! The range lists of Dataset Management and Copy: data that arrives behind the command, read where it lies.
//!
//! Invariant: a list exists only if all of its ranges are valid, so nothing has been changed when one of them is refused. It
//! copies nothing: each range is read from the bytes again when it is its turn.

use crate::span::Span;
use block::Bytes;
use nvme_spec::{DatasetRange, Status};
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

/// Logical blocks as a span; `None` past the end of the number range.
pub(crate) fn span(slba: u64, count: u64, lba_shift: u8) -> Option<Span> {
    let bytes = |blocks: u64| blocks.checked_mul(1u64.checked_shl(u32::from(lba_shift))?).map(Bytes);
    Span::new(bytes(slba)?, bytes(count)?)
}
