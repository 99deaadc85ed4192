//! What becomes of a command.

use crate::range_list::{Copying, Dataset};
use crate::span::Span;
use block::MediaError;
use nvme_spec::{Cqe, Sqe, Status};
use zerocopy::little_endian::{U16, U32};

use crate::slab::Key;

/// Names a connection; chosen by [`crate::Target::on_accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) Key);

/// A command as the transport delivers it.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The owner's name for it (its slot); handed back in [`Action::Complete`].
    pub tag: u32,
    /// The command.
    pub sqe: &'a Sqe,
    /// Bytes that its SGL describes, in the capsule or not.
    pub data_len: u32,
}

/// What is to be done with a command.
#[derive(Debug)]
pub enum Outcome {
    /// Answer it now.
    Done(Answer),
    /// It brings this many bytes (at most [`crate::limits::ADMIN_DATA_MAX`]): receive them, then call
    /// [`crate::Target::on_data`].
    NeedsData {
        /// How many.
        len: u32,
    },
    /// It is answered with a page, of this many bytes at most: find room for them, then call [`crate::Target::on_page`]. The page
    /// is made then, so nobody has to keep one that waits.
    Page {
        /// How many; not zero, and no more than the command has room for.
        len: u32,
    },
    /// Connect succeeded: tell the transport about the queue, then answer.
    Connected {
        /// The answer.
        answer: Answer,
        /// The queue.
        queue: Queue,
    },
    /// Ask the storage, then answer with [`crate::Target::on_io_done`].
    Io(Io),
    /// The first half of a fused operation: receive its data, then wait for [`Outcome::Second`] on the same connection.
    /// [`crate::Target::poll_abort`] may tell that it does not come.
    First(Io),
    /// The second half of the fused operation whose first half was the last command of this connection. The two are done as
    /// one, and both are answered.
    Second(Io),
    /// An Asynchronous Event Request, a Connect whose queue is in use, or a change that takes its time: answered later by
    /// [`Action::Complete`] or [`Action::Connected`].
    Held,
    /// An Abort for a command that only the owner knows: if nothing has been done for it yet, and nothing will be, it ends
    /// with Command Abort Requested, and bit 0 of the Abort's dword 0 is clear. Otherwise the bit is set (Base 2.1 §5.1.1).
    Abort {
        /// The connection of its queue.
        connection: ConnectionId,
        /// Its identifier.
        cid: u16,
    },
}

/// A finished command: the completion, and what is sent before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status and result. The transport fills in the queue head.
    pub cqe: Cqe,
    /// Data for the host: a page or log. Empty for most commands, and for all errors.
    pub data: Vec<u8>,
    /// Bytes that are sent: the data, and zeroes behind its end.
    pub len: u32,
}

impl Answer {
    pub(crate) fn success(sqe: &Sqe) -> Self {
        Self { cqe: Cqe::new(sqe.cid.get(), Status::SUCCESS), data: Vec::new(), len: 0 }
    }

    /// As much of a page as the host has room for.
    pub(crate) fn with_data(sqe: &Sqe, mut data: Vec<u8>, room: u32) -> Self {
        data.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self { data, len, ..Self::success(sqe) }
    }

    /// A part of a page, with zeroes behind its end.
    pub(crate) fn with_part(sqe: &Sqe, data: Vec<u8>, len: u32) -> Self {
        Self { len, ..Self::with_data(sqe, data, len) }
    }

    pub(crate) fn with_result(sqe: &Sqe, dw0: u32) -> Self {
        let mut answer = Self::success(sqe);
        answer.cqe.dw0 = U32::new(dw0);
        answer
    }
}

/// The queue that a Connect created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Queue identifier; 0 is the admin queue.
    pub qid: u16,
    /// Entries, as a real count.
    pub entries: u16,
    /// The host wants no submission queue flow control.
    pub is_flow_control_disabled: bool,
    /// It belongs to the discovery subsystem, which anybody may use.
    pub is_discovery: bool,
}

/// A checked I/O command: the range lies within the namespace, the length is that of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// The volume, as [`crate::NamespaceConfig::volume`] named it.
    pub volume: u64,
    /// What to do.
    pub kind: IoKind,
}

