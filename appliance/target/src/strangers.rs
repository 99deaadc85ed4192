//! Connections of nobody in particular: not connected yet, ended for a fault, or of the discovery subsystem, which answers
//! anybody. They cost a socket each, and anybody can open one.
//!
//! Invariants
//! - There are at most [`STRANGERS_MAX`] of them, and at most [`STRANGERS_PER_SOURCE_MAX`] of one source. The rest of the
//!   sockets is for hosts that are connected to a subsystem: no stranger ever makes one of those go, or keeps it out.
//! - A new one is always let in, and the oldest makes room: of the same source if that has its share, otherwise of the source
//!   that has most. So who opens many connections competes with itself, and a host that has just come needs the
//!   milliseconds of a Connect, not luck. (Refusing the new ones instead would let whoever came first keep everybody out.)
//! - What one of them makes us keep is bounded (`STRANGER_BYTES_MAX`), and none of it is memory for IO: the data of a Connect and
//!   the pages of the discovery subsystem stay outside the arena. Of these pages one at a time is made, and what comes behind it
//!   stays in the socket until it was sent.
//! - They share the core's time: a few of them have a turn in each round (`STRANGER_TURNS_PER_ROUND_MAX`), in the order in which
//!   they have sent something, and little is received in each. Hosts do not stand in that line.
//! - Nothing is counted beyond the connections that exist, so there is nothing to fill.

use crate::limits::{STRANGERS_MAX, STRANGERS_PER_SOURCE_MAX};
use core::net::IpAddr;
use net::SocketId;
use std::collections::{BTreeMap, VecDeque};

/// Who a connection comes from: an IPv4 address, or the first half of an IPv6 address, which is what one peer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The strangers in order of arrival.
#[derive(Debug)]
pub(crate) struct Strangers {
    list: VecDeque<(SocketId, Source)>,
}

impl Strangers {
    pub(crate) fn new() -> Self {
        Self { list: VecDeque::with_capacity(STRANGERS_MAX) }
    }

    /// Somebody comes; returns who has to go for it.
    pub(crate) fn arrive(&mut self, socket: SocketId, address: IpAddr) -> Option<SocketId> {
        let source = Source::of(address);
        let gone = self.victim(source).and_then(|index| self.list.remove(index));
        self.list.push_back((socket, source));
        gone.map(|(socket, _)| socket)
    }

    /// It is closed, or a host by now.
    pub(crate) fn leave(&mut self, socket: SocketId) {
        if let Some(index) = self.list.iter().position(|(other, _)| *other == socket) {
            self.list.remove(index);
        }
    }

    /// Whose place a new one of this source takes.
    fn victim(&self, source: Source) -> Option<usize> {
        let oldest = |source: Source| self.list.iter().position(|(_, other)| *other == source);
        let own = self.list.iter().filter(|(_, other)| *other == source).count();
        if own >= STRANGERS_PER_SOURCE_MAX {
            return oldest(source);
        }
        if self.list.len() < STRANGERS_MAX {
            return None;
        }
        let mut counts = BTreeMap::new();
        for (_, source) in &self.list {
            *counts.entry(*source).or_insert(0usize) += 1;
        }
        let most = counts.values().copied().max()?;
        self.list.iter().position(|(_, source)| counts.get(source) == Some(&most))
    }
}
