//! What leaves: sent at once as far as the socket takes it; the rest waits in the kernel.
//!
//! ```text
//!  send() ── the socket took all of it ──▶ ended, nothing is in flight
//!     └───── it took a part ──▶ ring: the kernel sends the rest ──▶ Sent
//! ```
//! Invariant: what the kernel still reads belongs to a boxed [`Send`] in [`Socket::send`], and comes out of it when the
//! completion was seen.

use crate::Outgoing;
use crate::limits::{PIECES_MAX, SPARE_SENDS_MAX};
use crate::ring::Finished;
use crate::sockets::{Event, Net, SocketId, kind, user_data};
use core::mem;
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A send in flight. Boxed: the kernel holds addresses of `iovecs` and `message` until the entry is submitted.
pub(crate) struct Send {
    /// `None` while the send is a spare.
    outgoing: Option<Box<Outgoing>>,
    sent: usize,
    iovecs: Vec<libc::iovec>,
    message: libc::msghdr,
}

/// Memory for sends, made at the start and used again. More is made only while more sockets than that take nothing.
pub(crate) struct Spares {
    #[expect(clippy::vec_box, reason = "the boxes are what is reused")]
    sends: Vec<Box<Send>>,
    #[expect(clippy::vec_box, reason = "the boxes are what is reused")]
    outgoings: Vec<Box<Outgoing>>,
}

impl Spares {
    pub(crate) fn new() -> Self {
        Self {
            sends: (0..SPARE_SENDS_MAX).map(|_| Send::new()).collect(),
            outgoings: (0..SPARE_SENDS_MAX).map(|_| Box::default()).collect(),
        }
    }
}

impl Send {
    fn new() -> Box<Self> {
        let iovecs = Vec::with_capacity(PIECES_MAX);
        // SAFETY: an all-zero msghdr is a valid value: null pointers with zero lengths.
        let message = unsafe { mem::zeroed() };
        Box::new(Self { outgoing: None, sent: 0, iovecs, message })
    }
}

impl Net {
    /// An empty send to be filled; [`Net::send`] or [`Net::recycle`] takes it back.
    pub fn outgoing(&mut self) -> Box<Outgoing> {
        self.spares.outgoings.pop().unwrap_or_default()
    }

    /// Takes a send back that carries nothing for anybody; its buffers return to their arena.
    pub fn recycle(&mut self, mut outgoing: Box<Outgoing>) {
        outgoing.clear();
        if self.spares.outgoings.len() < SPARE_SENDS_MAX {
            self.spares.outgoings.push(outgoing);
        }
    }

    /// Sends everything in `outgoing`, in order. If it has ended when this returns, the result is returned; else it comes
    /// as [`Event::Sent`].
    ///
    /// # Panics
    /// If a send is in flight already, or there is nothing to send.
    pub fn send(&mut self, id: SocketId, outgoing: Box<Outgoing>) -> Option<io::Result<()>> {
        assert!(!outgoing.is_empty(), "a send carries something");
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else {
            self.recycle(outgoing);
            return Some(Err(gone()));
        };
        assert!(socket.send.is_none(), "one send at a time");
        outgoing.fill_iovecs(0, &mut self.iovecs);
        let sent = match send_now(&socket.fd, &mut self.iovecs) {
            Ok(sent) if sent == outgoing.len() => {
                self.recycle(outgoing);
                return Some(Ok(()));
            }
            Ok(sent) => sent,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => 0,
            Err(error) => {
                self.recycle(outgoing);
                return Some(Err(error));
            }
        };
        let mut send = self.spares.sends.pop().unwrap_or_else(Send::new);
        send.outgoing = Some(outgoing);
        send.sent = sent;
        let send = socket.send.insert(send);
        let entry = send_rest(&socket.fd, send, id);
        // SAFETY: message, iovecs, header bytes and payloads belong to the boxed `socket.send`, which is not touched and
        // not moved out of its box before this entry's completion is seen.
        unsafe { self.ring.push(entry) };
        None
    }

    /// The kernel has sent the rest of a send, or a part of it, or cannot.
    pub(crate) fn on_sent(&mut self, id: SocketId, finished: Finished) -> Option<Event> {
        let socket = self.sockets.get_mut(id.key()).expect("a socket outlives its operations");
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
            let entry = send_rest(&socket.fd, send, id);
            // SAFETY: as in `send`: everything the entry names belongs to the boxed `socket.send`.
            unsafe { self.ring.push(entry) };
            return None;
        }
        let outgoing = send.outgoing.take().expect("a send in flight carries something");
        self.recycle(outgoing);
        if self.spares.sends.len() < SPARE_SENDS_MAX {
            self.spares.sends.push(send);
        }
        self.finish_close(id);
        Some(Event::Sent { socket: id, result })
    }
}

/// Sends what the socket takes now.
fn send_now(fd: &OwnedFd, iovecs: &mut [libc::iovec]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = if let [only] = iovecs {
        // SAFETY: the piece lies inside memory of the send, which outlives this call (`Outgoing::fill_iovecs`); the kernel
        // only reads it, and is done when the call returns.
        unsafe { libc::send(fd.as_raw_fd(), only.iov_base, only.iov_len, flags) }
    } else {
        // SAFETY: an all-zero msghdr is a valid value: null pointers with zero lengths.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = iovecs.as_mut_ptr();
        message.msg_iovlen = piece_count(iovecs.len());
        // SAFETY: as above, for each piece; the message is on the stack.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) }
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The number of pieces in the type of its field: `size_t` in glibc, `int` in musl. [`PIECES_MAX`] fits both.
fn piece_count<T: TryFrom<usize>>(pieces: usize) -> T {
    T::try_from(pieces).unwrap_or_else(|_| panic!("{pieces} pieces in one send"))
}

/// Builds the entry that sends the rest of `send`.
fn send_rest(fd: &OwnedFd, send: &mut Send, id: SocketId) -> squeue::Entry {
    if let Some(outgoing) = &send.outgoing {
        outgoing.fill_iovecs(send.sent, &mut send.iovecs);
    }
    send.message.msg_iov = send.iovecs.as_mut_ptr();
    send.message.msg_iovlen = piece_count(send.iovecs.len());
    let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL).cast_unsigned();
    opcode::SendMsg::new(types::Fd(fd.as_raw_fd()), &raw const send.message)
        .flags(flags)
        .build()
        .user_data(user_data(kind::SEND, id.key().to_bits()))
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESHUTDOWN)
}
