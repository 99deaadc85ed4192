//! What arrives: which sockets are looked at, and which the kernel watches.
//!
//! ```text
//!            bytes came ─────────────────────────────┐
//!  watched ──▶ hot: tried in every round ── so many tries found nothing, or the core sleeps ──▶ armed: the kernel polls
//!                 ▲                                                                               │
//!                 └────────────────────────────── it says that there is something ◀───────────────┘
//! ```
//!
//! A core that spins finds bytes by trying: one system call that takes them, and nothing that the sender has to wake.
//! Trying is cheaper than being told (docs/decisions/0006) as long as few sockets are tried; so those that are silent, and
//! those that find no room among the hot ones, are left to the kernel, which reports them through the ring.
//!
//! Invariants
//! - A socket that is watched is hot or armed whenever the core sleeps, and none is hot then: nothing is slept through.
//! - No memory is given away for bytes that have not arrived: an idle connection costs none.

use crate::cargo::{Cargo, Place};
use crate::limits::{HOT_SOCKETS_MAX, MISSES_MAX};
use crate::net::{Event, SocketId};
use crate::output::piece_count;
use crate::ring::Ring;
use crate::sockets::{Socket, Sockets, kind, user_data};
use core::mem;
use io_uring::{opcode, types};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};

/// What [`Net::receive`](crate::Net::receive) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, from the start of the memory on.
    Bytes(usize),
    /// None yet.
    Nothing,
    /// The other end sends no more, or the connection is dead or closing.
    End,
}

/// How a socket is looked at.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// The owner wants to know.
    is_watched: bool,
    /// It is in the list of those that are tried.
    is_hot: bool,
    /// The kernel holds a poll operation for it.
    is_armed: bool,
    /// Tries in a row that found nothing.
    misses: u32,
}

/// The sockets that are tried in every round.
#[derive(Debug)]
pub(crate) struct Hot {
    sockets: Vec<SocketId>,
    /// Who is next in this round.
    turn: usize,
}

impl Hot {
    pub(crate) fn new() -> Self {
        Self { sockets: Vec::with_capacity(HOT_SOCKETS_MAX), turn: 0 }
    }

    /// All of them are tried again, once those were whom the last round did not reach.
    pub(crate) fn begin_round(&mut self) {
        if self.turn >= self.sockets.len() {
            self.turn = 0;
        }
    }
}

impl<C: Cargo> Sockets<C> {
    /// Whether [`Event::Readable`] is wanted for a connection. It then comes while there may be something to receive.
    pub(crate) fn watch(&mut self, id: SocketId, is_wanted: bool) {
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else { return };
        socket.input.is_watched = is_wanted;
        if is_wanted && !socket.input.is_hot && !socket.input.is_armed && !heat(&mut self.hot, socket, id) {
            arm(&mut self.ring, socket, id);
        }
    }

    /// Takes bytes that have arrived: into `placed` first, what is behind them into `rest`. Never waits.
    pub(crate) fn receive(&mut self, id: SocketId, placed: &mut [u8], rest: &mut [u8]) -> Received {
        self.receive_by(id, |fd| {
            if placed.is_empty() {
                return recv(fd, rest, MsgFlags::MSG_DONTWAIT);
            }
            let mut parts = [IoSliceMut::new(placed), IoSliceMut::new(rest)];
            recvmsg::<()>(fd, &mut parts, None, MsgFlags::MSG_DONTWAIT).map(|message| message.bytes)
        })
    }

