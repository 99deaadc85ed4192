//! A range of a volume, counted in bytes: where a command's data lies, whatever the size of the host's logical blocks.
//!
//! ```text
//!  blocks   |    4096    |    4096    |    4096    |
//!  span           [..................)
//!            lead ▲                  ▲ tail              the blocks that cover it are what drives are asked for
//! ```
//!
//! Invariant: the end of a span, rounded up to whole blocks, is a number; so arithmetic behind a check cannot overflow.

use block::{BLOCK_SIZE, Blocks, Bytes, Lba};

const BLOCK: u64 = BLOCK_SIZE as u64;

/// Bytes of a volume, from a start to before an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// `len` bytes from `start` on; `None` past the end of the number range.
    #[must_use]
    pub fn new(start: Bytes, len: Bytes) -> Option<Self> {
        let end = start.0.checked_add(len.0)?;
        end.checked_next_multiple_of(BLOCK)?;
        Some(Self { start: start.0, end })
    }

    /// Whole blocks; `None` past the end of the number range.
    #[must_use]
    pub fn of_blocks(lba: Lba, blocks: Blocks) -> Option<Self> {
        Self::new(Bytes(lba.byte_offset()?), blocks.bytes()?)
    }

    /// Where it starts.
    #[must_use]
    pub fn start(self) -> Bytes {
        Bytes(self.start)
    }

    /// Where it ends: the first byte that is not in it.
    #[must_use]
    pub fn end(self) -> Bytes {
        Bytes(self.end)
    }

    /// How long it is.
    #[must_use]
    pub fn len(self) -> Bytes {
        Bytes(self.end.saturating_sub(self.start))
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The blocks that cover it.
    #[must_use]
    pub fn blocks(self) -> (Lba, Blocks) {
        if self.is_empty() {
            return (Lba(self.start / BLOCK), Blocks(0));
        }
        let first = self.start / BLOCK;
        (Lba(first), Blocks(self.end.div_ceil(BLOCK).saturating_sub(first)))
    }

    /// The whole blocks inside it.
    #[must_use]
    pub fn inner(self) -> (Lba, Blocks) {
        let first = self.start.div_ceil(BLOCK);
        (Lba(first), Blocks((self.end / BLOCK).saturating_sub(first)))
    }

    /// Bytes of the first covering block that lie before the start.
    #[must_use]
    pub fn lead(self) -> usize {
        usize::try_from(self.start % BLOCK).unwrap_or(0)
    }

    /// Bytes of the last covering block that lie behind the end.
    #[must_use]
    pub fn tail(self) -> usize {
        let part = usize::try_from(self.end % BLOCK).unwrap_or(0);
        if part == 0 { 0 } else { BLOCK_SIZE.saturating_sub(part) }
    }

    /// It starts and ends between blocks.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.lead() == 0 && self.tail() == 0
    }

    /// The two have a byte in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, len: u64) -> Span {
        Span::new(Bytes(start), Bytes(len)).expect("small numbers")
    }

    /// Goal: the covering blocks cover, the inner blocks lie inside, lead and tail are what is between.
    #[test]
    fn blocks_around_and_inside() {
        let parts = |s: Span| (s.blocks(), s.inner(), s.lead(), s.tail(), s.is_whole());
        assert_eq!(parts(span(8192, 4096)), ((Lba(2), Blocks(1)), (Lba(2), Blocks(1)), 0, 0, true));
        assert_eq!(parts(span(512, 512)), ((Lba(0), Blocks(1)), (Lba(1), Blocks(0)), 512, 3072, false));
        assert_eq!(parts(span(3584, 1024)), ((Lba(0), Blocks(2)), (Lba(1), Blocks(0)), 3584, 3584, false));
        assert_eq!(parts(span(4096, 8704)), ((Lba(1), Blocks(3)), (Lba(1), Blocks(2)), 0, 3584, false));
        assert_eq!(span(4096, 0).blocks(), (Lba(1), Blocks(0)));
        assert!(span(0, 512).overlaps(span(511, 1)) && !span(0, 512).overlaps(span(512, 512)));
    }

    /// Goal: a span whose end, or whose last block's end, is no number does not exist.
    #[test]
    fn nothing_overflows() {
        assert_eq!(Span::new(Bytes(u64::MAX), Bytes(1)), None);
        assert_eq!(Span::new(Bytes(u64::MAX - 1), Bytes(1)), None);
        assert_eq!(Span::of_blocks(Lba(u64::MAX), Blocks(2)), None);
    }
}
