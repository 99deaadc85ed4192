//! The home core's side of sockets that are on other cores.
//!
//! ```text
//!  accepted ─▶ the core with the fewest connections that carry a load, and of those cores the one with the fewest at all
//!  watched, nothing on the way ── leave to receive ──▶ core ── Received ──▶ arrived: Readable ─ receive() ─▶ the next leave, as
//!                                                                                       soon as what came has been used
//!  send() ─▶ kept in `sends`, the core is told where it is ─▶ Sent ─▶ returned: its buffers go back to their arena
//! ```
//! Invariants
//! - A connection has at most one leave to receive, and none while bytes of it have not been used; so a connection that waits for
//!   something keeps no staging memory of others, and the other end is slowed down by TCP.
//! - A buffer that is lent is in `seats` or `sends`, where nobody looks at it, until the message that ends the loan. If that does not
//!   come, it stays there for ever (`stop`).

use crate::Waker;
use crate::cargo::{Lent, Place};
use crate::input::Received;
use crate::lane::{Reader, Writer, lane};
use crate::limits::{
    CORES_MAX, DROP_ROUNDS_MAX, DROP_WAIT_MS, SOCKETS_MAX, STAGING_BYTES, ZERO_COPY_BYTES_MAX,
    ZERO_COPY_SENDS_MAX,
};
use crate::listener::Accepted;
use crate::net::{Ahead, Event, SocketId};
use crate::outgoing::Outgoing;
use crate::output::Spares;
use crate::slab::Slab;
use crate::socket_core::{CoreLoad, CoreSeed, News, Order};
use crate::sockets::Sockets;
use crate::zero_copy::Allowance;
use core::mem;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use dma::DmaBuf;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// A socket core, as the home core knows it.
struct Link {
    orders: Writer<Order>,
    news: Reader<News>,
    waker: Waker,
    busy_permille: Arc<AtomicU32>,
    connections: usize,
    /// Those of which much is expected.
    loaded: usize,
    /// Staging memory on its way back.
    stagings: Vec<Box<[u8]>>,
    has_orders: bool,
    is_stopped: bool,
}

/// What has arrived and was not taken.
#[derive(Debug)]
enum Arrived {
    /// So many bytes, those behind the place in staging memory of the connection's core.
    Staged { count: usize, staging: Option<Box<[u8]>> },
    /// The same, but nobody wants it now: so it is in memory of its own.
    Kept { count: usize, bytes: Box<[u8]> },
    /// The end.
    End,
}

/// A connection.
struct Seat {
    core: usize,
    is_watched: bool,
    is_closing: bool,
    is_sending: bool,
    is_loaded: bool,
    /// The core may receive.
    has_leave: bool,
    arrived: Option<Arrived>,
    /// What the next leave allows.
    staged_max: usize,
    /// Where bytes go first.
    place: Option<(DmaBuf, Range<usize>)>,
}

/// Sockets on other cores.
pub(crate) struct Spread {
    links: Vec<Link>,
    seats: Slab<Seat>,
    sends: Slab<Box<Outgoing>>,
    lents: Spares<Lent>,
    events: VecDeque<Event>,
    iovecs: Vec<libc::iovec>,
    /// A connection whose bytes are being used; it gets its next leave afterwards.
    served: Option<SocketId>,
    /// The core that is heard next.
    turn: usize,
    /// The kernel has been asked in this round, for what concerns the home core itself.
    has_asked_home: bool,
}

impl Link {
    fn order(&mut self, order: Order) {
        self.orders.push(order);
        self.has_orders = true;
    }

    /// Moves up what waits and wakes the core; says whether nothing waits.
    fn flush(&mut self) -> bool {
        while let Some(staging) = self.stagings.pop() {
            self.order(Order::Staging(staging));
        }
        let is_flushed = self.orders.flush();
        if mem::take(&mut self.has_orders) {
            self.waker.wake();
        }
        self.has_orders = !is_flushed;
        is_flushed
    }
}

