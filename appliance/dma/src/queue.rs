//! Memory that a device may write at any time: seen as words through atomics, never as bytes.
//!
//! Words are little-endian, as every queue of a PCIe device is.

use crate::arena::{ArenaId, Core};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::rc::Rc;

/// A page-aligned piece of the queue area. Zeroed when given out; never reused.
#[derive(Debug)]
pub struct DmaQueue {
    core: Rc<Core>,
    base: NonNull<u8>,
    offset: usize,
    len: usize,
}

impl DmaQueue {
    pub(crate) fn new(core: Rc<Core>, offset: usize, len: usize) -> Self {
        let base = core.memory.mapping.at(offset, len);
        assert!(base.as_ptr().addr().is_multiple_of(8), "queue memory is aligned for 64-bit words");
        Self { core, base, offset, len }
    }

    /// Its bytes: what was asked for, rounded up to whole pages.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "queue memory is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The offset of its first byte in the arena.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The arena that it belongs to.
    #[must_use]
    pub fn arena_id(&self) -> ArenaId {
        self.core.id
    }

    /// Reads the word at byte `at`. Words read afterwards are at least as new as this one (acquire).
    ///
    /// # Panics
    /// If `at` is not aligned or outside.
    #[must_use]
    pub fn load_u32(&self, at: usize) -> u32 {
        u32::from_le(self.word32(at).load(Ordering::Acquire))
    }

    /// As [`DmaQueue::load_u32`], 64 bits.
    ///
    /// # Panics
    /// If `at` is not aligned or outside.
    #[must_use]
    pub fn load_u64(&self, at: usize) -> u64 {
        u64::from_le(self.word64(at).load(Ordering::Acquire))
    }

    /// Writes the 64-bit word at byte `at`. What was written before is visible to whoever sees this word (release).
    ///
    /// # Panics
    /// If `at` is not aligned or outside.
    pub fn store_u64(&self, at: usize, value: u64) {
        self.word64(at).store(value.to_le(), Ordering::Release);
    }

    /// Copies a submission queue entry in, as eight words. The device looks at it only after its doorbell.
    ///
    /// # Panics
    /// If `at` is not a multiple of 8, or the entry does not fit.
    pub fn store_entry(&self, at: usize, entry: &[u8; 64]) {
        for (word, at) in entry.as_chunks::<8>().0.iter().zip((at..).step_by(8)) {
            self.word64(at).store(u64::from_le_bytes(*word).to_le(), Ordering::Relaxed);
        }
    }

    fn word32(&self, at: usize) -> &AtomicU32 {
        let word = self.at(at, size_of::<u32>()).cast::<u32>();
        // SAFETY: inside the mapping and aligned (checked in `at`); the queue area is only accessed through atomics by
        // us, and lives as long as `self`.
        unsafe { AtomicU32::from_ptr(word.as_ptr()) }
    }

    fn word64(&self, at: usize) -> &AtomicU64 {
        let word = self.at(at, size_of::<u64>()).cast::<u64>();
        // SAFETY: as in `word32`.
        unsafe { AtomicU64::from_ptr(word.as_ptr()) }
    }

    fn at(&self, at: usize, size: usize) -> NonNull<u8> {
        let inside = at.checked_add(size).is_some_and(|end| end <= self.len);
        assert!(inside && at.is_multiple_of(size), "aligned word inside the queue memory");
        // SAFETY: just checked to be inside.
        unsafe { self.base.add(at) }
    }
}
