//! What leaves: sent at once as far as the socket takes it; the rest waits in the kernel.
//!
//! ```text
//!  send() ── the socket took all of it ──▶ ended, nothing is in flight
//!     └───── it took a part ──▶ ring: the kernel sends the rest ──▶ Sent
//! ```
//! Long payload goes another way, if the socket takes it (`zero_copy`).
//!
//! Invariant: what the kernel still reads is kept by a boxed [`Send`] in [`Socket::send`](crate::sockets::Socket::send): the message and
//! its pieces are its own, headers and payload are those of its [`Cargo`]. It comes out of there when the completion was seen.

use crate::cargo::Cargo;
use crate::limits::{PIECES_MAX, SPARE_SENDS};
use crate::net::{Event, SocketId};
use crate::ring::Finished;
use crate::sockets::{Sockets, kind, user_data};
use core::mem;
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A send in flight. Boxed: the kernel holds addresses of `iovecs` and `message` until the entry is submitted.
pub(crate) struct Send<C> {
    /// `None` while the send is a spare.
    cargo: Option<Box<C>>,
    sent: usize,
    iovecs: Vec<libc::iovec>,
    message: libc::msghdr,
}

/// Memory for sends, used again and again. Each socket adds some when it begins, so that there is enough while all of them send and
/// none takes anything.
pub(crate) struct Spares<T> {
    spares: Vec<Box<T>>,
    make: fn() -> T,
}

impl<T> Spares<T> {
    pub(crate) fn new(make: fn() -> T) -> Self {
        Self { spares: (0..SPARE_SENDS).map(|_| Box::new(make())).collect(), make }
    }

    /// One more socket begins.
    pub(crate) fn add(&mut self) {
        self.spares.push(Box::new((self.make)()));
    }

    /// A socket has ended; so many are left.
    pub(crate) fn trim(&mut self, sockets: usize) {
        self.spares.truncate(SPARE_SENDS + sockets);
    }

    pub(crate) fn take(&mut self) -> Box<T> {
        self.spares.pop().unwrap_or_else(|| Box::new((self.make)()))
    }

    pub(crate) fn put(&mut self, spare: Box<T>) {
        self.spares.push(spare);
    }
}

impl<C: Cargo> Send<C> {
    pub(crate) fn new() -> Self {
        let iovecs = Vec::with_capacity(PIECES_MAX);
        // SAFETY: an all-zero msghdr is a valid value: null pointers with zero lengths.
        let message = unsafe { mem::zeroed() };
        Self { cargo: None, sent: 0, iovecs, message }
    }

    /// All its bytes.
    pub(crate) fn len(&self) -> usize {
        self.cargo.as_ref().map_or(0, |cargo| cargo.len())
    }

    /// Some of them are sent.
    pub(crate) fn has_begun(&self) -> bool {
        self.sent > 0
    }

    /// The kernel has sent some of it; says whether that was all.
    pub(crate) fn advance(&mut self, finished: &Finished) -> io::Result<bool> {
        match finished.count()? {
            0 => Err(io::Error::from(io::ErrorKind::WriteZero)),
            sent => {
                self.sent += sent;
                Ok(self.sent >= self.len())
            }
        }
    }

    /// The entry that sends all of it without copying.
    pub(crate) fn zero_copy_entry(&mut self, fd: &OwnedFd, user_data: u64) -> squeue::Entry {
        self.point_at_rest();
        opcode::SendMsgZc::new(types::Fd(fd.as_raw_fd()), &raw const self.message)
            .ioprio(REPORT_USAGE)
            .flags(RING_FLAGS.cast_unsigned())
            .build()
            .user_data(user_data)
    }

    fn point_at_rest(&mut self) {
        if let Some(cargo) = &self.cargo {
            cargo.fill_iovecs(self.sent, &mut self.iovecs);
        }
        self.message.msg_iov = self.iovecs.as_mut_ptr();
        self.message.msg_iovlen = piece_count(self.iovecs.len());
    }
}

impl<C: Cargo> Sockets<C> {
    /// One more socket begins, here or on another core: it may have a send on its way.
    pub(crate) fn add_spare(&mut self) {
        if let Some(make) = C::SPARE {
            self.ended.push(make());
        }
    }

    /// A socket has ended; so many are left.
    pub(crate) fn trim_spares(&mut self, sockets: usize) {
        if C::SPARE.is_some() {
            self.ended.truncate(SPARE_SENDS + sockets);
        }
    }

