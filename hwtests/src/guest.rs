//! The first file system of the Linux host: Debian's programs as packaged, no installation, no root.
//!
//! The packages are resolved and fetched by apt for an empty machine. From them we take the wanted programs and the
//! libraries that these name; everything else stays out, because the host boots anew for every scenario.

use crate::host::HOST_NQN;
use crate::parts;
use anyhow::{Context, Result, ensure};
use image::cpio::{Node, Tree};
use image::kit::Kernel;
use image::progress::{Step, human};
use image::tar::Kind;
use image::{deb, debian, elf, hash};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PACKAGES: &[&str] = &["busybox-static", "nvme-cli", "fio", "e2fsprogs", "util-linux"];

/// Programs, and the names under which they are found besides their own.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("busybox", &[]),
    ("nvme", &[]),
    ("fio", &[]),
    ("mke2fs", &["mkfs.ext4"]),
    ("e2fsck", &["fsck.ext4"]),
    ("resize2fs", &[]),
    // That of busybox cannot write zeroes; the shell prefers its own, so scripts name this one by its path.
    ("blkdiscard", &[]),
];

/// Files that the programs read.
const FILES: &[&str] = &["etc/mke2fs.conf"];

/// Kernel modules, as on any Linux host that uses NVMe over TCP. The first two are built into newer kernels.
const MODULES: &[&str] =
    &["virtio_pci", "virtio_console", "virtio_net", "virtio_rng", "crc32c_generic", "nvme_tcp", "ext4"];

const INIT: &str = include_str!("guest-init.sh");

/// Where Debian's loader looks first.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// Unpacked packages: path to content or link.
type Unpacked = BTreeMap<String, (u32, Kind)>;

/// The compressed file system; built once for each set of packages and kernel.
pub fn initramfs(kernel: &Kernel, cache: &Path) -> Result<PathBuf> {
    let step = Step::start("Linux host");
    let packages = debian::closure(&cache.join("host-packages"), PACKAGES)?;
    let key = key(kernel, &packages);
    let path = cache.join(format!("host-{}.zst", &key[..16]));
    if !path.exists() {
        let plain = tree(kernel, &packages)?.to_cpio()?;
        parts::write_whole(&path, &zstd::bulk::compress(&plain, 9).context("zstd failed")?)?;
    }
    let size = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    step.done(format!("{} packages, {} compressed", packages.len(), human(size)));
    Ok(path)
}

/// A second archive, to be unpacked over the first: more modules, listed in `lib/modules/more` in order, and programs.
pub fn more(kernel: &Kernel, modules: &[&str], programs: &[(&str, &Path)]) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    let closure = kernel.modules.closure(modules)?;
    for module in &closure {
        tree.file(format!("lib/modules/{}.ko", module.name), module.plain.as_slice());
    }
    tree.file("lib/modules/more", closure.iter().map(|m| format!("{}.ko\n", m.name)).collect::<String>());
    for (path, program) in programs {
        let content = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let libraries = elf::needed(&content)?;
        ensure!(libraries.is_empty(), "{} is not static: it needs {libraries:?}", program.display());
        tree.program(*path, content);
    }
    zstd::bulk::compress(&tree.to_cpio()?, 1).context("zstd failed")
}

/// Package files carry their version in their name.
fn key(kernel: &Kernel, packages: &[PathBuf]) -> String {
    let names = packages.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy());
    let inputs = [kernel.release.as_str(), &format!("{PROGRAMS:?}{MODULES:?}{FILES:?}{HOST_NQN}"), INIT]
        .map(str::to_owned);
    hash::of_bytes(names.map(String::from).chain(inputs).collect::<Vec<_>>().join("\n").as_bytes())
}

