//! Sizes as people write and read them: `10GiB`, `1048576`.

/// Units that are understood, largest first.
const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Reads a size.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let shift =
        if unit.is_empty() { Some(0) } else { UNITS.iter().find(|(name, _)| *name == unit).map(|u| u.1) };
    let Some(shift) = shift else {
        return Err(format!(
            "unknown unit \"{unit}\": write KiB, MiB, GiB or TiB (powers of 1024), or plain bytes"
        ));
    };
    let Ok(number) = number.parse::<u64>() else {
        return Err("write a whole number and a unit: 512MiB, 10GiB, 1048576".to_owned());
    };
    number.checked_mul(1 << shift).ok_or_else(|| "this is more than 2^64 bytes".to_owned())
}

/// Writes a size: `10 GiB` if it is a whole number of its unit, otherwise `1.5 GiB`, rounded down to a tenth.
#[must_use]
pub fn human(bytes: u64) -> String {
    let (name, shift) = UNITS.iter().find(|(_, shift)| bytes >> shift > 0).copied().unwrap_or(("B", 0));
    let whole = bytes >> shift;
    let rest = bytes - (whole << shift);
    if rest == 0 {
        return format!("{whole} {name}");
    }
    // rest < 2^40, so the product stays far below 2^64.
    format!("{whole}.{} {name}", (rest * 10) >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the usual forms, and refusals that help.
    #[test]
    fn sizes_are_read() {
        assert_eq!(parse("10GiB"), Ok(10 << 30));
        assert_eq!(parse("10 GiB"), Ok(10 << 30));
        assert_eq!(parse("1048576"), Ok(1 << 20));
        assert_eq!(parse("0"), Ok(0));
        assert!(parse("10GB").expect_err("a decimal unit").contains("GiB"));
        assert!(parse("10G").expect_err("no unit of ours").contains("GiB"));
        for wrong in ["", "GiB", "-1", "1.5GiB", "99999999999999999999", "99999999TiB"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// Goal: a whole number stays whole, everything else is never rounded up.
    #[test]
    fn sizes_are_written() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(human(u64::MAX), "16777215.9 TiB");
    }
}
