//! The commands of one connection, by slot.
//!
//! ```text
//!  Free ─take─▶ Held ─expect_data─▶ Incoming ─end_part─▶ Held ─answer─▶ Replying ─finish─▶ Sent ─release─▶ Free
//!                                       └─ answered early: the answer waits for the end of the data ─▲
//! ```
//!
//! Invariant: a command identifier's bit is set from `take` to `finish`; `live` counts the bits.

use crate::limits::FEW_SLOTS;
use crate::wire::Slot;
use block::Tick;
use nvme_spec::{Cqe, Status};
use zerocopy::little_endian::{U32, U64};

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status and result; command identifier and queue head are filled in.
    pub cqe: Cqe,
    /// Bytes from the start of the slot's buffer that are sent before; none if the status is an error.
    pub data_len: u32,
}

impl Reply {
    /// Only a status.
    #[must_use]
    pub fn status(status: Status) -> Self {
        Self { cqe: Cqe::new(0, status), data_len: 0 }
    }

    /// A completion, and data from the slot's buffer.
    #[must_use]
    pub fn with_data(cqe: Cqe, data_len: u32) -> Self {
        Self { cqe, data_len: if cqe.status().is_success() { data_len } else { 0 } }
    }

    /// Success with a result in dwords 0 and 1.
    #[must_use]
    pub fn result(value: u64) -> Self {
        let mut reply = Self::status(Status::SUCCESS);
        let [a, b, c, d, e, f, g, h] = U64::new(value).to_bytes();
        reply.cqe.dw0 = U32::from_bytes([a, b, c, d]);
        reply.cqe.dw1 = U32::from_bytes([e, f, g, h]);
        reply
    }
}

/// Write data on its way to us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) len: u32,
    pub(super) received: u32,
    source: Source,
    is_intact: bool,
    /// The command was answered before its data had arrived.
    pub(super) answer: Option<Reply>,
}

/// Where write data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The capsule.
    Capsule,
    /// An R2T that waits to be sent. What comes before is nothing that we asked for.
    Unsent { due: Tick },
    /// An R2T that was sent.
    Requested { due: Tick },
}

impl Incoming {
    /// An R2T for it was sent.
    pub(super) fn is_requested(&self) -> bool {
        matches!(self.source, Source::Requested { .. })
    }

    fn due(&self) -> Option<Tick> {
        match self.source {
            Source::Capsule => None,
            Source::Unsent { due } | Source::Requested { due } => Some(due),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Free,
    Held,
    Incoming(Incoming),
    Replying { reply: Reply, sent: u32 },
    Sent,
}

#[derive(Clone, Copy, Debug)]
struct Command {
    cid: u16,
    state: State,
}

/// What the end of a data PDU means for its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// More will come.
    More,
    /// That was all.
    Complete(Result<(), Status>),
    /// That was all, and the answer has been waiting for it.
    Answered,
}

const CID_WORDS: usize = 1024;
const _: () = assert!(CID_WORDS * 64 == 1 << 16);

#[derive(Debug)]
pub(super) struct Slots {
    commands: Vec<Command>,
    free: Vec<u16>,
    /// A bit for each identifier that is live. Empty while there are a few slots ([`FEW_SLOTS`]): 8 KiB for whoever opens a
    /// connection would be much.
    cids: Vec<u64>,
    live: u16,
}

impl Slots {
    pub(super) fn new(count: u16) -> Self {
        let mut slots = Self { commands: Vec::new(), free: Vec::new(), cids: Vec::new(), live: 0 };
        slots.grow(count);
        slots
    }

