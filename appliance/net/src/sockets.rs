//! Sockets and what is in flight on them.
//!
//! ```text
//!  open ── close() ──▶ closing: shut down, nothing new ── last operation came back ──▶ gone (Closed)
//! ```

use crate::limits::{
    COMPLETIONS_MAX, DROP_ROUNDS_MAX, DROP_WAIT_MS, PIECES_MAX, SOCKETS_MAX, SUBMISSIONS_MAX,
};
use crate::listener::{Listener, ListenerId, local_address, peer_address, set_no_delay};
use crate::ring::{Finished, Ring, RingKind};
use crate::slab::{Key, Slab};
use crate::{Outgoing, Waker};
use core::mem;
use core::ops::Range;
use core::time::Duration;
use dma::DmaBuf;
use io_uring::{cqueue, opcode, types};
use nix::sys::socket::{Shutdown, shutdown};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Names a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(Key);

impl SocketId {
    /// The place of the socket, smaller than [`SOCKETS_MAX`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// Memory that received bytes land in.
#[derive(Debug)]
pub enum Landing {
    /// Ordinary memory: headers and small payload.
    Staging(Box<[u8]>),
    /// Memory that a drive reads directly.
    Payload(DmaBuf),
}

impl Landing {
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Staging(bytes) => bytes,
            Self::Payload(buf) => buf.as_mut(),
        }
    }
}

/// What happened on the sockets.
#[derive(Debug)]
pub enum Event {
    /// Somebody connected.
    Accepted {
        /// Where.
        listener: ListenerId,
        /// The connection.
        socket: SocketId,
        /// Address of the other end.
        peer: SocketAddr,
        /// Address of this end.
        local: SocketAddr,
    },
    /// A receive ended. Zero bytes: the other end sends no more.
    Received {
        /// The connection.
        socket: SocketId,
        /// The memory, as given.
        landing: Landing,
        /// How many bytes landed at the start of the range.
        result: io::Result<usize>,
    },
    /// A send ended: everything is in the kernel's hands, or the connection is dead.
    Sent {
        /// The connection.
        socket: SocketId,
        /// What was sent.
        outgoing: Box<Outgoing>,
        /// Whether it was sent completely.
        result: io::Result<()>,
    },
    /// The socket is gone; the last event that names it.
    Closed {
        /// The connection.
        socket: SocketId,
    },
    /// Another thread woke the core.
    Woken,
}

/// A send in flight. Boxed: the kernel holds addresses of `iovecs` and `message` until the entry is submitted.
struct Send {
    /// `None` while the send is a spare.
    outgoing: Option<Box<Outgoing>>,
    sent: usize,
    iovecs: Vec<libc::iovec>,
    message: libc::msghdr,
}

struct Socket {
    fd: OwnedFd,
    recv: Option<Landing>,
    send: Option<Box<Send>>,
    /// Kept for the next send.
    spare: Option<Box<Send>>,
    is_closing: bool,
    /// The last receive emptied the socket: do not try again before the kernel says that there is more.
    is_drained: bool,
}

/// The sockets of one core. Stays on the thread that made it.
pub struct Net {
    ring: Ring,
    sockets: Slab<Socket>,
    listeners: Vec<Option<Listener>>,
    events: VecDeque<Event>,
    waker: Waker,
    /// The kernel writes the eventfd's counter here.
    wake_count: Box<[u8; 8]>,
    is_wake_armed: bool,
    is_accepting: bool,
}

impl core::fmt::Debug for Net {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Net").field("sockets", &self.sockets.len()).finish_non_exhaustive()
    }
}

/// What a completion belongs to: the upper 8 bits of `user_data`; the rest is a socket's key or a listener's number.
mod kind {
    pub(super) const WAKE: u64 = 1;
    pub(super) const ACCEPT: u64 = 2;
    pub(super) const RECV: u64 = 3;
    pub(super) const SEND: u64 = 4;
    pub(super) const SHIFT: u32 = 56;
    pub(super) const VALUE: u64 = (1 << SHIFT) - 1;
}

fn user_data(kind: u64, value: u64) -> u64 {
    debug_assert!(value <= kind::VALUE);
    (kind << kind::SHIFT) | value
}

