//! Small files of sysfs and procfs: reading with a bound, writing with an error that names the file.

use crate::failure::Failure;
use crate::limits::FILE_BYTES_MAX;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Reads a text file of at most [`FILE_BYTES_MAX`] bytes, without the white space around it.
///
/// # Errors
/// A failure that names the file.
pub fn read(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|e| Failure::io("read", path.display().to_string(), &e))?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Writes a value into a file of sysfs or procfs; the file must exist.
///
/// # Errors
/// A failure that names the file.
pub fn write(path: impl AsRef<Path>, value: &str) -> Result<(), Failure> {
    let path = path.as_ref();
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|e| Failure::io("write", path.display().to_string(), &e))
}

/// Names in a directory, sorted; empty if it cannot be read.
#[must_use]
pub fn list(path: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Last component of the target of a symbolic link.
#[must_use]
pub fn link_name(path: impl AsRef<Path>) -> Option<String> {
    Some(std::fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}
