//! Phase `modules`: loads what the present hardware needs, and VFIO.
//!
//! Invariants
//! - A module is loaded only because a device names it or because VFIO needs it: checking one signature costs tens of
//!   milliseconds, so the number of modules is the budget.
//! - Nothing is loaded for NVMe controllers (PCI class 0x0108): they belong to `claim`.

use super::files;
use super::index::{Index, canonical};
use crate::failure::Failure;
use crate::limits::MODULE_ROUNDS_MAX;
use crate::phase::Outcome;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Where `image` puts the index.
pub const INDEX: &str = "/lib/modules/modules.idx";
const ROOT: &str = "/lib/modules";

/// Loaded by name, in this order: the memory mapper first, so that the first open of a group finds it.
const BY_NAME: [&str; 2] = ["vfio_iommu_type1", "vfio_pci"];

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`: the kernel unpacks the file itself.
const COMPRESSED_FILE: u32 = 4;

/// Buses whose devices may need a module.
const BUSES: [&str; 2] = ["/sys/bus/pci/devices", "/sys/bus/virtio/devices"];

/// Loads modules for the present devices, then VFIO.
#[must_use]
pub fn run() -> Outcome {
    let mut outcome = Outcome::default();
    let index = match files::read(INDEX) {
        Ok(text) => Index::parse(&text),
        Err(failure) => {
            let remedy = "build the image again; without modules there is neither network nor drive";
            outcome.failures.push(failure.remedy(remedy));
            return outcome;
        }
    };
    let mut loader = Loader::new();
    let mut seen = BTreeSet::new();
    for _ in 0..MODULE_ROUNDS_MAX {
        let fresh: Vec<_> = modaliases().into_iter().filter(|alias| seen.insert(alias.clone())).collect();
        if fresh.is_empty() {
            break;
        }
        for alias in &fresh {
            for list in index.for_alias(alias) {
                loader.load_all(list, &mut outcome);
            }
        }
    }
    for name in BY_NAME {
        match index.for_name(name) {
            Some(list) => loader.load_all(list, &mut outcome),
            None if Path::new("/sys/module").join(name).exists() => {}
            None => outcome.failures.push(
                Failure::new("load module", name, format!("{INDEX} does not name it"))
                    .remedy("build the image again with this module; drives cannot be claimed without it"),
            ),
        }
    }
    outcome.summary = match loader.loaded.as_slice() {
        [] => "nothing to load".to_owned(),
        loaded => format!("{} loaded: {}", loaded.len(), loaded.join(" ")),
    };
    outcome
}

/// The aliases of all present devices but NVMe controllers.
fn modaliases() -> Vec<String> {
    let mut found = Vec::new();
    for bus in BUSES {
        for device in files::list(bus) {
            let dir = Path::new(bus).join(device);
            let is_nvme = files::read(dir.join("class")).is_ok_and(|class| class.starts_with("0x0108"));
            if let (false, Ok(alias)) = (is_nvme, files::read(dir.join("modalias"))) {
                found.push(alias);
            }
        }
    }
    found
}

struct Loader {
    release: String,
    /// Files that were tried, so that each failure is told once.
    tried: BTreeSet<String>,
    /// Names of what was loaded, in order.
    loaded: Vec<String>,
}

impl Loader {
    fn new() -> Self {
        let release = files::read("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self { release, tried: BTreeSet::new(), loaded: Vec::new() }
    }

    fn load_all(&mut self, list: &[String], outcome: &mut Outcome) {
        for file in list {
            if !self.tried.insert(file.clone()) {
                continue;
            }
            match self.load(file) {
                Ok(true) => self.loaded.push(module_name(file)),
                Ok(false) => {}
                Err(failure) => outcome.failures.push(failure),
            }
        }
    }

    /// Loads one file; `false` if the kernel has it already.
    fn load(&self, file: &str) -> Result<bool, Failure> {
        let name = module_name(file);
        let path = self.path(file);
        let open = File::open(&path).map_err(|e| {
            Failure::io("load module", format!("{name} ({})", path.display()), &e).remedy(REBUILD)
        })?;
        let is_packed = path.extension().is_some_and(|e| e != "ko");
        let flags = if is_packed {
            ModuleInitFlags::from_bits_retain(COMPRESSED_FILE)
        } else {
            ModuleInitFlags::empty()
        };
        match finit_module(&open, c"", flags) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(Failure::errno("load module", name, errno).remedy(remedy(errno))),
        }
    }

    /// A file of the index lies under the running release, or under the root of all releases.
    fn path(&self, file: &str) -> PathBuf {
        let file = file.trim_start_matches('/');
        let own = Path::new(ROOT).join(&self.release).join(file);
        if own.exists() { own } else { Path::new(ROOT).join(file) }
    }
}

const REBUILD: &str = "build the image again: the index and the modules do not fit together";

#[allow(clippy::wildcard_enum_match_arm, reason = "nobody lists all error numbers of Linux")]
fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOEXEC | Errno::EINVAL => {
            "the module is for another kernel: kernel and initramfs must come from the same build"
        }
        Errno::ENOKEY | Errno::EKEYREJECTED | Errno::EBADMSG => {
            "the kernel refuses the signature: use the modules of the same kernel package"
        }
        Errno::ENOENT => {
            "a symbol is missing: build the image again, a dependency of the module is not in it"
        }
        Errno::ENODEV => "the hardware for it is absent or switched off in the firmware",
        Errno::ENOMEM => "give the node more memory",
        _ => "see `log` on the console for the kernel's own message",
    }
}

fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    canonical(base.split('.').next().unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the console shows the kernel's name of a module, not a path.
    #[test]
    fn names_of_files() {
        assert_eq!(module_name("kernel/drivers/vfio/pci/vfio-pci.ko.xz"), "vfio_pci");
        assert_eq!(module_name("virtio_net.ko"), "virtio_net");
        assert_eq!(module_name(""), "");
    }
}
