//! One command of a host on its way: waiting for memory, for data, for drives, or answered.
//!
//! ```text
//!            ┌─ AwaitMemory ─┐   ┌─ AwaitData ─┐   ┌─ AwaitTurn ─┐
//!  Idle ─────┴───────────────┴───┴─────────────┴───┴─────────────┴─▶ AtDevices ─▶ Answered ─ sent ─▶ Idle
//!    ├─ Held (an event request waits for its event) ───────────────────────────────┘
//!    └─ AwaitMemory, AwaitData, AwaitPartner (half of a fused operation, see `pairs`)
//! ```
//! Invariant: buffers are here, with the drives, or with the network, and the state says which.

use crate::chunks::{Chunks, Shape};
use crate::lists::Position;
use crate::ranges::Area;
use crate::steps;
use block::MediaError;
use nvme_spec::{Sqe, Status};
use nvme_subsystem::Io;
use nvme_tcp::Slot;

/// What happens when a command has its memory, or its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The drives are asked.
    Io(Io),
    /// Its data is kept until the other half of the fused operation is there.
    Half(Io),
    /// The protocol looks at the data that came with it.
    Data,
    /// The protocol makes the page that it is answered with; the host has room for so many bytes.
    Page(u32),
}

impl Purpose {
    /// How the `len` bytes of its data lie.
    pub(crate) fn shape(&self, len: usize) -> Shape {
        match self {
            Self::Io(io) => io.kind.span().map_or_else(|| Shape::plain(len), Shape::of),
            Self::Half(_) | Self::Data | Self::Page(_) => Shape::plain(len),
        }
    }

    /// Buffers that it needs beside those for the data.
    pub(crate) fn aside(&self) -> Option<Shape> {
        let Self::Io(io) = self else { return None };
        steps::aside(io)
    }
}

/// How the data of a command moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// It follows in the stream.
    InCapsule,
    /// The host sends it when asked.
    OnRequest,
    /// It goes to the host, or to nobody: nothing more comes.
    ToHost,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum State {
    #[default]
    Idle,
    AwaitMemory(Purpose, Transfer),
    AwaitData(Purpose),
    /// The data of this half of a fused operation is here; the other half is not, or works for both.
    AwaitPartner(Io),
    /// Others have to leave the blocks first (see `ranges`).
    AwaitTurn(Io, Slot),
    /// `Io` is on its way for the command in this slot; so many operations are to come back.
    AtDevices(Io, Slot, usize),
    /// The subsystems answer it later.
    Held(Slot),
    /// The answer was given to the protocol.
    Answered,
}

/// How a command fails before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A drive said so.
    Media(MediaError),
    /// We say so.
    Status(Status),
}

/// What belongs to a slot. Reads and writes look at the start of it only: with a full queue every cache line of it that is
/// looked at comes from the second cache, several times for each command.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Command {
    pub(crate) state: State,
    pub(crate) chunks: Chunks,
    /// Bytes of data.
    pub(crate) len: usize,
    /// Steps of it that went to the drives.
    pub(crate) step: u32,
    /// Looks at the clock while its data was missing and others waited for memory.
    pub(crate) idle_looks: u32,
    /// The first failure.
    pub(crate) failure: Option<Failure>,
    /// It has a claim in `ranges`.
    pub(crate) has_claim: bool,
    /// Its data was asked for and has not arrived.
    pub(crate) is_requested: bool,
    /// There is something in `rest`.
    has_rest: bool,
    pub(crate) sqe: Option<Sqe>,
    rest: Rest,
}

/// What reads and writes of whole blocks do not need.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Buffers for what is no data of the host.
    pub(crate) aside: Chunks,
    /// How far it is in its list of ranges.
    pub(crate) position: Position,
    /// The blocks that it reaches, where its entry does not say.
    pub(crate) area: Option<Area>,
    /// The other half of the fused operation.
    pub(crate) partner: Option<Slot>,
    /// What the first half brought: what the blocks must be.
    pub(crate) expected: Vec<u8>,
    /// They are.
    pub(crate) is_equal: bool,
    /// Data outside the arena: that of a half, and all that a stranger sends and gets.
    pub(crate) bytes: Vec<u8>,
}

impl Command {
    /// The command has ended; its slot may be taken again.
    pub(crate) fn reset(&mut self) {
        self.free_memory();
        self.state = State::Idle;
        self.step = 0;
        assert!(!self.has_claim, "a command that ends leaves the blocks to others");
        self.sqe = None;
        self.len = 0;
        self.is_requested = false;
        self.failure = None;
        self.idle_looks = 0;
        if core::mem::take(&mut self.has_rest) {
            let rest = &mut self.rest;
            rest.position = Position::default();
            rest.area = None;
            rest.partner = None;
            rest.expected = Vec::new();
            rest.is_equal = false;
            rest.bytes = Vec::new();
        }
    }

    /// What most commands have nothing in; as long as it is not asked for to be changed, nothing is.
    pub(crate) fn rest(&self) -> Option<&Rest> {
        self.has_rest.then_some(&self.rest)
    }

    /// What most commands have nothing in.
    pub(crate) fn rest_mut(&mut self) -> &mut Rest {
        self.has_rest = true;
        &mut self.rest
    }

    /// The buffers for its data, and those for what is no data of the host.
    pub(crate) fn all_chunks(&mut self) -> (&mut Chunks, &mut Chunks) {
        self.has_rest = true;
        (&mut self.chunks, &mut self.rest.aside)
    }

    /// The other half of the fused operation.
    pub(crate) fn partner(&self) -> Option<Slot> {
        self.rest()?.partner
    }

    /// Gives the buffers for what is no data of the host back.
    pub(crate) fn free_aside(&mut self) {
        if self.has_rest {
            self.rest.aside.clear();
        }
    }

    /// Gives all buffers back.
    pub(crate) fn free_memory(&mut self) {
        self.chunks.clear();
        self.free_aside();
    }

    /// It is a half of a fused operation that is not answered.
    pub(crate) fn is_half(&self) -> bool {
        match self.state {
            State::AwaitPartner(..)
            | State::AwaitMemory(Purpose::Half(_), _)
            | State::AwaitData(Purpose::Half(_)) => true,
            State::AwaitMemory(..)
            | State::AwaitData(_)
            | State::AwaitTurn(..)
            | State::AtDevices(..)
            | State::Idle
            | State::Held(_)
            | State::Answered => self.partner().is_some(),
        }
    }

    /// The blocks that it reaches.
    pub(crate) fn area(&self, io: &Io) -> Option<Area> {
        self.rest().and_then(|rest| rest.area).or_else(|| Some(Area::of(io.volume, io.kind.span()?)))
    }

    /// What drives do or will do for it, as far as that is decided.
    pub(crate) fn io(&self) -> Option<Io> {
        match self.state {
            State::AwaitMemory(Purpose::Io(io) | Purpose::Half(io), _)
            | State::AwaitData(Purpose::Io(io) | Purpose::Half(io))
            | State::AwaitPartner(io)
            | State::AwaitTurn(io, _)
            | State::AtDevices(io, ..) => Some(io),
            State::AwaitMemory(Purpose::Data | Purpose::Page(_), _)
            | State::AwaitData(Purpose::Data | Purpose::Page(_))
            | State::Idle
            | State::Held(_)
            | State::Answered => None,
        }
    }
}