/// What an I/O command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// Read; at most [`crate::limits::TRANSFER_MAX`] bytes.
    Read {
        /// What.
        span: Span,
    },
    /// Write; at most [`crate::limits::TRANSFER_MAX`] bytes.
    Write {
        /// What.
        span: Span,
        /// Complete only when durable.
        fua: bool,
    },
    /// Read without telling the host more than whether it can be read; at most [`crate::limits::TRANSFER_MAX`] bytes.
    Verify {
        /// What.
        span: Span,
    },
    /// Compare the host's data with what is stored; at most [`crate::limits::TRANSFER_MAX`] bytes.
    Compare {
        /// What.
        span: Span,
    },
    /// Write, if what is stored is what the first half of the fused operation brought; at most
    /// [`crate::limits::FUSED_BYTES_MAX`]. Nobody else may see or change the blocks between the two.
    CompareAndWrite {
        /// What.
        span: Span,
        /// Complete only when durable.
        fua: bool,
    },
    /// Make it read as zeroes.
    WriteZeroes {
        /// What; up to 65536 logical blocks.
        span: Span,
        /// Complete only when durable.
        fua: bool,
        /// The space may be given back.
        deallocate: bool,
    },
    /// Do what a list of ranges says, which arrives as data.
    Dataset(Dataset),
    /// Copy the ranges of a list, which arrives as data.
    Copy(Copying),
    /// Make completed writes durable.
    Flush,
}

impl IoKind {
    /// Bytes that move between the host and the buffer.
    #[must_use]
    pub fn data_len(self) -> u32 {
        match self {
            Self::Read { span }
            | Self::Write { span, .. }
            | Self::Compare { span }
            | Self::CompareAndWrite { span, .. } => u32::try_from(span.len().0).unwrap_or(u32::MAX),
            Self::Dataset(dataset) => dataset.data_len,
            Self::Copy(copying) => copying.data_len,
            Self::Verify { .. } | Self::WriteZeroes { .. } | Self::Flush => 0,
        }
    }

    /// The part of the volume that the command names itself; a list of ranges is not known yet.
    #[must_use]
    pub fn span(self) -> Option<Span> {
        match self {
            Self::Read { span }
            | Self::Write { span, .. }
            | Self::Verify { span }
            | Self::Compare { span }
            | Self::CompareAndWrite { span, .. }
            | Self::WriteZeroes { span, .. } => Some(span),
            Self::Dataset(_) | Self::Copy(_) | Self::Flush => None,
        }
    }
}

/// Something the target wants without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer a command that was [`Outcome::Held`].
    Complete {
        /// Its connection.
        connection: ConnectionId,
        /// As given in [`Command::tag`].
        tag: u32,
        /// The completion.
        cqe: Cqe,
    },
    /// A Connect that was [`Outcome::Held`] succeeded: tell the transport about the queue, then answer.
    Connected {
        /// Its connection.
        connection: ConnectionId,
        /// As given in [`Command::tag`].
        tag: u32,
        /// The completion.
        cqe: Cqe,
        /// The queue.
        queue: Queue,
    },
    /// Make what [`crate::Target::to_persist`] gives durable, then call [`crate::Target::on_persisted`].
    Persist {
        /// The volume, as [`crate::NamespaceConfig::volume`] named it.
        volume: u64,
    },
    /// Ask [`crate::Target::recheck`] about every command for this volume. Those that it refuses end with its status if
    /// they have not begun; when the others of them have ended, call [`crate::Target::on_quiet`].
    Quiesce {
        /// The volume.
        volume: u64,
    },
    /// Close this connection, then call [`crate::Target::on_close`].
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// A refusal: the status, and where the fault lies if it is one of Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) dw0: u32,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { status, dw0: 0 }
    }
}

impl Refusal {
    pub(crate) fn answer(self, sqe: &Sqe) -> Answer {
        let mut cqe = Cqe::new(0, self.status);
        cqe.cid = U16::new(sqe.cid.get());
        cqe.dw0 = U32::new(self.dw0);
        Answer { cqe, data: Vec::new(), len: 0 }
    }
}

/// What a host is told when the storage failed. "Do not retry" is set where the same command fails again for certain: a
/// database, or the RAID below it, then learns at once that this data is not to be had, and acts. It is not set where the
/// drive was only interrupted.
pub(crate) fn media_status(error: MediaError) -> Status {
    match error {
        MediaError::Unreadable => Status::UNRECOVERED_READ_ERROR.dnr(),
        MediaError::WriteFault => Status::WRITE_FAULT.dnr(),
        MediaError::ReadOnly => Status::WRITE_PROTECTED.dnr(),
        // The range was checked here: the engine and we disagree about the size.
        MediaError::OutOfRange => Status::INTERNAL_ERROR.dnr(),
        MediaError::TimedOut => Status::COMMAND_INTERRUPTED,
        // A drive that is gone is not taken back before the engine restarts. And not a path error: the host would try the
        // same path again without end.
        MediaError::Gone => Status::INTERNAL_ERROR.dnr(),
    }
}
