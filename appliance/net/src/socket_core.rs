//! A socket core: a thread that receives and sends for the home core, and does nothing else.
//!
//! ```text
//!  home ── Open, Receive, Send, FinishSending, Close, Stop ──▶ socket core ── recv, send ──▶ kernel
//!       ◀── Received, Ended, Sent, Returned, Closed, Stopped ──┘
//! ```
//! It receives once for each `Receive`, when there is something: payload into the place that came with the order, the rest into staging
//! memory of its own, which goes to the home core and comes back. So a connection whose bytes the home core has not used yet has
//! its next bytes in the kernel, and the other end slows down.
//!
//! Invariants
//! - Memory of the home core is touched by the kernel alone, on behalf of an order, and never after the message that ends the order:
//!   `Received`, `Ended` or `Closed` for a place, `Sent` or `Returned` with the key of a send.
//! - `Closed` is the last message that names a socket, `Stopped` the last of all.

use crate::Waker;
use crate::cargo::{Lent, Place};
use crate::input::Received;
use crate::lane::{Reader, Writer};
use crate::limits::{
    CORE_EVENTS_MAX, CORE_ORDERS_MAX, DROP_ROUNDS_MAX, DROP_WAIT_MS, LANE_WAIT_MS, SOCKETS_MAX,
    STAGING_BYTES, STAGINGS_MAX,
};
use crate::net::{Event, SocketId};
use crate::sockets::Sockets;
use crate::zero_copy::Allowance;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// From the home core. Sockets have the names that the home core gave them.
#[derive(Debug)]
pub(crate) enum Order {
    /// A new connection.
    Open { socket: SocketId, fd: OwnedFd },
    /// What comes next may be received, once.
    Receive { socket: SocketId, place: Place, staged_max: u32, staging: Option<Box<[u8]>> },
    /// Staging memory comes back.
    Staging(Box<[u8]>),
    /// All of this is to be sent.
    Send { socket: SocketId, lent: Box<Lent> },
    /// Nothing follows.
    FinishSending { socket: SocketId },
    /// The end of a connection.
    Close { socket: SocketId },
    /// The end.
    Stop,
}

/// To the home core.
#[derive(Debug)]
pub(crate) enum News {
    /// So many bytes have come, the first of them into the place; the rest is in the staging memory.
    Received { socket: SocketId, count: u32, staging: Option<Box<[u8]>> },
    /// Nothing comes any more.
    Ended { socket: SocketId },
    /// A send has ended, with 0 or an error number. Its memory comes back now, or later (`Returned`).
    Sent { socket: SocketId, error: i32, returned: Option<Box<Lent>> },
    /// Nobody reads the memory of a send any more.
    Returned(Box<Lent>),
    /// The connection is gone.
    Closed { socket: SocketId },
    /// The core has ended.
    Stopped,
}

/// How busy a socket core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreLoad {
    /// Thousandths of the last second in which it had work.
    pub busy_permille: u32,
    /// Its connections.
    pub connections: usize,
    /// Of those, the ones of which much is expected ([`Net::expect_load`](crate::Net::expect_load)).
    pub loaded: usize,
}

/// What a socket core is made of, to be carried to its thread.
pub struct CoreSeed {
    pub(crate) orders: Reader<Order>,
    pub(crate) news: Writer<News>,
    pub(crate) waker: Waker,
    pub(crate) home: Waker,
    pub(crate) busy_permille: Arc<AtomicU32>,
    pub(crate) zero_copy: Allowance,
}

impl fmt::Debug for CoreSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreSeed").finish_non_exhaustive()
    }
}

impl CoreSeed {
    /// The core, on the thread that will run it.
    ///
    /// # Errors
    /// If the kernel refuses an io_uring.
    pub fn start(self) -> io::Result<SocketCore> {
        let sockets = Sockets::new(self.waker.clone(), self.zero_copy)?;
        Ok(SocketCore {
            sockets,
            link: Link { orders: self.orders, news: self.news, home: self.home, has_news: false },
            waker: self.waker,
            busy_permille: self.busy_permille,
            seats: (0..SOCKETS_MAX).map(|_| None).collect(),
            names: vec![None; SOCKETS_MAX],
            stagings: (0..STAGINGS_MAX).map(|_| vec![0; STAGING_BYTES].into()).collect(),
            unanswered: 0,
            is_finished: false,
        })
    }
}

/// What may be received.
#[derive(Debug)]
struct Leave {
    place: Place,
    staged_max: usize,
}

