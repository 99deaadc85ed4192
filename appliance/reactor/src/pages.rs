//! Zeroed memory of its own, in large pages where the kernel has some: a drive in memory is read at random, and with pages
//! of 4 KiB each read would walk the page tables first.

use core::ffi::c_void;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use core::slice;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// A large page; what is aligned to it can be one.
const LARGE_PAGE: usize = 2 << 20;

/// A cache line.
const LINE: usize = 64;

/// Zeroed pages, taken from the system when they are first written.
#[derive(Debug)]
pub(crate) struct Pages {
    mapping: NonNull<c_void>,
    mapped: NonZeroUsize,
    /// The first byte that is aligned to a large page.
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the value alone; nothing in it is tied to a thread.
unsafe impl Send for Pages {}

impl Pages {
    /// `len` bytes.
    ///
    /// # Errors
    /// If there is not so much address space, or the system does not promise so much memory.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        let mapped = len.checked_add(LARGE_PAGE).and_then(NonZeroUsize::new).ok_or(Errno::ENOMEM)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let mapping = unsafe { mmap_anonymous(None, mapped, protection, MapFlags::MAP_PRIVATE) }?;
        let skip = mapping.as_ptr().addr().next_multiple_of(LARGE_PAGE) - mapping.as_ptr().addr();
        // SAFETY: less than a large page is skipped, and the mapping is that much longer.
        let base = unsafe { mapping.cast::<u8>().add(skip) };
        // SAFETY: the advice changes no contents; the range lies inside the mapping. A kernel that does not take it gives
        // small pages, which is slower and nothing else.
        let _ = unsafe { madvise(base.cast(), len, MmapAdvise::MADV_HUGEPAGE) };
        Ok(Self { mapping, mapped, base, len })
    }

    /// The bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: inside the mapping, which the kernel has filled with zeroes and which lives as long as `self`; `&mut self`
        // makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; no reference outlives `self`.
        let done = unsafe { munmap(self.mapping, self.mapped.get()) };
        assert!(done.is_ok(), "our own mapping can be unmapped");
    }
}

/// Asks for memory that is used soon.
pub(crate) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; the address lies inside the slice.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the memory is zero, as long as asked for, aligned for large pages, and keeps what is written.
    #[test]
    fn pages_are_zero_and_keep_what_is_written() {
        for len in [0, 4096, LARGE_PAGE + 4096] {
            let mut pages = Pages::new(len).expect("memory");
            let bytes = pages.bytes_mut();
            assert_eq!((bytes.len(), bytes.as_ptr().addr() % LARGE_PAGE), (len, 0));
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            prefetch(pages.bytes_mut());
            assert!(pages.bytes_mut().iter().all(|byte| *byte == 7));
        }
        assert!(Pages::new(usize::MAX).is_err());
    }
}