impl Spread {
    pub(crate) fn new(home: &Waker, cores: usize) -> io::Result<(Self, Vec<CoreSeed>)> {
        assert!((1..=CORES_MAX).contains(&cores), "{cores} socket cores");
        let (mut links, mut seeds) = (Vec::new(), Vec::new());
        let zero_copy = Allowance::new(ZERO_COPY_BYTES_MAX);
        for _ in 0..cores {
            let ((orders, orders_end), (news, news_end)) = (lane(), lane());
            let waker = Waker::new()?;
            let busy_permille = Arc::new(AtomicU32::new(0));
            seeds.push(CoreSeed {
                orders: orders_end,
                news,
                waker: waker.clone(),
                home: home.clone(),
                busy_permille: Arc::clone(&busy_permille),
                zero_copy: zero_copy.clone(),
            });
            links.push(Link {
                orders,
                news: news_end,
                waker,
                busy_permille,
                connections: 0,
                loaded: 0,
                stagings: Vec::with_capacity(crate::limits::STAGINGS_MAX),
                has_orders: false,
                is_stopped: false,
            });
        }
        let spread = Self {
            links,
            seats: Slab::new(SOCKETS_MAX),
            sends: Slab::new(SOCKETS_MAX + cores * ZERO_COPY_SENDS_MAX),
            lents: Spares::new(Lent::new),
            events: VecDeque::with_capacity(SOCKETS_MAX),
            iovecs: Vec::with_capacity(crate::limits::PIECES_MAX),
            served: None,
            turn: 0,
            has_asked_home: false,
        };
        Ok((spread, seeds))
    }

    pub(crate) fn sockets(&self) -> usize {
        self.seats.len()
    }

    pub(crate) fn loads(&self) -> Vec<CoreLoad> {
        let load = |link: &Link| CoreLoad {
            busy_permille: link.busy_permille.load(Ordering::Relaxed),
            connections: link.connections,
            loaded: link.loaded,
        };
        self.links.iter().map(load).collect()
    }

    fn open(&mut self, id: SocketId) -> Option<&mut Seat> {
        self.seats.get_mut(id.key()).filter(|seat| !seat.is_closing)
    }

    pub(crate) fn expect_load(&mut self, id: SocketId) {
        let Some(seat) = self.open(id) else { return };
        if !mem::replace(&mut seat.is_loaded, true) {
            let core = seat.core;
            self.links[core].loaded += 1;
        }
    }

    pub(crate) fn watch(&mut self, id: SocketId, is_wanted: bool) {
        let Some(seat) = self.open(id) else { return };
        if mem::replace(&mut seat.is_watched, is_wanted) == is_wanted {
            return;
        }
        if !is_wanted {
            self.keep(id);
        } else if seat.arrived.is_some() {
            self.events.push_back(Event::Readable { socket: id });
        } else if self.served != Some(id) {
            self.give_leave(id);
        }
    }

    pub(crate) fn receives_ahead(&self, id: SocketId) -> bool {
        self.seats.get(id.key()).is_some_and(|seat| {
            !seat.is_closing && !seat.has_leave && seat.arrived.is_none() && seat.place.is_none()
        })
    }

    pub(crate) fn prepare(&mut self, id: SocketId, ahead: Ahead) {
        assert!(self.receives_ahead(id), "nothing is on its way");
        assert!(ahead.staged_max > 0 && ahead.staged_max <= STAGING_BYTES, "there is room behind the place");
        let Some(seat) = self.seats.get_mut(id.key()) else { return };
        seat.staged_max = ahead.staged_max;
        seat.place = ahead.place;
        if let Some((buffer, range)) = &seat.place {
            assert!(range.start <= range.end && range.end <= buffer.len(), "range inside the buffer");
        }
    }

    pub(crate) fn take_placed(&mut self, id: SocketId) -> Option<DmaBuf> {
        let seat = self.seats.get_mut(id.key()).filter(|seat| !seat.has_leave)?;
        Some(seat.place.take()?.0)
    }

    pub(crate) fn receive(&mut self, id: SocketId, staging: &mut Box<[u8]>) -> Received {
        assert_eq!(staging.len(), STAGING_BYTES, "it is exchanged for a piece of the same length");
        let Some(seat) = self.open(id) else { return Received::End };
        let core = seat.core;
        let count = match seat.arrived.take() {
            None => return Received::Nothing,
            Some(Arrived::End) => {
                seat.arrived = Some(Arrived::End);
                return Received::End;
            }
            Some(Arrived::Kept { count, bytes }) => {
                staging[..bytes.len()].copy_from_slice(&bytes);
                count
            }
            Some(Arrived::Staged { count, staging: filled }) => {
                if let Some(filled) = filled {
                    self.links[core].stagings.push(mem::replace(staging, filled));
                }
                count
            }
        };
        self.leave_served();
        self.served = Some(id);
        Received::Bytes(count)
    }

