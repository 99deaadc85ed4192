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
use nvme_spec::{Cqe, Sqe, Status};
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
    /// The page that belongs to this completion is sent.
    Page(Cqe),
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

/// What belongs to a slot.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) state: State,
    pub(crate) sqe: Option<Sqe>,
    pub(crate) chunks: Chunks,
    /// Buffers for what is no data of the host.
    pub(crate) aside: Chunks,
    /// Steps of it that went to the drives.
    pub(crate) step: u32,
    /// How far it is in its list of ranges.
    pub(crate) position: Position,
    /// The blocks that it reaches, where its entry does not say.
    pub(crate) area: Option<Area>,
    /// It has a claim in `ranges`.
    pub(crate) has_claim: bool,
    /// The other half of the fused operation.
    pub(crate) partner: Option<Slot>,
    /// What the first half brought: what the blocks must be.
    pub(crate) expected: Vec<u8>,
    /// They are.
    pub(crate) is_equal: bool,
    /// Bytes of data.
    pub(crate) len: usize,
    /// Its data was asked for and has not arrived.
    pub(crate) is_requested: bool,
    /// The first failure.
    pub(crate) failure: Option<Failure>,
    /// Data of a completion that waits for memory; zeroes at its end are left out. Or that of a half.
    pub(crate) page: Vec<u8>,
    /// Looks at the clock while its data was missing and others waited for memory.
    pub(crate) idle_looks: u32,
}

impl Command {
    /// The command has ended; its slot may be taken again.
    pub(crate) fn reset(&mut self) {
        self.free_memory();
        self.state = State::Idle;
        self.step = 0;
        self.position = Position::default();
        self.area = None;
        assert!(!self.has_claim, "a command that ends leaves the blocks to others");
        self.partner = None;
        self.expected = Vec::new();
        self.is_equal = false;
        self.sqe = None;
        self.len = 0;
        self.is_requested = false;
        self.failure = None;
        self.page = Vec::new();
        self.idle_looks = 0;
    }

    /// Gives all buffers back.
    pub(crate) fn free_memory(&mut self) {
        self.chunks.clear();
        self.aside.clear();
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
            | State::Answered => self.partner.is_some(),
        }
    }

    /// The blocks that it reaches.
    pub(crate) fn area(&self, io: &Io) -> Option<Area> {
        self.area.or_else(|| Some(Area::of(io.volume, io.kind.span()?)))
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
