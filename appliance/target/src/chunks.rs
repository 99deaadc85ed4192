//! The buffers of one command's data.
//!
//! ```text
//!  volume    |   128 KiB   |   128 KiB   |   128 KiB   |
//!  command          [######|#############|###]
//!  chunks             0          1          2            the first is cut short by the boundary, the last by the length
//! ```
//!
//! Invariant: the chunks of a command come from the arena together or not at all; so commands that wait for memory
//! hold none, and the one that waits longest always gets on.

use crate::limits::{CHUNK_BYTES, CHUNKS_COMMON, CHUNKS_MAX, TRANSFER_BYTES_MAX};
use core::ops::Range;
use dma::{Arena, DmaBuf};

/// The data of a command, in pieces. Reused from command to command: [`Chunks::clear`] keeps the table.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    buffers: Vec<Option<DmaBuf>>,
    len: usize,
    first_len: usize,
}

/// A part of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) index: usize,
    pub(crate) range: Range<usize>,
}

/// How many chunks `len` bytes take that start `skew` bytes behind a boundary.
pub(crate) fn count(len: usize, skew: usize) -> usize {
    (skew % CHUNK_BYTES + len).div_ceil(CHUNK_BYTES)
}

impl Chunks {
    /// Takes buffers for `len` bytes that start `skew` bytes behind a boundary; false if the arena has not enough now.
    ///
    /// # Panics
    /// If there are buffers already, or `len` is zero or longer than a transfer may be.
    pub(crate) fn alloc(&mut self, arena: &Arena, len: usize, skew: usize) -> bool {
        assert!(self.buffers.is_empty(), "a command gets its buffers once");
        assert!(len > 0 && len <= TRANSFER_BYTES_MAX, "a transfer of {len} bytes was checked before");
        self.len = len;
        self.first_len = (CHUNK_BYTES - skew % CHUNK_BYTES).min(len);
        let count = count(len, skew);
        assert!(count <= CHUNKS_MAX, "a transfer has at most {CHUNKS_MAX} chunks");
        for index in 0..count {
            let Some(buffer) = arena.alloc(self.range(index).len()) else {
                self.clear();
                return false;
            };
            self.buffers.push(Some(buffer));
        }
        true
    }

    /// Makes room for the buffers of common commands, so that these find it.
    pub(crate) fn reserve(&mut self) {
        self.buffers.reserve_exact(CHUNKS_COMMON);
    }

    /// How many chunks there are.
    pub(crate) fn count(&self) -> usize {
        self.buffers.len()
    }

