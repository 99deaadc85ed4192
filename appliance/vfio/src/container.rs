//! The address space that all devices of this process share, and the memory mapped into it.
//!
//! Invariants
//! - `mapped` is what the kernel has mapped. The kernel unmaps everything when the last device leaves, so the list is
//!   cleared then, too.
//! - Mappings do not overlap and lie between [`IOVA_FIRST`] and [`IOVA_END`].

use crate::limits::{IOVA_ALIGN, IOVA_END, IOVA_FIRST, IOVA_TRIES_MAX};
use crate::sysfs::Sysfs;
use crate::{Bdf, Device, VfioError};
use core::cell::{Cell, RefCell};
use core::fmt;
use dma::{Arena, ArenaId};
use nix::errno::Errno;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use vfio_ioctls::{VfioContainer, VfioError as IoctlError};

/// A handle to the container of this process; clones are the same container.
#[derive(Clone, Debug)]
pub struct Container {
    shared: Rc<Shared>,
}

pub(crate) struct Shared {
    vfio: Arc<VfioContainer>,
    mapped: RefCell<Vec<Mapped>>,
    devices: Cell<u32>,
}

/// An arena and where devices see its first byte. Holds the arena: its pages belong to devices.
#[derive(Debug)]
struct Mapped {
    arena: Arena,
    iova: u64,
}

impl Container {
    /// Opens `/dev/vfio/vfio`.
    ///
    /// # Errors
    /// If the kernel has no VFIO, or this process may not use it.
    pub fn new() -> Result<Self, VfioError> {
        let vfio = VfioContainer::new(None).map_err(|error| VfioError::NoVfio { cause: cause(&error) })?;
        let shared = Shared { vfio: Arc::new(vfio), mapped: RefCell::default(), devices: Cell::new(0) };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// Opens a device: the kernel resets it, bus mastering is off.
    ///
    /// # Errors
    /// Named by address, cause and remedy: see [`VfioError`].
    pub fn open(&self, device: Bdf) -> Result<Device, VfioError> {
        let sysfs = Sysfs::new(Path::new("/sys"));
        sysfs.check(device)?;
        Device::open(device, &sysfs.device(device), &self.shared)
    }
}

impl Shared {
    pub(crate) fn vfio(&self) -> Arc<VfioContainer> {
        Arc::clone(&self.vfio)
    }

    /// Where devices see the first byte of an arena, if it was mapped.
    pub(crate) fn iova(&self, arena: ArenaId) -> Option<u64> {
        self.mapped.borrow().iter().find(|mapped| mapped.arena.id() == arena).map(|mapped| mapped.iova)
    }

    /// Maps an arena for all devices, once. At least one device must be open: the kernel chooses the kind of IOMMU with
    /// the first one.
    pub(crate) fn map(&self, device: Bdf, arena: &Arena) -> Result<u64, VfioError> {
        assert!(self.devices.get() > 0, "a device is open while an arena is mapped");
        if let Some(iova) = self.iova(arena.id()) {
            return Ok(iova);
        }
        let failed = |cause: String| VfioError::Map { device, mib: arena.len() >> 20, cause };
        for iova in self.candidates(arena.len() as u64) {
            match self.map_at(iova, arena) {
                Ok(()) => {
                    self.mapped.borrow_mut().push(Mapped { arena: arena.clone(), iova });
                    return Ok(iova);
                }
                // A range that firmware or a bridge reserved: the next may be free.
                Err(error) if is_refused_range(&error) => {}
                Err(error) => return Err(failed(cause(&error))),
            }
        }
        Err(failed("no free range of device addresses".to_owned()))
    }

    /// Addresses behind all mappings, upward.
    fn candidates(&self, len: u64) -> impl Iterator<Item = u64> {
        let mapped = self.mapped.borrow();
        let used = mapped.iter().map(|mapped| mapped.iova + mapped.arena.len() as u64).max();
        candidates(used.unwrap_or(IOVA_FIRST), len)
    }

    /// Maps all regions of an arena, or none of them.
    fn map_at(&self, iova: u64, arena: &Arena) -> Result<(), IoctlError> {
        let regions = arena.regions();
        for (done, region) in regions.iter().enumerate() {
            let address = core::ptr::with_exposed_provenance_mut::<u8>(region.address);
            // SAFETY: the region is mapped memory of the arena, which stays mapped: the caller keeps a handle in
            // `mapped` until the kernel has undone the mapping. A device writes only what its queues name; that memory
            // is seen as atomics, or belongs to a buffer that was moved to the device's driver (see `dma`).
            let result = unsafe { self.vfio.vfio_dma_map(iova + region.offset as u64, region.len, address) };
            if let Err(error) = result {
                for undo in &regions[..done] {
                    let undone = self.vfio.vfio_dma_unmap(iova + undo.offset as u64, undo.len);
                    assert!(undone.is_ok(), "a mapping just made can be undone");
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Aligned addresses for a mapping of `len` bytes behind `used`, at most [`IOVA_TRIES_MAX`].
fn candidates(used: u64, len: u64) -> impl Iterator<Item = u64> {
    let first = used.next_multiple_of(IOVA_ALIGN);
    (0..u64::from(IOVA_TRIES_MAX))
        .map(move |step| first + step * IOVA_ALIGN)
        .take_while(move |iova| iova.checked_add(len).is_some_and(|end| end <= IOVA_END))
}

/// The kernel refuses the addresses, not the memory.
fn is_refused_range(error: &IoctlError) -> bool {
    let refused = [Errno::EINVAL as i32, Errno::EEXIST as i32];
    matches!(error, IoctlError::IommuDmaMap(error) if refused.contains(&error.errno()))
}

/// The text of an error of the ioctl layer.
pub(crate) fn cause(error: &IoctlError) -> String {
    error.to_string()
}

/// Counts a device in; out again when it is dropped, which must happen after its descriptor was closed.
#[derive(Debug)]
pub(crate) struct Member {
    shared: Rc<Shared>,
}

impl Member {
    pub(crate) fn new(shared: &Rc<Shared>) -> Self {
        shared.devices.set(shared.devices.get() + 1);
        Self { shared: Rc::clone(shared) }
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.shared.devices.get().checked_sub(1).expect("a member was counted in");
        self.shared.devices.set(left);
        if left == 0 {
            self.shared.mapped.borrow_mut().clear();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("mapped", &self.mapped)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: addresses are aligned, above what is used, inside 39 bits, and finite in number.
    #[test]
    fn candidates_stay_inside_the_window() {
        let all: Vec<u64> = candidates(IOVA_FIRST + 1, 64 << 20).collect();
        assert_eq!(all.len(), IOVA_TRIES_MAX as usize);
        assert_eq!(all.first(), Some(&(5 << 30)));
        assert!(all.iter().all(|iova| iova.is_multiple_of(IOVA_ALIGN)));
        let at_the_end: Vec<u64> = candidates(IOVA_END - (2 << 30), 1 << 30).collect();
        assert_eq!(at_the_end, [IOVA_END - (2 << 30), IOVA_END - (1 << 30)]);
        assert_eq!(candidates(IOVA_FIRST, IOVA_END).count(), 0);
    }
}