    /// The same, with a place for payload that another core has lent.
    ///
    /// # Safety
    /// `placed` is writable memory, which nobody else uses during the call.
    pub(crate) unsafe fn receive_placed(&mut self, id: SocketId, placed: Place, rest: &mut [u8]) -> Received {
        if placed.len() == 0 {
            return self.receive(id, &mut [], rest);
        }
        self.receive_by(id, |fd| {
            let behind = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
            let mut parts = [placed.iovec(), behind];
            // SAFETY: an all-zero msghdr is a valid value: null pointers with zero lengths.
            let mut message: libc::msghdr = unsafe { mem::zeroed() };
            message.msg_iov = parts.as_mut_ptr();
            message.msg_iovlen = piece_count(parts.len());
            // SAFETY: both pieces are writable and ours during this call, one by the caller's promise; the message is on the
            // stack. The kernel is done when the call returns.
            let count = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_DONTWAIT) };
            usize::try_from(count).map_err(|_| Errno::last())
        })
    }

    fn receive_by(&mut self, id: SocketId, call: impl FnOnce(RawFd) -> nix::Result<usize>) -> Received {
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else {
            return Received::End;
        };
        let result = call(socket.fd.as_raw_fd());
        let received = match result {
            Ok(0) => return Received::End,
            Ok(count) => {
                socket.input.misses = 0;
                Received::Bytes(count)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                socket.input.misses = socket.input.misses.saturating_add(1);
                Received::Nothing
            }
            Err(_) => return Received::End,
        };
        // Only what the kernel reported comes here without being hot; there may be more, and the kernel knows.
        if !socket.input.is_hot && !socket.input.is_armed && socket.input.is_watched {
            arm(&mut self.ring, socket, id);
        }
        received
    }

    /// The next of the hot sockets in this round.
    pub(crate) fn next_hot(&mut self) -> Option<Event> {
        while let Some(id) = self.hot.sockets.get(self.hot.turn).copied() {
            match self.sockets.get_mut(id.key()) {
                Some(socket) if socket.input.is_watched && socket.input.misses <= MISSES_MAX => {
                    self.hot.turn += 1;
                    return Some(Event::Readable { socket: id });
                }
                Some(socket) => cool(&mut self.ring, socket, id),
                None => {}
            }
            self.hot.sockets.swap_remove(self.hot.turn);
        }
        None
    }

    /// Leaves all sockets to the kernel, which wakes us.
    pub(crate) fn cool_all(&mut self) {
        for id in self.hot.sockets.drain(..) {
            if let Some(socket) = self.sockets.get_mut(id.key()) {
                cool(&mut self.ring, socket, id);
            }
        }
        self.hot.turn = 0;
    }

    /// The kernel has something to tell about a socket. It may be gone: a poll operation holds no memory of ours, so nobody
    /// waits for its end.
    pub(crate) fn on_polled(&mut self, id: SocketId) -> Option<Event> {
        let socket = self.sockets.get_mut(id.key())?;
        socket.input.is_armed = false;
        if !socket.input.is_watched || socket.is_closing {
            return None;
        }
        // One that is hot is tried in this round anyway.
        let is_tried = heat(&mut self.hot, socket, id);
        (!is_tried).then_some(Event::Readable { socket: id })
    }
}

/// Makes a socket hot, if there is room.
fn heat<C>(hot: &mut Hot, socket: &mut Socket<C>, id: SocketId) -> bool {
    if hot.sockets.len() >= HOT_SOCKETS_MAX {
        return false;
    }
    socket.input.is_hot = true;
    socket.input.misses = 0;
    hot.sockets.push(id);
    true
}

/// A socket leaves the list of the hot ones.
fn cool<C>(ring: &mut Ring, socket: &mut Socket<C>, id: SocketId) {
    socket.input.is_hot = false;
    if socket.input.is_watched && !socket.input.is_armed && !socket.is_closing {
        arm(ring, socket, id);
    }
}

fn arm<C>(ring: &mut Ring, socket: &mut Socket<C>, id: SocketId) {
    socket.input.is_armed = true;
    let mask = (libc::POLLIN | libc::POLLRDHUP).cast_unsigned();
    let entry = opcode::PollAdd::new(types::Fd(socket.fd.as_raw_fd()), u32::from(mask))
        .build()
        .user_data(user_data(kind::POLL, id.key().to_bits()));
    // SAFETY: the entry names no memory.
    unsafe { ring.push(entry) };
}
