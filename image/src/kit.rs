//! The PXE kit: what a machine loads over the network to become a node.
//!
//! ```text
//! OUT/vmlinuz          Debian's kernel as packaged
//! OUT/initramfs.zst    our whole user space and the modules it may need
//! OUT/boot.ipxe        the script that loads both
//! OUT/manifest.json    what is in it: versions, sizes, hashes
//! OUT/SHA256SUMS       for `sha256sum -c`
//! ```

use crate::binaries::NodePrograms;
use crate::cpio::Tree;
use crate::lock::Fetched;
use crate::modules::{self, Library, Module};
use crate::progress::{Step, human};
use crate::tar::Kind;
use crate::{deb, hash};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Modules of the node: the drives' way into user space, the network cards, the entropy of a virtual machine.
pub const NODE_MODULES: &[&str] =
    &["vfio_iommu_type1", "vfio_pci", "virtio_net", "virtio_rng", "e1000e", "igb", "igc"];

/// Kernel arguments of every node, each for a reason.
pub const KERNEL_ARGUMENTS: &[&str] = &[
    // Serial first: what init says must be readable where there is no screen.
    "console=ttyS0,115200",
    // Debian's kernel leaves the IOMMU off; without it a drive cannot be given to user space.
    "intel_iommu=on",
    // A timer check of the kernel fails now and then under emulation and panics; the timer itself is fine.
    "no_timer_check",
    // After a kernel panic the node reboots by itself.
    "panic=10",
];

/// Highest level that needs no special flags to unpack; size counts, time to build does not.
const ZSTD_LEVEL: i32 = 19;

/// A kernel package, unpacked.
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// The bootable image.
    pub vmlinuz: Vec<u8>,
    /// Its modules.
    pub modules: Library,
}

/// What the kit says of itself.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Manifest {
    /// Always "ironbay-pxe".
    pub name: String,
    /// Version of the appliance.
    pub version: String,
    /// The kernel's package.
    pub kernel: ManifestKernel,
    /// The files of the kit.
    pub files: Vec<ManifestFile>,
    /// What the initramfs is made of, before compression.
    pub parts: Vec<ManifestPart>,
}

/// Where the kernel comes from.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ManifestKernel {
    /// `uname -r`.
    pub release: String,
    /// Debian package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the package file.
    pub sha256: String,
    /// Whether that is the one of the lock file.
    pub is_locked: bool,
}

/// A file of the kit.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ManifestFile {
    /// File name.
    pub name: String,
    /// Length.
    pub size_bytes: u64,
    /// SHA-256.
    pub sha256: String,
}

/// A part of the initramfs.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ManifestPart {
    /// What it is.
    pub name: String,
    /// Length before compression of the whole.
    pub size_bytes: u64,
}

/// Unpacks a kernel package.
pub fn unpack_kernel(fetched: &Fetched) -> Result<Kernel> {
    let step = Step::start("kernel");
    let mut release = None;
    let mut vmlinuz = None;
    let mut library = Library::default();
    let wanted = |path: &str| {
        let is_module = path.ends_with(".ko.xz") || path.ends_with(".ko");
        path.starts_with("boot/vmlinuz-") || is_module || path.ends_with("/modules.builtin")
    };
    deb::read(&fetched.path, wanted, |entry| {
        let Kind::File(content) = entry.kind else { return Ok(()) };
        if let Some(name) = entry.path.strip_prefix("boot/vmlinuz-") {
            release = Some(name.to_owned());
            vmlinuz = Some(content);
        } else if entry.path.ends_with("/modules.builtin") {
            library.add_builtin(&String::from_utf8_lossy(&content));
        } else if let Some(name) = entry.path.rsplit('/').next() {
            library.add(name, content);
        }
        Ok(())
    })?;
    let missing = || format!("the package {} holds no kernel", fetched.path.display());
    let kernel = Kernel {
        release: release.with_context(missing)?,
        vmlinuz: vmlinuz.with_context(missing)?,
        modules: library,
    };
    ensure!(!kernel.modules.is_empty(), "the package {} holds no modules", fetched.path.display());
    step.done(format!("{} with {} modules to choose from", kernel.release, kernel.modules.len()));
    Ok(kernel)
}

