//! Reads a Debian package: an `ar` archive that holds `data.tar` in some compression.
//!
//! No maintainer script is ever run.

use crate::limits::{CONTENT_LEN_MAX, PACKAGE_LEN_MAX};
use crate::tar::{self, Entry};
use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use std::path::Path;

/// Calls `each` for every entry of the package's content that is `wanted`.
pub fn read(
    path: &Path,
    wanted: impl FnMut(&str) -> bool,
    each: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let about = || format!("the package {} cannot be unpacked", path.display());
    let size = std::fs::metadata(path).with_context(about)?.len();
    ensure!(size <= PACKAGE_LEN_MAX, "the package {} is larger than any we know", path.display());
    let bytes = std::fs::read(path).with_context(about)?;
    let (name, data) = data_member(&bytes).with_context(about)?;
    let plain: Box<dyn Read + '_> = match name.as_str() {
        "data.tar" => Box::new(data),
        "data.tar.xz" => Box::new(lzma_rust2::XzReader::new(data, true)),
        "data.tar.zst" => Box::new(zstd::Decoder::with_buffer(data)?),
        other => bail!("the content of {} is in {other:?}, a compression we do not know", path.display()),
    };
    tar::read(plain.take(CONTENT_LEN_MAX), wanted, each).with_context(about)
}

/// Finds the member `data.tar*` of an `ar` archive: a magic, then members with headers of 60 bytes, padded to even.
fn data_member(bytes: &[u8]) -> Result<(String, &[u8])> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n").context("it is not an ar archive")?;
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(60).context("it ends in the header of a member")?;
        ensure!(header.ends_with(b"`\n"), "the header of a member is damaged");
        let name = String::from_utf8_lossy(&header[..16]).trim_end_matches([' ', '/']).to_owned();
        let size: usize = std::str::from_utf8(&header[48..58])?
            .trim()
            .parse()
            .context("the size of a member is no number")?;
        let (content, after) = after.split_at_checked(size).context("it ends inside a member")?;
        if name.starts_with("data.tar") {
            return Ok((name, content));
        }
        rest = after.get(size % 2..).unwrap_or_default();
    }
    bail!("it has no data.tar")
}

#[cfg(test)]
mod tests {
    use super::data_member;

    fn member(name: &str, content: &str) -> String {
        let pad = if content.len() % 2 == 1 { "\n" } else { "" };
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{content}{pad}", 0, 0, 0, 100_644, content.len())
    }

    /// Goal: the content is found behind members of odd length.
    #[test]
    fn finds_the_data() {
        let bytes = format!(
            "!<arch>\n{}{}{}",
            member("debian-binary", "2.0"),
            member("control.tar.xz", "ctl"),
            member("data.tar.xz", "DATA")
        );
        assert_eq!(
            data_member(bytes.as_bytes()).expect("a package"),
            ("data.tar.xz".to_owned(), b"DATA".as_slice())
        );
    }

    /// Goal: anything else is refused with a reason, and never panics.
    #[test]
    fn refuses_other_files() {
        let whole = format!("!<arch>\n{}", member("data.tar", "DATA"));
        let cases: [(&[u8], &str); 4] = [
            (b"<html>not found</html>", "not an ar archive"),
            (&whole.as_bytes()[..30], "header of a member"),
            (&whole.as_bytes()[..70], "inside a member"),
            (b"!<arch>\n", "no data.tar"),
        ];
        for (bytes, reason) in cases {
            let refusal = data_member(bytes).expect_err(reason).to_string();
            assert!(refusal.contains(reason), "{refusal:?} does not say {reason:?}");
        }
    }
}
