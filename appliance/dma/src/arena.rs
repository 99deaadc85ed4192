//! The arena: gives out slots and queue memory, takes slots back.
//!
//! Invariants
//! - `free` of a class holds exactly the slots that no [`DmaBuf`] owns; its vector never grows past its first capacity.
//! - Slots go out last in, first out: the one used last is the one most likely still in a cache.
//! - A slot that was set aside stays with the handle that it was set aside for: it comes back there.

use crate::buf::DmaBuf;
use crate::carve::{CLASSES, Layout};
use crate::limits::{BUFFER_BYTES_MAX, QUEUE_ALIGN};
use crate::mapping::{ArenaError, Mapping, Pages};
use crate::queue::DmaQueue;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// How to make an arena.
#[derive(Clone, Copy, Debug)]
pub struct ArenaConfig {
    /// Its size, rounded up to 2 MiB and brought into the bounds of [`crate::limits`].
    pub bytes: usize,
    /// Use hugepages where there are enough of them, else normal pages.
    pub hugepages: bool,
}

/// Names an arena within this process. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArenaId(u64);

/// A piece of address space that a device has to be able to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it starts in this process.
    pub address: usize,
    /// Offset of its first byte in the arena.
    pub offset: usize,
    /// Its bytes; a multiple of a page.
    pub len: usize,
}

/// How much of one class is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of one slot.
    pub slot_bytes: usize,
    /// All slots of the class.
    pub slots: u32,
    /// Those that nobody owns.
    pub free: u32,
}

/// A handle to an arena; clones are the same arena. The memory lives until the last handle, buffer and queue is gone.
#[derive(Clone, Debug)]
pub struct Arena {
    core: Rc<Core>,
}

/// What handles, buffers and queues share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) id: ArenaId,
    pub(crate) memory: Rc<Memory>,
    /// Offsets of free slots in units of the class's slot, per class.
    free: [RefCell<Vec<u32>>; CLASSES.len()],
    /// Bytes of the queue area given out.
    queue_used: Cell<usize>,
}

/// The memory of an arena, and of what was set aside of it.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) mapping: Mapping,
    layout: Layout,
    /// By slot, per class: how many buffers it has beside the first, because it was cut.
    cuts: [RefCell<Vec<u8>>; CLASSES.len()],
}