    pub(crate) fn send(
        &mut self,
        home: &mut Sockets<Outgoing>,
        id: SocketId,
        outgoing: Box<Outgoing>,
    ) -> Option<io::Result<()>> {
        assert!(!outgoing.is_empty(), "a send carries something");
        let Some(seat) = self.seats.get_mut(id.key()).filter(|seat| !seat.is_closing) else {
            home.recycle(outgoing);
            return Some(Err(io::Error::from_raw_os_error(libc::ESHUTDOWN)));
        };
        assert!(!mem::replace(&mut seat.is_sending, true), "one send at a time");
        let mut lent = self.lents.take();
        let Ok(key) = self.sends.insert(outgoing) else {
            // News of a core come in order, and it starts nothing between hearing that memory is free and saying so: what it has not
            // given back is never more than it may have on its way.
            unreachable!("a socket has one send, and sends without copying are bounded")
        };
        let outgoing = self.sends.get(key).expect("just inserted");
        lent.fill(key, outgoing, &mut self.iovecs);
        self.links[seat.core].order(Order::Send { socket: id, lent });
        None
    }

    pub(crate) fn finish_sending(&mut self, id: SocketId) {
        if let Some(seat) = self.seats.get(id.key()) {
            self.links[seat.core].order(Order::FinishSending { socket: id });
        }
    }

    pub(crate) fn close(&mut self, id: SocketId) {
        let Some(seat) = self.open(id) else { return };
        seat.is_closing = true;
        let core = seat.core;
        if let Some(Arrived::Staged { staging: Some(staging), .. }) = seat.arrived.take() {
            self.links[core].stagings.push(staging);
        }
        self.links[core].order(Order::Close { socket: id });
    }

    /// The next round begins, also if cores have more to say: there, too, newcomers are looked for.
    pub(crate) fn begin_round(&mut self) {
        self.has_asked_home = false;
    }

    /// Hands all orders on; says whether all of them have a slot.
    pub(crate) fn flush(&mut self) -> bool {
        self.leave_served();
        let mut is_flushed = true;
        for link in &mut self.links {
            is_flushed &= link.flush();
        }
        is_flushed
    }

    /// There is something to be taken by [`Spread::poll`].
    pub(crate) fn has_news(&mut self) -> bool {
        !self.events.is_empty() || self.links.iter_mut().any(|link| link.news.has_message())
    }

