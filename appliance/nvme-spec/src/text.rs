//! Text in wire structs: ASCII padded with spaces (serial number, model), and NQNs ended by a NUL.

/// `text` in a field of `N` bytes, cut or padded with spaces (Base 2.1 §1.5, ASCII strings). Characters outside printable
/// ASCII become `?`.
#[must_use]
pub fn ascii_field<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, c) in field.iter_mut().zip(text.chars()) {
        *to = u8::try_from(c).ok().filter(|b| (0x20..=0x7e).contains(b)).unwrap_or(b'?');
    }
    field
}

/// The text of a field padded with spaces or NULs. What is not printable ASCII becomes `?`: a device's serial number is
/// foreign, and it ends up on consoles.
#[must_use]
pub fn ascii_text(field: &[u8]) -> String {
    let text: String = field
        .iter()
        .take_while(|b| **b != 0)
        .map(|b| if (0x20..=0x7e).contains(b) { char::from(*b) } else { '?' })
        .collect();
    text.trim().to_owned()
}

/// `nqn` in a 256-byte field ended by a NUL; `None` if it is longer than an NQN may be (Base 2.1 §4.7: 223 bytes).
#[must_use]
pub fn nqn_field(nqn: &str) -> Option<[u8; 256]> {
    if nqn.len() > 223 {
        return None;
    }
    let mut field = [0; 256];
    for (to, from) in field.iter_mut().zip(nqn.bytes()) {
        *to = from;
    }
    Some(field)
}

/// The NQN in a 256-byte field; `None` if it is empty, too long, not ended by a NUL, or not UTF-8 (Base 2.1 §4.7).
#[must_use]
pub fn nqn_text(field: &[u8; 256]) -> Option<&str> {
    let end = field.iter().position(|b| *b == 0)?;
    let text = core::str::from_utf8(field.get(..end)?).ok()?;
    (1..=223).contains(&end).then_some(text)
}
