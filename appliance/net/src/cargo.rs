//! What a send carries, as the core sees it that sends it: the home core has the buffers themselves, another core was told where
//! they are.

use crate::Outgoing;
use crate::limits::PIECES_MAX;
use crate::slab::Key;

/// Something to be sent.
///
/// # Safety
/// What [`Cargo::fill_iovecs`] names can be read, stays where it is, and is written by nobody, until [`Cargo::end`] or the end of the value;
/// moving the value does not move it.
pub(crate) unsafe trait Cargo {
    /// Makes memory for another one, where that is used again after it was sent. Otherwise it goes back to where it came from.
    const SPARE: Option<fn() -> Box<Self>>;

    /// Bytes in all.
    fn len(&self) -> usize;

    /// Bytes of payload in the mean of its pieces.
    fn payload_mean(&self) -> usize;

    /// The pieces from byte `skip` on, as the kernel wants them.
    fn fill_iovecs(&self, skip: usize, iovecs: &mut Vec<libc::iovec>);

    /// Neither the kernel nor the network reads it any more.
    fn end(&mut self);
}

// SAFETY: pieces lie in the value's own vectors and buffers, on the heap or in the arena. Only `&mut` methods change them.
unsafe impl Cargo for Outgoing {
    const SPARE: Option<fn() -> Box<Self>> = Some(Box::default);

    fn len(&self) -> usize {
        self.len()
    }

    fn payload_mean(&self) -> usize {
        self.payload_mean()
    }

    fn fill_iovecs(&self, skip: usize, iovecs: &mut Vec<libc::iovec>) {
        self.fill_iovecs(skip, iovecs);
    }

    fn end(&mut self) {
        self.clear();
    }
}

/// Memory of another core, as the kernel is told of it: numbers, which no code of ours follows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    address: usize,
    len: usize,
}

impl Place {
    /// Memory that is to be written.
    pub(crate) fn of(bytes: &mut [u8]) -> Self {
        Self { address: bytes.as_mut_ptr().expose_provenance(), len: bytes.len() }
    }

    fn of_piece(piece: &libc::iovec) -> Self {
        Self { address: piece.iov_base.expose_provenance(), len: piece.iov_len }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    pub(crate) fn iovec(self) -> libc::iovec {
        libc::iovec { iov_base: core::ptr::with_exposed_provenance_mut(self.address), iov_len: self.len }
    }
}

/// A send that a socket core was told of. The home core keeps the [`Outgoing`] until this comes back.
#[derive(Debug)]
pub(crate) struct Lent {
    /// What the home core keeps it under.
    pub(crate) key: Key,
    pieces: Vec<Place>,
    len: usize,
    payload_mean: usize,
}

impl Lent {
    pub(crate) fn new() -> Self {
        Self { key: Key::from_bits(0), pieces: Vec::with_capacity(PIECES_MAX), len: 0, payload_mean: 0 }
    }

    /// Tells of `outgoing`, which is kept under `key`. `iovecs` is room to work in.
    pub(crate) fn fill(&mut self, key: Key, outgoing: &Outgoing, iovecs: &mut Vec<libc::iovec>) {
        outgoing.fill_iovecs(0, iovecs);
        self.key = key;
        self.pieces.clear();
        self.pieces.extend(iovecs.iter().map(Place::of_piece));
        (self.len, self.payload_mean) = (outgoing.len(), outgoing.payload_mean());
    }
}

// SAFETY: the home core keeps the send of which this was told, and does not look at it, until this comes back to it
// (`Spread::on_returned`); what does not come back it keeps for ever (`Spread::stop`).
unsafe impl Cargo for Lent {
    const SPARE: Option<fn() -> Box<Self>> = None;

    fn len(&self) -> usize {
        self.len
    }

    fn payload_mean(&self) -> usize {
        self.payload_mean
    }

    fn fill_iovecs(&self, skip: usize, iovecs: &mut Vec<libc::iovec>) {
        iovecs.clear();
        let mut skip = skip;
        for piece in &self.pieces {
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            iovecs.push(Place { address: piece.address + skip, len: piece.len - skip }.iovec());
            skip = 0;
        }
    }

    fn end(&mut self) {}
}