    /// Takes back what was sent, or will not be.
    pub(crate) fn recycle(&mut self, mut cargo: Box<C>) {
        cargo.end();
        self.ended.push(cargo);
    }

    /// Sends everything in `cargo`, in order. If it has ended when this returns, the result is returned; else it comes
    /// as [`Event::Sent`].
    ///
    /// # Panics
    /// If a send is in flight already, or there is nothing to send.
    pub(crate) fn send(&mut self, id: SocketId, cargo: Box<C>) -> Option<io::Result<()>> {
        assert!(cargo.len() > 0, "a send carries something");
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else {
            self.recycle(cargo);
            return Some(Err(gone()));
        };
        assert!(socket.send.is_none() && !socket.is_zero_copying, "one send at a time");
        if socket.may_zero_copy && self.zero_copy.take_room(&cargo) {
            let send = self.new_send(cargo, 0);
            self.send_zero_copy(id, send);
            return None;
        }
        cargo.fill_iovecs(0, &mut self.iovecs);
        let sent = match send_now(&socket.fd, &mut self.iovecs) {
            Ok(sent) if sent == cargo.len() => {
                self.recycle(cargo);
                return Some(Ok(()));
            }
            Ok(sent) => sent,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => 0,
            Err(error) => {
                self.recycle(cargo);
                return Some(Err(error));
            }
        };
        let send = self.new_send(cargo, sent);
        let socket = self.sockets.get_mut(id.key()).expect("it was there");
        let send = socket.send.insert(send);
        let entry = send_rest(&socket.fd, send, user_data(kind::SEND, id.key().to_bits()));
        // SAFETY: message and iovecs belong to the boxed `socket.send`, headers and payload are kept by its cargo (`Cargo`). It is not
        // touched and not moved out of its box before this entry's completion is seen.
        unsafe { self.ring.push(entry) };
        None
    }

    /// The kernel has sent the rest of a send, or a part of it, or cannot.
    pub(crate) fn on_sent(&mut self, id: SocketId, finished: Finished) -> Option<Event> {
        let socket = self.sockets.get_mut(id.key()).expect("a socket outlives its operations");
        let mut send = socket.send.take().expect("a send was in flight");
        let result = send.advance(&finished);
        if matches!(result, Ok(false)) {
            let send = socket.send.insert(send);
            let entry = send_rest(&socket.fd, send, user_data(kind::SEND, id.key().to_bits()));
            // SAFETY: as in `send`: everything the entry names is kept by the boxed `socket.send`.
            unsafe { self.ring.push(entry) };
            return None;
        }
        self.recycle_send(send);
        self.finish_close(id);
        Some(Event::Sent { socket: id, result: result.map(|_| ()) })
    }

    fn new_send(&mut self, cargo: Box<C>, sent: usize) -> Box<Send<C>> {
        let mut send = self.spares.take();
        send.cargo = Some(cargo);
        send.sent = sent;
        send
    }

    /// Takes a send back that the kernel has let go of.
    pub(crate) fn recycle_send(&mut self, mut send: Box<Send<C>>) {
        if let Some(cargo) = send.cargo.take() {
            self.recycle(cargo);
        }
        self.spares.put(send);
    }
}

/// `IORING_SEND_ZC_REPORT_USAGE` (Linux 6.2): the notice says whether the kernel copied.
const REPORT_USAGE: u16 = 1 << 3;

/// How the ring sends: all of it.
const RING_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Sends what the socket takes now.
fn send_now(fd: &OwnedFd, iovecs: &mut [libc::iovec]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = if let [only] = iovecs {
        // SAFETY: the piece is kept by the cargo (`Cargo`), which outlives this call; the kernel only reads it, and is done when the
        // call returns.
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
pub(crate) fn piece_count<T: TryFrom<usize>>(pieces: usize) -> T {
    T::try_from(pieces).unwrap_or_else(|_| panic!("{pieces} pieces in one send"))
}

/// Builds the entry that sends the rest of `send`.
pub(crate) fn send_rest<C: Cargo>(fd: &OwnedFd, send: &mut Send<C>, user_data: u64) -> squeue::Entry {
    send.point_at_rest();
    opcode::SendMsg::new(types::Fd(fd.as_raw_fd()), &raw const send.message)
        .flags(RING_FLAGS.cast_unsigned())
        .build()
        .user_data(user_data)
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESHUTDOWN)
}
