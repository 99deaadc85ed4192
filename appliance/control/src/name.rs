//! What may be the name of a pool or volume.

use crate::limits::NAME_LEN_MAX;

/// Whether `text` has 1 to [`NAME_LEN_MAX`] of the characters `a` to `z`, `0` to `9` and `-`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}
