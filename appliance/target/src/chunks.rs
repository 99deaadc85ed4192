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
use block::BLOCK_SIZE;
use core::ops::Range;
use dma::{Arena, DmaBuf};
use nvme_subsystem::Span;

/// The data of a command, in pieces. Reused from command to command: [`Chunks::clear`] keeps the table.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    buffers: Vec<Option<DmaBuf>>,
    /// Bytes before the data, of the data, and with what is behind it.
    lead: usize,
    len: usize,
    total: usize,
    first_len: usize,
}

/// A part of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) index: usize,
    pub(crate) range: Range<usize>,
}

/// Which bytes the buffers of a command hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes between the last boundary of the volume and the first buffer.
    pub(crate) skew: usize,
    /// Bytes of the first block before the data.
    pub(crate) lead: usize,
    /// Bytes of data.
    pub(crate) len: usize,
    /// Bytes of the last block behind the data.
    pub(crate) tail: usize,
}

impl Shape {
    /// Data that has no place in a volume.
    pub(crate) fn plain(len: usize) -> Self {
        Self { len, ..Self::default() }
    }

    /// The blocks that cover a span.
    pub(crate) fn of(span: Span) -> Self {
        let behind = usize::try_from(span.start().0 % CHUNK_BYTES as u64).expect("less than a chunk");
        let len = usize::try_from(span.len().0).expect("at most a transfer");
        Self { skew: behind - span.lead(), lead: span.lead(), len, tail: span.tail() }
    }

    /// Bytes of all buffers.
    fn total(self) -> usize {
        self.lead + self.len + self.tail
    }

    /// How many chunks it takes.
    pub(crate) fn count(self) -> usize {
        (self.skew % CHUNK_BYTES + self.total()).div_ceil(CHUNK_BYTES)
    }
}

impl Chunks {
    /// Takes buffers for data of this shape; false if the arena has not enough now.
    ///
    /// # Panics
    /// If there are buffers already, or there is no data, or more than a transfer may have.
    pub(crate) fn alloc(&mut self, arena: &Arena, shape: Shape) -> bool {
        assert!(self.buffers.is_empty(), "a command gets its buffers once");
        let Shape { skew, lead, len, .. } = shape;
        assert!(len > 0 && len <= TRANSFER_BYTES_MAX, "a transfer of {len} bytes was checked before");
        (self.lead, self.len, self.total) = (lead, len, shape.total());
        self.first_len = (CHUNK_BYTES - skew % CHUNK_BYTES).min(self.total);
        let count = shape.count();
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

    /// Which bytes of all that the buffers hold chunk `index` holds.
    pub(crate) fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.first_len + (index - 1) * CHUNK_BYTES };
        let end = (self.first_len + index * CHUNK_BYTES).min(self.total);
        start..end
    }

    /// The part of a chunk that holds the bytes from `offset` on, at most `len` of them.
    pub(crate) fn part(&self, offset: usize, len: usize) -> Part {
        assert!(offset < self.len, "an offset inside the data");
        let offset = self.lead + offset;
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
        (self.lead, self.len, self.total, self.first_len) = (0, 0, 0, 0);
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
        self.parts(0, self.len).all(|part| {
            self.bytes(&part).expect("it is here") == other.bytes(&part).expect("drives have given it back")
        })
    }

    /// Copies the data to its place.
    pub(crate) fn put_data(&mut self, data: &[u8]) {
        assert_eq!(data.len(), self.len, "all of it");
        let mut done = 0;
        while done < data.len() {
            let part = self.part(done, data.len() - done);
            let len = part.range.len();
            self.bytes_mut(&part).expect("all buffers are here").copy_from_slice(&data[done..done + len]);
            done += len;
        }
    }

    /// Copies what surrounds the data from blocks as they are stored: the first one, and the last one.
    pub(crate) fn put_edges(&mut self, first: &[u8], last: &[u8]) {
        let (lead, tail) = (self.lead, self.total - self.lead - self.len);
        if lead > 0 {
            let buffer = self.buffers.first_mut().and_then(Option::as_mut).expect("all buffers are here");
            buffer.as_mut()[..lead].copy_from_slice(&first[..lead]);
        }
        if tail > 0 {
            let buffer = self.buffers.last_mut().and_then(Option::as_mut).expect("all buffers are here");
            let start = buffer.len() - tail;
            buffer.as_mut()[start..].copy_from_slice(&last[last.len() - tail..]);
        }
    }

    /// A buffer that is here.
    pub(crate) fn buffer(&self, index: usize) -> &[u8] {
        self.buffers[index].as_ref().expect("it is here").as_ref()
    }

    /// The first and the last block that it holds.
    pub(crate) fn edges(&self) -> (&[u8], &[u8]) {
        let (first, last) = (self.buffer(0), self.buffer(self.count() - 1));
        (&first[..BLOCK_SIZE], &last[last.len() - BLOCK_SIZE..])
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

    fn shape(len: usize, skew: usize) -> Shape {
        Shape { skew, ..Shape::plain(len) }
    }

    /// Goal: data that starts and ends within blocks lies where the drives have it, with room around it for the rest of these
    /// blocks.
    #[test]
    fn data_within_blocks() {
        let span = Span::new(block::Bytes(CHUNK_BYTES as u64 - 512), block::Bytes(1024)).expect("small");
        let mut chunks = Chunks::default();
        assert!(chunks.alloc(&arena(8 << 20), Shape::of(span)));
        assert_eq!((chunks.range(0), chunks.range(1), chunks.count()), (0..4096, 4096..8192, 2));
        chunks.put_data(&[7; 1024]);
        chunks.put_edges(&[1; 4096], &[2; 4096]);
        let bytes = chunks.to_vec();
        let expected = [vec![1; 3584], vec![7; 1024], vec![2; 3584]].concat();
        assert!(bytes == expected);
        assert!(chunks.holds(&[7; 1024]) && !chunks.holds(&[1; 1024]));
    }

    /// Goal: chunks cover the data exactly and never cross a boundary of the volume.
    #[test]
    fn chunks_keep_to_boundaries() {
        let arena = arena(8 << 20);
        for (len, skew) in [(4096, 0), (1 << 20, 0), (1 << 20, 4096), (131_072, 126_976), (8192, 126_976)] {
            let mut chunks = Chunks::default();
            assert!(chunks.alloc(&arena, shape(len, skew)));
            assert_eq!(chunks.count(), shape(len, skew).count());
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
        assert!(chunks.alloc(&arena(8 << 20), shape(12_288, CHUNK_BYTES - 4096)));
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
        assert!(first.alloc(&arena, shape(1 << 20, 0)));
        let before = arena.usage();
        assert!(!second.alloc(&arena, shape(1 << 20, 0)));
        assert_eq!(arena.usage(), before);
        first.clear();
        assert!(second.alloc(&arena, shape(1 << 20, 0)));
    }
}
