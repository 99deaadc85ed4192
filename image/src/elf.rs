//! The little of ELF that the builder needs: a section by name, and the libraries that a program wants.
//!
//! Only 64-bit little-endian files: Debian's amd64.

use anyhow::{Context, Result, ensure};

/// A section of the file, by name.
pub fn section<'a>(file: &'a [u8], wanted: &str) -> Result<Option<&'a [u8]>> {
    let headers = headers(file)?;
    let names_at = usize::from(u16_at(file, 62)?);
    let names = match headers.get(names_at) {
        Some(header) => header.content(file)?,
        None => return Ok(None),
    };
    for header in &headers {
        let name = names.get(header.name..).unwrap_or_default();
        if name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)) {
            return Ok(Some(header.content(file)?));
        }
    }
    Ok(None)
}

/// The shared libraries that a program or library names (`DT_NEEDED`), and its interpreter if it has one.
pub fn needed(file: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(path) = section(file, ".interp")? {
        names.push(text(path));
    }
    let (Some(dynamic), Some(strings)) = (section(file, ".dynamic")?, section(file, ".dynstr")?) else {
        return Ok(names);
    };
    const DT_NEEDED: u64 = 1;
    for entry in dynamic.chunks_exact(16) {
        if u64_at(entry, 0)? == DT_NEEDED {
            let at = usize::try_from(u64_at(entry, 8)?)?;
            names.push(text(strings.get(at..).context("a library name lies outside the string table")?));
        }
    }
    Ok(names)
}

/// Whether the bytes begin like an ELF file.
pub fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

struct Header {
    name: usize,
    offset: u64,
    size: u64,
    is_empty: bool,
}

impl Header {
    fn content<'a>(&self, file: &'a [u8]) -> Result<&'a [u8]> {
        if self.is_empty {
            return Ok(&[]);
        }
        let start = usize::try_from(self.offset)?;
        let end = usize::try_from(self.offset.checked_add(self.size).context("a section has no end")?)?;
        file.get(start..end).context("a section lies outside the file")
    }
}

fn headers(file: &[u8]) -> Result<Vec<Header>> {
    ensure!(is_elf(file) && file.get(4..6) == Some(&[2, 1]), "it is not a 64-bit little-endian ELF file");
    let table = usize::try_from(u64_at(file, 40)?)?;
    let size = usize::from(u16_at(file, 58)?);
    let count = usize::from(u16_at(file, 60)?);
    ensure!(size >= 64, "the section table has entries of {size} bytes");
    let table = file.get(table..).context("the section table lies outside the file")?;
    const SHT_NOBITS: u32 = 8;
    table
        .chunks_exact(size)
        .take(count)
        .map(|h| {
            Ok(Header {
                name: usize::try_from(u32_at(h, 0)?)?,
                offset: u64_at(h, 24)?,
                size: u64_at(h, 32)?,
                is_empty: u32_at(h, 4)? == SHT_NOBITS,
            })
        })
        .collect()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let field = at.checked_add(N).and_then(|end| bytes.get(at..end));
    field.and_then(|f| f.try_into().ok()).context("the file ends inside a header")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_le_bytes(array(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(array(bytes, at)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from_le_bytes(array(bytes, at)?))
}

#[cfg(test)]
mod tests {
    use super::{needed, section};

    /// Goal: a real program of this machine (the test itself) names the C library.
    #[test]
    fn reads_a_real_program() {
        let own = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        assert!(needed(&own).expect("an ELF file").iter().any(|n| n.starts_with("libc.so")));
        assert!(section(&own, ".text").expect("an ELF file").is_some_and(|t| !t.is_empty()));
        assert!(section(&own, ".nothing").expect("an ELF file").is_none());
    }

    /// Goal: cut and foreign files are refused, and never panic.
    #[test]
    fn refuses_other_files() {
        assert!(section(b"MZ", ".modinfo").is_err());
        let own = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        for length in [0, 3, 20, 63, 64, 4096] {
            assert!(section(&own[..length], ".modinfo").is_err(), "cut at {length}");
        }
    }
}