    /// Which bytes of the data chunk `index` holds.
    pub(crate) fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.first_len + (index - 1) * CHUNK_BYTES };
        let end = (self.first_len + index * CHUNK_BYTES).min(self.len);
        start..end
    }

    /// The part of a chunk that holds the bytes from `offset` on, at most `len` of them.
    pub(crate) fn part(&self, offset: usize, len: usize) -> Part {
        assert!(offset < self.len, "an offset inside the data");
        let index = if offset < self.first_len { 0 } else { 1 + (offset - self.first_len) / CHUNK_BYTES };
        let chunk = self.range(index);
        let start = offset - chunk.start;
        Part { index, range: start..(start + len).min(chunk.len()) }
    }

    /// The parts that hold `len` bytes from `offset` on.
    pub(crate) fn parts(&self, offset: usize, len: usize) -> impl Iterator<Item = Part> + use<'_> {
        let end = offset + len;
        let mut next = offset;
        core::iter::from_fn(move || {
            let part = (next < end).then(|| self.part(next, end - next))?;
            next += part.range.len();
            Some(part)
        })
    }

    /// The bytes of a part whose buffer is here.
    pub(crate) fn bytes(&self, part: &Part) -> Option<&[u8]> {
        Some(&self.buffers[part.index].as_ref()?.as_ref()[part.range.clone()])
    }

    /// The bytes of a part whose buffer is here.
    pub(crate) fn bytes_mut(&mut self, part: &Part) -> Option<&mut [u8]> {
        Some(&mut self.buffers[part.index].as_mut()?.as_mut()[part.range.clone()])
    }

    /// Takes a buffer out: a drive or the network owns it from here on.
    pub(crate) fn take(&mut self, index: usize) -> Option<DmaBuf> {
        self.buffers[index].take()
    }

    /// Puts a buffer back.
    pub(crate) fn put(&mut self, index: usize, buffer: DmaBuf) {
        assert!(self.buffers[index].replace(buffer).is_none(), "the place was empty");
    }

    /// Gives the buffers back to the arena.
    pub(crate) fn clear(&mut self) {
        self.buffers.clear();
        self.len = 0;
        self.first_len = 0;
    }

    /// Copies `bytes` to the start, and zeroes what is behind them: it held data of others.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        for buffer in self.buffers.iter_mut().flatten() {
            let (now, later) = rest.split_at(rest.len().min(buffer.len()));
            let (start, behind) = buffer.as_mut().split_at_mut(now.len());
            start.copy_from_slice(now);
            behind.fill(0);
            rest = later;
        }
        assert!(rest.is_empty(), "the buffers hold all bytes");
    }

    /// The same bytes are in both. All buffers are here.
    ///
    /// # Panics
    /// If the two were not made alike.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        assert!(self.count() == other.count() && self.len == other.len, "for the same part of a volume");
        self.buffers.iter().zip(&other.buffers).all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => one.as_ref() == other.as_ref(),
            (None, _) | (_, None) => unreachable!("drives have given the buffers back"),
        })
    }

    /// Exactly these bytes are in it. All buffers are here.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        let equals =
            |part: &Part, bytes: &[u8]| self.bytes(part).expect("drives have given it back") == bytes;
        let mut rest = bytes;
        self.len == bytes.len()
            && self.parts(0, self.len).all(|part| {
                let (now, later) = rest.split_at(part.range.len());
                rest = later;
                equals(&part, now)
            })
    }

    /// All bytes in one piece, for data that is no blocks.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.buffers.iter().flatten().flat_map(|buffer| buffer.as_ref().iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dma::ArenaConfig;

    fn arena(bytes: usize) -> Arena {
        Arena::new(ArenaConfig { bytes, hugepages: false }).expect("memory")
    }

    /// Goal: chunks cover the data exactly and never cross a boundary of the volume.
    #[test]
    fn chunks_keep_to_boundaries() {
        let arena = arena(8 << 20);
        for (len, skew) in [(4096, 0), (1 << 20, 0), (1 << 20, 4096), (131_072, 126_976), (8192, 126_976)] {
            let mut chunks = Chunks::default();
            assert!(chunks.alloc(&arena, len, skew));
            assert_eq!(chunks.count(), count(len, skew));
            let mut next = 0;
            for index in 0..chunks.count() {
                let range = chunks.range(index);
                assert_eq!(range.start, next);
                let first = (skew + range.start) / CHUNK_BYTES;
                assert_eq!(first, (skew + range.end - 1) / CHUNK_BYTES, "{len} bytes at {skew}");
                next = range.end;
            }
            assert_eq!(next, len);
        }
    }

    /// Goal: bytes go where they belong, also over the seam of two chunks.
    #[test]
    fn bytes_cross_the_seam() {
        let mut chunks = Chunks::default();
        assert!(chunks.alloc(&arena(8 << 20), 12_288, CHUNK_BYTES - 4096));
        let data: Vec<u8> = (0..12_288u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        chunks.fill(&data);
        assert_eq!(chunks.to_vec(), data);
        let parts: Vec<Part> = chunks.parts(4000, 8000).collect();
        assert_eq!(parts, [Part { index: 0, range: 4000..4096 }, Part { index: 1, range: 0..7904 }]);
        assert_eq!(chunks.bytes(&Part { index: 1, range: 1..3 }), Some(&data[4097..4099]));
    }

    /// Goal: an arena that is too small gives nothing and loses nothing.
    #[test]
    fn all_or_nothing() {
        let arena = arena(2 << 20);
        let (mut first, mut second) = (Chunks::default(), Chunks::default());
        assert!(first.alloc(&arena, 1 << 20, 0));
        let before = arena.usage();
        assert!(!second.alloc(&arena, 1 << 20, 0));
        assert_eq!(arena.usage(), before);
        first.clear();
        assert!(second.alloc(&arena, 1 << 20, 0));
    }
}
