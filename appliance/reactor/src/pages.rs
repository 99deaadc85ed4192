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
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: as in `bytes_mut`; only shared references exist beside this one.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
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

/// Copies into memory that nobody reads soon, past the caches: it is not read from memory before it is written.
///
/// # Panics
/// If the two are not equally long.
pub(crate) fn stream(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "a copy fills its place");
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
        const PIECE: usize = size_of::<__m128i>();
        if to.as_ptr().addr().is_multiple_of(PIECE) && to.len().is_multiple_of(PIECE) {
            for (from, to) in from.chunks_exact(PIECE).zip(to.chunks_exact_mut(PIECE)) {
                // SAFETY: reads one piece, wherever it lies; SSE2 is part of x86-64.
                let piece = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
                // SAFETY: writes one piece at a place that is aligned to it.
                unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), piece) };
            }
            // SAFETY: SSE is part of x86-64. (These writes are seen before later ones, as ordinary writes are.)
            unsafe { _mm_sfence() };
            return;
        }
    }
    to.copy_from_slice(from);
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

    /// Goal: what is copied past the caches is what is read afterwards, whatever its length and place.
    #[test]
    fn streamed_bytes_arrive() {
        let from: Vec<u8> = (0..=255u8).cycle().take(9000).collect();
        for (start, len) in [(0, 4096), (16, 16), (0, 0), (8, 4096), (0, 100), (4096, 8192 - 4096)] {
            let mut pages = Pages::new(12_288).expect("memory");
            stream(&from[7..7 + len], &mut pages.bytes_mut()[start..start + len]);
            assert_eq!(&pages.bytes()[start..start + len], &from[7..7 + len]);
            let rest = [&pages.bytes()[..start], &pages.bytes()[start + len..]].concat();
            assert!(rest.iter().all(|byte| *byte == 0), "{len} bytes at {start}");
        }
    }

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
