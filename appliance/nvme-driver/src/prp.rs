//! Data pointers: where the pages of a transfer are (Base 2.1 §4.3.1).
//!
//! ```text
//!  1 page    prp1 = page
//!  2 pages   prp1 = page, prp2 = page
//!  n pages   prp1 = page, prp2 = list of the other n - 1
//! ```
//!
//! Each slot has a list of its own, prepared at start: large enough for the longest transfer, a power of two in size
//! and so never across a page boundary.

use crate::limits::PAGE;
use crate::platform::{Platform, QueueMemory};
use nvme_spec::DataPointer;

/// The lists of all slots.
#[derive(Debug)]
pub(crate) struct PrpLists<Q> {
    memory: Q,
    list_bytes: usize,
    slots: u16,
}

/// Pages of a transfer, as the device sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Consecutive memory from a page boundary on.
    Contiguous(u64),
    /// The same page again and again.
    Repeated(u64),
}

impl Pages {
    fn page(self, index: usize) -> u64 {
        match self {
            Self::Contiguous(first) => first + (index * PAGE) as u64,
            Self::Repeated(page) => page,
        }
    }
}

impl<Q: QueueMemory> PrpLists<Q> {
    /// Lists for `slots` transfers of at most `transfer_bytes`; `None` if there is no memory left.
    pub(crate) fn new<P: Platform<Queue = Q>>(
        platform: &P,
        slots: u16,
        transfer_bytes: usize,
    ) -> Option<Self> {
        let list_bytes = (transfer_bytes.div_ceil(PAGE) * size_of::<u64>()).next_power_of_two();
        assert!(list_bytes <= PAGE, "a list fits into a page");
        let memory = platform.alloc_queue((usize::from(slots) * list_bytes).next_multiple_of(PAGE))?;
        Some(Self { memory, list_bytes, slots })
    }

    /// The data pointer for `bytes` bytes in `pages`, with the list of `slot`.
    pub(crate) fn pointer(&self, slot: u16, pages: Pages, bytes: usize) -> DataPointer {
        let count = bytes.div_ceil(PAGE);
        assert!(pages.page(0).is_multiple_of(PAGE as u64), "buffers start at a page boundary");
        match count {
            0 | 1 => DataPointer::prp(pages.page(0), 0),
            2 => DataPointer::prp(pages.page(0), pages.page(1)),
            _ => DataPointer::prp(pages.page(0), self.list(slot, pages, count)),
        }
    }

    /// Writes pages 1 to `count` into the list of `slot`.
    fn list(&self, slot: u16, pages: Pages, count: usize) -> u64 {
        assert!(slot < self.slots && (count - 1) * size_of::<u64>() <= self.list_bytes, "inside its list");
        let start = usize::from(slot) * self.list_bytes;
        for index in 1..count {
            self.memory.store_u64(start + (index - 1) * size_of::<u64>(), pages.page(index));
        }
        self.memory.address() + start as u64
    }
}
