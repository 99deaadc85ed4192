//! One vectored send: header bytes, payload buffers and digests in the order in which they go out.
//!
//! Invariant: pieces name ranges inside what the value owns, and nothing is added while the kernel reads it (the whole
//! value is moved into the [`Net`](crate::Net) meanwhile).

use crate::limits::{HEADER_BYTES_MAX, PIECES_MAX, SEND_MEMORY_MAX};
use core::ops::Range;
use dma::DmaBuf;

#[derive(Clone, Copy, Debug)]
enum Source {
    Bytes,
    Payload(usize),
}

#[derive(Clone, Debug)]
struct Piece {
    source: Source,
    range: Range<usize>,
}

/// What one send carries. Reused: [`Outgoing::clear`] keeps the memory.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Vec<u8>,
    payloads: Vec<DmaBuf>,
    pieces: Vec<Piece>,
    len: usize,
}

const _: () = assert!(
    HEADER_BYTES_MAX + PIECES_MAX * (size_of::<DmaBuf>() + size_of::<Piece>() + size_of::<libc::iovec>())
        < SEND_MEMORY_MAX
);

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

impl Outgoing {
    /// An empty send with room for all it may ever carry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(HEADER_BYTES_MAX),
            payloads: Vec::with_capacity(PIECES_MAX),
            pieces: Vec::with_capacity(PIECES_MAX),
            len: 0,
        }
    }

    /// Appends bytes; they are copied.
    ///
    /// # Panics
    /// If there is no room: see [`Outgoing::has_room`].
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        assert!(self.has_room(1, bytes.len()), "the caller checks for room");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len();
        self.len += bytes.len();
        // Bytes that follow bytes are one piece: a response and the header of the next PDU.
        if let Some(Piece { source: Source::Bytes, range }) = self.pieces.last_mut() {
            range.end = end;
            return;
        }
        self.pieces.push(Piece { source: Source::Bytes, range: start..end });
    }

    /// Appends a part of a buffer, without copying; the buffer comes back with the send.
    ///
    /// # Panics
    /// If there is no room or the range lies outside the buffer.
    pub fn push_payload(&mut self, payload: DmaBuf, range: Range<usize>) {
        self.payloads.push(payload);
        self.push_again(range);
    }

    /// Appends another part of the buffer that was added last.
    ///
    /// # Panics
    /// If there is no room, no buffer, or the range lies outside it.
    pub fn push_again(&mut self, range: Range<usize>) {
        assert!(self.has_room(1, 0), "the caller checks for room");
        let index = self.payloads.len().checked_sub(1).expect("a payload was added before");
        assert!(
            range.start <= range.end && range.end <= self.payloads[index].len(),
            "range inside the buffer"
        );
        self.len += range.len();
        if !range.is_empty() {
            self.pieces.push(Piece { source: Source::Payload(index), range });
        }
    }

    /// The buffer that was added last.
    #[must_use]
    pub fn last_payload(&self) -> Option<&[u8]> {
        Some(self.payloads.last()?.as_ref())
    }

    /// So many pieces and copied bytes still fit.
    #[must_use]
    pub fn has_room(&self, pieces: usize, bytes: usize) -> bool {
        self.pieces.len() + pieces <= PIECES_MAX && self.bytes.len() + bytes <= HEADER_BYTES_MAX
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of payload in the mean of its pieces.
    pub(crate) fn payload_mean(&self) -> usize {
        (self.len - self.bytes.len()).checked_div(self.payloads.len()).unwrap_or(0)
    }

    /// Nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets go of everything; payload buffers return to their arena.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.payloads.clear();
        self.pieces.clear();
        self.len = 0;
    }

    /// The pieces from byte `skip` on, as the kernel wants them.
    pub(crate) fn fill_iovecs(&self, skip: usize, iovecs: &mut Vec<libc::iovec>) {
        iovecs.clear();
        let mut skip = skip;
        for piece in &self.pieces {
            let len = piece.range.len();
            if skip >= len {
                skip -= len;
                continue;
            }
            let memory: &[u8] = match piece.source {
                Source::Bytes => &self.bytes,
                Source::Payload(index) => self.payloads[index].as_ref(),
            };
            let part = &memory[piece.range.clone()][skip..];
            skip = 0;
            iovecs.push(libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
        }
    }
}
