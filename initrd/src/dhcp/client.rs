//! The client of one interface (RFC 2131 §4.4) as a machine without sockets or clock.
//!
//! ```text
//!           link        offer            ack             T1             T2
//!  Down ──────→ Selecting ──→ Requesting ──→ Bound ──────→ Renewing ─────→ Rebinding
//!    ↑            ↑    ↑___________│nak, no answer  ↑______ack│______________ack│ │
//!    └─ link lost └────────────────────────────────────────────────nak, expired──┘
//! ```
//!
//! Invariants
//! - Without an answer it asks for ever: after 1, 2, 4 … 32 seconds, each shifted by up to a quarter either way, so that
//!   a rack that gets its power back does not ask in step.
//! - A message with another transaction number, or for another hardware address, changes nothing.
//! - An address is used only between an ack and the end of its lease; a lost cable does not end a lease.
//!
//! Not here: the probe for a second owner of the address (RFC 5227), release on shutdown (the node wants the same
//! address after its reboot).

use super::message::{Kind, Reply, Request, decode, encode};
use std::net::Ipv4Addr;

/// First pause between two questions. RFC 2131 §4.1 suggests four seconds; a storage node that comes back is waited for.
const RETRY_FIRST_MS: u64 = 1_000;
/// Longest pause.
const RETRY_MAX_MS: u64 = 32_000;
const RETRY_DOUBLINGS_MAX: u32 = 5;
const _: () = assert!(RETRY_FIRST_MS << RETRY_DOUBLINGS_MAX == RETRY_MAX_MS);
/// Requests for one offer before a new search.
const REQUESTS_MAX: u32 = 4;
/// Least time between two questions while a lease is being prolonged (RFC 2131 §4.4.5).
const PROLONG_RETRY_MIN_MS: u64 = 60_000;
/// Shortest lease that is believed; a server that gives less would keep both busy with renewals.
const LEASE_MIN_S: u64 = 60;
/// A lease without end (RFC 2131 §3.3).
const INFINITE: u32 = u32::MAX;

/// What an interface got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Name of this node.
    pub hostname: Option<String>,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Its length; `None` is for ever.
    pub lease_s: Option<u64>,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Use this address.
    Bound(Lease),
    /// The lease is prolonged and unchanged.
    Renewed,
    /// Stop using the address, and why.
    Lost(String),
    /// Nobody answers; told when the pause between two questions grows.
    NoAnswer {
        /// Questions since the search began.
        asked: u32,
    },
    /// A server refused; its words.
    Refused(String),
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub to: Destination,
    /// The DHCP message.
    pub bytes: Vec<u8>,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// From 0.0.0.0 to everybody: the interface has no address.
    RawBroadcast,
    /// From our address to everybody.
    Broadcast,
    /// From our address to the server.
    Server(Ipv4Addr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// No link.
    Down,
    Selecting {
        asked: u32,
        next: u64,
    },
    Requesting {
        offer: Box<Reply>,
        server: Ipv4Addr,
        asked: u32,
        next: u64,
    },
    Bound {
        held: Held,
    },
    Renewing {
        held: Held,
        next: u64,
    },
    Rebinding {
        held: Held,
        next: u64,
    },
}

/// A lease with its times; `None` is never.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    lease: Lease,
    times: Option<Times>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    renew: u64,
    rebind: u64,
    expire: u64,
}

/// The client of one interface. Times are milliseconds of any clock that does not run backwards.
#[derive(Debug)]
pub struct Client {
    mac: [u8; 6],
    hostname: String,
    state: State,
    random: u64,
    xid: u32,
    began: u64,
    /// When the question was sent that a lease answers: its time counts from there (RFC 2131 §4.4.1).
    asked_at: u64,
    out: Option<Transmit>,
    events: Vec<Event>,
}

impl Client {
    /// A client without link. `seed` makes its pauses and transactions differ from other nodes'.
    #[must_use]
    pub fn new(mac: [u8; 6], hostname: String, seed: u64) -> Self {
        Self {
            mac,
            hostname,
            state: State::Down,
            random: seed | 1,
            xid: 0,
            began: 0,
            asked_at: 0,
            out: None,
            events: Vec::new(),
        }
    }

    /// The link came or went. A link that comes back confirms its lease at once: the cable may lead elsewhere now.
    pub fn on_link(&mut self, is_up: bool, now: u64) {
        let state = std::mem::replace(&mut self.state, State::Down);
        self.state = match (state, is_up) {
            (State::Down, true) => self.search(now),
            (State::Down | State::Selecting { .. } | State::Requesting { .. }, false) => State::Down,
            (State::Bound { held } | State::Renewing { held, .. } | State::Rebinding { held, .. }, true) => {
                self.renew(held, now)
            }
            (other @ (State::Selecting { .. } | State::Requesting { .. }), true) => other,
            (other @ (State::Bound { .. } | State::Renewing { .. } | State::Rebinding { .. }), false) => {
                other
            }
        };
    }