impl Net {
    /// Sockets for the calling thread; `waker` ends their [`Net::wait`].
    ///
    /// # Errors
    /// If the kernel refuses an io_uring.
    pub fn new(waker: Waker) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(RingKind::Core, SUBMISSIONS_MAX, COMPLETIONS_MAX)?,
            sockets: Slab::new(SOCKETS_MAX),
            listeners: Vec::new(),
            events: VecDeque::with_capacity(COMPLETIONS_MAX as usize),
            waker,
            wake_count: Box::new([0; 8]),
            is_wake_armed: false,
            is_accepting: true,
        })
    }

    /// Starts to listen. Returns the real address where port 0 was asked for.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let (listener, local) = Listener::open(address)?;
        let id = ListenerId(self.listeners.len());
        self.listeners.push(Some(listener));
        self.arm_accept(id);
        Ok((id, local))
    }

    /// Takes no more connections. Those that exist stay.
    pub fn stop_listening(&mut self) {
        self.is_accepting = false;
        for place in &mut self.listeners {
            let Some(listener) = place else { continue };
            if listener.is_armed {
                // Ends the accept operation; its completion drops the listener.
                let _ = shutdown(listener.fd.as_raw_fd(), Shutdown::Both);
            } else {
                *place = None;
            }
        }
    }

    /// Listens again where accepting had failed for want of descriptors or memory. Called now and then.
    pub fn rearm(&mut self) {
        if !self.is_accepting {
            return;
        }
        for index in 0..self.listeners.len() {
            if self.listeners[index].as_ref().is_some_and(|listener| !listener.is_armed) {
                self.arm_accept(ListenerId(index));
            }
        }
    }

    /// Receives into `range` of `landing`: what is there, or with `is_whole` all of it. Comes back as [`Event::Received`].
    /// On a socket that is closing it comes back at once with an error.
    ///
    /// # Panics
    /// If a receive is in flight already, or the range is empty or lies outside the memory.
    pub fn recv(&mut self, id: SocketId, mut landing: Landing, range: Range<usize>, is_whole: bool) {
        let Some(socket) = self.sockets.get_mut(id.0).filter(|socket| !socket.is_closing) else {
            self.events.push_back(Event::Received { socket: id, landing, result: Err(gone()) });
            return;
        };
        assert!(socket.recv.is_none(), "one receive at a time");
        let memory = &mut landing.bytes_mut()[range];
        assert!(!memory.is_empty(), "a receive has room for something");
        let len = u32::try_from(memory.len()).expect("landings are smaller than 4 GiB");
        let mut entry = opcode::Recv::new(types::Fd(socket.fd.as_raw_fd()), memory.as_mut_ptr(), len);
        if is_whole {
            entry = entry.flags(libc::MSG_WAITALL);
        }
        if socket.is_drained {
            entry = entry.ioprio(POLL_FIRST);
        }
        socket.recv = Some(landing);
        let entry = entry.build().user_data(user_data(kind::RECV, id.0.to_bits()));
        // SAFETY: the memory belongs to `socket.recv`, whose heap or arena address does not change when it is moved, and
        // which is only taken out when this entry's completion is seen.
        unsafe { self.ring.push(entry) };
    }

    /// Sends everything in `outgoing`, in order. Comes back as [`Event::Sent`]; at once and with an error on a socket that
    /// is closing.
    ///
    /// # Panics
    /// If a send is in flight already, or there is nothing to send.
    pub fn send(&mut self, id: SocketId, outgoing: Box<Outgoing>) {
        assert!(!outgoing.is_empty(), "a send carries something");
        let Some(socket) = self.sockets.get_mut(id.0).filter(|socket| !socket.is_closing) else {
            self.events.push_back(Event::Sent { socket: id, outgoing, result: Err(gone()) });
            return;
        };
        assert!(socket.send.is_none(), "one send at a time");
        let send = match socket.spare.take() {
            Some(mut send) => {
                send.outgoing = Some(outgoing);
                send.sent = 0;
                send
            }
            None => Box::new(Send {
                outgoing: Some(outgoing),
                sent: 0,
                iovecs: Vec::with_capacity(PIECES_MAX),
                // SAFETY: an all-zero msghdr is a valid value: null pointers with zero lengths.
                message: unsafe { mem::zeroed() },
            }),
        };
        let send = socket.send.insert(send);
        let entry = sendmsg(&socket.fd, send, id);
        // SAFETY: message, iovecs, header bytes and payloads belong to the boxed `socket.send`, which is not touched and
        // not moved out of its box before this entry's completion is seen.
        unsafe { self.ring.push(entry) };
    }

    /// The other end will see the end of the stream after what was sent. Receiving goes on.
    pub fn finish_sending(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id.0) {
            // Fails only if the connection is dead, which the next receive reports.
            let _ = shutdown(socket.fd.as_raw_fd(), Shutdown::Write);
        }
    }

    /// Ends a connection; [`Event::Closed`] comes when all its buffers have come back.
    pub fn close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id.0).filter(|socket| !socket.is_closing) else { return };
        socket.is_closing = true;
        // Ends operations in flight. Fails only if the connection is dead; then they end by themselves.
        let _ = shutdown(socket.fd.as_raw_fd(), Shutdown::Both);
        self.finish_close(id);
    }

    /// Sockets that are open or closing.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Hands everything started to the kernel. Called once per round.
    pub fn flush(&mut self) {
        self.ring.flush();
    }

    /// Sleeps until something happens, another thread wakes us, or `timeout` has passed.
    pub fn wait(&mut self, timeout: Duration) {
        if !self.events.is_empty() {
            return;
        }
        if !self.is_wake_armed {
            self.is_wake_armed = true;
            let memory = self.wake_count.as_mut_ptr();
            let entry = opcode::Read::new(types::Fd(self.waker.as_fd().as_raw_fd()), memory, 8).build();
            // SAFETY: the counter is boxed and only read by the kernel's operation until its completion; `Drop` waits
            // for it or leaks it.
            unsafe { self.ring.push(entry.user_data(user_data(kind::WAKE, 0))) };
        }
        self.ring.wait(timeout);
    }

    /// The next event.
    pub fn poll(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let finished = self.ring.poll()?;
            self.on_finished(finished);
        }
    }

    fn on_finished(&mut self, finished: Finished) {
        let value = finished.user_data & kind::VALUE;
        match finished.user_data >> kind::SHIFT {
            kind::WAKE => {
                self.is_wake_armed = false;
                self.events.push_back(Event::Woken);
            }
            kind::ACCEPT => {
                let index = usize::try_from(value).expect("a listener's number is small");
                self.on_accepted(ListenerId(index), finished);
            }
            kind::RECV => self.on_received(SocketId(Key::from_bits(value)), finished),
            kind::SEND => self.on_sent(SocketId(Key::from_bits(value)), finished),
            other => unreachable!("completion of unknown kind {other}"),
        }
    }

    fn on_accepted(&mut self, id: ListenerId, finished: Finished) {
        if !cqueue::more(finished.flags) {
            let place = &mut self.listeners[id.0];
            if let Some(listener) = place {
                listener.is_armed = false;
            }
            if !self.is_accepting {
                *place = None;
            } else if finished.result >= 0 {
                self.arm_accept(id);
            }
        }
        // After an error (no descriptor, no memory) `rearm` tries again later.
        if finished.result < 0 {
            return;
        }
        // SAFETY: a successful accept gives a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(finished.result) };
        if !self.is_accepting || set_no_delay(&fd).is_err() {
            return;
        }
        let addresses = (peer_address(fd.as_raw_fd()), local_address(fd.as_raw_fd()));
        // A connection that is gone again has no peer; one too many is closed.
        let (Ok(peer), Ok(local)) = addresses else { return };
        let socket = Socket { fd, recv: None, send: None, spare: None, is_closing: false, is_drained: false };
        if let Ok(key) = self.sockets.insert(socket) {
            self.events.push_back(Event::Accepted { listener: id, socket: SocketId(key), peer, local });
        }
    }

    fn on_received(&mut self, id: SocketId, finished: Finished) {
        let socket = self.sockets.get_mut(id.0).expect("a socket outlives its operations");
        let landing = socket.recv.take().expect("a receive was in flight");
        socket.is_drained = !cqueue::sock_nonempty(finished.flags);
        self.events.push_back(Event::Received { socket: id, landing, result: finished.count() });
        self.finish_close(id);
    }

    fn on_sent(&mut self, id: SocketId, finished: Finished) {
        let socket = self.sockets.get_mut(id.0).expect("a socket outlives its operations");
        let mut send = socket.send.take().expect("a send was in flight");
        let result = match finished.count() {
            Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(sent) => {
                send.sent += sent;
                Ok(())
            }
            Err(e) => Err(e),
        };
        let len = send.outgoing.as_ref().map_or(0, |outgoing| outgoing.len());
        if result.is_ok() && send.sent < len {
            let send = socket.send.insert(send);
            let entry = sendmsg(&socket.fd, send, id);
            // SAFETY: as in `send`: everything the entry names belongs to the boxed `socket.send`.
            unsafe { self.ring.push(entry) };
            return;
        }
        let outgoing = send.outgoing.take().expect("a send in flight carries something");
        socket.spare = Some(send);
        self.events.push_back(Event::Sent { socket: id, outgoing, result });
        self.finish_close(id);
    }

    fn finish_close(&mut self, id: SocketId) {
        let is_over = self
            .sockets
            .get(id.0)
            .is_some_and(|socket| socket.is_closing && socket.recv.is_none() && socket.send.is_none());
        if is_over {
            self.sockets.remove(id.0);
            self.events.push_back(Event::Closed { socket: id });
        }
    }

    fn arm_accept(&mut self, id: ListenerId) {
        let Some(listener) = &mut self.listeners[id.0] else { return };
        listener.is_armed = true;
        let entry = opcode::AcceptMulti::new(types::Fd(listener.fd.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(user_data(kind::ACCEPT, id.0 as u64));
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(entry) };
    }

    #[cfg(test)]
    pub(crate) fn descriptor(&self, id: SocketId) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.sockets.get(id.0).map(|socket| socket.fd.as_fd())
    }

    fn in_flight(&self) -> usize {
        let on_sockets =
            |socket: &Socket| usize::from(socket.recv.is_some()) + usize::from(socket.send.is_some());
        self.sockets.iter().map(|(_, socket)| on_sockets(socket)).sum::<usize>()
            + usize::from(self.is_wake_armed)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop_listening();
        for key in self.sockets.keys() {
            self.close(SocketId(key));
        }
        if self.is_wake_armed {
            self.waker.begin_sleep();
            self.waker.wake();
        }
        for _ in 0..DROP_ROUNDS_MAX {
            while self.poll().is_some() {}
            if self.in_flight() == 0 {
                return;
            }
            self.ring.wait(Duration::from_millis(DROP_WAIT_MS));
        }
        // The kernel did not let go in time: keep the memory for ever rather than let somebody else use it.
        mem::forget(mem::replace(&mut self.sockets, Slab::new(0)));
        mem::forget(mem::replace(&mut self.wake_count, Box::new([0; 8])));
    }
}

/// `IORING_RECVSEND_POLL_FIRST` (Linux 5.19): wait for data before trying; saves the attempt that would find nothing.
const POLL_FIRST: u16 = 1;

/// The number of pieces in the type of its field: `size_t` in glibc, `int` in musl. [`PIECES_MAX`] fits both.
fn piece_count<T: TryFrom<usize>>(pieces: usize) -> T {
    T::try_from(pieces).unwrap_or_else(|_| panic!("{pieces} pieces in one send"))
}

/// Builds the entry that sends the rest of `send`.
fn sendmsg(fd: &OwnedFd, send: &mut Send, id: SocketId) -> io_uring::squeue::Entry {
    if let Some(outgoing) = &send.outgoing {
        outgoing.fill_iovecs(send.sent, &mut send.iovecs);
    }
    send.message.msg_iov = send.iovecs.as_mut_ptr();
    send.message.msg_iovlen = piece_count(send.iovecs.len());
    let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL).cast_unsigned();
    opcode::SendMsg::new(types::Fd(fd.as_raw_fd()), &raw const send.message)
        .flags(flags)
        .build()
        .user_data(user_data(kind::SEND, id.0.to_bits()))
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESHUTDOWN)
}
