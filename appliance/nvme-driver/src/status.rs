//! What a failed command means for the data: NVMe status to [`MediaError`].

use block::MediaError;
use nvme_spec::Status;

/// What the command was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Read.
    Read,
    /// Write, Write Zeroes or Flush.
    Write,
}

/// The result of a command. What is not known is a failure of the medium: the data is then not trusted.
pub(crate) fn result(kind: Kind, status: Status) -> Result<(), MediaError> {
    if status.is_success() {
        return Ok(());
    }
    let read_only = [Status::WRITE_PROTECTED, Status::CAPACITY_EXCEEDED, Status::WRITE_TO_READ_ONLY_RANGE];
    let gone = [Status::INVALID_NAMESPACE];
    // The drive asks to have the command repeated; the medium is fine (Base 2.1 §4.2.3).
    let interrupted =
        [Status::COMMAND_INTERRUPTED, Status::TRANSIENT_TRANSPORT_ERROR, Status::NAMESPACE_NOT_READY];
    let ours = [Status::LBA_OUT_OF_RANGE];
    Err(if ours.iter().any(|s| status.is(*s)) {
        MediaError::OutOfRange
    } else if gone.iter().any(|s| status.is(*s)) {
        MediaError::Gone
    } else if !status.is_dnr() && interrupted.iter().any(|s| status.is(*s)) {
        MediaError::TimedOut
    } else {
        match kind {
            Kind::Read => MediaError::Unreadable,
            Kind::Write if read_only.iter().any(|s| status.is(*s)) => MediaError::ReadOnly,
            Kind::Write => MediaError::WriteFault,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every status has one meaning; an unknown one never passes for success.
    #[test]
    fn statuses_become_media_errors() {
        for (kind, status, expected) in [
            (Kind::Read, Status::SUCCESS, Ok(())),
            (Kind::Read, Status::UNRECOVERED_READ_ERROR.dnr(), Err(MediaError::Unreadable)),
            (Kind::Read, Status::new(7, 0xee), Err(MediaError::Unreadable)),
            (Kind::Read, Status::LBA_OUT_OF_RANGE.dnr(), Err(MediaError::OutOfRange)),
            (Kind::Write, Status::COMMAND_INTERRUPTED, Err(MediaError::TimedOut)),
            (Kind::Read, Status::NAMESPACE_NOT_READY, Err(MediaError::TimedOut)),
            (Kind::Read, Status::NAMESPACE_NOT_READY.dnr(), Err(MediaError::Unreadable)),
            (Kind::Write, Status::WRITE_FAULT, Err(MediaError::WriteFault)),
            (Kind::Write, Status::INTERNAL_ERROR.more(), Err(MediaError::WriteFault)),
            (Kind::Write, Status::WRITE_PROTECTED.dnr(), Err(MediaError::ReadOnly)),
            (Kind::Write, Status::CAPACITY_EXCEEDED, Err(MediaError::ReadOnly)),
            (Kind::Write, Status::INVALID_NAMESPACE.dnr(), Err(MediaError::Gone)),
        ] {
            assert_eq!(result(kind, status), expected, "{kind:?} {status}");
        }
    }
}
