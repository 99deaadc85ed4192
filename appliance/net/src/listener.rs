//! Listening sockets: who waits outside, and how many come in together.
//!
//! ```text
//!  armed: the kernel watches ── somebody waits ──▶ waiting: a few are let in, in each round ── nobody else ──▶ armed
//!                                                     └── no descriptor, no memory ──▶ idle ── rearm() ──▶ armed
//! ```
//! Invariants
//! - A round lets at most [`ACCEPTS_PER_ROUND_MAX`] in, whoever and however many wait; so those who are in are served beside any crowd.
//! - Listeners take turns, so that a crowd at one of them does not shut the others.
//!
//! (An accept operation that the kernel repeats by itself takes all that come while it runs: with
//! thousands of connections that is most of a second in one call.)

use crate::limits::{
    ACCEPTS_PER_ROUND_MAX, CONGESTION_CONTROL, PROBE_AFTER_S, PROBE_PERIOD_S, UNCONFIRMED_MS_MAX,
};
use crate::ring::Ring;
use crate::sockets::{kind, user_data};
use io_uring::{opcode, types};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, accept4, bind, getpeername,
    getsockname, listen, setsockopt, shutdown, socket, sockopt,
};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Names a listener; numbered from 0 in the order of [`Net::listen`](crate::Net::listen).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub usize);

/// What is known of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The kernel holds a poll operation for it.
    Armed,
    /// Somebody may wait there.
    Waiting,
    /// Nobody looks at it.
    Idle,
}

#[derive(Debug)]
struct Listener {
    fd: OwnedFd,
    state: State,
}

/// Somebody who came in.
pub(crate) struct Accepted {
    pub(crate) listener: ListenerId,
    pub(crate) fd: OwnedFd,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// All listeners of a core.
#[derive(Debug)]
pub(crate) struct Doors {
    listeners: Vec<Option<Listener>>,
    /// Listeners at which somebody may wait.
    waiting: usize,
    /// Listeners at which nobody looks.
    idle: usize,
    /// How many more come in in this round.
    left: usize,
    /// The listener that is asked next.
    turn: usize,
    is_open: bool,
}

impl Doors {
    pub(crate) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            waiting: 0,
            idle: 0,
            left: ACCEPTS_PER_ROUND_MAX,
            turn: 0,
            is_open: true,
        }
    }

    pub(crate) fn listen(
        &mut self,
        ring: &mut Ring,
        address: SocketAddr,
    ) -> io::Result<(ListenerId, SocketAddr)> {
        let (mut listener, local) = Listener::open(address)?;
        let id = ListenerId(self.listeners.len());
        listener.arm(ring, id);
        self.listeners.push(Some(listener));
        Ok((id, local))
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
        (self.waiting, self.idle) = (0, 0);
        for place in &mut self.listeners {
            let Some(listener) = place else { continue };
            if listener.state == State::Armed {
                // Ends the poll operation; its completion drops the listener.
                let _ = shutdown(listener.fd.as_raw_fd(), Shutdown::Both);
            } else {
                *place = None;
            }
        }
    }

    /// Somebody may wait where nobody looks.
    pub(crate) fn is_shut(&self) -> bool {
        self.idle > 0
    }

    /// Listens again where that had failed for want of descriptors or memory.
    pub(crate) fn rearm(&mut self, ring: &mut Ring) {
        if !self.is_open {
            return;
        }
        self.idle = 0;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if let Some(listener) = listener.as_mut().filter(|listener| listener.state == State::Idle) {
                listener.arm(ring, ListenerId(index));
            }
        }
    }

    /// The kernel says that somebody is at a door.
    pub(crate) fn on_polled(&mut self, id: ListenerId, result: i32) {
        let Some(place) = self.listeners.get_mut(id.0) else { return };
        if !self.is_open {
            *place = None;
        } else if let Some(listener) = place {
            let is_waiting = result >= 0;
            listener.state = if is_waiting { State::Waiting } else { State::Idle };
            self.waiting += usize::from(is_waiting);
            self.idle += usize::from(!is_waiting);
        }
    }

    /// Somebody may come in in the next round.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// A new round begins.
    pub(crate) fn begin_round(&mut self) {
        self.left = ACCEPTS_PER_ROUND_MAX;
    }

    /// Somebody may come in in this round.
    pub(crate) fn lets_in(&self) -> bool {
        self.waiting > 0 && self.left > 0
    }

    /// Lets the next one in, unless enough came in this round.
    pub(crate) fn next(&mut self, ring: &mut Ring) -> Option<Accepted> {
        if !self.lets_in() {
            return None;
        }
        for _ in 0..self.listeners.len() {
            let index = self.turn;
            self.turn = (index + 1) % self.listeners.len();
            let is_waiting = |listener: &&mut Listener| listener.state == State::Waiting;
            let Some(listener) = self.listeners[index].as_mut().filter(is_waiting) else { continue };
            while self.left > 0 {
                self.left -= 1;
                match accept4(listener.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                    Ok(fd) => {
                        // SAFETY: a successful accept gives a new descriptor that nobody else owns.
                        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                        let accepted = Accepted::new(ListenerId(index), fd);
                        if accepted.is_ok() {
                            return accepted.ok();
                        }
                        // It is gone again.
                    }
                    Err(Errno::ECONNABORTED | Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => {
                        self.waiting -= 1;
                        listener.arm(ring, ListenerId(index));
                        break;
                    }
                    // No descriptor, no memory: `rearm` tries again later.
                    Err(_) => {
                        self.waiting -= 1;
                        self.idle += 1;
                        listener.state = State::Idle;
                        break;
                    }
                }
            }
        }
        None
    }
}

