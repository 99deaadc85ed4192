//! Drive specifications as people write them: `vfio:0000:00:04.0`, `file:/tmp/a.img,size=1GiB`, `ram:64MiB,serial=R0`.
//!
//! Foreign text: parsed once, refused with a sentence that shows what would be right.

use block::{Bytes, SizeError};
use control::limits::SERIAL_LEN_MAX;
use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;
use vfio::Bdf;

/// Which drive to open, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveSpec {
    /// An NVMe controller behind VFIO.
    Vfio {
        /// PCI address: `0000:00:04.0`.
        address: Bdf,
    },
    /// A file or block device through the kernel.
    File {
        /// Where it is.
        path: PathBuf,
        /// Create it sparse with this size if it does not exist.
        size_bytes: Option<u64>,
        /// Serial number.
        serial: String,
    },
    /// Memory, lost at the end of the process.
    Ram {
        /// Capacity.
        size_bytes: u64,
        /// Serial number.
        serial: String,
    },
}

/// Why a text is no drive specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\": {problem}")]
pub struct SpecError {
    text: String,
    problem: String,
}

impl SpecError {
    fn new(text: &str, problem: impl Into<String>) -> Self {
        Self { text: text.to_owned(), problem: problem.into() }
    }
}

impl FromStr for DriveSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(SpecError::new(text, "a drive is vfio:ADDRESS, file:PATH or ram:SIZE"));
        };
        match kind {
            "vfio" => parse_vfio(text, rest),
            "file" => parse_file(text, rest),
            "ram" => parse_ram(text, rest),
            _ => Err(SpecError::new(
                text,
                format!("unknown kind of drive \"{kind}\"; known are vfio, file and ram"),
            )),
        }
    }
}

impl fmt::Display for DriveSpec {
    /// The drive's path in statuses, without options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vfio { address } => write!(f, "vfio:{address}"),
            Self::File { path, .. } => write!(f, "file:{}", path.display()),
            Self::Ram { serial, .. } => write!(f, "ram:{serial}"),
        }
    }
}

fn parse_vfio(text: &str, address: &str) -> Result<DriveSpec, SpecError> {
    let address =
        address.parse().map_err(|_| SpecError::new(text, "a PCI address looks like 0000:00:04.0"))?;
    Ok(DriveSpec::Vfio { address })
}

fn parse_file(text: &str, rest: &str) -> Result<DriveSpec, SpecError> {
    let (path, options) = Options::split(text, rest, &["size", "serial"])?;
    if path.is_empty() {
        return Err(SpecError::new(text, "the path is missing: file:PATH[,size=1GiB][,serial=S]"));
    }
    let path = PathBuf::from(path);
    let serial = match options.serial {
        Some(serial) => serial,
        None => serial_of_path(&path).ok_or_else(|| {
            SpecError::new(text, "no serial number can be made of the file name; give one with serial=")
        })?,
    };
    Ok(DriveSpec::File { path, size_bytes: options.size_bytes, serial })
}

fn parse_ram(text: &str, rest: &str) -> Result<DriveSpec, SpecError> {
    let (size, options) = Options::split(text, rest, &["serial"])?;
    let size_bytes = parse_size(text, size)?;
    let serial = options.serial.unwrap_or_else(|| "RAM0".to_owned());
    Ok(DriveSpec::Ram { size_bytes, serial })
}

/// What follows the first comma.
#[derive(Default)]
struct Options {
    size_bytes: Option<u64>,
    serial: Option<String>,
}

impl Options {
    fn split<'a>(text: &str, rest: &'a str, known: &[&str]) -> Result<(&'a str, Self), SpecError> {
        let mut parts = rest.split(',');
        let first = parts.next().unwrap_or_default();
        let mut options = Self::default();
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if !known.contains(&key) {
                return Err(SpecError::new(
                    text,
                    format!("unknown option \"{key}\"; known are {}", known.join(", ")),
                ));
            }
            match key {
                "size" => options.size_bytes = Some(parse_size(text, value)?),
                _ => options.serial = Some(parse_serial(text, value)?),
            }
        }
        Ok((first, options))
    }
}

/// `1GiB`, `64MiB`, `4096`: a whole number of 4 KiB blocks, not zero.
fn parse_size(text: &str, size: &str) -> Result<u64, SpecError> {
    let size: Bytes = size.parse().map_err(|e: SizeError| SpecError::new(text, e.to_string()))?;
    if size.0 == 0 || size.blocks().is_none() {
        return Err(SpecError::new(text, "the size must be a multiple of 4 KiB and not zero"));
    }
    Ok(size.0)
}

fn parse_serial(text: &str, serial: &str) -> Result<String, SpecError> {
    let is_good = !serial.is_empty()
        && serial.len() <= SERIAL_LEN_MAX
        && serial.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if !is_good {
        return Err(SpecError::new(
            text,
            format!("a serial number has 1 to {SERIAL_LEN_MAX} printable characters without spaces"),
        ));
    }
    Ok(serial.to_owned())
}

/// The file name without extension, in upper case, cut to the length of a serial number.
fn serial_of_path(path: &std::path::Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let serial: String = stem
        .chars()
        .filter(char::is_ascii_graphic)
        .take(SERIAL_LEN_MAX)
        .collect::<String>()
        .to_ascii_uppercase();
    (!serial.is_empty()).then_some(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each form that the documentation names is understood as written.
    #[test]
    fn known_forms_parse() {
        let parse = |text: &str| text.parse::<DriveSpec>().expect(text);
        assert_eq!(
            parse("vfio:0000:00:04.0"),
            DriveSpec::Vfio { address: "0000:00:04.0".parse().expect("an address") }
        );
        assert_eq!(
            parse("file:/var/tmp/disk0.img,size=1GiB"),
            DriveSpec::File {
                path: "/var/tmp/disk0.img".into(),
                size_bytes: Some(1 << 30),
                serial: "DISK0".into()
            }
        );
        assert_eq!(
            parse("file:a,serial=S0"),
            DriveSpec::File { path: "a".into(), size_bytes: None, serial: "S0".into() }
        );
        assert_eq!(parse("ram:64MiB"), DriveSpec::Ram { size_bytes: 64 << 20, serial: "RAM0".into() });
    }

    /// Goal: a wrong text is refused with what would be right.
    #[test]
    fn wrong_forms_say_what_is_right() {
        let refuse = |text: &str| text.parse::<DriveSpec>().expect_err(text).to_string();
        assert_eq!(refuse("disk"), "\"disk\": a drive is vfio:ADDRESS, file:PATH or ram:SIZE");
        assert_eq!(refuse("vfio:4.0"), "\"vfio:4.0\": a PCI address looks like 0000:00:04.0");
        assert_eq!(
            refuse("ram:1GB"),
            "\"ram:1GB\": unknown unit \"GB\": write KiB, MiB, GiB, TiB or PiB (powers of 1024), or plain bytes"
        );
        assert_eq!(refuse("ram:1000"), "\"ram:1000\": the size must be a multiple of 4 KiB and not zero");
        assert_eq!(refuse("ram:99999999999TiB"), "\"ram:99999999999TiB\": this is more than 2^64 bytes");
        assert_eq!(
            refuse("file:a,sise=1GiB"),
            "\"file:a,sise=1GiB\": unknown option \"sise\"; known are size, serial"
        );
    }
}
