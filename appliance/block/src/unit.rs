//! Units: index, count and length are different types, so that adding an address to an address does not compile.

use core::time::Duration;

/// Bytes in one block, everywhere above a drive's driver.
pub const BLOCK_SIZE: usize = 4096;

const BLOCK_SIZE_U64: u64 = 4096;
const _: () = assert!(BLOCK_SIZE as u64 == BLOCK_SIZE_U64);

/// The index of a block on a device or in a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lba(pub u64);

/// A number of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocks(pub u64);

/// A length in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A point of monotonic time in nanoseconds since an arbitrary start. Time is an argument in the quiet core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Lba {
    /// The block `count` further on; `None` past the end of the number range.
    #[must_use]
    pub fn checked_add(self, count: Blocks) -> Option<Self> {
        self.0.checked_add(count.0).map(Self)
    }

    /// The offset in bytes of this block; `None` past the end of the number range.
    #[must_use]
    pub fn byte_offset(self) -> Option<u64> {
        self.0.checked_mul(BLOCK_SIZE_U64)
    }
}

impl Blocks {
    /// The same length in bytes; `None` past the end of the number range.
    #[must_use]
    pub fn bytes(self) -> Option<Bytes> {
        self.0.checked_mul(BLOCK_SIZE_U64).map(Bytes)
    }

    /// The length in bytes as a buffer size; `None` where it exceeds the address range.
    #[must_use]
    pub fn buffer_len(self) -> Option<usize> {
        usize::try_from(self.bytes()?.0).ok()
    }

    /// How many blocks a buffer of `len` bytes holds; `None` unless it holds whole blocks.
    #[must_use]
    pub fn of_buffer(len: usize) -> Option<Self> {
        len.is_multiple_of(BLOCK_SIZE).then_some(Self((len / BLOCK_SIZE) as u64))
    }
}

impl Bytes {
    /// The same length in blocks; `None` unless it is a whole number of them.
    #[must_use]
    pub fn blocks(self) -> Option<Blocks> {
        self.0.is_multiple_of(BLOCK_SIZE_U64).then_some(Blocks(self.0 / BLOCK_SIZE_U64))
    }

    /// The whole blocks that fit into this length.
    #[must_use]
    pub fn blocks_floor(self) -> Blocks {
        Blocks(self.0 / BLOCK_SIZE_U64)
    }
}

impl Tick {
    /// This point plus `wait`, at the end of time at the latest.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: arithmetic at the end of the number range is refused, not wrapped.
    #[test]
    fn arithmetic_past_the_end_is_none() {
        assert_eq!(Lba(u64::MAX).checked_add(Blocks(1)), None);
        assert_eq!(Blocks(u64::MAX).bytes(), None);
        assert_eq!(Bytes(4097).blocks(), None);
        assert_eq!(Blocks::of_buffer(8192), Some(Blocks(2)));
        assert_eq!(Tick(5).since(Tick(9)), Duration::ZERO);
    }
}
