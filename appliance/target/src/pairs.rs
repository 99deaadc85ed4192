//! Fused operations: two commands of a connection that are done as one. `nvme-subsystem` says which belong together.
//!
//! ```text
//!  First ─ its data ─▶ AwaitPartner ─┐
//!  Second ─ its data ─▶ AwaitPartner ┴─ memory ─ claim ─▶ AtDevices ─▶ both are answered
//! ```
//!
//! Invariants
//! - A half that waits for the other holds no memory of the arena: its data, a block at most, is copied aside, and the buffer
//!   that it came in goes back. So a half is like any short write for those who wait for memory, and the pair that holds
//!   buffers needs nothing more from its host. At most [`HALVES_MAX`] of a connection have data aside.
//! - The second does the work, as one command with several steps; the first waits for its end.
//! - Halves that belong together know each other (`partner`) until the first of them is answered.

use crate::Target;
use crate::command::{Failure, Purpose, State, Transfer};
use crate::connection::Connection;
use crate::limits::HALVES_MAX;
use nvme_spec::Status;
use nvme_subsystem::{ConnectionId, Io, IoKind};
use nvme_tcp::Slot;
use nvme_tcp::controller::{Data, Reply};

impl Target {
    /// The first half arrived.
    pub(crate) fn on_first(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        io: Io,
        data: Data,
    ) {
        if connection.commands.iter().filter(|command| command.is_half()).count() >= HALVES_MAX {
            // Its second finds no partner, and is refused, too.
            return self.answer(place, connection, slot, Reply::status(Status::COMMAND_INTERRUPTED));
        }
        connection.first = Some(slot);
        self.need_half(place, connection, slot, io, data);
    }

    /// The second half arrived.
    pub(crate) fn on_second(
        &mut self,
        place: usize,
        connection: &mut Connection,
        slot: Slot,
        io: Io,
        data: Data,
    ) {
        let Some(first) = connection.first.take() else {
            let reply = Reply::status(Status::ABORTED_FAILED_FUSED);
            return self.answer(place, connection, slot, reply);
        };
        connection.command(first).rest_mut().partner = Some(slot);
        connection.command(slot).rest_mut().partner = Some(first);
        self.need_half(place, connection, slot, io, data);
    }

    fn need_half(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io, data: Data) {
        let len = io.kind.data_len() as usize;
        self.need_data(place, connection, slot, (len, data), Purpose::Half(io));
    }

    /// The data of a half is complete.
    pub(crate) fn on_half_data(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        let command = connection.command(slot);
        command.rest_mut().bytes = command.chunks.to_vec();
        command.chunks.clear();
        command.state = State::AwaitPartner(io);
        let Some(partner) = command.partner() else { return };
        if !matches!(connection.command(partner).state, State::AwaitPartner(..)) {
            return;
        }
        // The younger of the two does the work.
        let is_second = matches!(io.kind, IoKind::CompareAndWrite { .. });
        let (first, second) = if is_second { (partner, slot) } else { (slot, partner) };
        let expected = core::mem::take(&mut connection.command(first).rest_mut().bytes);
        let command = connection.command(second);
        command.rest_mut().expected = expected;
        let State::AwaitPartner(io) = command.state else { unreachable!("both halves are here") };
        let len = command.len;
        self.need_memory(place, connection, second, len, Purpose::Io(io), Transfer::ToHost);
    }

    /// A command is refused, after it was accepted at first; the other half goes with it, if it is one.
    pub(crate) fn refuse(&mut self, place: usize, connection: &mut Connection, slot: Slot, status: Status) {
        if connection.first == Some(slot) {
            connection.first = None;
        }
        let command = connection.command(slot);
        let partner = command.partner();
        if partner.is_some() {
            command.rest_mut().partner = None;
        }
        self.answer(place, connection, slot, Reply::status(status));
        let Some(partner) = partner else { return };
        let other = connection.command(partner);
        other.rest_mut().partner = None;
        let failure = *other.failure.get_or_insert_with(|| Failure::Status(aborted_with(status)));
        if let (State::AwaitPartner(..), Failure::Status(status)) = (other.state, failure) {
            self.answer(place, connection, partner, Reply::status(status));
        }
    }

    /// The first half that waits gets no second.
    pub(crate) fn abort_first(&mut self, place: usize, connection: &mut Connection, status: Status) {
        // It may have been refused meanwhile.
        let Some(slot) = connection.first.take() else { return };
        let command = connection.command(slot);
        if matches!(command.state, State::AwaitPartner(..)) {
            return self.refuse(place, connection, slot, status);
        }
        // Its data is on the way; it is answered when that has arrived.
        command.failure.get_or_insert(Failure::Status(status));
    }

    /// All operations of a pair have ended. The first half succeeded if the blocks were as expected (NVM 1.1, Compare and Write).
    pub(crate) fn finish_pair(
        &mut self,
        place: usize,
        connection: &mut Connection,
        second: Slot,
        (id, io): (ConnectionId, Io),
    ) {
        let command = connection.command(second);
        let (failure, is_equal) = (command.failure, command.rest_mut().is_equal);
        let first = command.rest_mut().partner.take().expect("the first half waits");
        let State::AwaitPartner(compare) = connection.command(first).state else {
            unreachable!("the first half waits")
        };
        connection.command(first).rest_mut().partner = None;
        self.counters.commands += 2;
        let mut reply = |slot, io: &Io, failure| {
            let sqe = connection.command(slot).sqe.expect("a command in progress has its entry");
            let result = match failure {
                Some(Failure::Status(status)) => return Reply::status(status),
                Some(Failure::Media(error)) => Err(error),
                None => Ok(()),
            };
            Reply::with_data(self.subsystems.on_io_done(id, &sqe, io, result), 0)
        };
        let (of_first, of_second) = if is_equal {
            (reply(first, &compare, None), reply(second, &io, failure))
        } else {
            let of_first = reply(first, &compare, failure);
            (of_first, Reply::status(aborted_with(of_first.cqe.status())))
        };
        self.answer(place, connection, first, of_first);
        self.answer(place, connection, second, of_second);
    }
}

/// What a half is told when the other one failed: to be repeated if that one is.
fn aborted_with(status: Status) -> Status {
    if status.is_dnr() { Status::ABORTED_FAILED_FUSED.dnr() } else { Status::ABORTED_FAILED_FUSED }
}
