//! Errors: [`ControlError`] ↔ `tonic::Status`, in this file only, and what a client gets.
//!
//! | `ControlError` | in the status |
//! |---|---|
//! | kind | gRPC code, and `ErrorInfo.reason` (`NOT_FOUND`), domain `ironbay` |
//! | message | status message |
//! | object, remedy | `ErrorInfo.metadata` |
//! | field | `BadRequest.field_violations[0].field` |

use crate::limits::ERROR_TEXT_MAX;
use control::{ControlError, ErrorKind};
use core::fmt;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "ironbay";
const OBJECT: &str = "object";
const REMEDY: &str = "remedy";

const CODES: [(ErrorKind, Code, &str); 7] = [
    (ErrorKind::InvalidArgument, Code::InvalidArgument, "INVALID_ARGUMENT"),
    (ErrorKind::NotFound, Code::NotFound, "NOT_FOUND"),
    (ErrorKind::AlreadyExists, Code::AlreadyExists, "ALREADY_EXISTS"),
    (ErrorKind::FailedPrecondition, Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (ErrorKind::ResourceExhausted, Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (ErrorKind::Unavailable, Code::Unavailable, "UNAVAILABLE"),
    (ErrorKind::Internal, Code::Internal, "INTERNAL"),
];

/// The status that carries an error to a client. Texts longer than [`ERROR_TEXT_MAX`] are cut.
#[must_use]
pub fn status_from(error: &ControlError) -> Status {
    let (_, code, reason) = CODES.iter().find(|(kind, _, _)| *kind == error.kind).copied().unwrap_or((
        error.kind,
        Code::Internal,
        "INTERNAL",
    ));
    let mut metadata = HashMap::new();
    for (key, text) in [(OBJECT, &error.object), (REMEDY, &error.remedy)] {
        if !text.is_empty() {
            metadata.insert(key.to_owned(), cut(text).to_owned());
        }
    }
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if !error.field.is_empty() {
        details.add_bad_request_violation(cut(&error.field), cut(&error.message));
    }
    Status::with_error_details(code, cut(&error.message), details)
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(ERROR_TEXT_MAX)).unwrap_or(text)
}

/// The error in a status, if a node of ours put it there; the inverse of [`status_from`].
#[must_use]
pub fn control_error_from(status: &Status) -> Option<ControlError> {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
    let (kind, _, _) = CODES.iter().find(|(_, _, reason)| *reason == info.reason)?;
    let of = |key: &str| info.metadata.get(key).cloned().unwrap_or_default();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first());
    Some(ControlError {
        kind: *kind,
        message: status.message().to_owned(),
        object: of(OBJECT),
        field: field.map(|violation| violation.field.clone()).unwrap_or_default(),
        remedy: of(REMEDY),
    })
}

/// Why a call did not succeed, for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The node answered, and says no.
    Refused(ControlError),
    /// The node did not answer, or not as a node does.
    Unreachable(ControlError),
}

impl Error {
    /// What happened, to which object, what to do now.
    #[must_use]
    pub fn details(&self) -> &ControlError {
        match self {
            Self::Refused(error) | Self::Unreachable(error) => error,
        }
    }

    /// A node that cannot be reached at `endpoint`.
    #[must_use]
    pub fn unreachable(endpoint: &str, detail: &str) -> Self {
        let error = ControlError::new(ErrorKind::Unavailable, format!("no node answers at {endpoint}: {detail}"))
            .object(format!("endpoint/{endpoint}"))
            .remedy(
                "check the address and the port, that the node has booted (its console shows the address), \
                 and that it listens: without authentication it does so only when booted with ironbay.insecure=1",
            );
        Self::Unreachable(error)
    }

    pub(crate) fn from_status(status: &Status, endpoint: &str) -> Self {
        if let Some(error) = control_error_from(status) {
            return Self::Refused(error);
        }
        let told = status.message();
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => {
                Self::Refused(ControlError::new(ErrorKind::InvalidArgument, told))
            }
            Code::NotFound => Self::Refused(ControlError::new(ErrorKind::NotFound, told)),
            Code::AlreadyExists => Self::Refused(ControlError::new(ErrorKind::AlreadyExists, told)),
            Code::FailedPrecondition | Code::Aborted | Code::PermissionDenied | Code::Unauthenticated => {
                Self::Refused(ControlError::new(ErrorKind::FailedPrecondition, told))
            }
            Code::ResourceExhausted => Self::Refused(ControlError::new(ErrorKind::ResourceExhausted, told)),
            Code::Unimplemented => {
                let message = format!("the node at {endpoint} does not know this call: {told}");
                let remedy = "check that the address is an Ironbay node's, and that node and client have the same version";
                Self::Refused(ControlError::new(ErrorKind::Internal, message).remedy(remedy))
            }
            Code::Internal | Code::DataLoss => {
                Self::Refused(ControlError::new(ErrorKind::Internal, told).remedy("see the node's log"))
            }
            Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Unavailable => {
                Self::unreachable(endpoint, &root_cause(status).unwrap_or_else(|| told.to_owned()))
            }
        }
    }
}

/// The innermost error says what happened ("operation timed out"); the outer ones only that something did.
pub(crate) fn root_cause(error: &dyn core::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause.to_string())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.details().fmt(f)
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every kind and every field survives the way to the client.
    #[test]
    fn an_error_reads_the_same_on_both_sides() {
        for (kind, code, _) in CODES {
            let sent = ControlError::new(kind, "pool \"tank\" has 3 GiB free, volume \"db\" needs 4 GiB")
                .object("pool/tank")
                .field("size_bytes")
                .remedy("choose a size of at most 3221225472 bytes");
            let status = status_from(&sent);
            assert_eq!(status.code(), code);
            assert_eq!(control_error_from(&status), Some(sent.clone()));
            assert_eq!(Error::from_status(&status, "n:1"), Error::Refused(sent));
            let bare = ControlError::new(kind, "no details");
            assert_eq!(control_error_from(&status_from(&bare)), Some(bare));
        }
    }

    /// Goal: a text without end does not make an answer that peers refuse to read; a character is never cut in two.
    #[test]
    fn long_texts_are_cut() {
        let error =
            ControlError::new(ErrorKind::NotFound, "é".repeat(ERROR_TEXT_MAX)).object("o".repeat(9999));
        let read = control_error_from(&status_from(&error)).expect("our own status");
        assert_eq!(read.message, "é".repeat(ERROR_TEXT_MAX / 2));
        assert_eq!(read.object.len(), ERROR_TEXT_MAX);
    }

    /// Goal: what is not a node's own error is not mistaken for one.
    #[test]
    fn foreign_statuses_are_told_apart() {
        let gone = Error::from_status(&Status::unavailable("transport error"), "10.0.0.5:7420");
        assert!(matches!(&gone, Error::Unreachable(e) if e.message.contains("10.0.0.5:7420")), "{gone}");
        let other = Error::from_status(&Status::unimplemented(""), "10.0.0.5:7420");
        assert!(matches!(&other, Error::Refused(e) if e.remedy.contains("version")), "{other}");
    }
}