    pub(crate) fn poll(&mut self, home: &mut Sockets<Outgoing>) -> Option<Event> {
        self.leave_served();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.has_asked_home {
                let event = self.ask_home(home);
                if event.is_some() {
                    return event;
                }
                self.has_asked_home = true;
            }
            let Some((core, news)) = self.next_news() else {
                home.doors.begin_round();
                self.begin_round();
                return None;
            };
            if let Some(event) = self.on_news(home, core, news) {
                return Some(event);
            }
        }
    }

    /// Who woke the core, and who is at the doors. Asked before the cores, who may have more to say than a round takes.
    fn ask_home(&mut self, home: &mut Sockets<Outgoing>) -> Option<Event> {
        if let Some(event) = home.poll_ring() {
            return Some(event);
        }
        while let Some(accepted) = home.doors.next(&mut home.ring) {
            if let Some(event) = self.place(accepted) {
                home.add_spare();
                return Some(event);
            }
        }
        None
    }

    /// One message of each core in turn.
    fn next_news(&mut self) -> Option<(usize, News)> {
        for _ in 0..self.links.len() {
            let core = self.turn;
            self.turn = (core + 1) % self.links.len();
            if let Some(news) = self.links[core].news.pop() {
                return Some((core, news));
            }
        }
        None
    }

    fn on_news(&mut self, home: &mut Sockets<Outgoing>, core: usize, news: News) -> Option<Event> {
        match news {
            News::Received { socket, count, staging } => {
                let count = usize::try_from(count).expect("32 bits");
                self.on_arrived(core, socket, Arrived::Staged { count, staging })
            }
            News::Ended { socket } => self.on_arrived(core, socket, Arrived::End),
            News::Sent { socket, error, returned } => {
                self.on_returned(home, returned);
                self.seats.get_mut(socket.key())?.is_sending = false;
                let result = if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) };
                Some(Event::Sent { socket, result })
            }
            News::Returned(lent) => {
                self.on_returned(home, Some(lent));
                None
            }
            News::Closed { socket } => {
                let seat = self.seats.remove(socket.key())?;
                let link = &mut self.links[core];
                link.connections -= 1;
                link.loaded -= usize::from(seat.is_loaded);
                self.lents.trim(self.seats.len());
                home.trim_spares(self.seats.len());
                Some(Event::Closed { socket })
            }
            News::Stopped => {
                self.links[core].is_stopped = true;
                None
            }
        }
    }

    fn on_arrived(&mut self, core: usize, id: SocketId, arrived: Arrived) -> Option<Event> {
        let Some(seat) = self.open(id) else {
            if let Arrived::Staged { staging: Some(staging), .. } = arrived {
                self.links[core].stagings.push(staging);
            }
            return None;
        };
        seat.has_leave = false;
        seat.arrived = Some(arrived);
        if seat.is_watched {
            return Some(Event::Readable { socket: id });
        }
        self.keep(id);
        None
    }

    fn on_returned(&mut self, home: &mut Sockets<Outgoing>, returned: Option<Box<Lent>>) {
        let Some(lent) = returned else { return };
        let outgoing = self.sends.remove(lent.key).expect("it was kept until now");
        home.recycle(outgoing);
        self.lents.put(lent);
    }

    /// Nobody wants what has arrived now: the core gets its staging memory back.
    fn keep(&mut self, id: SocketId) {
        let Some(seat) = self.seats.get_mut(id.key()) else { return };
        let placed = seat.place.as_ref().map_or(0, |(_, range)| range.len());
        match seat.arrived.take() {
            Some(Arrived::Staged { count, staging: Some(staging) }) => {
                let bytes = staging[..count - placed].into();
                seat.arrived = Some(Arrived::Kept { count, bytes });
                self.links[seat.core].stagings.push(staging);
            }
            arrived => seat.arrived = arrived,
        }
    }

    /// The connection that was served has used its bytes, or says that it cannot.
    fn leave_served(&mut self) {
        if let Some(id) = self.served.take() {
            self.give_leave(id);
        }
    }

    /// Lets the core of a watched connection receive.
    fn give_leave(&mut self, id: SocketId) {
        let Some(seat) = self.seats.get_mut(id.key()) else { return };
        if seat.is_closing || !seat.is_watched || seat.has_leave || seat.arrived.is_some() {
            return;
        }
        seat.has_leave = true;
        let place = match &mut seat.place {
            Some((buffer, range)) => Place::of(&mut buffer.as_mut()[range.clone()]),
            None => Place::default(),
        };
        let staged_max = u32::try_from(mem::replace(&mut seat.staged_max, STAGING_BYTES))
            .expect("staging memory is short");
        let link = &mut self.links[seat.core];
        let staging = link.stagings.pop();
        link.order(Order::Receive { socket: id, place, staged_max, staging });
    }

    /// Gives a connection to a core; one too many is closed.
    fn place(&mut self, accepted: Accepted) -> Option<Event> {
        let Accepted { listener, fd, peer, local } = accepted;
        // How many there are says little: of the two that many hosts have, one is silent, and strangers may have as many as they like.
        let load = |(_, link): &(usize, &mut Link)| (link.loaded, link.connections);
        let (core, link) = self.links.iter_mut().enumerate().min_by_key(load).expect("a core");
        let seat = Seat {
            core,
            is_watched: false,
            is_closing: false,
            is_sending: false,
            is_loaded: false,
            has_leave: false,
            arrived: None,
            staged_max: STAGING_BYTES,
            place: None,
        };
        let socket = SocketId::from_key(self.seats.insert(seat).ok()?);
        self.lents.add();
        link.connections += 1;
        link.order(Order::Open { socket, fd });
        Some(Event::Accepted { listener, socket, peer, local })
    }

    /// Ends the cores. They wait for the kernel; whatever they do not give back in time is kept for ever rather than let somebody
    /// else use it.
    pub(crate) fn stop(&mut self, home: &mut Sockets<Outgoing>) {
        home.doors.close();
        self.links.iter_mut().for_each(|link| link.order(Order::Stop));
        let is_over = |link: &Link| link.is_stopped || link.orders.is_abandoned();
        // A core waits as long for the kernel, and as long again for us.
        for _ in 0..3 * DROP_ROUNDS_MAX {
            self.flush();
            home.waker.begin_sleep();
            while let Some((core, news)) = self.next_news() {
                self.on_news(home, core, news);
            }
            if self.links.iter().all(is_over) {
                break;
            }
            home.wait(Duration::from_millis(DROP_WAIT_MS));
            while home.poll_ring().is_some() {}
        }
        home.waker.end_sleep();
        if !self.sends.is_empty() {
            mem::forget(mem::replace(&mut self.sends, Slab::new(0)));
        }
        if !self.links.iter().all(is_over) {
            mem::forget(mem::replace(&mut self.seats, Slab::new(0)));
        }
    }
}
