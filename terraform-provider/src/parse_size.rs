//! `provider::ironbay::parse_size("10GiB")`: sizes as people write them, in bytes, exactly.

use tf_framework::{Function, FunctionFault, Type, Value};

/// Binary and decimal units. A bare letter is refused: people disagree about what `10G` is.
const UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// The function's declaration.
#[must_use]
pub(crate) fn function() -> Function {
    Function {
        name: "parse_size",
        summary: "A size with a unit, in bytes",
        description: "Turns text such as `10GiB`, `1.5 TiB` or `500GB` into a number of bytes. `KiB`, `MiB`, `GiB`, `TiB` \
                      and `PiB` are powers of 1024; `kB`, `MB`, `GB`, `TB` and `PB` are powers of 1000. The result is \
                      exact; a size that is not a whole number of bytes is an error.",
        parameters: vec![("size", Type::String, "A number and a unit, such as `10GiB`.")],
        result: Type::Int,
        call,
    }
}

fn call(arguments: &[Value]) -> Result<Value, FunctionFault> {
    let text = arguments.first().and_then(Value::as_str).unwrap_or_default();
    parse(text).map(Value::from).map_err(|text| FunctionFault { argument: 0, text })
}

fn parse(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is not a size: write a number and a unit, such as \"10GiB\" or \"500GB\"");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit = unit.trim_start();
    let Some((_, unit_bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(match unit {
            "K" | "M" | "G" | "T" | "P" => {
                format!("{text:?} is ambiguous: write {unit}iB (1024) or {unit}B (1000)")
            }
            _ => wrong(),
        });
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
    let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
    let scale = 10_u128.checked_pow(places).ok_or_else(wrong)?;
    let scaled = digits.checked_mul(u128::from(*unit_bytes)).ok_or_else(wrong)?;
    if !scaled.is_multiple_of(scale) {
        return Err(format!("{text:?} is not a whole number of bytes"));
    }
    u64::try_from(scaled / scale).map_err(|_| format!("{text:?} is more than {} bytes", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every size is exact or an error; nothing is rounded.
    #[test]
    fn sizes_are_exact() {
        assert_eq!(parse("10GiB"), Ok(10 << 30));
        assert_eq!(parse(" 1.5 TiB "), Ok(3 << 39));
        assert_eq!(parse("500GB"), Ok(500_000_000_000));
        assert_eq!(parse("0B"), Ok(0));
        assert_eq!(parse("16383PiB"), Ok(16383 << 50));
        assert_eq!(parse("0.3KiB"), Err("\"0.3KiB\" is not a whole number of bytes".to_owned()));
        assert_eq!(parse("10G"), Err("\"10G\" is ambiguous: write GiB (1024) or GB (1000)".to_owned()));
        for bad in ["", "GiB", "ten GiB", "-1GiB", "1..5GiB", "1.2.3GiB", "10 gib", ".B"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("16384PiB").is_err_and(|e| e.contains("more than")));
        assert!(parse(&format!("1{}B", "0".repeat(60))).is_err());
    }
}
