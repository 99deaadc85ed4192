//! Sizes for people.

use block::Bytes;

/// `10737418240 bytes (10 GiB)`; the unit only where it is exact.
#[must_use]
pub(crate) fn bytes(n: u64) -> String {
    match Bytes(n).in_exact_unit() {
        Some(size) => format!("{n} bytes ({size})"),
        None => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a unit never hides a part of the size.
    #[test]
    fn units_are_exact() {
        assert_eq!(bytes(10 << 30), "10737418240 bytes (10 GiB)");
        assert_eq!(bytes((10 << 30) + (1 << 20)), "10738466816 bytes (10241 MiB)");
        assert_eq!(bytes((10 << 30) + 1), "10737418241 bytes");
        assert_eq!(bytes(1000), "1000 bytes");
        assert_eq!(bytes(0), "0 bytes");
    }
}
