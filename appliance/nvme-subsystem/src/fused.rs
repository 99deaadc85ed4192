//! Fused operations (Base 2.1 §3.4.2): Compare and Write, two commands that a host submits next to each other on one queue and
//! that are done as one.
//!
//! ```text
//!  First (Compare) ─┬─ Second (Write), same blocks ─▶ both go to the storage as one
//!                   ├─ Second that is wrong ────────▶ it is refused; the first is aborted (0h/09h)
//!                   └─ anything else ───────────────▶ that is done; the first is aborted (0h/0Ah)
//!  a First that is wrong is refused; its Second is aborted (0h/09h)
//!  a Second without First is aborted (0h/0Ah)
//! ```
//!
//! Invariant: a first half that went to the owner either gets its second as [`Outcome::Second`], or is aborted by
//! [`crate::Target::poll_abort`], or goes with its connection.

use crate::limits::FUSED_BYTES_MAX;
use crate::nvm;
use crate::outcome::{Command, Io, IoKind, Outcome};
use crate::view::View;
use nvme_spec::entry::Fuse;
use nvme_spec::{NvmOpcode, Sqe, Status};

/// What the last command of a queue was, if it was the first half of a fused operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum First {
    /// The owner has it.
    Waits(Io),
    /// It was refused.
    Refused,
}

/// What becomes of a first half that waited, when the next command is no good second.
pub(crate) fn status_of_first(before: Option<First>, next: &Sqe) -> Option<Status> {
    let why = match next.fuse() {
        Fuse::SECOND => Status::ABORTED_FAILED_FUSED,
        _ => Status::ABORTED_MISSING_FUSED,
    };
    matches!(before, Some(First::Waits(_))).then_some(why.dnr())
}

/// A command of an I/O queue; `before` is what the one before it was, and `first` what this one is.
pub(crate) fn command(
    view: View<'_>,
    before: Option<First>,
    first: &mut Option<First>,
    command: &Command<'_>,
) -> Result<Outcome, Status> {
    match command.sqe.fuse() {
        Fuse::NONE => nvm::command(view, command),
        Fuse::FIRST => {
            let result = compare(view, command);
            *first = Some(result.map_or(First::Refused, First::Waits));
            result.map(Outcome::First)
        }
        Fuse::SECOND => match before {
            None => Err(Status::ABORTED_MISSING_FUSED.dnr()),
            Some(First::Refused) => Err(Status::ABORTED_FAILED_FUSED.dnr()),
            Some(First::Waits(io)) => write(view, command, io).map(Outcome::Second),
        },
        _ => Err(Status::INVALID_FIELD.dnr()),
    }
}

fn compare(view: View<'_>, command: &Command<'_>) -> Result<Io, Status> {
    if NvmOpcode(command.sqe.opc) != NvmOpcode::COMPARE {
        return Err(Status::INVALID_FIELD.dnr());
    }
    let io = single(view, command)?;
    // More than ACWU promises; up to a block it is atomic all the same.
    let is_short = io.kind.span().is_some_and(|span| span.len().0 <= u64::from(FUSED_BYTES_MAX));
    if is_short { Ok(io) } else { Err(Status::INVALID_FIELD.dnr()) }
}

fn write(view: View<'_>, command: &Command<'_>, first: Io) -> Result<Io, Status> {
    if NvmOpcode(command.sqe.opc) != NvmOpcode::WRITE {
        return Err(Status::INVALID_FIELD.dnr());
    }
    let io = single(view, command)?;
    let IoKind::Write { span, fua } = io.kind else { return Err(Status::INVALID_FIELD.dnr()) };
    if io.volume != first.volume || first.kind != (IoKind::Compare { span }) {
        // Two different ranges (NVM 1.1, Compare and Write).
        return Err(Status::INVALID_FIELD.dnr());
    }
    Ok(Io { volume: io.volume, kind: IoKind::CompareAndWrite { span, fua } })
}

fn single(view: View<'_>, command: &Command<'_>) -> Result<Io, Status> {
    let Outcome::Io(io) = nvm::command(view, command)? else { return Err(Status::INVALID_FIELD.dnr()) };
    Ok(io)
}
