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

use crate::limits::{HOT_SOCKETS_MAX, MISSES_MAX};
use crate::ring::Ring;
use crate::sockets::{Event, Net, Socket, SocketId, kind, user_data};
use io_uring::{opcode, types};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;

/// What [`Net::receive`] found.
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
}

impl Net {
    /// Whether [`Event::Readable`] is wanted for a connection. It then comes while there may be something to receive.
    pub fn watch(&mut self, id: SocketId, is_wanted: bool) {
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else { return };
        socket.input.is_watched = is_wanted;
        if is_wanted && !socket.input.is_hot && !socket.input.is_armed && !heat(&mut self.hot, socket, id) {
            arm(&mut self.ring, socket, id);
        }
    }

    /// Takes bytes that have arrived: into `placed` first, what is behind them into `rest`. Never waits.
    ///
    /// # Panics
    /// If there is room for nothing.
    pub fn receive(&mut self, id: SocketId, placed: &mut [u8], rest: &mut [u8]) -> Received {
        assert!(!placed.is_empty() || !rest.is_empty(), "a receive has room for something");
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else {
            return Received::End;
        };
        let fd = socket.fd.as_raw_fd();
        let result = if placed.is_empty() {
            recv(fd, rest, MsgFlags::MSG_DONTWAIT)
        } else {
            let mut parts = [IoSliceMut::new(placed), IoSliceMut::new(rest)];
            recvmsg::<()>(fd, &mut parts, None, MsgFlags::MSG_DONTWAIT).map(|message| message.bytes)
        };
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
        self.hot.turn = 0;
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
fn heat(hot: &mut Hot, socket: &mut Socket, id: SocketId) -> bool {
    if hot.sockets.len() >= HOT_SOCKETS_MAX {
        return false;
    }
    socket.input.is_hot = true;
    socket.input.misses = 0;
    hot.sockets.push(id);
    true
}

/// A socket leaves the list of the hot ones.
fn cool(ring: &mut Ring, socket: &mut Socket, id: SocketId) {
    socket.input.is_hot = false;
    if socket.input.is_watched && !socket.input.is_armed && !socket.is_closing {
        arm(ring, socket, id);
    }
}

fn arm(ring: &mut Ring, socket: &mut Socket, id: SocketId) {
    socket.input.is_armed = true;
    let mask = (libc::POLLIN | libc::POLLRDHUP).cast_unsigned();
    let entry = opcode::PollAdd::new(types::Fd(socket.fd.as_raw_fd()), u32::from(mask))
        .build()
        .user_data(user_data(kind::POLL, id.key().to_bits()));
    // SAFETY: the entry names no memory.
    unsafe { ring.push(entry) };
}
