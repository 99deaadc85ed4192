//! The lock file: which Debian packages the image is made of, by version and SHA-256.
//!
//! A line is `package version sha256`; `#` begins a comment.
//!
//! Rules
//! - A file whose hash differs from the locked one is never used: the mirror or the cache was changed under us.
//! - A mirror moves on and drops old versions. Then the build goes on with the version that the mirror offers and says
//!   so: its image is good but not the locked one. With `--locked` that is an error instead.

use crate::{debian, hash};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// The kernels of the image.
pub const SERIES: &str = "6.12";

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Package name; for the kernel it contains the release.
    pub package: String,
    /// Debian version.
    pub version: String,
    /// SHA-256 of the package file.
    pub sha256: String,
}

/// A package file on this machine, its hash checked.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What it is.
    pub package: Locked,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it is the one of the lock file.
    pub is_locked: bool,
}

/// Reads the lock file.
pub fn load(path: &Path) -> Result<Vec<Locked>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the lock file {}", path.display()))?;
    text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).map(parse).collect()
}

/// The text of a lock file.
pub fn format(packages: &[Locked]) -> String {
    let mut text = String::from(
        "# Debian packages of the image: package, version, SHA-256 of the file. Written by `cargo run -p image -- lock`.\n",
    );
    for Locked { package, version, sha256 } in packages {
        text.push_str(&format!("{package} {version} {sha256}\n"));
    }
    text
}

/// The kernel package: from the cache, else from the mirror.
pub fn fetch_kernel(lock: &Path, cache: &Path, strict: bool) -> Result<Fetched> {
    let locked = load(lock)?
        .into_iter()
        .find(|l| l.package.starts_with("linux-image-"))
        .with_context(|| format!("{} names no linux-image package; run `image lock`", lock.display()))?;
    let cached = cache.join(format!("{}.deb", locked.sha256));
    if cached.exists() {
        verify(&cached, &locked)?;
        return Ok(Fetched { package: locked, path: cached, is_locked: true });
    }
    match debian::download(&cache.join("packages"), &locked.package, &locked.version) {
        Ok(file) => {
            verify(&file, &locked)?;
            keep(&file, &cached)?;
            Ok(Fetched { package: locked, path: cached, is_locked: true })
        }
        Err(reason) if strict => Err(reason.context(format!(
            "{} {} is locked but cannot be fetched; `cargo run -p image -- lock` takes what the mirror offers now",
            locked.package, locked.version
        ))),
        Err(reason) => fetch_offered(cache, &locked, &reason),
    }
}

/// The mirror no longer has the locked version: takes the one it offers.
fn fetch_offered(cache: &Path, locked: &Locked, reason: &anyhow::Error) -> Result<Fetched> {
    let offered =
        debian::kernel(SERIES).with_context(|| format!("the locked kernel cannot be fetched: {reason:#}"))?;
    if offered.package == locked.package && offered.version == locked.version {
        bail!("{} {} is offered but cannot be fetched: {reason:#}", locked.package, locked.version);
    }
    eprintln!(
        "image: the mirror has {} {} instead of the locked {}; this image is not the locked one. \
         `cargo run -p image -- lock` makes it so.",
        offered.package, offered.version, locked.version
    );
    fetch(cache, offered)
}

/// The newest kernel of a series, for machines of the lab: nothing that ships is made of it, so no lock names it.
pub fn fetch_newest_kernel(cache: &Path, series: &str) -> Result<Fetched> {
    fetch(cache, debian::kernel(series)?)
}

/// A package that no lock names: the hash is the one that the mirror's signed list gives.
fn fetch(cache: &Path, package: Locked) -> Result<Fetched> {
    let cached = cache.join(format!("{}.deb", package.sha256));
    if !cached.exists() {
        keep(&debian::download(&cache.join("packages"), &package.package, &package.version)?, &cached)?;
    }
    verify(&cached, &package)?;
    Ok(Fetched { package, path: cached, is_locked: false })
}

/// Checks a file against the lock.
pub fn verify(file: &Path, locked: &Locked) -> Result<()> {
    let found = hash::of_file(file)?;
    ensure!(
        found == locked.sha256,
        "{} is not the locked package {} {}\n  found  {found}\n  locked {}\n\
         If the cache is damaged, delete that file and build again. If Debian really replaced this version, \
         `cargo run -p image -- lock` writes the new hash; look at the change before you commit it.",
        file.display(),
        locked.package,
        locked.version,
        locked.sha256
    );
    Ok(())
}

fn keep(file: &Path, cached: &Path) -> Result<()> {
    std::fs::rename(file, cached)
        .with_context(|| format!("cannot move {} to {}", file.display(), cached.display()))
}

fn parse(line: &str) -> Result<Locked> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [package, version, sha256] = words.as_slice() else {
        bail!("the lock file has a line that is not `package version sha256`: {line:?}")
    };
    ensure!(
        sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()),
        "the lock file has no SHA-256 for {package}: {sha256:?}"
    );
    Ok(Locked {
        package: (*package).to_owned(),
        version: (*version).to_owned(),
        sha256: sha256.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Locked, fetch_kernel, format, load, parse};
    use crate::hash;

    fn locked(content: &[u8]) -> Locked {
        Locked {
            package: "linux-image-6.12.0-amd64".to_owned(),
            version: "6.12.0-1".to_owned(),
            sha256: hash::of_bytes(content),
        }
    }

    /// Goal: what is written is read back, and odd lines are named.
    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("debian.lock");
        std::fs::write(&path, format(&[locked(b"kernel")])).expect("written");
        assert_eq!(load(&path).expect("read"), [locked(b"kernel")]);
        assert!(parse("linux-image 1").expect_err("two words").to_string().contains("not `package version"));
        assert!(parse("a b c").expect_err("no hash").to_string().contains("no SHA-256"));
    }

    /// Goal: a cached package with other content is refused, and the message says how to go on.
    #[test]
    fn changed_packages_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let (lock, wanted) = (dir.path().join("debian.lock"), locked(b"kernel"));
        std::fs::write(&lock, format(std::slice::from_ref(&wanted))).expect("written");
        let cached = dir.path().join(format!("{}.deb", wanted.sha256));
        std::fs::write(&cached, "something else").expect("written");
        let refusal = fetch_kernel(&lock, dir.path(), true).expect_err("changed").to_string();
        assert!(
            refusal.contains("is not the locked package") && refusal.contains("image -- lock"),
            "{refusal}"
        );
        std::fs::write(&cached, "kernel").expect("written");
        assert!(fetch_kernel(&lock, dir.path(), true).expect("the right one").is_locked);
    }
}
