//! One command of a host on its way: waiting for memory, for data, for drives, or answered.
//!
//! ```text
//!            ┌─ AwaitMemory ─┐   ┌─ AwaitData ─┐
//!  Idle ─────┴───────────────┴───┴─────────────┴─▶ AtDevices ─▶ Answered ─ sent ─▶ Idle
//!    └─ Held (an event request waits for its event) ───────────────┘
//! ```
//! Invariant: buffers are here, with the drives, or with the network, and the state says which.

use crate::chunks::Chunks;
use crate::limits::CHUNK_BYTES;
use block::{BLOCK_SIZE, MediaError};
use nvme_spec::{Cqe, Sqe, Status};
use nvme_subsystem::{Io, IoKind};
use nvme_tcp::Slot;

/// What happens when a command has its memory, or its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The drives are asked.
    Io(Io),
    /// The protocol looks at the data that came with it.
    Data,
    /// The page that belongs to this completion is sent.
    Page(Cqe),
}

/// How the data of a command moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// It follows in the stream.
    InCapsule,
    /// The host sends it when asked.
    OnRequest,
    /// It goes to the host.
    ToHost,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum State {
    #[default]
    Idle,
    AwaitMemory(Purpose, Transfer),
    AwaitData(Purpose),
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
    /// Bytes of data.
    pub(crate) len: usize,
    /// The first failure.
    pub(crate) failure: Option<Failure>,
    /// Data of a completion that waits for memory; zeroes at its end are left out.
    pub(crate) page: Vec<u8>,
    /// Looks at the clock while its data was missing and others waited for memory.
    pub(crate) idle_looks: u32,
}

impl Command {
    /// The command has ended; its slot may be taken again.
    pub(crate) fn reset(&mut self) {
        self.chunks.clear();
        self.state = State::Idle;
        self.sqe = None;
        self.len = 0;
        self.failure = None;
        self.page = Vec::new();
        self.idle_looks = 0;
    }

    /// Bytes between the last boundary of the volume and the start of the data.
    pub(crate) fn skew(purpose: &Purpose) -> usize {
        let lba = match purpose {
            Purpose::Io(io) => match io.kind {
                IoKind::Read { lba, .. } | IoKind::Write { lba, .. } => lba.0,
                IoKind::WriteZeroes { .. } | IoKind::Flush => 0,
            },
            Purpose::Data | Purpose::Page(_) => 0,
        };
        let block_in_chunk = lba % (CHUNK_BYTES / BLOCK_SIZE) as u64;
        usize::try_from(block_in_chunk).unwrap_or(0) * BLOCK_SIZE
    }

    /// What drives do or will do for it, as far as that is decided.
    pub(crate) fn io(&self) -> Option<Io> {
        match self.state {
            State::AwaitMemory(Purpose::Io(io), _)
            | State::AwaitData(Purpose::Io(io))
            | State::AtDevices(io, ..) => Some(io),
            State::AwaitMemory(Purpose::Data | Purpose::Page(_), _)
            | State::AwaitData(Purpose::Data | Purpose::Page(_))
            | State::Idle
            | State::Held(_)
            | State::Answered => None,
        }
    }
}
