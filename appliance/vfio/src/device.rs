//! One PCI device: its registers, its command register, its reset.
//!
//! Invariants
//! - Closing order: BAR mappings, device descriptor, then the count in the container. The kernel keeps a device open as
//!   long as a BAR of it is mapped, and its group then cannot leave the container.

use crate::bar::Bar;
use crate::container::{Member, Shared, cause};
use crate::limits::BAR_BYTES_MAX;
use crate::{Bdf, VfioError};
use core::fmt;
use core::num::NonZeroUsize;
use dma::{Arena, ArenaId};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_REGION_INFO_FLAG_MMAP,
};
use vfio_ioctls::{VfioDevice, VfioRegionInfoCap};

/// Offset of the command register in the configuration space (PCI Local Bus 3.0 §6.2.2).
const PCI_COMMAND: u64 = 0x04;
/// Command register: respond to memory accesses.
const COMMAND_MEMORY: u16 = 1 << 1;
/// Command register: may start transfers.
const COMMAND_BUS_MASTER: u16 = 1 << 2;

/// An open device. Bus mastering is off until [`Device::enable`].
pub struct Device {
    bdf: Bdf,
    vfio: VfioDevice,
    /// Last: counted out after the descriptor is closed.
    member: Member,
}

impl Device {
    pub(crate) fn open(bdf: Bdf, sysfs: &Path, shared: &Rc<Shared>) -> Result<Self, VfioError> {
        let vfio = VfioDevice::new(sysfs, shared.vfio(), false).map_err(|error| VfioError::Device {
            device: bdf,
            operation: "open the device",
            cause: cause(&error),
            remedy: "end the other program that uses it; the kernel log tells more",
        })?;
        Ok(Self { bdf, vfio, member: Member::new(shared) })
    }

    /// Its address.
    #[must_use]
    pub fn bdf(&self) -> Bdf {
        self.bdf
    }

    /// Makes an arena reachable for all devices of the container, and returns where they see its first byte. Mapping it
    /// again returns the same.
    ///
    /// # Errors
    /// If the kernel does not pin or map the memory.
    pub fn map(&self, arena: &Arena) -> Result<u64, VfioError> {
        self.member.shared().map(self.bdf, arena)
    }

    /// Where devices see the first byte of an arena, if it was mapped.
    #[must_use]
    pub fn iova(&self, arena: ArenaId) -> Option<u64> {
        self.member.shared().iova(arena)
    }

    /// Maps BAR 0 from its first byte to its end, or to the first hole that the kernel leaves in it.
    ///
    /// # Errors
    /// If the BAR has no registers that can be mapped.
    pub fn bar0(&self) -> Result<Bar, VfioError> {
        let index = VFIO_PCI_BAR0_REGION_INDEX;
        let refused = |cause: String| VfioError::Device {
            device: self.bdf,
            operation: "map the registers",
            cause,
            remedy: "this is not a controller that Ironbay can drive",
        };
        if self.vfio.get_region_flags(index) & VFIO_REGION_INFO_FLAG_MMAP == 0 {
            return Err(refused("BAR 0 is not memory".to_owned()));
        }
        let size = self.vfio.get_region_size(index).min(BAR_BYTES_MAX);
        let len = mappable(size, &self.vfio.get_region_caps(index));
        let len = usize::try_from(len).ok().and_then(NonZeroUsize::new);
        let len = len.ok_or_else(|| refused("BAR 0 does not start with registers".to_owned()))?;
        let offset = i64::try_from(self.vfio.get_region_offset(index))
            .map_err(|_| refused("its offset is out of range".to_owned()))?;
        // SAFETY: the descriptor is open as long as `self.vfio`, which outlives this call.
        let fd = unsafe { BorrowedFd::borrow_raw(self.vfio.as_raw_fd()) };
        Bar::map(fd, offset, len).map_err(|errno| refused(errno.to_string()))
    }

    /// Lets the device answer to memory accesses and start transfers.
    ///
    /// # Errors
    /// If the device does not take the change.
    pub fn enable(&self) -> Result<(), VfioError> {
        let wanted = COMMAND_MEMORY | COMMAND_BUS_MASTER;
        self.write_config16(PCI_COMMAND, self.read_config16(PCI_COMMAND) | wanted);
        if self.read_config16(PCI_COMMAND) & wanted == wanted {
            return Ok(());
        }
        Err(VfioError::Device {
            device: self.bdf,
            operation: "enable bus mastering",
            cause: "the command register does not keep it".to_owned(),
            remedy: "take the drive out and put it in again",
        })
    }

    /// Takes the right to start transfers away. True if the device confirmed: what it had sent before the answer has
    /// arrived (an answer pushes earlier writes ahead of itself, PCI Express Base 4.0 §2.4.1), and nothing follows.
    #[must_use]
    pub fn disable(&self) -> bool {
        self.write_config16(PCI_COMMAND, self.read_config16(PCI_COMMAND) & !COMMAND_BUS_MASTER);
        // A device that is gone reads as all ones.
        self.read_config16(PCI_COMMAND) & COMMAND_BUS_MASTER == 0
    }

    /// Resets the function, where the kernel knows how.
    pub fn reset(&self) {
        self.vfio.reset();
    }

    fn read_config16(&self, offset: u64) -> u16 {
        // All ones is what a missing device reads as, so a failed read looks like one.
        let mut bytes = [0xff; 2];
        self.vfio.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut bytes, offset);
        u16::from_le_bytes(bytes)
    }

    fn write_config16(&self, offset: u64, value: u16) {
        self.vfio.region_write(VFIO_PCI_CONFIG_REGION_INDEX, &value.to_le_bytes(), offset);
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("bdf", &self.bdf).finish_non_exhaustive()
    }
}

/// How many bytes from the start of a region of `size` bytes can be mapped in one piece.
fn mappable(size: u64, caps: &[VfioRegionInfoCap]) -> u64 {
    let areas = caps.iter().find_map(|cap| match cap {
        VfioRegionInfoCap::SparseMmap(sparse) => Some(&sparse.areas),
        VfioRegionInfoCap::Type(_)
        | VfioRegionInfoCap::MsixMappable
        | VfioRegionInfoCap::Nvlink2Ssatgt(_)
        | VfioRegionInfoCap::Nvlink2Lnkspd(_) => None,
    });
    let Some(areas) = areas else { return size };
    areas.iter().find(|area| area.offset == 0).map_or(0, |area| area.size.min(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfio_ioctls::{VfioRegionInfoCapSparseMmap, VfioRegionSparseMmapArea};

    fn sparse(areas: &[(u64, u64)]) -> VfioRegionInfoCap {
        let areas =
            areas.iter().map(|(offset, size)| VfioRegionSparseMmapArea { offset: *offset, size: *size });
        VfioRegionInfoCap::SparseMmap(VfioRegionInfoCapSparseMmap { areas: areas.collect() })
    }

    /// Goal: a hole in the BAR (the MSI-X table of older kernels) ends the mapping; without holes all of it is mapped.
    #[test]
    fn holes_end_the_mapping() {
        assert_eq!(mappable(0x4000, &[]), 0x4000);
        assert_eq!(mappable(0x4000, &[VfioRegionInfoCap::MsixMappable]), 0x4000);
        assert_eq!(mappable(0x4000, &[sparse(&[(0, 0x2000), (0x3000, 0x1000)])]), 0x2000);
        assert_eq!(mappable(0x4000, &[sparse(&[(0x3000, 0x1000)])]), 0);
    }
}
