//! Phase `claim`: hands NVMe controllers to `vfio-pci`, by PCI class, before any driver of the kernel sees them.
//!
//! Invariants
//! - Claiming writes nothing to a drive. Whether its data may be touched is the engine's decision, later.
//! - A controller whose IOMMU group holds another device in use is refused: through that device's neighbour the engine
//!   could reach memory that is not its own.
//! - A controller that cannot be claimed is named with reason and remedy; the others are claimed.

use super::files;
use crate::failure::Failure;
use crate::phase::Outcome;
use control::limits::DRIVES_MAX;
use std::path::{Path, PathBuf};

/// PCI base class, subclass and interface of an NVMe IO controller (PCI Code and ID Assignment 1.x, class 01h 08h 02h).
const NVME_CLASS: &str = "0x010802";
/// Base class of bridges: they may share a group, VFIO leaves them alone.
const BRIDGE_CLASS: &str = "0x06";
const VFIO: &str = "vfio-pci";

const IOMMU_REMEDY: &str = "enable VT-d or AMD-Vi in the firmware, and on Intel machines boot with the kernel argument intel_iommu=on";

/// Claims all NVMe controllers; the second value is the addresses of those that were claimed.
#[must_use]
pub fn run() -> (Outcome, Vec<String>) {
    claim_all(Path::new("/sys"))
}

fn claim_all(sys: &Path) -> (Outcome, Vec<String>) {
    let mut outcome = Outcome::default();
    let mut found = controllers(sys);
    if found.is_empty() {
        outcome.warnings.push(Failure::new("find drives", "", "no NVMe controller on the PCI bus").remedy(
            "check slots, cables and the firmware's settings for NVMe (RAID or VMD mode hides drives); then reboot",
        ));
        outcome.summary = "no drive".to_owned();
        return (outcome, Vec::new());
    }
    if found.len() > DRIVES_MAX {
        let reason = format!("{} controllers found, {DRIVES_MAX} are supported", found.len());
        outcome.warnings.push(Failure::new("claim drives", "", reason).remedy("the last ones stay unused"));
        found.truncate(DRIVES_MAX);
    }
    let mut claimed = Vec::new();
    for (bdf, result) in in_parallel(sys, &found) {
        match result {
            Ok(()) => claimed.push(bdf),
            Err(failure) => outcome.failures.push(failure),
        }
    }
    outcome.summary = match claimed.as_slice() {
        [] => String::new(),
        [one] => format!("1 drive claimed: {one}"),
        many => format!("{} drives claimed: {}", many.len(), many.join(", ")),
    };
    (outcome, claimed)
}

/// One thread per drive: the reset that belongs to claiming takes 100 ms each (measured 130 ms).
fn in_parallel(sys: &Path, found: &[String]) -> Vec<(String, Result<(), Failure>)> {
    std::thread::scope(|scope| {
        let started: Vec<_> = found
            .iter()
            .map(|bdf| {
                let work = move || claim(sys, bdf);
                (bdf, std::thread::Builder::new().name("claim".to_owned()).spawn_scoped(scope, work))
            })
            .collect();
        started
            .into_iter()
            .map(|(bdf, thread)| {
                let result = match thread {
                    Ok(thread) => thread
                        .join()
                        .unwrap_or_else(|_| Err(Failure::new("claim drive", bdf, "the thread failed"))),
                    // No thread to be had: do it here.
                    Err(_) => claim(sys, bdf),
                };
                (bdf.clone(), result)
            })
            .collect()
    })
}

/// PCI addresses of all NVMe controllers.
fn controllers(sys: &Path) -> Vec<String> {
    let devices = sys.join("bus/pci/devices");
    files::list(&devices)
        .into_iter()
        .filter(|bdf| files::read(devices.join(bdf).join("class")).is_ok_and(|class| class == NVME_CLASS))
        .collect()
}

fn claim(sys: &Path, bdf: &str) -> Result<(), Failure> {
    let device = sys.join("bus/pci/devices").join(bdf);
    check_group(sys, bdf)?;
    files::write(device.join("driver_override"), VFIO)?;
    match driver(&device).as_deref() {
        Some(VFIO) => return Ok(()),
        Some(_) => files::write(device.join("driver/unbind"), bdf)?,
        None => {}
    }
    if !sys.join("bus/pci/drivers").join(VFIO).exists() {
        return Err(Failure::new("claim drive", bdf, "the driver vfio-pci is not in the kernel")
            .remedy("see the failure of phase modules above"));
    }
    files::write(sys.join("bus/pci/drivers_probe"), bdf)?;
    match driver(&device).as_deref() {
        Some(VFIO) => Ok(()),
        Some(other) => Err(Failure::new("claim drive", bdf, format!("driver {other} took it"))
            .remedy("report this: no driver for NVMe may be in the image")),
        None => Err(Failure::new("claim drive", bdf, "vfio-pci did not take it")
            .remedy("type `log` on the console for the kernel's reason; often a missing IOMMU")),
    }
}

fn driver(device: &Path) -> Option<String> {
    files::link_name(device.join("driver"))
}

/// Refuses a controller that is in no IOMMU group, or shares one with a device in use.
fn check_group(sys: &Path, bdf: &str) -> Result<(), Failure> {
    let device = sys.join("bus/pci/devices").join(bdf);
    let Some(group) = files::link_name(device.join("iommu_group")) else {
        let reason = if files::list(sys.join("kernel/iommu_groups")).is_empty() {
            "the machine has no working IOMMU"
        } else {
            "it is in no IOMMU group"
        };
        return Err(Failure::new("claim drive", bdf, reason).remedy(IOMMU_REMEDY));
    };
    let peers = group_peers(&sys.join("kernel/iommu_groups").join(&group).join("devices"), bdf);
    if peers.is_empty() {
        return Ok(());
    }
    Err(Failure::new("claim drive", bdf, format!("IOMMU group {group} also holds {}", peers.join(", ")))
        .remedy("move the drive or the other device to another slot, or enable ACS in the firmware"))
}