impl Accepted {
    /// A connection that is gone again has no peer.
    fn new(listener: ListenerId, fd: OwnedFd) -> io::Result<Self> {
        set_no_delay(&fd)?;
        let (peer, local) = (peer_address(fd.as_raw_fd())?, local_address(fd.as_raw_fd())?);
        Ok(Self { listener, fd, peer, local })
    }
}

impl Listener {
    /// The kernel is to say when somebody waits.
    fn arm(&mut self, ring: &mut Ring, id: ListenerId) {
        self.state = State::Armed;
        let mask = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(types::Fd(self.fd.as_raw_fd()), mask)
            .build()
            .user_data(user_data(kind::LISTENER, id.0 as u64));
        // SAFETY: the entry names no memory.
        unsafe { ring.push(entry) };
    }

    fn open(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Stream, flags, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        // Connections inherit these.
        setsockopt(&fd, sockopt::KeepAlive, &true)?;
        setsockopt(&fd, sockopt::TcpKeepIdle, &PROBE_AFTER_S)?;
        setsockopt(&fd, sockopt::TcpKeepInterval, &PROBE_PERIOD_S)?;
        setsockopt(&fd, sockopt::TcpUserTimeout, &UNCONFIRMED_MS_MAX)?;
        // Some systems prefer BBR, which paces sends by timers: for reads within a data centre that took up to a third of the
        // core's time. A kernel without this one keeps its own.
        let _ = setsockopt(&fd, sockopt::TcpCongestion, &OsString::from(CONGESTION_CONTROL));
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        // As many waiting connections as the system allows (net.core.somaxconn): after a restart all hosts come at once.
        listen(&fd, Backlog::MAXALLOWABLE)?;
        let local = local_address(fd.as_raw_fd())?;
        Ok((Self { fd, state: State::Idle }, local))
    }
}

/// The address of this end.
fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    to_std(&getsockname::<SockaddrStorage>(fd)?)
}

/// The address of the other end.
fn peer_address(fd: RawFd) -> io::Result<SocketAddr> {
    to_std(&getpeername::<SockaddrStorage>(fd)?)
}

/// Small PDUs must not wait for acknowledgements of earlier ones.
fn set_no_delay(fd: &OwnedFd) -> io::Result<()> {
    Ok(setsockopt(fd, sockopt::TcpNoDelay, &true)?)
}

fn to_std(address: &SockaddrStorage) -> io::Result<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Ok(SocketAddr::V4((*v4).into()));
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Ok(SocketAddr::V6((*v6).into()));
    }
    Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}
