//! Reads tar archives as Debian packages hold them: ustar headers, with GNU long names.
//!
//! Deliberately not here: sparse files, pax attributes other than the path, extraction to a disk.

use crate::limits::CONTENT_LEN_MAX;
use anyhow::{Context, Result, bail, ensure};
use std::io::Read;

/// One thing in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without a leading `./` or `/`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// Kinds of things that packages contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with its content.
    File(Vec<u8>),
    /// A symbolic link and where it points to.
    Link(String),
    /// A hard link to an earlier path of the same archive.
    SameAs(String),
    /// A directory.
    Directory,
}

const BLOCK: usize = 512;

/// Calls `each` for every entry for which `wanted` says yes; the content of the others is skipped.
pub fn read(
    mut archive: impl Read,
    mut wanted: impl FnMut(&str) -> bool,
    mut each: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let mut long_name = None;
    let mut long_link = None;
    loop {
        let mut header = [0; BLOCK];
        archive.read_exact(&mut header).context("the archive ends early")?;
        if header.iter().all(|b| *b == 0) {
            return Ok(());
        }
        verify(&header)?;
        let size = octal(&header[124..136])?;
        ensure!(size <= CONTENT_LEN_MAX, "an entry of {size} bytes is larger than any file we know");
        let kind = header[156];
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            let content = content(&mut archive, size)?;
            match kind {
                b'L' => long_name = Some(text(&content)),
                b'K' => long_link = Some(text(&content)),
                b'x' => long_name = pax_path(&content).or(long_name),
                _ => {}
            }
            continue;
        }
        let path = long_name.take().unwrap_or_else(|| name(&header));
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        ensure!(!path.split('/').any(|part| part == ".."), "the path {path:?} leaves the archive");
        let link = long_link.take().unwrap_or_else(|| text(&header[157..257]));
        if path.is_empty() || !wanted(&path) {
            discard(&mut archive, padded(size))?;
            continue;
        }
        let mode = u32::try_from(octal(&header[100..108])?)? & 0o7777;
        let kind = match kind {
            b'0' | 0 => Kind::File(content(&mut archive, size)?),
            b'1' => Kind::SameAs(link.trim_start_matches("./").to_owned()),
            b'2' => Kind::Link(link),
            b'5' => Kind::Directory,
            other => bail!("{path} is of kind {:?}, which no package should contain", char::from(other)),
        };
        each(Entry { path, mode, kind })?;
    }
}

/// The checksum of a header is the sum of its bytes, its own field read as spaces.
fn verify(header: &[u8; BLOCK]) -> Result<()> {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(i, b)| if (148..156).contains(&i) { u64::from(b' ') } else { u64::from(*b) })
        .sum();
    let stored = octal(&header[148..156])?;
    ensure!(sum == stored, "a header of the archive is damaged: checksum {stored:o}, content {sum:o}");
    Ok(())
}

fn name(header: &[u8; BLOCK]) -> String {
    let (prefix, name) = (text(&header[345..500]), text(&header[..100]));
    // Only ustar has a prefix; in GNU headers the same bytes hold times.
    if &header[257..263] == b"ustar\0" && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

fn pax_path(records: &[u8]) -> Option<String> {
    text(records).lines().find_map(|line| Some(line.split_once(" path=")?.1.to_owned()))
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn octal(field: &[u8]) -> Result<u64> {
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).with_context(|| format!("{digits:?} is not an octal number"))
}

fn content(archive: &mut impl Read, size: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    archive.by_ref().take(size).read_to_end(&mut content)?;
    ensure!(content.len() as u64 == size, "the archive ends inside a file");
    discard(archive, padded(size) - size)?;
    Ok(content)
}

fn discard(archive: &mut impl Read, bytes: u64) -> Result<()> {
    let discarded = std::io::copy(&mut archive.by_ref().take(bytes), &mut std::io::sink())?;
    ensure!(discarded == bytes, "the archive ends inside a file");
    Ok(())
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