impl Arena {
    /// Maps and divides the memory. Takes a while for large arenas: every page is touched.
    ///
    /// # Errors
    /// If the machine does not have the memory.
    pub fn new(config: ArenaConfig) -> Result<Self, ArenaError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let layout = Layout::of(config.bytes);
        let mapping = Mapping::new(layout.bytes, config.hugepages)?;
        // Reversed, so that the first slots go out first.
        let free = layout.classes.map(|class| RefCell::new((0..class.count).rev().collect()));
        let cuts = layout.classes.map(|class| RefCell::new(vec![0; class.count as usize]));
        let id = ArenaId(NEXT.fetch_add(1, Ordering::Relaxed));
        let memory = Rc::new(Memory { mapping, layout, cuts });
        Ok(Self { core: Rc::new(Core { id, memory, free, queue_used: Cell::new(0) }) })
    }

    /// Sets slots aside, so many of each class, smallest first: only the handle that this gives has them, and nobody else's
    /// demand can use them up. `None` if there are not enough now; where a class has too few, larger ones do. It has no memory
    /// for queues.
    #[must_use]
    pub fn set_aside(&self, slots: [usize; CLASSES.len()]) -> Option<Self> {
        let mut taken: [Vec<u32>; CLASSES.len()] = Default::default();
        let mut missing = 0;
        for ((wanted, own), taken) in slots.iter().zip(&self.core.free).zip(&mut taken) {
            let wanted = wanted + missing;
            let mut own = own.borrow_mut();
            let first = own.len().saturating_sub(wanted);
            *taken = own.split_off(first);
            missing = wanted - taken.len();
        }
        let core = Core {
            id: self.core.id,
            memory: Rc::clone(&self.core.memory),
            free: taken.map(RefCell::new),
            queue_used: Cell::new(self.core.memory.layout.queue_bytes),
        };
        if missing > 0 {
            for (own, taken) in self.core.free.iter().zip(core.free) {
                own.borrow_mut().append(&mut taken.into_inner());
            }
            return None;
        }
        Some(Self { core: Rc::new(core) })
    }

    /// A buffer of exactly `len` bytes, at a page boundary, from the smallest class that has a slot left; `None` if
    /// nobody has given one back yet. Its contents are those of its last use.
    ///
    /// # Panics
    /// If `len` is zero or more than [`BUFFER_BYTES_MAX`]: such a buffer would never become free, so waiting for it is
    /// a fault of the caller.
    #[must_use]
    pub fn alloc(&self, len: usize) -> Option<DmaBuf> {
        assert!(len > 0 && len <= BUFFER_BYTES_MAX, "a buffer of {len} bytes is never available");
        let smallest = CLASSES.iter().position(|slot| len <= *slot)?;
        let (class, slot) = (smallest..CLASSES.len())
            .find_map(|class| Some((class, self.core.free[class].borrow_mut().pop()?)))?;
        Some(DmaBuf::new(Rc::clone(&self.core), class, slot, len))
    }

    /// As [`Arena::alloc`], filled with zeroes.
    ///
    /// # Panics
    /// As [`Arena::alloc`].
    #[must_use]
    pub fn alloc_zeroed(&self, len: usize) -> Option<DmaBuf> {
        let mut buf = self.alloc(len)?;
        buf.as_mut().fill(0);
        Some(buf)
    }

    /// Zeroed memory for queues, at a page boundary, rounded up to whole pages; `None` if the queue area is used up.
    /// It is never taken back (see the crate header).
    ///
    /// # Panics
    /// If `bytes` is zero.
    #[must_use]
    pub fn alloc_queue(&self, bytes: usize) -> Option<DmaQueue> {
        assert!(bytes > 0, "queue memory without bytes");
        let len = bytes.checked_next_multiple_of(QUEUE_ALIGN)?;
        let offset = self.core.queue_used.get();
        let end = offset.checked_add(len).filter(|end| *end <= self.core.memory.layout.queue_bytes)?;
        self.core.queue_used.set(end);
        Some(DmaQueue::new(Rc::clone(&self.core), offset, len))
    }

    /// Which arena this is; equal to [`DmaBuf::arena_id`] of its buffers.
    #[must_use]
    pub fn id(&self) -> ArenaId {
        self.core.id
    }

    /// The address of the first byte in this process.
    #[must_use]
    pub fn base(&self) -> usize {
        self.core.memory.mapping.base().as_ptr().addr()
    }

    /// All bytes of the arena.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an arena is never empty")]
    pub fn len(&self) -> usize {
        self.core.memory.mapping.len()
    }

    /// The memfd behind the arena.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.core.memory.mapping.fd().as_fd()
    }

    /// What has to be mapped for devices: one region, whatever the size.
    #[must_use]
    pub fn regions(&self) -> Vec<Region> {
        vec![Region { address: self.base(), offset: 0, len: self.len() }]
    }

    /// Which pages back the memory.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.core.memory.mapping.pages()
    }

    /// Why hugepages were asked for and normal pages are used.
    #[must_use]
    pub fn hugepages_refused(&self) -> Option<io::Error> {
        self.core.memory.mapping.refused().map(io::Error::from)
    }

    /// Free slots of the largest class: what long transfers are made of.
    #[must_use]
    pub fn free_of_largest(&self) -> usize {
        self.core.free.last().map_or(0, |free| free.borrow().len())
    }

    /// Slots in use, smallest class first.
    #[must_use]
    pub fn usage(&self) -> [Usage; CLASSES.len()] {
        core::array::from_fn(|class| Usage {
            slot_bytes: self.core.memory.layout.classes[class].slot_bytes,
            slots: self.core.memory.layout.classes[class].count,
            free: u32::try_from(self.core.free[class].borrow().len()).expect("slots are counted in 32 bits"),
        })
    }
}

impl Core {
    /// The offset of a slot in the arena.
    pub(crate) fn slot_offset(&self, class: usize, slot: u32) -> usize {
        assert!(slot < self.memory.layout.classes[class].count, "a slot of its class");
        self.memory.layout.classes[class].slot(slot)
    }

    /// A slot has one buffer more, because one of its buffers was cut.
    pub(crate) fn cut(&self, class: usize, slot: u32) {
        self.memory.cuts[class].borrow_mut()[slot as usize] += 1;
    }

    /// A buffer of a slot is gone; with the last one the slot is free.
    pub(crate) fn give_back(&self, class: usize, slot: u32) {
        let cuts = &mut self.memory.cuts[class].borrow_mut()[slot as usize];
        if *cuts > 0 {
            *cuts -= 1;
            return;
        }
        let mut free = self.free[class].borrow_mut();
        assert!(free.len() < self.memory.layout.classes[class].count as usize, "more slots than there are");
        free.push(slot);
    }
}