/// Other devices of a group that are neither bridges, nor NVMe controllers, nor without driver.
fn group_peers(devices: &Path, bdf: &str) -> Vec<String> {
    files::list(devices)
        .into_iter()
        .filter(|peer| peer != bdf)
        .filter_map(|peer| {
            let dir: PathBuf = devices.join(&peer);
            let class = files::read(dir.join("class")).unwrap_or_default();
            let driver = driver(&dir)?;
            let is_harmless = class.starts_with(BRIDGE_CLASS) || class == NVME_CLASS || driver == VFIO;
            (!is_harmless).then(|| format!("{peer} ({driver})"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A directory that looks like sysfs, without a kernel behind it.
    struct Sys(tempfile::TempDir);

    impl Sys {
        fn new() -> Self {
            let sys = Self(tempfile::tempdir().unwrap());
            for dir in ["bus/pci/devices", "bus/pci/drivers", "kernel/iommu_groups"] {
                fs::create_dir_all(sys.0.path().join(dir)).unwrap();
            }
            fs::write(sys.0.path().join("bus/pci/drivers_probe"), "").unwrap();
            sys
        }

        fn device(&self, bdf: &str, class: &str, group: Option<&str>, driver: Option<&str>) -> &Self {
            let root = self.0.path();
            let dir = root.join("bus/pci/devices").join(bdf);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("class"), format!("{class}\n")).unwrap();
            fs::write(dir.join("driver_override"), "(null)\n").unwrap();
            if let Some(driver) = driver {
                let target = root.join("bus/pci/drivers").join(driver);
                fs::create_dir_all(&target).unwrap();
                symlink(&target, dir.join("driver")).unwrap();
            }
            if let Some(group) = group {
                let target = root.join("kernel/iommu_groups").join(group);
                fs::create_dir_all(target.join("devices")).unwrap();
                symlink(&target, dir.join("iommu_group")).unwrap();
                symlink(&dir, target.join("devices").join(bdf)).unwrap();
            }
            self
        }

        fn check(&self, expected: &Expect) -> Vec<String> {
            let (outcome, claimed) = claim_all(self.0.path());
            let mut text = format!("{}\n", outcome.summary);
            for failure in outcome.warnings.iter().chain(&outcome.failures) {
                text += &format!("{failure}\n  -> {}\n", failure.remedy);
            }
            expected.assert_eq(&text);
            claimed
        }
    }

    /// Goal: controllers that vfio-pci holds already are claimed, other devices are left alone.
    #[test]
    fn only_nvme_controllers_are_claimed() {
        let sys = Sys::new();
        sys.device("0000:00:02.0", "0x020000", Some("1"), Some("virtio-pci"))
            .device("0000:00:04.0", "0x010802", Some("2"), Some("vfio-pci"))
            .device("0000:00:05.0", "0x010802", Some("3"), Some("vfio-pci"));
        let claimed = sys.check(&expect![[r#"
            2 drives claimed: 0000:00:04.0, 0000:00:05.0
        "#]]);
        assert_eq!(claimed, ["0000:00:04.0", "0000:00:05.0"]);
    }

    /// Goal: a machine without IOMMU is told how to get one.
    #[test]
    fn no_iommu_has_a_remedy() {
        let sys = Sys::new();
        sys.device("0000:00:04.0", "0x010802", None, None);
        let claimed = sys.check(&expect![[r#"

            claim drive 0000:00:04.0: the machine has no working IOMMU
              -> enable VT-d or AMD-Vi in the firmware, and on Intel machines boot with the kernel argument intel_iommu=on
        "#]]);
        assert!(claimed.is_empty());
    }

    /// Goal: a group shared with a working device is refused by name; bridges and drives may share.
    #[test]
    fn shared_group_is_refused() {
        let sys = Sys::new();
        sys.device("0000:00:01.0", "0x060400", Some("5"), Some("pcieport"))
            .device("0000:01:00.0", "0x010802", Some("5"), Some("vfio-pci"))
            .device("0000:01:00.1", "0x020000", Some("5"), Some("e1000e"));
        let claimed = sys.check(&expect![[r#"

            claim drive 0000:01:00.0: IOMMU group 5 also holds 0000:01:00.1 (e1000e)
              -> move the drive or the other device to another slot, or enable ACS in the firmware
        "#]]);
        assert!(claimed.is_empty());
    }

    /// Goal: a driver that does not bind is a failure, never a drive that is thought to be claimed.
    #[test]
    fn binding_is_verified() {
        let sys = Sys::new();
        sys.device("0000:00:04.0", "0x010802", Some("2"), None).device(
            "0000:00:05.0",
            "0x010802",
            Some("3"),
            Some("vfio-pci"),
        );
        let claimed = sys.check(&expect![[r#"
            1 drive claimed: 0000:00:05.0
            claim drive 0000:00:04.0: vfio-pci did not take it
              -> type `log` on the console for the kernel's reason; often a missing IOMMU
        "#]]);
        assert_eq!(claimed, ["0000:00:05.0"]);
    }

    /// Goal: without a drive the boot goes on, and says what to look at.
    #[test]
    fn no_drive_is_a_warning() {
        let sys = Sys::new();
        sys.check(&expect![[r#"
            no drive
            find drives: no NVMe controller on the PCI bus
              -> check slots, cables and the firmware's settings for NVMe (RAID or VMD mode hides drives); then reboot
        "#]]);
    }
}
