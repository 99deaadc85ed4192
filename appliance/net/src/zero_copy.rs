//! Long payload leaves without being copied: the network card reads it where the drive has put it.
//!
//! ```text
//!  send() ── long payload, the socket may, room left ──▶ ring ─▶ Sent: the stream goes on
//!                                                         └────▶ notice: the other end has confirmed the bytes, memory is free
//! ```
//! The kernel says with the notice whether it copied after all (loopback, cards that cannot gather). Then the copy is
//! cheaper without the notice, and the socket is not asked again.
//!
//! Invariants
//! - What the network still reads is kept by a [`Cargo`] in [`ZeroCopy`], also when its socket is gone, until the notice was seen.
//! - That is at most [`ZERO_COPY_BYTES_MAX`](crate::limits::ZERO_COPY_BYTES_MAX) on all cores together: hosts that confirm nothing cannot take the memory of all others away.

use crate::cargo::Cargo;
use crate::limits::{ZERO_COPY_PAYLOAD_MIN, ZERO_COPY_SENDS_MAX};
use crate::net::{Event, SocketId};
use crate::output::{Send, send_rest};
use crate::ring::Finished;
use crate::slab::{Key, Slab};
use crate::sockets::{Sockets, kind, user_data};
use io_uring::cqueue;
use std::io;

/// The kernel's flag in a notice: it has copied (`IORING_NOTIF_USAGE_ZC_COPIED`, Linux 6.2).
const COPIED: u32 = 1 << 31;

/// Sends without copying, on their way.
pub(crate) struct ZeroCopy<C> {
    sends: Slab<Pending<C>>,
    /// Bytes of all of them.
    bytes: usize,
    bytes_max: usize,
}

struct Pending<C> {
    socket: SocketId,
    send: Box<Send<C>>,
    len: usize,
    /// The stream goes on behind it.
    is_sent: bool,
    /// A notice will come.
    is_read: bool,
}

impl<C: Cargo> ZeroCopy<C> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { sends: Slab::new(ZERO_COPY_SENDS_MAX), bytes: 0, bytes_max }
    }

    /// How many are on their way.
    pub(crate) fn len(&self) -> usize {
        self.sends.len()
    }

    /// Their bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is worth it, and there is room.
    pub(crate) fn takes(&self, cargo: &C) -> bool {
        cargo.payload_mean() >= ZERO_COPY_PAYLOAD_MIN
            && self.bytes + cargo.len() <= self.bytes_max
            && !self.sends.is_full()
    }
}

impl<C: Cargo> Sockets<C> {
    /// Starts a send without copying. Its socket sends nothing else until [`Event::Sent`].
    pub(crate) fn send_zero_copy(&mut self, id: SocketId, send: Box<Send<C>>) {
        let len = send.len();
        let pending = Pending { socket: id, send, len, is_sent: false, is_read: false };
        let Ok(key) = self.zero_copy.sends.insert(pending) else { unreachable!("`takes` has seen room") };
        self.zero_copy.bytes += len;
        let socket = self.sockets.get_mut(id.key()).expect("the caller has looked it up");
        socket.is_zero_copying = true;
        let pending = self.zero_copy.sends.get_mut(key).expect("just inserted");
        let entry = pending.send.zero_copy_entry(&socket.fd, user_data(kind::ZERO_COPY, key.to_bits()));
        // SAFETY: message and iovecs belong to the boxed send in `pending`, headers and payload are kept by its cargo (`Cargo`). It is
        // neither touched nor dropped before the completion and the notice, if one is announced, were seen.
        unsafe { self.ring.push(entry) };
    }

    /// The kernel has taken the bytes of such a send, or cannot; or it gives their memory back.
    pub(crate) fn on_zero_copy(&mut self, key: Key, finished: Finished) -> Option<Event> {
        let pending = self.zero_copy.sends.get_mut(key).expect("a send stays until its last completion");
        let id = pending.socket;
        let socket = self.sockets.get_mut(id.key());
        if cqueue::notif(finished.flags) {
            pending.is_read = false;
            if finished.result.cast_unsigned() & COPIED != 0
                && let Some(socket) = socket
            {
                socket.may_zero_copy = false;
            }
            self.end_zero_copy(key);
            return None;
        }
        pending.is_read |= cqueue::more(finished.flags);
        let socket = socket.expect("a socket outlives the sends in its stream");
        let result = match pending.send.advance(&finished) {
            Err(error) if is_refusal(&error) && !pending.send.has_begun() => {
                socket.may_zero_copy = false;
                Ok(false)
            }
            result => result,
        };
        if matches!(result, Ok(false)) {
            // The rest, or all of it, goes the usual way.
            let entry = send_rest(&socket.fd, &mut pending.send, user_data(kind::ZERO_COPY, key.to_bits()));
            // SAFETY: as in `send_zero_copy`.
            unsafe { self.ring.push(entry) };
            return None;
        }
        pending.is_sent = true;
        socket.is_zero_copying = false;
        self.end_zero_copy(key);
        self.finish_close(id);
        Some(Event::Sent { socket: id, result: result.map(|_| ()) })
    }

    /// Takes the memory back, if nobody uses it any more.
    fn end_zero_copy(&mut self, key: Key) {
        let is_over = |pending: &Pending<C>| pending.is_sent && !pending.is_read;
        if self.zero_copy.sends.get(key).is_some_and(is_over)
            && let Some(pending) = self.zero_copy.sends.remove(key)
        {
            self.zero_copy.bytes -= pending.len;
            self.recycle_send(pending.send);
        }
    }
}

/// The kernel does not send this without copying, but would send it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOMEM | libc::ENOBUFS))
}
