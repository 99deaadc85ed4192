//! Debian packages through the machine's own apt: a thin wrapper of `scripts/debian.sh`, which says how.

use crate::lock::Locked;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where downloads and built parts are kept: `$IRONBAY_CACHE`, else `ironbay` in the user's cache directory.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let dir = set("IRONBAY_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("ironbay")))
        .or_else(|| Some(set("HOME")?.join(".cache/ironbay")))
        .context("neither IRONBAY_CACHE nor HOME is set: nowhere to keep downloads")?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create the cache {}", dir.display()))?;
    Ok(dir)
}

/// The root of the workspace from which this builder was compiled.
pub fn workspace() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_path_buf()
}

/// The newest packaged kernel of a series, such as "6.12".
pub fn kernel(series: &str) -> Result<Locked> {
    let line = script(&["kernel", series])?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [package, version, sha256] = words.as_slice() else {
        anyhow::bail!("scripts/debian.sh answered {line:?} when asked for the kernel")
    };
    Ok(Locked {
        package: (*package).to_owned(),
        version: (*version).to_owned(),
        sha256: (*sha256).to_owned(),
    })
}

/// Fetches one package file into a directory.
pub fn download(dir: &Path, package: &str, version: &str) -> Result<PathBuf> {
    let path = script(&["download", &dir.to_string_lossy(), &format!("{package}={version}")])?;
    Ok(PathBuf::from(path.trim()))
}

/// Fetches packages with everything they depend on.
pub fn closure(dir: &Path, packages: &[&str]) -> Result<Vec<PathBuf>> {
    let dir = dir.to_string_lossy();
    let paths = script(&[&["closure", &dir], packages].concat())?;
    Ok(paths.lines().map(PathBuf::from).collect())
}

fn script(arguments: &[&str]) -> Result<String> {
    let path = workspace().join("scripts/debian.sh");
    let output = Command::new("sh")
        .arg(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", path.display()))?;
    ensure!(output.status.success(), "`debian.sh {}` failed; its reason stands above", arguments.join(" "));
    String::from_utf8(output.stdout).context("debian.sh answered with something that is not text")
}
