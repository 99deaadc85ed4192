//! How an arena is divided: pure arithmetic, decided once at creation.
//!
//! Of the memory behind the queue area three quarters go to large slots and an eighth each to medium and small ones.
//! The shares are guessed from a mixed load of database pages and streams. A full class borrows from the next larger
//! one, so a wrong guess costs memory, not progress.

use crate::limits::{
    ARENA_BYTES_MAX, ARENA_BYTES_MIN, HUGEPAGE, QUEUE_BYTES_MAX, SLOT_LARGE, SLOT_MEDIUM, SLOT_SMALL,
};

/// Slot sizes, smallest first; the index is the class.
pub(crate) const CLASSES: [usize; 3] = [SLOT_SMALL, SLOT_MEDIUM, SLOT_LARGE];

/// One class of slots inside an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// Where the first slot starts.
    pub(crate) start: usize,
    /// Bytes in one slot.
    pub(crate) slot_bytes: usize,
    /// How many slots.
    pub(crate) count: u32,
}

/// The division of an arena. Areas lie in this order: queues, large, medium, small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// All bytes; a multiple of a hugepage.
    pub(crate) bytes: usize,
    /// Bytes of the queue area, which starts at 0.
    pub(crate) queue_bytes: usize,
    /// In the order of [`CLASSES`].
    pub(crate) classes: [Class; 3],
}

impl Layout {
    /// Divides `bytes`, rounded up to hugepages and brought into the bounds of an arena.
    pub(crate) fn of(bytes: usize) -> Self {
        let bytes = bytes.clamp(ARENA_BYTES_MIN, ARENA_BYTES_MAX).next_multiple_of(HUGEPAGE);
        let queue_bytes = (bytes / 8).next_multiple_of(SLOT_LARGE).min(QUEUE_BYTES_MAX);
        let rest = bytes - queue_bytes;
        let large = class(queue_bytes, SLOT_LARGE, rest / 4 * 3);
        let medium = class(large.end(), SLOT_MEDIUM, rest / 8);
        let small = class(medium.end(), SLOT_SMALL, bytes - medium.end());
        Self { bytes, queue_bytes, classes: [small, medium, large] }
    }
}

impl Class {
    /// The first byte behind the last slot.
    pub(crate) fn end(&self) -> usize {
        self.slot(self.count)
    }

    /// Where slot `index` starts.
    pub(crate) fn slot(&self, index: u32) -> usize {
        self.start + index as usize * self.slot_bytes
    }
}

fn class(start: usize, slot_bytes: usize, bytes: usize) -> Class {
    let count = u32::try_from(bytes / slot_bytes).expect("an arena is at most 1 TiB, a slot at least 4 KiB");
    assert!(start.is_multiple_of(slot_bytes), "slots are aligned to their size");
    Class { start, slot_bytes, count }
}
