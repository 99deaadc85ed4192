//! The sockets of one thread, and what is in flight on them.
//!
//! ```text
//!  open ── close() ──▶ closing: shut down, nothing new ── last operation came back ──▶ gone (Closed)
//! ```

use crate::Waker;
use crate::cargo::Cargo;
use crate::input::{Hot, Input};
use crate::limits::{
    COMPLETIONS_MAX, DROP_ROUNDS_MAX, DROP_WAIT_MS, PIECES_MAX, SOCKETS_MAX, SUBMISSIONS_MAX,
};
use crate::listener::{Accepted, Doors, ListenerId};
use crate::net::{Event, SocketId};
use crate::output::{Send, Spares};
use crate::ring::{Finished, Ring, RingKind};
use crate::slab::{Key, Slab};
use crate::zero_copy::{Allowance, ZeroCopy};
use core::mem;
use core::time::Duration;
use io_uring::{opcode, types};
use nix::sys::socket::{Shutdown, shutdown};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

pub(crate) struct Socket<C> {
    pub(crate) fd: OwnedFd,
    pub(crate) input: Input,
    /// In the hands of the kernel.
    pub(crate) send: Option<Box<Send<C>>>,
    /// A send without copying is in its stream.
    pub(crate) is_zero_copying: bool,
    /// The kernel has not said yet that it copies all the same.
    pub(crate) may_zero_copy: bool,
    pub(crate) is_closing: bool,
}

/// The sockets of one thread, which made it.
pub(crate) struct Sockets<C: Cargo> {
    pub(crate) ring: Ring,
    pub(crate) sockets: Slab<Socket<C>>,
    pub(crate) hot: Hot,
    /// The pieces of the send that is being started.
    pub(crate) iovecs: Vec<libc::iovec>,
    pub(crate) spares: Spares<Send<C>>,
    /// What was sent, or will not be.
    pub(crate) ended: Vec<Box<C>>,
    pub(crate) zero_copy: ZeroCopy<C>,
    pub(crate) doors: Doors,
    events: VecDeque<Event>,
    /// The kernel has reported something; before it may report the next, a hot socket is tried.
    is_turn_of_hot: bool,
    pub(crate) waker: Waker,
    /// The kernel writes the eventfd's counter here.
    wake_count: Box<[u8; 8]>,
    is_wake_armed: bool,
}

/// What a completion belongs to: the upper 8 bits of `user_data`; the rest is a socket's key or a listener's number.
pub(crate) mod kind {
    pub(crate) const WAKE: u64 = 1;
    pub(crate) const LISTENER: u64 = 2;
    pub(crate) const POLL: u64 = 3;
    pub(crate) const SEND: u64 = 4;
    pub(crate) const ZERO_COPY: u64 = 5;
    pub(crate) const SHIFT: u32 = 56;
    pub(crate) const VALUE: u64 = (1 << SHIFT) - 1;
}

pub(crate) fn user_data(kind: u64, value: u64) -> u64 {
    debug_assert!(value <= kind::VALUE);
    (kind << kind::SHIFT) | value
}