/// Builds the kit into a directory. `append` is added to the kernel arguments of the boot script.
pub fn build(
    out: &Path,
    fetched: &Fetched,
    kernel: &Kernel,
    programs: &NodePrograms,
    append: &[String],
) -> Result<Manifest> {
    let step = Step::start("modules");
    let closure = kernel.modules.closure(NODE_MODULES)?;
    step.done(closure.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(" "));

    let step = Step::start("initramfs");
    let (tree, parts) = node_tree(&kernel.release, &closure, programs)?;
    let plain = tree.to_cpio()?;
    let initramfs = zstd::bulk::compress(&plain, ZSTD_LEVEL).context("zstd failed")?;
    step.done(format!("{} from {}", human(initramfs.len() as u64), human(plain.len() as u64)));

    let files = [
        ("boot.ipxe", boot_script(append).into_bytes()),
        ("initramfs.zst", initramfs),
        ("vmlinuz", kernel.vmlinuz.clone()),
    ];
    let manifest = Manifest {
        name: "ironbay-pxe".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: ManifestKernel {
            release: kernel.release.clone(),
            package: fetched.package.package.clone(),
            version: fetched.package.version.clone(),
            sha256: fetched.package.sha256.clone(),
            is_locked: fetched.is_locked,
        },
        files: files.iter().map(|(name, content)| describe(name, content)).collect(),
        parts,
    };
    write_kit(out, &files, &manifest)?;
    Ok(manifest)
}

/// The iPXE script that loads the kit from where the script came from.
pub fn boot_script(append: &[String]) -> String {
    let mut arguments: Vec<&str> = KERNEL_ARGUMENTS.to_vec();
    arguments.extend(append.iter().map(String::as_str));
    format!(
        "#!ipxe\n# Ironbay: boots this machine as a storage node.\n\
         kernel vmlinuz initrd=initramfs.zst {}\ninitrd initramfs.zst\nboot\n",
        arguments.join(" ")
    )
}

fn node_tree(
    release: &str,
    closure: &[Module],
    programs: &NodePrograms,
) -> Result<(Tree, Vec<ManifestPart>)> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (init, ironbayd) = (read(&programs.init)?, read(&programs.ironbayd)?);
    let packed: usize = closure.iter().map(|m| m.packed.len()).sum();
    let part = |name: &str, size: usize| ManifestPart { name: name.to_owned(), size_bytes: size as u64 };
    let parts = vec![
        part("init", init.len()),
        part("ironbayd", ironbayd.len()),
        part(&format!("{} kernel modules", closure.len()), packed),
    ];
    let mut tree = Tree::default();
    tree.first_devices();
    for mount_point in ["proc", "sys", "run", "tmp"] {
        tree.directory(mount_point);
    }
    tree.program("init", init);
    tree.program("usr/bin/ironbayd", ironbayd);
    tree.file("etc/ironbay-release", format!("VERSION={}\nKERNEL={release}\n", env!("CARGO_PKG_VERSION")));
    tree.file("lib/modules/modules.idx", modules::index(closure));
    for module in closure {
        tree.file(format!("lib/modules/{release}/{}.ko.xz", module.name), module.packed.clone());
    }
    Ok((tree, parts))
}

fn describe(name: &str, content: &[u8]) -> ManifestFile {
    ManifestFile { name: name.to_owned(), size_bytes: content.len() as u64, sha256: hash::of_bytes(content) }
}

/// Writes each file under another name first, so that an interrupted build leaves no half kit with a good name.
fn write_kit(out: &Path, files: &[(&str, Vec<u8>)], manifest: &Manifest) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let write = |name: &str, content: &[u8]| {
        let (partial, path) = (out.join(format!(".{name}.partial")), out.join(name));
        std::fs::write(&partial, content)
            .and_then(|()| std::fs::rename(&partial, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, content) in files {
        write(name, content)?;
    }
    let sums: String = manifest.files.iter().map(|f| format!("{}  {}\n", f.sha256, f.name)).collect();
    write("SHA256SUMS", sums.as_bytes())?;
    write("manifest.json", format!("{}\n", serde_json::to_string_pretty(manifest)?).as_bytes())
}

#[cfg(test)]
#[path = "kit_tests.rs"]
mod tests;
