//! The address of a PCI function: `0000:00:04.0`.

use core::fmt;
use core::str::FromStr;

/// Domain, bus, device and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// The text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a PCI address; write it like 0000:00:04.0")]
pub struct BdfError {
    /// What was given.
    pub text: String,
}

impl FromStr for Bdf {
    type Err = BdfError;

    /// Hexadecimal, with or without the domain.
    fn from_str(text: &str) -> Result<Self, BdfError> {
        parse(text).ok_or_else(|| BdfError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Bdf> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
    let bdf = Bdf {
        domain: hex(domain, 4..=8)?,
        bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
        device: u8::try_from(hex(device, 2..=2)?).ok().filter(|device| *device < 32)?,
        function: u8::try_from(hex(function, 1..=1)?).ok().filter(|function| *function < 8)?,
    };
    Some(bdf)
}

fn hex(text: &str, digits: core::ops::RangeInclusive<usize>) -> Option<u32> {
    let plain = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// As sysfs names it.
impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what people and sysfs write is read, and shown as sysfs writes it.
    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("0000:00:04.0", "0000:00:04.0"),
            ("00:1f.7", "0000:00:1f.7"),
            ("10000:E1:00.0", "10000:e1:00.0"),
            ("ffff:ff:1F.1", "ffff:ff:1f.1"),
        ] {
            assert_eq!(text.parse::<Bdf>().map(|bdf| bdf.to_string()), Ok(shown.to_owned()));
        }
    }

    /// Goal: anything else is refused with the text in the message.
    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "0000:00:04",
            "00:04.8",
            "00:20.0",
            "0:0:0.0",
            "+000:00:04.0",
            "0000:00:04.0 ",
            "4.0",
            ":::.",
        ] {
            assert_eq!(text.parse::<Bdf>(), Err(BdfError { text: text.to_owned() }), "{text}");
        }
    }
}
