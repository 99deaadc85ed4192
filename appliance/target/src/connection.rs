//! One connection of a host: its protocol state, its commands, and what its socket is doing.
//!
//! ```text
//!  Open ──fault──▶ Terminating (send the request, wait for the peer to close) ──▶ Closing ──Closed──▶ Gone
//!    └──────────── end of stream, time, our decision ─────────────────────────────▶┘
//! ```
//! A connection that is gone stays in its place until its commands have come back from the drives.

use crate::bits::Bits;
use crate::chunks::Part;
use crate::command::{Command, State};
use crate::limits::{
    COMMAND_HEADER_BYTES_MAX, COMMAND_PIECES_MAX, DEEP_QUEUE_ENTRIES, IDLE_MEMORY_LOOKS_MAX,
};
use crate::ranges::{Area, Loss};
use crate::steps;
use block::Tick;
use core::ops::Range;
use net::{Outgoing, SocketId};
use nvme_subsystem::limits::DISCOVERY_TRANSFER_MAX;
use nvme_subsystem::{ConnectionId, Io, Queue};
use nvme_tcp::controller::{Config, Connection as Tcp};
use nvme_tcp::{Slot, Transmit, data_digest};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// The peer broke the protocol: nothing more is understood, the termination request goes out.
    Terminating,
    /// The socket is being closed.
    Closing,
    /// There is no socket any more.
    Gone,
}

/// What arrives.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// The core's staging memory while its bytes are used; what was left unread after that.
    bytes: Box<[u8]>,
    is_lent: bool,
    /// Bytes that nobody has looked at.
    unread: Range<usize>,
    /// The socket is watched for more.
    pub(crate) is_watched: bool,
    /// The buffer of this part is with the network, for payload that comes next.
    pub(crate) lent: Option<(Slot, Part)>,
    /// Commands whose data the host was asked for and is sending: long payload comes next.
    pub(crate) requested: usize,
    /// The queue has many entries: much may be received at once.
    pub(crate) is_deep: bool,
    /// It is a stranger's, and in the line of those that want a turn.
    pub(crate) is_in_line: bool,
}

/// What leaves.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) is_sending: bool,
    /// The termination request was sent; the peer was told that nothing follows.
    pub(crate) is_finished: bool,
    /// Looks at the clock while that send was in flight and others waited for memory.
    pub(crate) idle_looks: u32,
    /// Slots whose last PDU is in the send in flight.
    pub(crate) releases: Vec<Slot>,
    /// It is in the list of connections that have something to send.
    pub(crate) is_listed: bool,
}

pub(crate) struct Connection {
    pub(crate) socket: SocketId,
    pub(crate) tcp: Tcp,
    /// The subsystems' name for it; `None` once they have forgotten it.
    pub(crate) id: Option<ConnectionId>,
    /// That name, if they forgot it while drives worked on its commands: they hear when the last one is back. Until then
    /// later writes to the same blocks wait (`ranges`).
    pub(crate) draining: Option<(ConnectionId, Loss)>,
    pub(crate) life: Life,
    /// It is a queue of a host of some subsystem, no stranger.
    pub(crate) is_host: bool,
    /// It is closed as soon as what is queued has been sent, or after a while.
    pub(crate) is_ending: bool,
    /// Looks at the clock since then.
    pub(crate) ending_looks: u32,
    /// By slot.
    pub(crate) commands: Vec<Command>,
    /// Operations of its commands that drives have not completed.
    pub(crate) at_devices: usize,
    /// Slots of commands that have something there.
    pub(crate) busy: Bits,
    /// How many of them were looked at.
    #[cfg(test)]
    pub(crate) looks: core::cell::Cell<usize>,
    /// Receiving stopped: this command's data comes next and there is no memory for it.
    pub(crate) blocked: Option<Slot>,
    /// A page for a stranger that has not been sent: nothing of it is received before.
    pub(crate) page: Option<Slot>,
    /// The first half of a fused operation whose second has not arrived.
    pub(crate) first: Option<Slot>,
    pub(crate) input: Input,
    pub(crate) output: Output,
}

