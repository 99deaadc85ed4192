//! What sysfs knows about a device before it is opened: its IOMMU group, its driver, its neighbours.
//!
//! The kernel checks the same and more when the device is opened, but says only `EINVAL`.

use crate::{Bdf, VfioError};
use std::fs;
use std::path::{Path, PathBuf};

/// Drivers that may hold other members of a group: they give no program access to the device.
const HARMLESS_DRIVERS: &[&str] = &["vfio-pci", "pci-stub", "pcieport"];

/// A mounted sysfs.
#[derive(Clone, Debug)]
pub(crate) struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The directory of a device.
    pub(crate) fn device(&self, device: Bdf) -> PathBuf {
        self.root.join("bus/pci/devices").join(device.to_string())
    }

    /// Refuses a device that VFIO could not open, with the reason.
    pub(crate) fn check(&self, device: Bdf) -> Result<(), VfioError> {
        let dir = self.device(device);
        if !dir.exists() {
            return Err(VfioError::NoDevice { device });
        }
        let Some(group) = link_name(&dir.join("iommu_group")) else {
            return Err(VfioError::NoIommu { device });
        };
        let group = group.parse().map_err(|_| VfioError::Sysfs {
            device,
            path: dir.join("iommu_group").display().to_string(),
            cause: format!("{group:?} is not a number"),
        })?;
        let driver = link_name(&dir.join("driver")).ok_or(VfioError::NoDriver { device })?;
        if driver != "vfio-pci" {
            return Err(VfioError::WrongDriver { device, driver });
        }
        let others = neighbours(device, &dir)?;
        if !others.is_empty() {
            return Err(VfioError::SharedGroup { device, group, others: others.join(", ") });
        }
        Ok(())
    }
}

/// Other members of the group that belong to a driver: `0000:00:05.0 (e1000e)`, in order.
fn neighbours(device: Bdf, dir: &Path) -> Result<Vec<String>, VfioError> {
    let path = dir.join("iommu_group/devices");
    let entries = fs::read_dir(&path).map_err(|error| VfioError::Sysfs {
        device,
        path: path.display().to_string(),
        cause: error.to_string(),
    })?;
    let own = device.to_string();
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok().filter(|name| *name != own)?;
            let driver = link_name(&entry.path().join("driver"))?;
            (!HARMLESS_DRIVERS.contains(&driver.as_str())).then(|| format!("{name} ({driver})"))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// The last part of what a symbolic link points to.
fn link_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const DRIVE: &str = "0000:00:04.0";

    /// A sysfs of our own with devices, their drivers, all in group 7.
    fn sysfs(devices: &[(&str, Option<&str>)], with_iommu: bool) -> (tempfile::TempDir, Sysfs) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        let group = root.join("kernel/iommu_groups/7/devices");
        fs::create_dir_all(&group).expect("created");
        for (name, driver) in devices {
            let device = root.join("bus/pci/devices").join(name);
            fs::create_dir_all(&device).expect("created");
            if with_iommu {
                symlink(root.join("kernel/iommu_groups/7"), device.join("iommu_group")).expect("linked");
                symlink(&device, group.join(name)).expect("linked");
            }
            if let Some(driver) = driver {
                symlink(root.join("bus/pci/drivers").join(driver), device.join("driver")).expect("linked");
            }
        }
        let sysfs = Sysfs::new(root);
        (dir, sysfs)
    }

    fn refusal(devices: &[(&str, Option<&str>)], with_iommu: bool) -> Option<String> {
        let (_dir, sysfs) = sysfs(devices, with_iommu);
        sysfs.check(DRIVE.parse().expect("an address")).err().map(|error| error.to_string())
    }

    /// Goal: a drive alone in its group, or beside bridges and unused functions, is accepted.
    #[test]
    fn a_claimed_drive_is_accepted() {
        assert_eq!(refusal(&[(DRIVE, Some("vfio-pci"))], true), None);
        let beside = [(DRIVE, Some("vfio-pci")), ("0000:00:01.0", Some("pcieport")), ("0000:00:04.1", None)];
        assert_eq!(refusal(&beside, true), None);
    }

    /// Goal: each obstacle is named with its remedy, neighbours by address and driver.
    #[test]
    fn obstacles_are_named() {
        let shared =
            [(DRIVE, Some("vfio-pci")), ("0000:00:04.2", Some("xhci_hcd")), ("0000:00:04.1", Some("e1000e"))];
        let texts: Vec<String> = [
            refusal(&[], true),
            refusal(&[(DRIVE, Some("nvme"))], false),
            refusal(&[(DRIVE, Some("nvme"))], true),
            refusal(&[(DRIVE, None)], true),
            refusal(&shared, true),
        ]
        .into_iter()
        .flatten()
        .collect();
        assert_eq!(
            texts,
            [
                "0000:00:04.0: there is no such PCI device; drives may have moved to another slot, look at the list of drives",
                "0000:00:04.0: is not behind an IOMMU; enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on \
                 (a virtual machine needs a virtual IOMMU)",
                "0000:00:04.0: belongs to the driver nvme; unbind it there and bind it to vfio-pci",
                "0000:00:04.0: was not claimed; bind it to vfio-pci (write vfio-pci to its driver_override, then its address \
                 to /sys/bus/pci/drivers_probe)",
                "0000:00:04.0: shares IOMMU group 7 with 0000:00:04.1 (e1000e), 0000:00:04.2 (xhci_hcd); \
                 bind these to vfio-pci too, or move the drive to another slot",
            ]
        );
    }
}