/// A connection.
#[derive(Debug)]
struct Seat {
    /// Its name at home.
    name: SocketId,
    /// Its name here.
    socket: SocketId,
    leave: Option<Leave>,
    /// Bytes went home, and nothing was sent since.
    is_unanswered: bool,
}

/// Both lanes.
struct Link {
    orders: Reader<Order>,
    news: Writer<News>,
    home: Waker,
    has_news: bool,
}

impl Link {
    fn tell(&mut self, news: News) {
        self.news.push(news);
        self.has_news = true;
    }

    /// Moves up what waits and wakes the home core; says whether nothing waits.
    fn flush(&mut self) -> bool {
        let is_flushed = self.news.flush();
        if core::mem::take(&mut self.has_news) {
            self.home.wake();
        }
        self.has_news = !is_flushed;
        is_flushed
    }
}

/// A socket core. Stays on the thread that started it.
pub struct SocketCore {
    sockets: Sockets<Lent>,
    link: Link,
    waker: Waker,
    busy_permille: Arc<AtomicU32>,
    /// By the place of the name at home.
    seats: Vec<Option<Seat>>,
    /// Names at home, by the place of the name here.
    names: Vec<Option<SocketId>>,
    stagings: Vec<Box<[u8]>>,
    /// Connections whose bytes went home and that have sent nothing since.
    unanswered: usize,
    is_finished: bool,
}

impl fmt::Debug for SocketCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketCore").field("sockets", &self.sockets.sockets()).finish_non_exhaustive()
    }
}

impl SocketCore {
    /// Takes orders, receives and sends what there is; says whether there was anything to do. Never waits, but at its end, which comes
    /// with an order or with the end of the home core's sockets.
    pub fn round(&mut self) -> bool {
        let mut has_worked = false;
        for _ in 0..CORE_ORDERS_MAX {
            let Some(order) = self.link.orders.pop() else {
                if self.link.orders.is_abandoned() && !self.is_finished {
                    // Nobody says `Stop` any more: the home core has given up waiting for room to say it.
                    self.stop();
                }
                break;
            };
            self.on_order(order);
            has_worked = true;
        }
        if self.is_finished {
            return true;
        }
        for _ in 0..CORE_EVENTS_MAX {
            let Some(event) = self.sockets.poll() else { break };
            has_worked |= self.on_event(event);
        }
        self.return_sends();
        self.sockets.flush();
        self.link.flush();
        has_worked
    }

    /// Sleeps until something happens, the home core has an order, or `timeout` has passed.
    pub fn wait(&mut self, timeout: Duration) {
        let is_flushed = self.link.flush();
        // From here on the home core wakes us; so an order that the next line does not see ends the sleep.
        self.waker.begin_sleep();
        if !self.link.orders.has_message() {
            let soon = Duration::from_millis(LANE_WAIT_MS);
            self.sockets.wait(if is_flushed { timeout } else { timeout.min(soon) });
        }
        self.waker.end_sleep();
    }

    /// The home core works on something that came from here, so that an order is to be expected soon.
    #[must_use]
    pub fn expects_orders(&self) -> bool {
        self.unanswered > 0
    }

    /// Tells the home core how busy this one is.
    pub fn set_busy_permille(&mut self, permille: u32) {
        self.busy_permille.store(permille, Ordering::Relaxed);
    }