impl Connection {
    pub(crate) fn new(socket: SocketId, id: ConnectionId, now: Tick) -> Self {
        let tcp = Tcp::new(Config::default(), now);
        let mut commands = Vec::new();
        commands.resize_with(tcp.slot_count(), Command::default);
        Self {
            socket,
            tcp,
            id: Some(id),
            draining: None,
            life: Life::Open,
            is_host: false,
            is_ending: false,
            ending_looks: 0,
            commands,
            at_devices: 0,
            busy: Bits::default(),
            #[cfg(test)]
            looks: core::cell::Cell::new(0),
            blocked: None,
            page: None,
            first: None,
            input: Input::default(),
            output: Output::default(),
        }
    }

    /// After the queue got its size.
    pub(crate) fn grow(&mut self, queue: &Queue) {
        self.input.is_deep = queue.entries >= DEEP_QUEUE_ENTRIES;
        self.commands.resize_with(self.tcp.slot_count(), Command::default);
        self.busy.grow(self.tcp.slot_count());
        if !queue.is_discovery {
            self.commands.iter_mut().for_each(|command| command.chunks.reserve());
        }
        self.output.releases.reserve(self.tcp.slot_count());
    }

    /// What arrives may be looked at.
    pub(crate) fn may_receive(&self) -> bool {
        self.id.is_some() && self.blocked.is_none() && self.page.is_none()
    }

    /// The slot of a command that is held.
    pub(crate) fn held(&self, index: usize) -> Option<Slot> {
        match self.commands.get(index)?.state {
            State::Held(slot) => Some(slot),
            State::Idle
            | State::AwaitMemory(..)
            | State::AwaitData(_)
            | State::AwaitPartner(..)
            | State::AwaitTurn(..)
            | State::AtDevices(..)
            | State::Answered => None,
        }
    }

    /// The clock was looked at while others wait for memory; says whether this host has kept some for too long: by not
    /// sending the data that it was asked for, or by not taking the data that it asked for.
    pub(crate) fn keeps_memory_idle(&mut self) -> bool {
        self.output.idle_looks += u32::from(self.output.is_sending);
        let mut looks = self.output.idle_looks;
        // While receiving is blocked for want of memory, missing data is not the host's fault.
        let is_received = self.blocked.is_none();
        for command in &mut self.commands {
            command.idle_looks += u32::from(is_received && matches!(command.state, State::AwaitData(_)));
            looks = looks.max(command.idle_looks);
        }
        looks > IDLE_MEMORY_LOOKS_MAX
    }

    /// The data that was asked for is here, or not wanted any more.
    pub(crate) fn end_request(&mut self, slot: Slot) {
        if core::mem::take(&mut self.command(slot).is_requested) {
            self.input.requested -= 1;
        }
    }

    pub(crate) fn command(&mut self, slot: Slot) -> &mut Command {
        &mut self.commands[slot.index()]
    }

    /// Commands without claim that are at the drives in an area.
    pub(crate) fn at_drives(&self, area: &Area) -> usize {
        self.count_at_drives(area, |command, _| !command.has_claim)
    }

    /// Writes that are at the drives in an area, but for those that have it for themselves.
    pub(crate) fn writes_at_drives(&self, area: &Area) -> usize {
        self.count_at_drives(area, |command, io| steps::is_write(io) && !steps::is_exclusive(io, command))
    }

    fn count_at_drives(&self, area: &Area, is_counted: impl Fn(&Command, &Io) -> bool) -> usize {
        let is_inside =
            |command: &Command, io: &Io| command.area(io).is_some_and(|other| other.overlaps(area));
        self.commands_at_drives()
            .filter(|(command, io)| is_inside(command, io) && is_counted(command, io))
            .count()
    }