impl<C: Cargo> Sockets<C> {
    /// Sockets for the calling thread; `waker` ends their [`Sockets::wait`].
    ///
    /// # Errors
    /// If the kernel refuses an io_uring.
    pub(crate) fn new(waker: Waker, zero_copy: Allowance) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(RingKind::Core, SUBMISSIONS_MAX, COMPLETIONS_MAX)?,
            sockets: Slab::new(SOCKETS_MAX),
            hot: Hot::new(),
            iovecs: Vec::with_capacity(PIECES_MAX),
            spares: Spares::new(Send::new),
            ended: Vec::with_capacity(SOCKETS_MAX),
            zero_copy: ZeroCopy::new(zero_copy),
            doors: Doors::new(),
            events: VecDeque::with_capacity(COMPLETIONS_MAX as usize),
            is_turn_of_hot: false,
            waker,
            wake_count: Box::new([0; 8]),
            is_wake_armed: false,
        })
    }

    /// The other end will see the end of the stream after what was sent. Receiving goes on.
    pub(crate) fn finish_sending(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id.key()) {
            // Fails only if the connection is dead, which the next receive reports.
            let _ = shutdown(socket.fd.as_raw_fd(), Shutdown::Write);
        }
    }

    /// Ends a connection; [`Event::Closed`] comes when the kernel has let go of what it was sending.
    pub(crate) fn close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id.key()).filter(|socket| !socket.is_closing) else { return };
        socket.is_closing = true;
        // Ends operations in flight. Fails only if the connection is dead; then they end by themselves.
        let _ = shutdown(socket.fd.as_raw_fd(), Shutdown::Both);
        self.finish_close(id);
    }

    /// Sockets that are open or closing.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Hands everything started to the kernel. Called once per round, which ends here, also if there are more events.
    pub(crate) fn flush(&mut self) {
        self.ring.flush();
        self.begin_round();
    }

    fn begin_round(&mut self) {
        self.doors.begin_round();
        self.hot.begin_round();
    }

    /// Sleeps until something happens, another thread wakes us, or `timeout` has passed.
    pub(crate) fn wait(&mut self, timeout: Duration) {
        if !self.events.is_empty() || self.doors.has_waiting() {
            return;
        }
        self.cool_all();
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

    /// The next event. After `None` a new round begins. However much the kernel has to report, a round asks at the doors, and tries
    /// the hot sockets in turn with it.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        loop {
            if self.doors.lets_in()
                && let Some(event) = self.next_newcomer()
            {
                return Some(event);
            }
            if mem::take(&mut self.is_turn_of_hot)
                && let Some(event) = self.next_hot()
            {
                return Some(event);
            }
            let event = self.poll_ring();
            if event.is_some() {
                self.is_turn_of_hot = true;
                return event;
            }
            if let Some(event) = self.next_hot() {
                return Some(event);
            }
            if !self.doors.lets_in() {
                self.begin_round();
                return None;
            }
        }
    }

    /// Who comes in; but before somebody gets the place of one that is gone, that one's end is told.
    fn next_newcomer(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        while let Some(accepted) = self.doors.next(&mut self.ring) {
            let Accepted { listener, fd, peer, local } = accepted;
            // One too many is closed.
            if let Some(socket) = self.insert(fd) {
                return Some(Event::Accepted { listener, socket, peer, local });
            }
        }
        None
    }

    /// The next event of those that have happened already.
    pub(crate) fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next event of those that the kernel reports.
    pub(crate) fn poll_ring(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let finished = self.ring.poll()?;
            if let Some(event) = self.on_finished(finished) {
                return Some(event);
            }
        }
    }

    fn on_finished(&mut self, finished: Finished) -> Option<Event> {
        let value = finished.user_data & kind::VALUE;
        match finished.user_data >> kind::SHIFT {
            kind::WAKE => {
                self.is_wake_armed = false;
                Some(Event::Woken)
            }
            kind::LISTENER => {
                let index = usize::try_from(value).expect("a listener's number is small");
                self.doors.on_polled(ListenerId(index), finished.result);
                None
            }
            kind::POLL => self.on_polled(SocketId::from_key(Key::from_bits(value))),
            kind::SEND => self.on_sent(SocketId::from_key(Key::from_bits(value)), finished),
            kind::ZERO_COPY => self.on_zero_copy(Key::from_bits(value), finished),
            other => unreachable!("completion of unknown kind {other}"),
        }
    }

    /// Takes a connection in, if there is room.
    pub(crate) fn insert(&mut self, fd: OwnedFd) -> Option<SocketId> {
        let socket = Socket {
            fd,
            input: Input::default(),
            send: None,
            is_zero_copying: false,
            may_zero_copy: true,
            is_closing: false,
        };
        let key = self.sockets.insert(socket).ok()?;
        self.spares.add();
        self.add_spare();
        Some(SocketId::from_key(key))
    }

    pub(crate) fn finish_close(&mut self, id: SocketId) {
        let is_over = self
            .sockets
            .get(id.key())
            .is_some_and(|socket| socket.is_closing && socket.send.is_none() && !socket.is_zero_copying);
        if is_over {
            self.sockets.remove(id.key());
            self.spares.trim(self.sockets.len());
            self.trim_spares(self.sockets.len());
            self.events.push_back(Event::Closed { socket: id });
        }
    }

    #[cfg(test)]
    pub(crate) fn descriptor(&self, id: SocketId) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.sockets.get(id.key()).map(|socket| socket.fd.as_fd())
    }

    /// Operations whose memory the kernel may use.
    pub(crate) fn in_flight(&self) -> usize {
        self.sockets.iter().filter(|(_, socket)| socket.send.is_some()).count()
            + self.zero_copy.len()
            + usize::from(self.is_wake_armed)
    }
}

impl<C: Cargo> Drop for Sockets<C> {
    fn drop(&mut self) {
        self.doors.close();
        for key in self.sockets.keys() {
            self.close(SocketId::from_key(key));
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
        mem::forget(mem::replace(&mut self.zero_copy, ZeroCopy::new(Allowance::new(0))));
        mem::forget(mem::replace(&mut self.wake_count, Box::new([0; 8])));
    }
}
