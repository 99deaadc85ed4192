//! The sockets of a node, as its home core sees them: its own, or those of socket cores.
//!
//! Invariant: whoever uses a [`Net`] sees no difference, but for what is received: a socket core receives before it is asked, so it
//! is told where the next bytes belong ([`Net::prepare`]).

use crate::input::Received;
use crate::limits::{LANE_WAIT_MS, SPARE_SENDS, ZERO_COPY_BYTES_MAX};
use crate::listener::ListenerId;
use crate::slab::Key;
use crate::socket_core::{CoreLoad, CoreSeed};
use crate::sockets::Sockets;
use crate::spread::Spread;
use crate::zero_copy::Allowance;
use crate::{Outgoing, Waker};
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use dma::DmaBuf;
use std::io;
use std::net::SocketAddr;

/// Names a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(Key);

impl SocketId {
    /// The place of the socket, smaller than [`SOCKETS_MAX`](crate::limits::SOCKETS_MAX).
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index()
    }

    pub(crate) fn from_key(key: Key) -> Self {
        Self(key)
    }

    pub(crate) fn key(self) -> Key {
        self.0
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
    /// There may be something to receive: [`Net::receive`] says. Comes only for connections that are watched.
    Readable {
        /// The connection.
        socket: SocketId,
    },
    /// A send that was in flight ended: everything is in the kernel's hands, or the connection is dead.
    Sent {
        /// The connection.
        socket: SocketId,
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

/// What the next receive of a connection may bring, for sockets of other cores.
#[derive(Debug)]
pub struct Ahead {
    /// Bytes of the staging memory.
    pub staged_max: usize,
    /// Where bytes go first. The buffer is nobody's until [`Net::take_placed`] gives it back.
    pub place: Option<(DmaBuf, Range<usize>)>,
}

/// The sockets of a node. Stays on the thread that made it, the home core.
pub struct Net {
    pub(crate) home: Sockets<Outgoing>,
    /// Sockets are on other cores, and none is here.
    spread: Option<Box<Spread>>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("sockets", &self.sockets()).finish_non_exhaustive()
    }
}

impl Net {
    /// Sockets of the calling thread; `waker` ends their [`Net::wait`].
    ///
    /// # Errors
    /// If the kernel refuses an io_uring.
    pub fn new(waker: Waker) -> io::Result<Self> {
        Ok(Self::of(Sockets::new(waker, Allowance::new(ZERO_COPY_BYTES_MAX))?, None))
    }

    /// Sockets of so many other threads, each of which turns one of the seeds into its core and runs it until it is finished. The
    /// calling thread only listens.
    ///
    /// # Errors
    /// If the kernel refuses an io_uring or an eventfd.
    ///
    /// # Panics
    /// If there is no core, or more than [`CORES_MAX`](crate::limits::CORES_MAX).
    pub fn with_cores(waker: &Waker, cores: usize) -> io::Result<(Self, Vec<CoreSeed>)> {
        let home = Sockets::new(waker.clone(), Allowance::new(0))?;
        let (spread, seeds) = Spread::new(waker, cores)?;
        Ok((Self::of(home, Some(Box::new(spread))), seeds))
    }

    fn of(mut home: Sockets<Outgoing>, spread: Option<Box<Spread>>) -> Self {
        home.ended.extend((0..SPARE_SENDS).map(|_| Box::default()));
        Self { home, spread }
    }

    /// Starts to listen. Returns the real address where port 0 was asked for.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        self.home.doors.listen(&mut self.home.ring, address)
    }

    /// Takes no more connections. Those that exist stay.
    pub fn stop_listening(&mut self) {
        self.home.doors.close();
    }

    /// Accepting has failed for want of descriptors or memory: until [`Net::rearm`] nobody is let in there.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.home.doors.is_shut()
    }

    /// Listens again where accepting had failed for want of descriptors or memory. Called now and then.
    pub fn rearm(&mut self) {
        self.home.doors.rearm(&mut self.home.ring);
    }

    /// Whether [`Event::Readable`] is wanted for a connection. It then comes while there may be something to receive.
    pub fn watch(&mut self, id: SocketId, is_wanted: bool) {
        match &mut self.spread {
            None => self.home.watch(id, is_wanted),
            Some(spread) => spread.watch(id, is_wanted),
        }
    }

    /// Much will be sent and received on this connection. New ones go where there are few of that kind.
    pub fn expect_load(&mut self, id: SocketId) {
        if let Some(spread) = &mut self.spread {
            spread.expect_load(id);
        }
    }

    /// Sockets are on other cores, which receive before they are asked.
    #[must_use]
    pub fn has_cores(&self) -> bool {
        self.spread.is_some()
    }

    /// The next receive of this connection can, and should, be prepared.
    #[must_use]
    pub fn receives_ahead(&self, id: SocketId) -> bool {
        self.spread.as_ref().is_some_and(|spread| spread.receives_ahead(id))
    }

    /// Says what the next receive may bring. Without this it is [`STAGING_BYTES`](crate::limits::STAGING_BYTES) of staging memory.
    ///
    /// # Panics
    /// If it [cannot be prepared](Net::receives_ahead), or the range lies outside the buffer.
    pub fn prepare(&mut self, id: SocketId, ahead: Ahead) {
        let spread = self.spread.as_mut().expect("only sockets of other cores receive ahead");
        spread.prepare(id, ahead);
    }

    /// Gives back the buffer that bytes went to first, after they were received. How many there are [`Net::receive`] has said:
    /// they come before those of the staging memory.
    pub fn take_placed(&mut self, id: SocketId) -> Option<DmaBuf> {
        self.spread.as_mut()?.take_placed(id)
    }

    /// Takes bytes that have arrived, in this order: into the buffer that was prepared, into `placed`, and into the first
    /// `staged_max` bytes of `staging`. Never waits. On sockets of other cores `staging` is exchanged for another piece of memory of
    /// the same length, where the bytes are, and nothing goes into `placed`.
    ///
    /// # Panics
    /// If there is room for nothing.
    pub fn receive(
        &mut self,
        id: SocketId,
        placed: &mut [u8],
        staging: &mut Box<[u8]>,
        staged_max: usize,
    ) -> Received {
        match &mut self.spread {
            None => {
                let rest = &mut staging[..staged_max];
                assert!(!placed.is_empty() || !rest.is_empty(), "a receive has room for something");
                self.home.receive(id, placed, rest)
            }
            Some(spread) => spread.receive(id, staging),
        }
    }

    /// An empty send to be filled; [`Net::send`] or [`Net::recycle`] takes it back.
    pub fn outgoing(&mut self) -> Box<Outgoing> {
        self.home.ended.pop().unwrap_or_default()
    }

    /// Takes a send back that carries nothing for anybody; its buffers return to their arena.
    pub fn recycle(&mut self, outgoing: Box<Outgoing>) {
        self.home.recycle(outgoing);
    }

    /// Sends everything in `outgoing`, in order. If it has ended when this returns, the result is returned; else it comes
    /// as [`Event::Sent`].
    ///
    /// # Panics
    /// If a send is in flight already, or there is nothing to send.
    pub fn send(&mut self, id: SocketId, outgoing: Box<Outgoing>) -> Option<io::Result<()>> {
        match &mut self.spread {
            None => self.home.send(id, outgoing),
            Some(spread) => spread.send(&mut self.home, id, outgoing),
        }
    }

    /// The other end will see the end of the stream after what was sent. Receiving goes on.
    pub fn finish_sending(&mut self, id: SocketId) {
        match &mut self.spread {
            None => self.home.finish_sending(id),
            Some(spread) => spread.finish_sending(id),
        }
    }

    /// Ends a connection; [`Event::Closed`] comes when the kernel has let go of what it was sending.
    pub fn close(&mut self, id: SocketId) {
        match &mut self.spread {
            None => self.home.close(id),
            Some(spread) => spread.close(id),
        }
    }

    /// Sockets that are open or closing.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.spread.as_ref().map_or_else(|| self.home.sockets(), |spread| spread.sockets())
    }

    /// How busy the socket cores are, in the order of their seeds; none if the sockets are here.
    #[must_use]
    pub fn cores(&self) -> Vec<CoreLoad> {
        self.spread.as_ref().map(|spread| spread.loads()).unwrap_or_default()
    }

    /// Hands everything started to the kernel and to other cores. Called once per round, which ends here: the next one looks at
    /// everybody again, whoever still has something to say.
    pub fn flush(&mut self) {
        self.home.flush();
        if let Some(spread) = &mut self.spread {
            spread.flush();
            spread.begin_round();
        }
    }

    /// Sleeps until something happens, another thread wakes us, or `timeout` has passed.
    pub fn wait(&mut self, timeout: Duration) {
        let Some(spread) = &mut self.spread else { return self.home.wait(timeout) };
        let is_flushed = spread.flush();
        // From here on socket cores wake us; so news that the next line does not see ends the sleep.
        self.home.waker.begin_sleep();
        if !spread.has_news() {
            let soon = Duration::from_millis(LANE_WAIT_MS);
            self.home.wait(if is_flushed { timeout } else { timeout.min(soon) });
        }
        self.home.waker.end_sleep();
    }

    /// The next event. After `None` a new round begins.
    pub fn poll(&mut self) -> Option<Event> {
        match &mut self.spread {
            None => self.home.poll(),
            Some(spread) => spread.poll(&mut self.home),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(spread) = &mut self.spread {
            spread.stop(&mut self.home);
        }
    }
}