    /// Commands that have something at the drives.
    pub(crate) fn commands_at_drives(&self) -> impl Iterator<Item = (&Command, &Io)> {
        self.busy.iter().map(|index| {
            #[cfg(test)]
            self.looks.update(|looks| looks + 1);
            let command = &self.commands[index];
            let State::AtDevices(io, ..) = &command.state else {
                unreachable!("its bit is set while it is there")
            };
            (command, io)
        })
    }

    /// Moves what the protocol wants to send into `outgoing`, as far as it fits.
    pub(crate) fn fill(&mut self, outgoing: &mut Outgoing) {
        let mut is_inside_reply = false;
        // Pages of strangers are copied.
        let page = if self.is_host { 0 } else { DISCOVERY_TRANSFER_MAX as usize };
        while is_inside_reply || outgoing.has_room(COMMAND_PIECES_MAX, COMMAND_HEADER_BYTES_MAX + page) {
            let Some(transmit) = self.tcp.poll_transmit() else { return };
            self.push(outgoing, &transmit);
            // The PDUs of one reply follow each other, and they share buffers: they go into the same send.
            is_inside_reply = transmit.payload.is_some() && transmit.done.is_none();
            if let Some(slot) = transmit.done {
                self.output.releases.push(slot);
            }
        }
    }

    fn push(&mut self, outgoing: &mut Outgoing, transmit: &Transmit) {
        outgoing.push_bytes(transmit.head());
        let Some(payload) = transmit.payload else { return };
        let command = &mut self.commands[payload.slot.index()];
        let (offset, len) = (payload.offset as usize, payload.len as usize);
        if !self.is_host {
            let page = &command.rest_mut().bytes[offset..offset + len];
            outgoing.push_bytes(page);
            if transmit.has_digest {
                outgoing.push_bytes(&data_digest([page]));
            }
            return;
        }
        let chunks = &mut command.chunks;
        // A buffer that a PDU boundary divides was moved into `outgoing` with its first part: it is the last one there.
        let digest = transmit.has_digest.then(|| {
            data_digest(chunks.parts(offset, len).map(|part| {
                let last = || outgoing.last_payload().and_then(|bytes| bytes.get(part.range.clone()));
                chunks.bytes(&part).or_else(last).expect("the data of a reply is here")
            }))
        });
        let mut next = offset;
        while next < offset + len {
            let part = chunks.part(next, offset + len - next);
            next += part.range.len();
            match chunks.take(part.index) {
                Some(buffer) => outgoing.push_payload(buffer, part.range),
                None => outgoing.push_again(part.range),
            }
        }
        if let Some(digest) = digest {
            outgoing.push_bytes(&digest);
        }
    }
}

impl Input {
    /// Bytes that nobody has looked at.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.unread.clone()]
    }

    /// The first `count` unread bytes were used.
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.unread.len(), "only what is there is used");
        self.unread.start += count;
    }

    /// Lends the core's staging memory with `count` received bytes at its start.
    pub(crate) fn lend(&mut self, staging: Box<[u8]>, count: usize) {
        assert!(self.unread.is_empty(), "bytes that came first are used first");
        self.bytes = staging;
        self.is_lent = true;
        self.unread = 0..count;
    }

    /// Gives the staging memory back. What was not used, because the connection waits for something, is kept in memory of
    /// its own: that is the only way in which a connection keeps memory for received bytes.
    pub(crate) fn take_back(&mut self) -> Box<[u8]> {
        assert!(core::mem::take(&mut self.is_lent), "only what was lent is given back");
        let rest: Box<[u8]> = self.unread().into();
        self.unread = 0..rest.len();
        core::mem::replace(&mut self.bytes, rest)
    }

    /// Nobody will look at what is there.
    pub(crate) fn forget(&mut self) {
        self.unread = 0..0;
        self.tidy();
    }

    /// Lets go of memory whose bytes were used.
    pub(crate) fn tidy(&mut self) {
        if self.unread.is_empty() && !self.is_lent {
            self.bytes = Box::default();
            self.unread = 0..0;
        }
    }
}
