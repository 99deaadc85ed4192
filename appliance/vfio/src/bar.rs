//! The registers of a device: a BAR mapped into this process.
//!
//! Invariants
//! - Every access is one aligned volatile load or store: registers change by themselves and react to reads.
//! - The mapping holds the device open in the kernel, so it is dropped before the device.

use core::ffi::c_void;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::AsFd;

/// A mapped piece of a BAR, from its first byte on.
#[derive(Debug)]
pub struct Bar {
    base: NonNull<u8>,
    len: usize,
}

impl Bar {
    /// Maps `len` bytes of `fd` from `offset`. For a BAR these are the device's descriptor and what the kernel says
    /// about the region; a test may use any file.
    pub(crate) fn map<F: AsFd>(fd: F, offset: i64, len: NonZeroUsize) -> Result<Self, Errno> {
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address chosen by the kernel replaces nothing. Whatever the file is, the memory is
        // only touched by volatile accesses through raw pointers.
        let base = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, fd, offset) }?;
        Ok(Self { base: base.cast(), len: len.get() })
    }

    /// Mapped bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads 32 bits.
    ///
    /// # Panics
    /// If `offset` is not aligned or outside of the mapping.
    #[must_use]
    pub fn read32(&self, offset: usize) -> u32 {
        let register = self.at::<u32>(offset);
        // SAFETY: inside the mapping and aligned (checked in `at`), and mapped until `self` is dropped.
        u32::from_le(unsafe { register.read_volatile() })
    }

    /// Reads 64 bits in one access.
    ///
    /// # Panics
    /// As [`Bar::read32`].
    #[must_use]
    pub fn read64(&self, offset: usize) -> u64 {
        let register = self.at::<u64>(offset);
        // SAFETY: as in `read32`.
        u64::from_le(unsafe { register.read_volatile() })
    }

    /// Writes 32 bits, after everything that was stored to memory before: a doorbell must not overtake the entry that
    /// it announces.
    ///
    /// # Panics
    /// As [`Bar::read32`].
    pub fn write32(&self, offset: usize, value: u32) {
        let register = self.at::<u32>(offset);
        fence(Ordering::SeqCst);
        // SAFETY: as in `read32`.
        unsafe { register.write_volatile(value.to_le()) };
    }

    /// Writes 64 bits in one access, ordered as [`Bar::write32`].
    ///
    /// # Panics
    /// As [`Bar::read32`].
    pub fn write64(&self, offset: usize, value: u64) {
        let register = self.at::<u64>(offset);
        fence(Ordering::SeqCst);
        // SAFETY: as in `read32`.
        unsafe { register.write_volatile(value.to_le()) };
    }

    fn at<T>(&self, offset: usize) -> NonNull<T> {
        let inside = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len);
        assert!(inside && offset.is_multiple_of(size_of::<T>()), "aligned register inside the BAR");
        // SAFETY: just checked to be inside of the mapping.
        unsafe { self.base.add(offset) }.cast()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping made in `map`; pointers into it never leave this file.
        let done = unsafe { munmap(self.base.cast::<c_void>(), self.len) };
        assert!(done.is_ok(), "a BAR's own mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: registers are little-endian words at their offsets. Method: a file stands in for the BAR.
    #[test]
    fn registers_are_little_endian_words() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(4096).expect("grown");
        let bar = Bar::map(&file, 0, NonZeroUsize::new(4096).expect("not zero")).expect("mapped");
        bar.write64(0x10, 0x1122_3344_5566_7788);
        bar.write32(0xffc, 0xdead_beef);
        assert_eq!((bar.read32(0x10), bar.read32(0x14)), (0x5566_7788, 0x1122_3344));
        assert_eq!(bar.read64(0xff8), 0xdead_beef_0000_0000);
        assert_eq!(bar.len(), 4096);
    }

    /// Goal: an access outside never reaches memory.
    #[test]
    #[should_panic(expected = "aligned register inside")]
    fn registers_outside_are_refused() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(4096).expect("grown");
        let bar = Bar::map(&file, 0, NonZeroUsize::new(4096).expect("not zero")).expect("mapped");
        let _ = bar.read64(0xffc);
    }
}