    /// The loop ends.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Open { socket: name, fd } => {
                // One that is gone is told of first: its place is taken again here.
                while let Some(event) = self.sockets.pop_event() {
                    self.on_event(event);
                }
                let socket =
                    self.sockets.insert(fd).expect("the home core counts the connections of all cores");
                self.names[socket.index()] = Some(name);
                self.seats[name.index()] = Some(Seat { name, socket, leave: None, is_unanswered: false });
            }
            Order::Receive { socket: name, place, staged_max, staging } => {
                self.stagings.extend(staging);
                let Some(seat) = seat(&mut self.seats, name) else { return };
                let staged_max = usize::try_from(staged_max).expect("32 bits").min(STAGING_BYTES);
                seat.leave = Some(Leave { place, staged_max });
                self.sockets.watch(seat.socket, true);
            }
            Order::Staging(staging) => self.stagings.push(staging),
            Order::Send { socket: name, lent } => self.send(name, lent),
            Order::FinishSending { socket: name } => {
                if let Some(seat) = seat(&mut self.seats, name) {
                    self.sockets.finish_sending(seat.socket);
                }
            }
            Order::Close { socket: name } => {
                if let Some(seat) = seat(&mut self.seats, name) {
                    self.sockets.close(seat.socket);
                }
            }
            Order::Stop => self.stop(),
        }
    }

    fn send(&mut self, name: SocketId, lent: Box<Lent>) {
        let Some(seat) = seat(&mut self.seats, name) else {
            self.link.tell(News::Sent { socket: name, error: libc::ESHUTDOWN, returned: Some(lent) });
            return;
        };
        self.unanswered -= usize::from(core::mem::take(&mut seat.is_unanswered));
        if let Some(result) = self.sockets.send(seat.socket, lent) {
            self.on_sent(name, &result);
        }
    }

    fn on_sent(&mut self, name: SocketId, result: &io::Result<()>) {
        let error = result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
        // Usually that of this send. Whose it is stands in it.
        let returned = self.sockets.ended.pop();
        self.link.tell(News::Sent { socket: name, error, returned });
    }

    /// Sends whose memory nobody reads any more go home.
    fn return_sends(&mut self) {
        while let Some(lent) = self.sockets.ended.pop() {
            self.link.tell(News::Returned(lent));
        }
    }

    fn on_event(&mut self, event: Event) -> bool {
        match event {
            Event::Readable { socket } => return self.receive(socket),
            Event::Sent { socket, result } => {
                if let Some(name) = self.names[socket.index()] {
                    self.on_sent(name, &result);
                }
            }
            Event::Closed { socket } => {
                let Some(name) = self.names[socket.index()].take() else { return true };
                if let Some(seat) = self.seats[name.index()].take() {
                    self.unanswered -= usize::from(seat.is_unanswered);
                }
                self.link.tell(News::Closed { socket: name });
            }
            Event::Woken => {}
            Event::Accepted { .. } => unreachable!("the home core listens"),
        }
        true
    }

    /// There may be something to receive; says whether there was.
    fn receive(&mut self, socket: SocketId) -> bool {
        let Some(seat) = self.names[socket.index()].and_then(|name| seat(&mut self.seats, name)) else {
            return false;
        };
        let Some(leave) = &seat.leave else { return false };
        let Some(staging) = self.stagings.last_mut() else {
            // All of it is with the home core, which gives it back at once: asked again, the kernel says again that there is something.
            self.sockets.watch(socket, true);
            return false;
        };
        let rest = &mut staging[..leave.staged_max];
        // SAFETY: the home core has lent the place with the leave, keeps it, and does not look at it until the leave ends
        // (`News`); that happens after this call.
        let received = unsafe { self.sockets.receive_placed(socket, leave.place, rest) };
        match received {
            Received::Nothing => return false,
            Received::Bytes(count) => {
                let is_staged = count > leave.place.len();
                let staging = if is_staged { self.stagings.pop() } else { None };
                let count = u32::try_from(count).expect("a place and staging memory are short");
                self.unanswered += usize::from(!core::mem::replace(&mut seat.is_unanswered, true));
                self.link.tell(News::Received { socket: seat.name, count, staging });
            }
            Received::End => self.link.tell(News::Ended { socket: seat.name }),
        }
        seat.leave = None;
        self.sockets.watch(socket, false);
        true
    }

    /// Closes all connections, and waits until the kernel has let go of everything, or for a while.
    fn stop(&mut self) {
        for seat in self.seats.iter().flatten() {
            self.sockets.close(seat.socket);
        }
        for _ in 0..DROP_ROUNDS_MAX {
            while let Some(event) = self.sockets.poll() {
                self.on_event(event);
            }
            self.return_sends();
            if self.sockets.sockets() == 0 && self.sockets.zero_copy.len() == 0 {
                break;
            }
            self.sockets.wait(Duration::from_millis(DROP_WAIT_MS));
        }
        self.link.tell(News::Stopped);
        // The home core waits for this, so it makes room; unless it has given up.
        for _ in 0..DROP_ROUNDS_MAX {
            if self.link.flush() || self.link.news.is_abandoned() {
                break;
            }
            self.sockets.wait(Duration::from_millis(LANE_WAIT_MS));
        }
        self.is_finished = true;
    }
}

/// The seat of a connection, unless its place belongs to another one by now.
fn seat(seats: &mut [Option<Seat>], name: SocketId) -> Option<&mut Seat> {
    seats.get_mut(name.index())?.as_mut().filter(|seat| seat.name == name)
}
