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
use core::sync::atomic::{AtomicUsize, Ordering};
use io_uring::cqueue;
use std::io;
use std::sync::Arc;

/// The kernel's flag in a notice: it has copied (`IORING_NOTIF_USAGE_ZC_COPIED`, Linux 6.2).
const COPIED: u32 = 1 << 31;

/// Bytes that may be on their way, for all cores together: a share for each would be less than one long send where there are many. Clones
/// count together.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Allowance {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: Arc::new(AtomicUsize::new(0)), max }
    }

    /// Takes so many bytes, or none.
    fn take(&self, bytes: usize) -> bool {
        // Nothing but the number itself is handed on by it.
        let used = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = used + bytes <= self.max;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    pub(crate) fn give(&self, bytes: usize) {
        let used = self.used.fetch_sub(bytes, Ordering::Relaxed);
        assert!(used >= bytes, "what is given back was taken");
    }
}

/// Sends without copying, on their way.
pub(crate) struct ZeroCopy<C> {
    sends: Slab<Pending<C>>,
    pub(crate) allowance: Allowance,
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
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self { sends: Slab::new(ZERO_COPY_SENDS_MAX), allowance }
    }

    /// How many are on their way.
    pub(crate) fn len(&self) -> usize {
        self.sends.len()
    }

    /// Bytes on their way, on all cores.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.allowance.used.load(Ordering::Relaxed)
    }

    /// Takes room for something, if it is worth it and there is some.
    pub(crate) fn take_room(&self, cargo: &C) -> bool {
        cargo.payload_mean() >= ZERO_COPY_PAYLOAD_MIN
            && !self.sends.is_full()
            && self.allowance.take(cargo.len())
    }
}

impl<C: Cargo> Sockets<C> {
    /// Starts a send without copying, for which there is room. Its socket sends nothing else until [`Event::Sent`].
    pub(crate) fn send_zero_copy(&mut self, id: SocketId, send: Box<Send<C>>) {
        let len = send.len();
        let pending = Pending { socket: id, send, len, is_sent: false, is_read: false };
        let Ok(key) = self.zero_copy.sends.insert(pending) else {
            unreachable!("`take_room` has seen a place")
        };
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
            self.zero_copy.allowance.give(pending.len);
            self.recycle_send(pending.send);
        }
    }
}

/// The kernel does not send this without copying, but would send it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOMEM | libc::ENOBUFS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CORES_MAX, ZERO_COPY_BYTES_MAX};
    use crate::spread::Spread;
    use crate::{Outgoing, Waker};
    use dma::{Arena, ArenaConfig};

    /// Goal: however many cores there are, each of them may send long payload without copying, and all together not more than is
    /// allowed; what has been confirmed is free for any of them. Method: as many cores as there may be, and a send of 768 KiB.
    #[test]
    fn allowance_is_that_of_all_cores() {
        let arena = Arena::new(ArenaConfig { bytes: 16 << 20, hugepages: false }).expect("16 MiB");
        let mut outgoing = Outgoing::new();
        outgoing.push_payload(arena.alloc(128 << 10).expect("a slot"), 0..128 << 10);
        (1..6).for_each(|_| outgoing.push_again(0..128 << 10));
        let waker = Waker::new().expect("an eventfd");
        let (_spread, seeds) = Spread::new(&waker, CORES_MAX).expect("eventfds");
        let cores: Vec<_> = seeds.into_iter().map(|seed| ZeroCopy::<Outgoing>::new(seed.zero_copy)).collect();
        let taken = cores.iter().filter(|core| core.take_room(&outgoing)).count();
        assert_eq!(taken, ZERO_COPY_BYTES_MAX / outgoing.len());
        cores[0].allowance.give(outgoing.len());
        let last = cores.last().expect("there are some");
        assert_eq!([last, &cores[1]].map(|core| core.take_room(&outgoing)), [true, false]);
    }
}
