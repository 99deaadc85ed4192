//! Between commands and drives: a command is started, its operations come back, it goes on or is answered.
//!
//! ```text
//!  start_io ─ (its turn, `ranges`) ─▶ advance ─ operations of a step (`steps`) ─▶ drives ─▶ on_completion ─┬─ last one: finish_io ─▶ answer
//!                 ▲                                                                 │
//!                 └───────────────── there is another step ─────────────────────────┘
//! ```

use crate::Target;
use crate::command::{Command, Failure, State};
use crate::connection::{Connection, Life};
use crate::limits::CHUNKS_MAX;
use crate::ranges::{Area, Entry, Owner, Want};
use crate::steps;
use block::{Completion, Op, Tag};
use dma::DmaBuf;
use nvme_spec::Status;
use nvme_subsystem::{Io, IoKind};
use nvme_tcp::Slot;
use nvme_tcp::controller::Reply;
use pool::DriveId;

/// Tags of the control plane's work have this bit; all others belong to commands.
pub const JOB_TAG: u64 = 1 << 63;

/// A tag names connection, command and buffer: 32, 16 and 8 bits from below. Buffers aside follow those of the data.
pub(crate) fn tag(place: usize, slot: Slot, chunk: usize) -> Tag {
    Tag(((chunk as u64) << 48) | ((slot.index() as u64) << 32) | place as u64)
}

/// Place, index of the slot, chunk.
fn untag(tag: Tag) -> (usize, usize, usize) {
    let field = |shift: u32, bits: u32| usize::try_from((tag.0 >> shift) & ((1 << bits) - 1)).unwrap_or(0);
    (field(0, 32), field(32, 16), field(48, 8))
}

/// Where an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Drive(DriveId),
    /// A volume of a pool of the thin engine, by the engine's number.
    Volume {
        thin: usize,
        number: u32,
    },
}

/// Operations of one command and where they go.
pub(crate) type Batch = Vec<(Way, Tag, Op<DmaBuf>)>;

impl Target {
    /// Gives a command to the drives. Its data, if it brings some, is complete.
    pub(crate) fn start_io(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        if connection.id.is_none() {
            // The host is forgotten, and may be back by another connection: what it wants now comes from there.
            return forget(connection.command(slot));
        }
        if self.ranges.is_empty() && !steps::must_ask(&io) {
            return self.advance(place, connection, slot, io);
        }
        self.ask(place, connection, slot, io);
    }

    /// A command that may have to wait for others, or others for it.
    fn ask(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        let command = connection.command(slot);
        let area = steps::area(&io, command);
        command.rest_mut().area = area;
        let Some(area) = area else { return self.advance(place, connection, slot, io) };
        let want = if steps::is_exclusive(&io, command) {
            Want::Exclusive { at_drives: self.at_drives(connection, &area) }
        } else {
            let must_look = self.ranges.has_lost() && steps::is_write(&io);
            Want::Ordinary { lost: if must_look { self.lost_writes(&area) } else { 0 } }
        };
        let entry = self.ranges.enter(Owner { place, index: slot.index() }, area, want);
        let command = connection.command(slot);
        command.has_claim = matches!(entry, Entry::Begins | Entry::Waits);
        match entry {
            Entry::Unnoted | Entry::Begins => self.advance(place, connection, slot, io),
            Entry::Waits => command.state = State::AwaitTurn(io, slot),
            Entry::Full => self.refuse(place, connection, slot, Status::COMMAND_INTERRUPTED),
        }
    }

    /// Commands without claim that are at the drives in an area; only what is at the drives is looked at. `connection` is out
    /// of its place.
    fn at_drives(&self, connection: &Connection, area: &Area) -> usize {
        self.busy_others().chain([connection]).map(|connection| connection.at_drives(area)).sum()
    }

    /// Connections in their places that have something at the drives.
    pub(crate) fn busy_others(&self) -> impl Iterator<Item = &Connection> {
        self.busy.iter().filter_map(|place| self.connections[place].as_deref())
    }

    /// Writes of lost connections that are at the drives in an area, but for those that have it for themselves.
    fn lost_writes(&self, area: &Area) -> usize {
        let lost = self.busy_others().filter(|connection| connection.draining.is_some());
        lost.map(|connection| connection.writes_at_drives(area)).sum()
    }

    /// Starts the commands whose turn it is; says how many.
    pub(crate) fn start_ready(&mut self) -> usize {
        let mut count = 0;
        while let Some(Owner { place, index }) = self.ranges.pop_ready() {
            let mut connection = self.take(place).expect("who is gone has left");
            let State::AwaitTurn(io, slot) = connection.commands[index].state else {
                unreachable!("only commands that wait become ready")
            };
            if connection.id.is_none() {
                self.leave(place, &mut connection, slot, &io);
                forget(connection.command(slot));
            } else {
                self.advance(place, &mut connection, slot, io);
            }
            self.put(place, connection);
            count += 1;
        }
        count
    }

