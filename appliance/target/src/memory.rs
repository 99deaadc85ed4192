//! Who waits for memory, and who gets it.
//!
//! Two kinds of commands take buffers. Data that comes *in the capsule* blocks its connection until there is a buffer: the
//! bytes behind it cannot be looked at. All others (*paced by the host*) wait by themselves: an R2T is sent, or a read is
//! started, when the buffers are there.
//!
//! Invariants
//! - The last [`RESERVE_BUFFERS`] large buffers are for data in capsules. Such a command needs nothing more from its host:
//!   it goes to the drives and gives its buffer back. So a blocked connection always gets on, although everything else
//!   may be held by commands that wait for data behind it.
//! - Memory that a host does not use comes back: while others wait, a connection that neither sends the data it was asked
//!   for nor takes what it asked for is closed after a while ([`Connection::keeps_memory_idle`]). Keep alive is no help
//!   there: such a host is alive.
//! - Whoever waits longest is served first; nobody overtakes, so large commands are not starved by small ones.

use crate::Target;
use crate::chunks::Shape;
use crate::command::{Failure, Purpose, State, Transfer};
use crate::connection::{Connection, Life};
use crate::limits::{RESERVE_BUFFERS, STARTS_PER_ROUND_MAX};
use block::Tick;
use net::Net;
use nvme_tcp::Slot;

impl Target {
    /// A command needs buffers for `len` bytes: it goes on now, or when there are some.
    pub(crate) fn need_memory(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        len: usize,
        purpose: Purpose,
        transfer: Transfer,
    ) {
        let command = connection.command(slot);
        command.len = len;
        command.state = State::AwaitMemory(purpose, transfer);
        let must_wait = match transfer {
            Transfer::InCapsule => !self.blocked.is_empty(),
            Transfer::OnRequest | Transfer::ToHost => !self.waiting.is_empty(),
        };
        if !must_wait && self.try_memory(place, connection, slot) {
            return;
        }
        self.counters.memory_waits += 1;
        match transfer {
            Transfer::InCapsule => {
                connection.blocked = Some(slot);
                self.blocked.push_back(place);
            }
            Transfer::OnRequest | Transfer::ToHost => self.waiting.push_back((place, slot)),
        }
    }

    /// Gives buffers to a command that waits for them, if there are enough.
    fn try_memory(&mut self, place: usize, connection: &mut Connection, slot: Slot) -> bool {
        let command = connection.command(slot);
        let State::AwaitMemory(purpose, transfer) = command.state else {
            unreachable!("only commands that wait get memory")
        };
        if command.failure.is_none() {
            let (shape, aside) = (purpose.shape(command.len), purpose.aside());
            // Zeroes for parts of blocks have no data, but need memory for the rest of these blocks.
            let has_data = command.len > 0;
            let is_paced = transfer != Transfer::InCapsule;
            let count = if has_data { shape.count() } else { 0 } + aside.map_or(0, Shape::count);
            if is_paced && self.arena.free_of_largest() < count + RESERVE_BUFFERS {
                return false;
            }
            // All or nothing: a command that waits for memory holds none.
            if has_data && !command.chunks.alloc(&self.arena, shape) {
                return false;
            }
            if let Some(shape) = aside
                && !command.rest_mut().aside.alloc(&self.arena, shape)
            {
                command.chunks.clear();
                return false;
            }
        }
        self.on_memory(place, connection, slot, purpose, transfer);
        true
    }

    /// A command has its buffers, or does not need them any more.
    pub(crate) fn on_memory(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        purpose: Purpose,
        transfer: Transfer,
    ) {
        if let Some(Failure::Status(status)) = connection.command(slot).failure {
            return self.refuse(place, connection, slot, status);
        }
        match transfer {
            Transfer::InCapsule => connection.command(slot).state = State::AwaitData(purpose),
            Transfer::OnRequest => {
                let command = connection.command(slot);
                command.state = State::AwaitData(purpose);
                command.is_requested = true;
                let len = u32::try_from(command.len).expect("a transfer is at most 1 MiB");
                connection.tcp.request_data(slot, len);
                connection.input.requested += 1;
                self.list(place, connection);
            }
            Transfer::ToHost => match purpose {
                Purpose::Io(io) => self.start_io(place, connection, slot, io),
                Purpose::Page(room) => self.answer_with_page(place, connection, slot, room),
                Purpose::Data | Purpose::Half(_) => unreachable!("that data comes from the host"),
            },
        }
    }

    /// Serves those that wait, in order, as far as memory goes; says how many.
    pub(crate) fn serve_waiting(&mut self, net: &mut Net, now: Tick) -> usize {
        let mut served = 0;
        while served < STARTS_PER_ROUND_MAX
            && let Some(place) = self.blocked.front().copied()
        {
            if let Some(mut connection) = self.take(place) {
                let slot = connection.blocked.filter(|_| connection.life == Life::Open);
                let is_served = slot.is_none_or(|slot| self.try_memory(place, &mut connection, slot));
                if is_served && slot.is_some() {
                    connection.blocked = None;
                    connection.tcp.on_resumed(now);
                    self.pump(place, &mut connection, net, now);
                }
                self.put(place, connection);
                if !is_served {
                    break;
                }
            }
            self.blocked.pop_front();
            served += 1;
        }
        while served < STARTS_PER_ROUND_MAX
            && let Some((place, slot)) = self.waiting.front().copied()
        {
            if let Some(mut connection) = self.take(place) {
                let is_waiting = connection.life == Life::Open
                    && connection.commands.get(slot.index()).is_some_and(|command| {
                        matches!(command.state, State::AwaitMemory(_, Transfer::OnRequest | Transfer::ToHost))
                    });
                let is_served = !is_waiting || self.try_memory(place, &mut connection, slot);
                self.put(place, connection);
                if !is_served {
                    break;
                }
            }
            self.waiting.pop_front();
            served += 1;
        }
        served
    }
}
