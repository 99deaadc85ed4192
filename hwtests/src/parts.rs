//! What a lab needs before it can start: the PXE kit, the Linux host's first file system, and the operator's programs.
//!
//! Everything is built from this workspace unless it is given; what has not changed is not built again (cargo's rule for
//! programs, content hashes for the rest).

use crate::host::HostSpec;
use anyhow::{Context, Result, anyhow, ensure};
use image::binaries::{self, NodePrograms};
use image::kit::Kernel;
use image::{debian, kit, lock};
use std::cell::LazyCell;
use std::path::{Path, PathBuf};

/// The kernels of Debian 12.
pub const OLDER_SERIES: &str = "6.1";

/// Parts that the user brings instead of having them built.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Given {
    /// A PXE kit (made by `image pxe`), instead of building one.
    #[arg(long, value_name = "DIR")]
    pub kit: Option<PathBuf>,
    /// The `ironbay` program, instead of building it.
    #[arg(long, value_name = "PATH")]
    pub ironbay: Option<PathBuf>,
    /// The `ironbayd` program for scenarios without a booted node, instead of building it.
    #[arg(long, value_name = "PATH")]
    pub ironbayd: Option<PathBuf>,
    /// The Terraform provider's program, instead of building it.
    #[arg(long, value_name = "PATH")]
    pub provider: Option<PathBuf>,
}

/// All parts, ready for use.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Directory of the PXE kit.
    pub kit: PathBuf,
    /// Kernel of the Linux host.
    pub kernel: PathBuf,
    /// First file system of the Linux host.
    pub host: PathBuf,
    /// The command line client.
    pub ironbay: PathBuf,
    /// The daemon.
    pub ironbayd: PathBuf,
    /// The Terraform provider.
    pub provider: PathBuf,
}

/// Builds what is not given.
pub fn prepare(given: &Given) -> Result<Parts> {
    prepare_with_kernel(given).map(|(parts, _)| parts)
}

/// The same, with the kernel of the image and of the Linux host, which has more modules than these use.
pub fn prepare_with_kernel(given: &Given) -> Result<(Parts, Kernel)> {
    let cache = debian::cache_dir()?;
    let fetched = lock::fetch_kernel(&debian::workspace().join("image/debian.lock"), &cache, false)?;
    let unpacked = kit::unpack_kernel(&fetched)?;
    // Built when the first part needs it, and once.
    let built = LazyCell::new(binaries::build);
    let built = || built.as_ref().map_err(|error| anyhow!("{error:#}"));
    let kit = match &given.kit {
        Some(dir) => dir.clone(),
        None => {
            let dir = binaries::target_dir().join("lab/kit");
            let programs = built()?;
            let node = NodePrograms::checked(programs.init.clone(), programs.ironbayd.clone())?;
            kit::build(&dir, &fetched, &unpacked, &node, &[])?;
            dir
        }
    };
    for name in ["vmlinuz", "initramfs.zst"] {
        let path = kit.join(name);
        ensure!(
            path.is_file(),
            "the kit has no {}; `cargo run -p image -- pxe --out {}` makes one",
            path.display(),
            kit.display()
        );
    }
    let ironbay = given.ironbay.clone().map_or_else(|| built().map(|b| b.ironbay.clone()), Ok)?;
    let ironbayd = given.ironbayd.clone().map_or_else(|| built().map(|b| b.ironbayd.clone()), Ok)?;
    let provider = given.provider.clone().map_or_else(|| built().map(|b| b.provider.clone()), Ok)?;
    let host = crate::guest::initramfs(&unpacked, &cache)?;
    let kernel = host_kernel(&unpacked, &cache)?;
    Ok((Parts { kit, kernel, host, ironbay, ironbayd, provider }, unpacked))
}

/// The Linux host with Debian 12's own kernel, which many hosts run for years to come.
pub fn older_host() -> Result<HostSpec> {
    let cache = debian::cache_dir()?;
    let kernel = kit::unpack_kernel(&lock::fetch_newest_kernel(&cache, OLDER_SERIES)?)?;
    let initrd = crate::guest::initramfs(&kernel, &cache)?;
    Ok(HostSpec::with(host_kernel(&kernel, &cache)?, initrd))
}

fn host_kernel(kernel: &Kernel, cache: &Path) -> Result<PathBuf> {
    let path = cache.join(format!("vmlinuz-{}", kernel.release));
    if !path.exists() {
        write_whole(&path, &kernel.vmlinuz)?;
    }
    Ok(path)
}

/// Writes a file so that nobody ever sees half of it, also when two runs write it together.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let partial = path.with_extension(format!("partial{}", std::process::id()));
    std::fs::write(&partial, content)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