    /// A command has left the drives, or does not go there: others may go on.
    pub(crate) fn leave(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: &Io) {
        let command = connection.command(slot);
        let Some(area) = command.area(io) else { return };
        if core::mem::take(&mut command.has_claim) {
            self.ranges.leave(Owner { place, index: slot.index() }, &area);
        } else {
            self.ranges.on_unnoted_end(&area);
        }
    }

    /// A write of a lost connection has ended: later ones may go on.
    fn on_lost_end(&mut self, connection: &mut Connection, slot: Slot, io: &Io) {
        if let Some((_, loss)) = connection.draining
            && let command = connection.command(slot)
            && steps::is_write(io)
            && !steps::is_exclusive(io, command)
            && let Some(area) = command.area(io)
        {
            self.ranges.on_lost_end(&area, loss);
        }
    }

    /// Gives the operations of a command's next step to the drives; ends the command if there are none.
    fn advance(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        let mut batch = core::mem::take(&mut self.batch);
        let command = connection.command(slot);
        if command.failure.is_none()
            && let Err(status) = self.plan(&mut batch, (place, slot), command, io)
        {
            command.failure = Some(Failure::Status(status));
        }
        command.step += 1;
        let count = batch.len();
        command.state = State::AtDevices(io, slot, count);
        connection.at_devices += count;
        if count > 0 {
            connection.busy.insert(slot.index());
            self.busy.insert(place);
        }
        for (way, tag, op) in batch.drain(..) {
            match way {
                Way::Drive(drive) => self.devices.submit(drive, tag, op),
                Way::Volume { thin, number } => {
                    let thin = self.thin[thin].as_mut().expect("a pool stays while it is exported");
                    thin.submit(tag, number, op);
                }
            }
        }
        self.batch = batch;
        if count == 0 {
            self.finish_io(place, connection, slot, io);
        }
    }

    /// An operation of a command has ended.
    pub(crate) fn on_completion(&mut self, completion: Completion<DmaBuf>) {
        let (place, slot, chunk) = untag(completion.tag);
        let mut connection = self.take(place).expect("a connection stays until its operations have ended");
        connection.at_devices -= 1;
        let command = &mut connection.commands[slot];
        if let Some(buf) = completion.buf {
            match chunk.checked_sub(CHUNKS_MAX) {
                None => command.chunks.put(chunk, buf),
                Some(chunk) => command.rest_mut().aside.put(chunk, buf),
            }
        }
        if let Err(error) = completion.result {
            command.failure.get_or_insert(Failure::Media(error));
        }
        let State::AtDevices(io, slot, pending) = command.state else {
            unreachable!("an operation belongs to a command at the drives")
        };
        command.state = State::AtDevices(io, slot, pending - 1);
        if pending == 1 {
            connection.busy.remove(slot.index());
            // A host that is forgotten gets nothing more done: it may be back by another connection.
            if steps::has_more(&io) && connection.id.is_some() {
                self.advance(place, &mut connection, slot, io);
            } else {
                self.finish_io(place, &mut connection, slot, io);
            }
        }
        if connection.at_devices == 0 {
            self.busy.remove(place);
            if let Some((id, _)) = connection.draining.take() {
                self.ranges.end_loss();
                self.subsystems.on_drained(id);
            }
        }
        self.put(place, connection);
    }

    /// All operations of a command have ended: it is answered, if there is still somebody to hear it.
    fn finish_io(&mut self, place: usize, connection: &mut Connection, slot: Slot, io: Io) {
        if !self.ranges.is_empty() {
            self.leave(place, connection, slot, &io);
            self.on_lost_end(connection, slot, &io);
        }
        let id = connection.id.filter(|_| connection.life == Life::Open);
        let command = connection.command(slot);
        let is_read = matches!(io.kind, IoKind::Read { .. });
        let Some(id) = id else { return forget(command) };
        if command.partner().is_some() {
            return self.finish_pair(place, connection, slot, (id, io));
        }
        let result = match command.failure {
            None => Ok(()),
            Some(Failure::Media(error)) => Err(error),
            Some(Failure::Status(status)) => {
                return self.answer(place, connection, slot, Reply::status(status));
            }
        };
        let sqe = command.sqe.expect("a command at the drives has its entry");
        let data_len = if is_read { u32::try_from(command.len).unwrap_or(0) } else { 0 };
        self.counters.commands += 1;
        let cqe = self.subsystems.on_io_done(id, &sqe, &io, result);
        self.answer(place, connection, slot, Reply::with_data(cqe, data_len));
    }
}

/// There is nobody to answer.
pub(crate) fn forget(command: &mut Command) {
    command.reset();
    command.state = State::Answered;
}
