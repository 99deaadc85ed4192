//! Our own programs for the node: built here as static executables, or given.
//!
//! - Target musl, with `gcc` as the C compiler for the few C parts (`musl-gcc` is not needed). Where the target
//!   is not installed and cannot be added, glibc with `crt-static`; the build says so.
//! - Paths of the builder are mapped away, so two directories give the same bytes.

use crate::debian::workspace;
use crate::elf;
use crate::progress::{Step, human};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";

/// The programs of the node.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// PID 1.
    pub init: PathBuf,
    /// The daemon.
    pub ironbayd: PathBuf,
}

/// Builds what is not given.
pub fn provide(init: Option<PathBuf>, ironbayd: Option<PathBuf>) -> Result<Binaries> {
    if let (Some(init), Some(ironbayd)) = (&init, &ironbayd) {
        return checked(Binaries { init: init.clone(), ironbayd: ironbayd.clone() });
    }
    let step = Step::start("programs of the node");
    let (target, how) = target()?;
    let built = cargo_build(target)?;
    let binaries = Binaries {
        init: init.map_or_else(|| executable(&built, "initrd"), Ok)?,
        ironbayd: ironbayd.map_or_else(|| executable(&built, "ironbayd"), Ok)?,
    };
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
    step.done(format!(
        "{how}; init {}, ironbayd {}",
        human(size(&binaries.init)),
        human(size(&binaries.ironbayd))
    ));
    checked(binaries)
}

fn checked(binaries: Binaries) -> Result<Binaries> {
    for path in [&binaries.init, &binaries.ironbayd] {
        let bytes = std::fs::read(path).with_context(|| {
            format!("the program {} cannot be read; leave the option away to have it built", path.display())
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
    Ok(binaries)
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

/// One line of cargo's JSON messages, as far as we read it.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

fn cargo_build(target: &str) -> Result<Vec<Message>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--target", target, "-p", "initrd", "-p", "ironbayd"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace())
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(target)?.join("\x1f"))
        .env("CC_x86_64_unknown_linux_musl", "gcc")
        .env("SOURCE_DATE_EPOCH", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the programs of the node do not build; cargo's reason stands above");
    let lines = String::from_utf8(output.stdout).context("cargo answered with something that is not text")?;
    lines.lines().map(|l| serde_json::from_str(l).context("cargo answered with an odd message")).collect()
}

/// Flags that make the programs static and free of this machine's paths.
fn rust_flags(target: &str) -> Result<Vec<String>> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let map = |from: &str, to: &str| format!("--remap-path-prefix={from}={to}");
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        map(&workspace().to_string_lossy(), "/ironbay"),
        map(&cargo_home, "/cargo"),
        map(sysroot.trim(), "/rust"),
    ];
    if let Some(target_dir) = std::env::var_os("CARGO_TARGET_DIR") {
        flags.push(map(&target_dir.to_string_lossy(), "/target"));
    }
    if target == GNU {
        flags.push("-Clink-arg=-Wl,--build-id=none".to_owned());
    }
    Ok(flags)
}

/// The executable that cargo made of a package.
fn executable(messages: &[Message], package: &str) -> Result<PathBuf> {
    let made = messages.iter().filter(|m| m.reason == "compiler-artifact").find(|m| {
        let is_bin = m.target.as_ref().is_some_and(|t| t.kind.iter().any(|k| k == "bin"));
        let dir = m.manifest_path.as_deref().and_then(Path::parent).and_then(Path::file_name);
        is_bin && dir.is_some_and(|d| d == package)
    });
    match made.and_then(|m| m.executable.clone()) {
        Some(path) => Ok(path),
        None => bail!("the crate {package} has no program yet; give one with --{package} or --init"),
    }
}