fn tree(kernel: &Kernel, packages: &[PathBuf]) -> Result<Tree> {
    let files = unpack(packages)?;
    let mut tree = Tree::default();
    tree.first_devices();
    tree.program("init", INIT);
    for (program, aliases) in PROGRAMS {
        let found = ["bin", "sbin", "usr/bin", "usr/sbin"].iter().map(|dir| format!("{dir}/{program}"));
        let found = found.filter_map(|path| resolve(&files, &path)).next();
        let content = found.with_context(|| format!("no package holds the program {program}"))?;
        add_libraries(&mut tree, &files, content)?;
        tree.program(format!("bin/{program}"), content);
        for alias in *aliases {
            tree.link(format!("bin/{alias}"), *program);
        }
    }
    for path in FILES {
        let content = resolve(&files, path).with_context(|| format!("no package holds {path}"))?;
        tree.file(*path, content);
    }
    // Kernel and programs insist that NQN and identifier of a host belong together.
    tree.file("etc/nvme/hostnqn", format!("{HOST_NQN}\n"));
    tree.file("etc/nvme/hostid", format!("{}\n", HOST_NQN.rsplit(':').next().unwrap_or_default()));
    let closure = kernel.modules.closure(MODULES)?;
    // Decompressed: busybox hands the file to the kernel as it is, and the whole archive is compressed anyway.
    for module in &closure {
        tree.file(format!("lib/modules/{}.ko", module.name), module.plain.as_slice());
    }
    let order: String = closure.iter().map(|m| format!("{}.ko\n", m.name)).collect();
    tree.file("lib/modules/order", order);
    Ok(tree)
}

fn unpack(packages: &[PathBuf]) -> Result<Unpacked> {
    let mut files = Unpacked::new();
    let wanted = |path: &str| {
        let path = path.trim_start_matches("usr/");
        ["bin/", "sbin/", "lib/x86_64-linux-gnu/", "lib64/", "etc/"].iter().any(|dir| path.starts_with(dir))
    };
    for package in packages {
        deb::read(package, wanted, |entry| {
            files.insert(entry.path, (entry.mode, entry.kind));
            Ok(())
        })?;
    }
    Ok(files)
}

/// The content behind a path, through symbolic links.
fn resolve<'a>(files: &'a Unpacked, path: &str) -> Option<&'a [u8]> {
    let mut path = path.to_owned();
    for _ in 0..image::limits::LINKS_MAX {
        match &files.get(&path)?.1 {
            Kind::File(content) => return Some(content),
            Kind::SameAs(other) => path = other.clone(),
            Kind::Link(to) if to.starts_with('/') => path = to.trim_start_matches('/').to_owned(),
            Kind::Link(to) => {
                let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                path = normal(&format!("{dir}/{to}"));
            }
            Kind::Directory => return None,
        }
    }
    None
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Adds the libraries that a program names, and those that they name.
fn add_libraries(tree: &mut Tree, files: &Unpacked, program: &[u8]) -> Result<()> {
    for library in elf::needed(program)? {
        let (target, content) = if library.starts_with('/') {
            let path = library.trim_start_matches('/').to_owned();
            let content = resolve(files, &path);
            (path, content)
        } else {
            (format!("{LIBRARIES}/{library}"), find_library(files, &library))
        };
        let content = content.with_context(|| format!("no package holds the library {library}"))?;
        if matches!(tree.get(&target), Some(Node::File(..))) {
            continue;
        }
        ensure!(elf::is_elf(content), "{library} is not a library");
        tree.program(target, content);
        add_libraries(tree, files, content)?;
    }
    Ok(())
}

/// Some packages keep libraries in a directory of their own, next to the common one.
fn find_library<'a>(files: &'a Unpacked, name: &str) -> Option<&'a [u8]> {
    let suffix = format!("/{name}");
    files.keys().filter(|path| path.ends_with(&suffix)).find_map(|path| resolve(files, path))
}

#[cfg(test)]
mod tests {
    use super::{Unpacked, normal, resolve};
    use image::tar::Kind;

    /// Goal: libraries are found through chains of links, and a ring of links ends.
    #[test]
    fn links_are_followed_with_a_limit() {
        let mut files = Unpacked::new();
        let mut add = |path: &str, kind| files.insert(path.to_owned(), (0o755, kind));
        add("usr/lib/libx.so.1", Kind::Link("../lib/libx.so.1.2".to_owned()));
        add("usr/lib/libx.so.1.2", Kind::File(b"x".to_vec()));
        add("sbin/e2fsck", Kind::SameAs("usr/lib/libx.so.1".to_owned()));
        add("ring", Kind::Link("/ring".to_owned()));
        assert_eq!(resolve(&files, "sbin/e2fsck"), Some(b"x".as_slice()));
        assert_eq!(resolve(&files, "ring"), None);
        assert_eq!(normal("usr/lib/../lib/./x"), "usr/lib/x");
    }
}
