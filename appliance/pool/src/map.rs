//! Where a range of a volume lies on the drives: on the path of every IO, so it allocates nothing.

use crate::drive::MemberIndex;
use block::{Blocks, Lba};
use core::slice;
use ondisk::{EXTENT_BLOCKS, Run, VolumeRecord, extent_lba};
use thiserror::Error;

/// A part of a range that lies in one piece on one drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which drive.
    pub member: MemberIndex,
    /// First block on the drive.
    pub lba: Lba,
    /// How many.
    pub blocks: Blocks,
}

/// Why a range has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MapError {
    /// No such volume, or it is not served.
    #[error("no such volume")]
    NoVolume,
    /// The range ends behind the volume.
    #[error("range outside the volume")]
    OutOfRange,
}

/// The segments of a range, in order; together they have exactly its length.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    runs: slice::Iter<'a, Run>,
    /// Blocks of the next run that lie before the range.
    skip: u64,
    left: u64,
}

/// Finds the first run by binary search; the rest follow one by one.
pub(crate) fn segments(volume: &VolumeRecord, lba: Lba, blocks: Blocks) -> Result<Segments<'_>, MapError> {
    let end = lba.checked_add(blocks).ok_or(MapError::OutOfRange)?;
    if end.0 > u64::from(volume.extents) * EXTENT_BLOCKS.0 {
        return Err(MapError::OutOfRange);
    }
    // A run starts at or before the block: runs cover the volume from 0, so there is one before the partition point.
    let start = |run: &Run| u64::from(run.position) * EXTENT_BLOCKS.0;
    let first = volume.runs.partition_point(|run| start(run) <= lba.0).saturating_sub(1);
    let runs = volume.runs.get(first..).unwrap_or(&[]);
    let skip = runs.first().map_or(0, |run| lba.0 - start(run));
    Ok(Segments { runs: runs.iter(), skip, left: blocks.0 })
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.left == 0 {
            return None;
        }
        let run = self.runs.next()?;
        let len = u64::from(run.count) * EXTENT_BLOCKS.0;
        // Only a range that starts at the very end of a volume and is empty skips a whole run.
        let blocks = len.saturating_sub(self.skip).min(self.left);
        let lba = Lba(extent_lba(run.first).0 + self.skip);
        self.skip = 0;
        self.left -= blocks;
        Some(Segment { member: MemberIndex(run.member), lba, blocks: Blocks(blocks) })
    }
}
