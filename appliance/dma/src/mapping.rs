//! The memory itself: a memfd, mapped once, faulted in, shared with the kernel and the IOMMU.
//!
//! A memfd and not anonymous memory, so that the memory can later outlive this process (the descriptor is handed to a
//! keeper) and be shown to other processes.

use crate::limits::{HUGEPAGE, NORMAL_PAGES_SPARE};
use core::ffi::c_void;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;
use std::io;
use std::os::fd::OwnedFd;

/// Which pages back an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Hugepages of 2 MiB: few IOMMU and TLB entries.
    Huge2MiB,
    /// Pages of 4 KiB: works everywhere, slower to map.
    Normal,
}

/// Why an arena could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// Neither hugepages nor normal pages.
    #[error("no memory for an arena of {mib} MiB; ask for a smaller arena or give the machine more memory")]
    Memory {
        /// What was asked for.
        mib: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A mapped memfd. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
    pages: Pages,
    /// Why hugepages were asked for and not used.
    refused: Option<Errno>,
}

impl Mapping {
    /// Maps `len` bytes, a multiple of a hugepage. Falls back to normal pages if there are not enough hugepages.
    pub(crate) fn new(len: usize, hugepages: bool) -> Result<Self, ArenaError> {
        let size = NonZeroUsize::new(len).filter(|n| n.get().is_multiple_of(HUGEPAGE));
        let size = size.expect("the layout rounds an arena to hugepages");
        let mut refused = None;
        if hugepages {
            match Self::map(size, Pages::Huge2MiB) {
                Ok(mapping) => return Ok(mapping),
                Err(errno) => refused = Some(errno),
            }
        }
        // Normal pages are not reserved: the kernel kills processes, also others, rather than refuse them.
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mapped = if fits(len, &meminfo) { Self::map(size, Pages::Normal) } else { Err(Errno::ENOMEM) };
        let mut mapping =
            mapped.map_err(|errno| ArenaError::Memory { mib: len >> 20, source: errno.into() })?;
        mapping.refused = refused;
        Ok(mapping)
    }

    fn map(size: NonZeroUsize, pages: Pages) -> Result<Self, Errno> {
        let flags = match pages {
            Pages::Huge2MiB => MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB,
            Pages::Normal => MFdFlags::MFD_CLOEXEC,
        };
        let fd = memfd_create(c"ironbay-arena", flags)?;
        let len = i64::try_from(size.get()).map_err(|_| Errno::EFBIG)?;
        ftruncate(&fd, len)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // Populated now: a page fault on the data path would be an unplanned wait, and a hugepage that is missing then
        // would be SIGBUS. Reservation of hugepages happens here too, so a shortage is an error and not a signal.
        let map_flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address chosen by the kernel replaces nothing; the descriptor is fresh and only
        // ours, so nobody can truncate the file below the mapping.
        let base = unsafe { mmap(None, size, prot, map_flags, &fd, 0) }?;
        Ok(Self { base: base.cast(), len: size.get(), fd, pages, refused: None })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }

    pub(crate) fn refused(&self) -> Option<Errno> {
        self.refused
    }

    /// The address of the byte at `offset`, for an area of `len` bytes that lies inside.
    pub(crate) fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len), "area inside the arena");
        // SAFETY: the offset was just checked to lie inside this mapping, which is one allocation.
        unsafe { self.base.add(offset) }
    }
}

/// Whether `len` bytes leave something of the memory that the kernel calls available. A kernel that does not say is
/// believed to have it.
fn fits(len: usize, meminfo: &str) -> bool {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kib.is_none_or(|kib| len >> 10 <= kib - kib / NORMAL_PAGES_SPARE)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping made in `map`; buffers and queues keep the mapping alive
        // through their `Rc`, so nothing points into it any more.
        let done = unsafe { munmap(self.base.cast::<c_void>(), self.len) };
        assert!(done.is_ok(), "the arena's own mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an arena that would take all memory is refused before a page of it is touched.
    #[test]
    fn memory_that_is_not_there_is_not_taken() {
        let meminfo = "MemTotal:        2000000 kB\nMemFree:  1 kB\nMemAvailable:    1048576 kB\n";
        assert!(fits(896 << 20, meminfo));
        assert!(!fits(897 << 20, meminfo));
        assert!(!fits(usize::MAX, meminfo));
        assert!(fits(64 << 20, "") && fits(64 << 20, "MemAvailable: much kB"));
    }
}