    /// Makes room for `count` slots in all; never shrinks.
    pub(super) fn grow(&mut self, count: u16) {
        let have = u16::try_from(self.commands.len()).unwrap_or(u16::MAX);
        self.commands.resize(usize::from(count.max(have)), Command { cid: 0, state: State::Free });
        self.free.reserve_exact(self.commands.len().saturating_sub(self.free.len()));
        // The lowest is taken next: buffers of few slots stay in the caches.
        self.free.splice(0..0, (have..count).rev());
        if count > FEW_SLOTS && self.cids.is_empty() {
            let is_live = |command: &&Command| !matches!(command.state, State::Free | State::Sent);
            let live: Vec<u16> = self.commands.iter().filter(is_live).map(|command| command.cid).collect();
            self.cids = vec![0; CID_WORDS];
            for cid in live {
                if let Some((word, bit)) = self.cid_bit(cid) {
                    *word |= bit;
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn live_count(&self) -> u16 {
        self.live
    }

    fn cid_bit(&mut self, cid: u16) -> Option<(&mut u64, u64)> {
        self.cids.get_mut(usize::from(cid / 64)).map(|word| (word, 1u64 << (cid % 64)))
    }

    pub(super) fn is_live(&self, cid: u16) -> bool {
        if self.cids.is_empty() {
            return self.find(cid).is_some();
        }
        self.cids.get(usize::from(cid / 64)).is_some_and(|word| word & (1u64 << (cid % 64)) != 0)
    }

    pub(super) fn find(&self, cid: u16) -> Option<Slot> {
        let index = self
            .commands
            .iter()
            .position(|command| command.cid == cid && !matches!(command.state, State::Free | State::Sent))?;
        u16::try_from(index).ok().map(Slot)
    }

    pub(super) fn take(&mut self, cid: u16) -> Option<Slot> {
        let slot = Slot(self.free.pop()?);
        *self.command(slot) = Command { cid, state: State::Held };
        if let Some((word, bit)) = self.cid_bit(cid) {
            *word |= bit;
        }
        self.live = self.live.saturating_add(1);
        Some(slot)
    }

    pub(super) fn cid(&self, slot: Slot) -> Option<u16> {
        self.commands.get(slot.index()).map(|command| command.cid)
    }

    fn command(&mut self, slot: Slot) -> &mut Command {
        match self.commands.get_mut(slot.index()) {
            Some(command) => command,
            None => panic!("slot {} belongs to another connection", slot.0),
        }
    }

    pub(super) fn incoming(&self, slot: Slot) -> Option<&Incoming> {
        match self.commands.get(slot.index()).map(|command| &command.state) {
            Some(State::Incoming(incoming)) => Some(incoming),
            Some(State::Free | State::Held | State::Replying { .. } | State::Sent) | None => None,
        }
    }

    pub(super) fn incoming_mut(&mut self, slot: Slot) -> Option<&mut Incoming> {
        match self.commands.get_mut(slot.index()).map(|command| &mut command.state) {
            Some(State::Incoming(incoming)) => Some(incoming),
            Some(State::Free | State::Held | State::Replying { .. } | State::Sent) | None => None,
        }
    }

    /// Data will come: in the capsule, or for an R2T, until `due`.
    pub(super) fn expect_data(&mut self, slot: Slot, len: u32, due: Option<Tick>) {
        let command = self.command(slot);
        assert!(matches!(command.state, State::Held), "data is asked for once, before the answer");
        let source = due.map_or(Source::Capsule, |due| Source::Unsent { due });
        command.state = State::Incoming(Incoming { len, received: 0, source, is_intact: true, answer: None });
    }

    /// The R2T was handed out: the data may come.
    pub(super) fn request_sent(&mut self, slot: Slot) {
        if let Some(incoming) = self.incoming_mut(slot)
            && let Source::Unsent { due } = incoming.source
        {
            incoming.source = Source::Requested { due };
        }
    }

    fn all_incoming(&mut self) -> impl Iterator<Item = &mut Incoming> {
        self.commands.iter_mut().filter_map(|command| match &mut command.state {
            State::Incoming(incoming) => Some(incoming),
            State::Free | State::Held | State::Replying { .. } | State::Sent => None,
        })
    }

    /// When the first data that was asked for is due.
    pub(super) fn data_due(&mut self) -> Option<Tick> {
        self.all_incoming().filter_map(|incoming| incoming.due()).min()
    }

    /// No data is due before this.
    pub(super) fn postpone_data(&mut self, until: Tick) {
        for incoming in self.all_incoming() {
            match &mut incoming.source {
                Source::Capsule => {}
                Source::Unsent { due } | Source::Requested { due } => *due = until.max(*due),
            }
        }
    }

    pub(super) fn end_part(&mut self, slot: Slot, is_intact: bool) -> Part {
        let command = self.command(slot);
        let State::Incoming(incoming) = &mut command.state else {
            panic!("data ended for a command that expects none");
        };
        incoming.is_intact &= is_intact;
        if incoming.received < incoming.len {
            return Part::More;
        }
        let incoming = *incoming;
        if let Some(reply) = incoming.answer {
            command.state = State::Replying { reply, sent: 0 };
            return Part::Answered;
        }
        command.state = State::Held;
        let result = if incoming.is_intact { Ok(()) } else { Err(Status::TRANSIENT_TRANSPORT_ERROR) };
        Part::Complete(result)
    }

    /// Returns true if the reply can be sent now.
    pub(super) fn answer(&mut self, slot: Slot, reply: Reply) -> bool {
        let command = self.command(slot);
        match &mut command.state {
            State::Held => {
                command.state = State::Replying { reply, sent: 0 };
                true
            }
            State::Incoming(incoming) => {
                assert!(incoming.answer.is_none(), "a command is answered once");
                incoming.answer = Some(reply);
                false
            }
            State::Free | State::Replying { .. } | State::Sent => panic!("a command is answered once"),
        }
    }

    pub(super) fn replying(&self, slot: Slot) -> (Reply, u32) {
        match self.commands.get(slot.index()).map(|command| &command.state) {
            Some(State::Replying { reply, sent }) => (*reply, *sent),
            Some(State::Free | State::Held | State::Incoming(_) | State::Sent) | None => {
                panic!("only commands that were answered are queued for sending")
            }
        }
    }

    pub(super) fn sent(&mut self, slot: Slot, len: u32) {
        match &mut self.command(slot).state {
            State::Replying { sent, .. } => *sent = sent.saturating_add(len),
            State::Free | State::Held | State::Incoming(_) | State::Sent => {
                panic!("only replies are sent")
            }
        }
    }

    /// The last PDU of a command was handed out: the host may use its identifier again.
    pub(super) fn finish(&mut self, slot: Slot) {
        let command = self.command(slot);
        command.state = State::Sent;
        let cid = command.cid;
        if let Some((word, bit)) = self.cid_bit(cid) {
            *word &= !bit;
        }
        self.live = self.live.saturating_sub(1);
    }

    pub(super) fn release(&mut self, slot: Slot) {
        let command = self.command(slot);
        assert!(matches!(command.state, State::Sent), "a slot is released once, after its end");
        command.state = State::Free;
        self.free.push(slot.0);
    }
}
