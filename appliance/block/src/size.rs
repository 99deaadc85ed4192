//! Sizes as people write and read them: `10GiB`, `1048576`, `1.5 GiB`. Units are powers of 1024.
//!
//! | text | from | where |
//! |---|---|---|
//! | `10GiB`, `10 GiB`, `4096`, `4096B` | `str::parse` | command lines, drive specifications |
//! | `1.5 GiB`, `4097 B` | [`Bytes`] itself: exact | messages |
//! | `1.5 GiB`, `1023.9 MiB` | [`Bytes::rounded`]: at most a tenth of a unit less | tables |
//!
//! Decimal units and bare letters are refused when read: people disagree about what `10G` is.

use crate::Bytes;
use core::fmt;
use core::str::FromStr;

/// Units and their powers of two, largest first.
const UNITS: [(&str, u32); 6] = [("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), BYTE];
const BYTE: (&str, u32) = ("B", 0);

/// Why a text is no size. The text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// What follows the digits.
    Unit(String),
    /// There are no digits, or far too many.
    Number,
    /// Past the end of the number range.
    TooLarge,
}

/// A size in one unit with at most one decimal, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUnit {
    whole: u64,
    /// `None` if nothing is left beside the whole.
    tenths: Option<u64>,
    is_exact: bool,
    name: &'static str,
}

impl Bytes {
    /// In the largest unit that it fills: `10 GiB` if it is a whole number of it, otherwise rounded down to a tenth.
    #[must_use]
    pub fn rounded(self) -> InUnit {
        let fills = |unit: &&(&str, u32)| self.0 >> unit.1 > 0;
        self.in_unit(UNITS.iter().find(fills).copied().unwrap_or(BYTE))
    }

    /// In the largest unit in which at most one decimal says it all; `None` if only bytes do.
    #[must_use]
    pub fn in_exact_unit(self) -> Option<InUnit> {
        UNITS
            .iter()
            .filter(|(_, shift)| *shift > 0)
            .map(|unit| self.in_unit(*unit))
            .find(|s| s.is_exact && s.whole > 0)
    }

    fn in_unit(self, (name, shift): (&'static str, u32)) -> InUnit {
        let whole = self.0 >> shift;
        // rest < 2^50, so ten times it stays far below 2^64.
        let rest = self.0 - (whole << shift);
        let tenths = (rest * 10) >> shift;
        InUnit { whole, tenths: (rest > 0).then_some(tenths), is_exact: rest * 10 == tenths << shift, name }
    }
}

impl fmt::Display for InUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenths {
            None => write!(f, "{} {}", self.whole, self.name),
            Some(tenths) => write!(f, "{}.{tenths} {}", self.whole, self.name),
        }
    }
}

/// A unit with one decimal where that is exact, else plain bytes: `1.5 GiB`, `4097 B`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_exact_unit() {
            Some(size) => size.fmt(f),
            None => write!(f, "{} {}", self.0, BYTE.0),
        }
    }
}

impl FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(SizeError::Number)?;
        let shift = match unit.trim_start() {
            "" => 0,
            unit => match UNITS.iter().find(|(name, _)| *name == unit) {
                Some((_, shift)) => *shift,
                None => return Err(SizeError::Unit(unit.to_owned())),
            },
        };
        let number: u64 = number.parse().map_err(|_| SizeError::Number)?;
        number.checked_mul(1 << shift).map(Self).ok_or(SizeError::TooLarge)
    }
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => write!(
                f,
                "unknown unit \"{unit}\": write KiB, MiB, GiB, TiB or PiB (powers of 1024), or plain bytes"
            ),
            Self::Number => f.write_str("write a whole number and a unit: 512MiB, 10GiB, 1048576"),
            Self::TooLarge => f.write_str("this is more than 2^64 bytes"),
        }
    }
}

impl core::error::Error for SizeError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the usual forms, and refusals that help.
    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("10GiB", 10 << 30), ("10 GiB", 10 << 30), ("1PiB", 1 << 50), ("4096B", 4096)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        assert_eq!("1048576".parse(), Ok(Bytes(1 << 20)));
        assert_eq!("0".parse(), Ok(Bytes(0)));
        let refused = |text: &str| text.parse::<Bytes>().expect_err("no size").to_string();
        assert!(refused("10GB").contains("unknown unit \"GB\": write KiB"));
        assert!(refused("10G").contains("GiB"));
        for wrong in ["", "GiB", "-1", "1.5GiB", "99999999999999999999", "99999999TiB", "ä"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    /// Goal: in messages sizes are exact, never rounded.
    #[test]
    fn sizes_are_shown_exactly() {
        let shown = [0, 1023, 4096, 1 << 30, 3 << 29, (10 << 30) + (1 << 20), (1 << 40) + 1, 1 << 51]
            .map(|n| Bytes(n).to_string());
        let expected =
            ["0 B", "1023 B", "4 KiB", "1 GiB", "1.5 GiB", "10241 MiB", "1099511627777 B", "2 PiB"];
        assert_eq!(shown, expected);
    }

    /// Goal: in tables a whole number stays whole, and nothing is ever rounded up.
    #[test]
    fn sizes_are_rounded_down() {
        let shown = [0, 1023, 1024, 1 << 20, 3 << 29, (1 << 30) - 1, (1 << 30) + 1, u64::MAX]
            .map(|n| Bytes(n).rounded().to_string());
        let expected = ["0 B", "1023 B", "1 KiB", "1 MiB", "1.5 GiB", "1023.9 MiB", "1.0 GiB", "16383.9 PiB"];
        assert_eq!(shown, expected);
    }
}
