//! Short texts with rules: names of pools and volumes, serial numbers of drives, NQNs of hosts.

use crate::limits::{NAME_LEN_MAX, NQN_LEN_MAX, SERIAL_LEN_MAX};
use core::fmt;
use thiserror::Error;

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// At least one character is needed.
    #[error("it is empty")]
    Empty,
    /// Longer than its field.
    #[error("it has {len} characters, at most {max} are allowed")]
    TooLong {
        /// Characters.
        len: usize,
        /// Allowed.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("it has a character that is not allowed (byte {0:#04x})")]
    Character(u8),
}

/// The name of a pool or volume: 1 to 63 characters of `[a-z0-9-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A drive's serial number: 1 to 20 printable ASCII characters, without spaces at its ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

/// The NQN of a host: 1 to 223 bytes of UTF-8 without control characters (Base 2.1 §4.7).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostNqn(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// If it is empty, too long, or has other characters.
    pub fn new(text: &str) -> Result<Self, TextError> {
        check(text.as_bytes(), NAME_LEN_MAX, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serial {
    /// Checks a serial number; spaces around it, with which drives fill their field, are dropped.
    ///
    /// # Errors
    /// If it is empty, too long, or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let text = text.trim_matches(' ');
        check(text.as_bytes(), SERIAL_LEN_MAX, |b| (b' '..=b'~').contains(&b))?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostNqn {
    /// Checks an NQN. That it starts with `nqn.` is not asked for: hosts are compared byte by byte.
    ///
    /// # Errors
    /// If it is empty, too long, or has control characters.
    pub fn new(text: &str) -> Result<Self, TextError> {
        check(text.as_bytes(), NQN_LEN_MAX, |b| b >= b' ' && b != 0x7f)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &[u8], max: usize, allowed: impl Fn(u8) -> bool) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > max {
        return Err(TextError::TooLong { len: text.len(), max });
    }
    text.iter().find(|b| !allowed(**b)).map_or(Ok(()), |b| Err(TextError::Character(*b)))
}

/// The text in a field that is filled up with zero bytes.
pub(crate) fn load(field: &[u8]) -> Result<&str, TextError> {
    let len = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at_checked(len).unwrap_or((field, &[]));
    match rest.iter().find(|b| **b != 0) {
        Some(byte) => Err(TextError::Character(*byte)),
        None => core::str::from_utf8(text).map_err(|_| TextError::Character(0x80)),
    }
}

/// The field for a text that is known to fit: the rest is zero.
pub(crate) fn store<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    field
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for HostNqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostNqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
