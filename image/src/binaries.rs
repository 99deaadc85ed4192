//! Our own programs: built here as static executables, or given.
//!
//! - Target musl, with `gcc` as the C compiler for the few C parts (`musl-gcc` is not needed). Where the target
//!   is not installed and cannot be added, glibc with `crt-static`; the build says so.
//! - Paths of the builder are mapped away, so two directories give the same bytes.

use crate::cargo::{self, Built};
use crate::debian::workspace;
use crate::elf;
use crate::progress::{Step, human};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";

/// What is built, always in one go: cargo unites the features of the crates that it builds together, so building them one by
/// one would give other programs.
const PACKAGES: &[&str] = &["initrd", "ironbayd", "ironbay", "terraform-provider-ironbay"];

/// All our programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// PID 1.
    pub init: PathBuf,
    /// The daemon.
    pub ironbayd: PathBuf,
    /// The command line client.
    pub ironbay: PathBuf,
    /// The Terraform provider.
    pub provider: PathBuf,
}

/// The programs of the node, known to be static.
#[derive(Debug, Clone)]
pub struct NodePrograms {
    /// PID 1.
    pub init: PathBuf,
    /// The daemon.
    pub ironbayd: PathBuf,
}

impl NodePrograms {
    /// Takes programs for the image, after a look whether it can run them.
    pub fn checked(init: PathBuf, ironbayd: PathBuf) -> Result<Self> {
        for path in [&init, &ironbayd] {
            let bytes = std::fs::read(path).with_context(|| {
                format!(
                    "the program {} cannot be read; leave the option away to have it built",
                    path.display()
                )
            })?;
            ensure!(elf::is_elf(&bytes), "{} is not a program for Linux", path.display());
            let libraries = elf::needed(&bytes)?;
            ensure!(
                libraries.is_empty(),
                "{} needs shared libraries, and the image has none: {}. Build it for {MUSL}.",
                path.display(),
                libraries.join(", ")
            );
        }
        Ok(Self { init, ironbayd })
    }
}

/// Builds all programs in cargo's target directory.
pub fn build() -> Result<Binaries> {
    build_in(&target_dir())
}

/// Cargo's target directory.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Builds the benchmark, static like the others, so that any machine can run it. It is no part of the image.
pub fn build_bench() -> Result<PathBuf> {
    let step = Step::start("the benchmark");
    let (built, how) = build_static(&["bench"], &target_dir())?;
    step.done(how);
    built.executable("bench")
}

/// Builds all programs in a directory of one's own.
pub fn build_in(target_dir: &Path) -> Result<Binaries> {
    let step = Step::start("our programs");
    let (built, how) = build_static(PACKAGES, target_dir)?;
    let binaries = Binaries {
        init: built.executable("initrd")?,
        ironbayd: built.executable("ironbayd")?,
        ironbay: built.executable("ironbay")?,
        provider: built.executable("terraform-provider")?,
    };
    let size = |path: &Path| human(std::fs::metadata(path).map_or(0, |m| m.len()));
    step.done(format!("{how}; init {}, ironbayd {}", size(&binaries.init), size(&binaries.ironbayd)));
    Ok(binaries)
}

/// Builds packages as static programs, and says of which kind.
fn build_static(packages: &[&str], target_dir: &Path) -> Result<(Built, &'static str)> {
    let (target, how) = target()?;
    let environment = [
        ("CARGO_ENCODED_RUSTFLAGS", rust_flags(target, target_dir)?.join("\x1f")),
        ("CC_x86_64_unknown_linux_musl", "gcc".to_owned()),
        ("CARGO_TARGET_DIR", target_dir.to_string_lossy().into_owned()),
        ("SOURCE_DATE_EPOCH", "0".to_owned()),
    ];
    Ok((cargo::build(&["--release", "--target", target], packages, &environment)?, how))
}

/// The target to build for, and how to call it.
fn target() -> Result<(&'static str, &'static str)> {
    let installed = |target: &str| -> Result<bool> {
        let output = rustc(&["--print", "target-libdir", "--target", target])?;
        Ok(Path::new(output.trim()).is_dir())
    };
    if installed(MUSL)? {
        return Ok((MUSL, "static, musl"));
    }
    eprintln!("image: adding the Rust target {MUSL}");
    let added = Command::new("rustup").args(["target", "add", MUSL]).current_dir(workspace()).status();
    if added.is_ok_and(|status| status.success()) && installed(MUSL)? {
        return Ok((MUSL, "static, musl"));
    }
    eprintln!("image: {MUSL} cannot be added; linking statically against glibc instead");
    Ok((GNU, "static, glibc"))
}

fn rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(arguments).current_dir(workspace()).output();
    let output = output.context("cannot run rustc; is the Rust toolchain in PATH?")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Flags that make the programs static and free of this machine's paths.
fn rust_flags(target: &str, target_dir: &Path) -> Result<Vec<String>> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let map = |from: &str, to: &str| format!("--remap-path-prefix={from}={to}");
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        // Of several that fit, rustc takes the last: the target directory may lie in the workspace.
        map(&workspace().to_string_lossy(), "/ironbay"),
        map(&cargo_home, "/cargo"),
        map(sysroot.trim(), "/rust"),
        map(&target_dir.to_string_lossy(), "/target"),
    ];
    if target == GNU {
        flags.push("-Clink-arg=-Wl,--build-id=none".to_owned());
    }
    Ok(flags)
}