    /// A DHCP message arrived (without IP and UDP headers). Anything that is not an answer to the last question is ignored.
    pub fn on_message(&mut self, bytes: &[u8], now: u64) {
        let Some(reply) = decode(bytes) else { return };
        if reply.xid != self.xid || reply.mac != self.mac {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Down);
        self.state = match state {
            State::Down => State::Down,
            State::Selecting { asked, next } => self.on_offer(reply, asked, next, now),
            State::Requesting { offer, server, asked, next } => {
                self.on_answer(reply, State::Requesting { offer, server, asked, next }, None, now)
            }
            State::Bound { held } => State::Bound { held },
            State::Renewing { held, next } => {
                let old = held.lease.clone();
                self.on_answer(reply, State::Renewing { held, next }, Some(&old), now)
            }
            State::Rebinding { held, next } => {
                let old = held.lease.clone();
                self.on_answer(reply, State::Rebinding { held, next }, Some(&old), now)
            }
        };
    }

    /// Time has passed; to be called when [`Client::poll_deadline`] is reached. Calling it early changes nothing.
    pub fn on_deadline(&mut self, now: u64) {
        if self.poll_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Down);
        self.state = match state {
            State::Down => State::Down,
            State::Selecting { asked, .. } => self.discover(asked, now),
            State::Requesting { offer, server, asked, .. } => {
                if asked >= REQUESTS_MAX {
                    self.search(now)
                } else {
                    self.request(offer, server, asked, now)
                }
            }
            State::Bound { held } => self.prolong(held, now),
            State::Renewing { held, .. } | State::Rebinding { held, .. } => self.prolong(held, now),
        };
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.take()
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() { None } else { Some(self.events.remove(0)) }
    }

    /// When [`Client::on_deadline`] must be called.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<u64> {
        match &self.state {
            State::Down => None,
            State::Selecting { next, .. } | State::Requesting { next, .. } => Some(*next),
            State::Bound { held } => held.times.map(|t| t.renew),
            State::Renewing { held, next } | State::Rebinding { held, next } => {
                Some(held.times.map_or(*next, |t| t.expire.min(*next)))
            }
        }
    }

    /// Whether answers may come to an interface that has no address: a socket below IP is needed.
    #[must_use]
    pub fn needs_raw_socket(&self) -> bool {
        match &self.state {
            State::Selecting { .. } | State::Requesting { .. } => true,
            State::Down | State::Bound { .. } | State::Renewing { .. } | State::Rebinding { .. } => false,
        }
    }

    /// The address in use.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Down | State::Selecting { .. } | State::Requesting { .. } => None,
            State::Bound { held } | State::Renewing { held, .. } | State::Rebinding { held, .. } => {
                Some(&held.lease)
            }
        }
    }

    fn search(&mut self, now: u64) -> State {
        self.began = now;
        self.xid = self.random_word();
        self.discover(0, now)
    }

    fn discover(&mut self, asked: u32, now: u64) -> State {
        let asked = asked.saturating_add(1);
        // Told at the third, then whenever the number of questions is a power of two: often at first, rarely later.
        if asked == 3 || (asked > 3 && asked.is_power_of_two()) {
            self.events.push(Event::NoAnswer { asked: asked.saturating_sub(1) });
        }
        self.send(Destination::RawBroadcast, Kind::DISCOVER, None, None, now);
        State::Selecting { asked, next: now.saturating_add(self.pause(asked)) }
    }

    fn request(&mut self, offer: Box<Reply>, server: Ipv4Addr, asked: u32, now: u64) -> State {
        let asked = asked.saturating_add(1);
        self.send(Destination::RawBroadcast, Kind::REQUEST, Some((offer.address, server)), None, now);
        let next = now.saturating_add(self.pause(asked));
        State::Requesting { offer, server, asked, next }
    }

    /// The first offer that is complete is taken: a node with two servers on one network has no way to choose.
    fn on_offer(&mut self, reply: Reply, asked: u32, next: u64, now: u64) -> State {
        match (reply.kind == Kind::OFFER, reply.server) {
            (true, Some(server)) if crate::args::is_usable(reply.address) => {
                self.request(Box::new(reply), server, 0, now)
            }
            _ => State::Selecting { asked, next },
        }
    }

    /// An ack or nak for the request of `state`; anything else leaves it as it is.
    fn on_answer(&mut self, reply: Reply, state: State, old: Option<&Lease>, now: u64) -> State {
        match reply.kind {
            Kind::ACK => {
                let Some(held) = self.hold(reply, &state, old) else { return state };
                if old == Some(&held.lease) {
                    self.events.push(Event::Renewed);
                } else {
                    self.events.push(Event::Bound(held.lease.clone()));
                }
                State::Bound { held }
            }
            Kind::NAK => {
                let words = reply.message.unwrap_or_else(|| "the server refused".to_owned());
                if old.is_some() {
                    self.events.push(Event::Lost(words));
                    return self.search(now);
                }
                self.events.push(Event::Refused(words));
                // A pause, so that a server that offers and refuses does not keep both busy.
                self.began = now;
                self.xid = self.random_word();
                State::Selecting { asked: 1, next: now.saturating_add(self.pause(2)) }
            }
            _ => state,
        }
    }

    /// Makes a lease of an ack. What the ack leaves out comes from the offer, or from the lease that it prolongs.
    fn hold(&self, ack: Reply, state: &State, old: Option<&Lease>) -> Option<Held> {
        let offer = match state {
            State::Requesting { offer, .. } => Some(offer.as_ref()),
            State::Down
            | State::Selecting { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. } => None,
        };
        if !crate::args::is_usable(ack.address) {
            return None;
        }
        let seconds = [ack.lease_s, offer.and_then(|o| o.lease_s)].into_iter().flatten().next()?;
        let lease_s = (seconds != INFINITE).then(|| u64::from(seconds).max(LEASE_MIN_S));
        let server = [ack.server, offer.and_then(|o| o.server), old.map(|l| l.server)];
        let prefix = [ack.prefix, offer.and_then(|o| o.prefix), old.map(|l| l.prefix)];
        // A server without a mask is odd; the classes of RFC 791 are what it then means.
        let by_class = class_prefix(ack.address);
        let lease = Lease {
            address: ack.address,
            prefix: prefix.into_iter().flatten().next().unwrap_or(by_class),
            gateway: ack.routers.first().copied(),
            dns: ack.dns,
            hostname: ack.hostname,
            server: server.into_iter().flatten().next()?,
            lease_s,
        };
        let times = lease_s.map(|s| times(self.asked_at, s, ack.renewal_s, ack.rebinding_s));
        Some(Held { lease, times })
    }

    /// The next question for a lease that should be prolonged, or its end.
    fn prolong(&mut self, held: Held, now: u64) -> State {
        let Some(times) = held.times else { return State::Bound { held } };
        if now >= times.expire {
            self.events.push(Event::Lost("the lease ended, and no server prolonged it".to_owned()));
            return self.search(now);
        }
        if now < times.rebind { self.renew(held, now) } else { self.rebind(held, now) }
    }

    fn renew(&mut self, held: Held, now: u64) -> State {
        self.xid = self.random_word();
        self.began = now;
        let to = Destination::Server(held.lease.server);
        self.send(to, Kind::REQUEST, None, Some(held.lease.address), now);
        let next = retry(now, held.times.map(|t| t.rebind));
        State::Renewing { held, next }
    }

    fn rebind(&mut self, held: Held, now: u64) -> State {
        self.xid = self.random_word();
        self.send(Destination::Broadcast, Kind::REQUEST, None, Some(held.lease.address), now);
        let next = retry(now, held.times.map(|t| t.expire));
        State::Rebinding { held, next }
    }

    fn send(
        &mut self,
        to: Destination,
        kind: Kind,
        taken: Option<(Ipv4Addr, Ipv4Addr)>,
        address: Option<Ipv4Addr>,
        now: u64,
    ) {
        let secs = u16::try_from(now.saturating_sub(self.began) / 1000).unwrap_or(u16::MAX);
        let request = Request {
            kind,
            xid: self.xid,
            secs,
            mac: self.mac,
            address,
            requested: taken.map(|(address, _)| address),
            server: taken.map(|(_, server)| server),
            hostname: self.hostname.clone(),
        };
        self.asked_at = now;
        self.out = Some(Transmit { to, bytes: encode(&request) });
    }

    /// The pause after the `asked`th question: doubled each time, shifted by up to a quarter either way.
    fn pause(&mut self, asked: u32) -> u64 {
        let doublings = asked.saturating_sub(1).min(RETRY_DOUBLINGS_MAX);
        let base = (RETRY_FIRST_MS << doublings).min(RETRY_MAX_MS);
        let spread = u64::from(self.random_word()) % (base / 2).max(1);
        (base - base / 4).saturating_add(spread)
    }

    /// xorshift64 (Marsaglia 2003): good enough to tell nodes apart.
    fn random_word(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from(self.random >> 32).unwrap_or(0)
    }
}

/// RFC 2131 §4.4.5: after half of what is left, but not below a minute, and not after the end of the stage.
fn retry(now: u64, end: Option<u64>) -> u64 {
    let Some(end) = end else { return now.saturating_add(PROLONG_RETRY_MIN_MS) };
    let left = end.saturating_sub(now);
    now.saturating_add((left / 2).max(PROLONG_RETRY_MIN_MS).min(left))
}

/// The times of a lease; values of a server that are out of order are replaced by the usual fractions (RFC 2131 §4.4.5).
fn times(from: u64, lease_s: u64, renewal_s: Option<u32>, rebinding_s: Option<u32>) -> Times {
    let (half, most) = (lease_s / 2, lease_s.saturating_mul(7) / 8);
    let rebind = rebinding_s.map(u64::from).filter(|t| (1..lease_s).contains(t)).unwrap_or(most);
    let usual = half.min(rebind);
    let renew = renewal_s.map(u64::from).filter(|t| (1..rebind).contains(t)).unwrap_or(usual);
    let at = |s: u64| from.saturating_add(s.saturating_mul(1000));
    Times { renew: at(renew), rebind: at(rebind), expire: at(lease_s) }
}

fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}
