//! Why a device cannot be used, for the person who has to change something.

use crate::Bdf;

/// The environment refuses. Each text names the device, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum VfioError {
    /// Nothing at this address.
    #[error(
        "{device}: there is no such PCI device; drives may have moved to another slot, look at the list of drives"
    )]
    NoDevice {
        /// The address.
        device: Bdf,
    },
    /// No IOMMU group.
    #[error(
        "{device}: is not behind an IOMMU; enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on \
         (a virtual machine needs a virtual IOMMU)"
    )]
    NoIommu {
        /// The address.
        device: Bdf,
    },
    /// Another driver has it.
    #[error("{device}: belongs to the driver {driver}; unbind it there and bind it to vfio-pci")]
    WrongDriver {
        /// The address.
        device: Bdf,
        /// Its driver.
        driver: String,
    },
    /// No driver has it.
    #[error(
        "{device}: was not claimed; bind it to vfio-pci (write vfio-pci to its driver_override, then its address to \
         /sys/bus/pci/drivers_probe)"
    )]
    NoDriver {
        /// The address.
        device: Bdf,
    },
    /// Other devices of its group belong to other drivers: they could reach each other's memory.
    #[error(
        "{device}: shares IOMMU group {group} with {others}; bind these to vfio-pci too, or move the drive to another slot"
    )]
    SharedGroup {
        /// The address.
        device: Bdf,
        /// Number of the group.
        group: u32,
        /// The others and their drivers.
        others: String,
    },
    /// The VFIO driver is missing.
    #[error(
        "cannot open /dev/vfio/vfio ({cause}); load the kernel modules vfio_iommu_type1 and vfio-pci, run as root"
    )]
    NoVfio {
        /// What the kernel said.
        cause: String,
    },
    /// The kernel refuses the device.
    #[error("{device}: cannot {operation} ({cause}); {remedy}")]
    Device {
        /// The address.
        device: Bdf,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        cause: String,
        /// What may help.
        remedy: &'static str,
    },
    /// The arena cannot be made reachable.
    #[error(
        "{device}: cannot make {mib} MiB of memory reachable for devices ({cause}); raise the limit of locked memory \
         (RLIMIT_MEMLOCK) or use a smaller arena"
    )]
    Map {
        /// The first device of the container.
        device: Bdf,
        /// Size of the arena.
        mib: usize,
        /// What the kernel said.
        cause: String,
    },
    /// Sysfs does not read as expected.
    #[error("{device}: cannot read {path} ({cause})")]
    Sysfs {
        /// The address.
        device: Bdf,
        /// Which file.
        path: String,
        /// What the kernel said.
        cause: String,
    },
}
