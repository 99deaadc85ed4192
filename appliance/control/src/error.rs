//! Errors for people: what happened, to which object, what to do now.

use crate::limits::BLOCK_SIZES;
use core::fmt;
use serde::{Deserialize, Serialize};
use zbus::Type;

/// The class of an error; decides the gRPC code and the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zbus(signature = "s")]
pub enum ErrorKind {
    /// The request can never work as it is: change the named field.
    InvalidArgument,
    /// The named object does not exist.
    NotFound,
    /// Another object has this name or UUID.
    AlreadyExists,
    /// The object is in a state that forbids this now (in use, incomplete, foreign data on a drive).
    FailedPrecondition,
    /// Not enough space, or a limit is reached.
    ResourceExhausted,
    /// The engine or a drive cannot serve now; the same request may work later.
    Unavailable,
    /// A fault of ours or of a drive.
    Internal,
}

/// An error as it reaches a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ControlError {
    /// The class.
    pub kind: ErrorKind,
    /// What happened, a sentence without a full stop: "pool \"tank\" has 3 GiB free, volume \"db\" needs 4 GiB".
    pub message: String,
    /// The object: `pool/tank`, `volume/db`, `drive/S0`; empty if none.
    pub object: String,
    /// The field of the request that is at fault, as in the API: `size_bytes`; empty if none.
    pub field: String,
    /// What to do now, a sentence: "choose a size of at most 3221225472 bytes, or add a drive to the pool".
    pub remedy: String,
}

impl ControlError {
    /// An error with a message; object, field and remedy are added by the builder methods.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            object: String::new(),
            field: String::new(),
            remedy: String::new(),
        }
    }

    /// Names the object.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// Names the field of the request.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// The refusal of a size for logical blocks that is none of [`BLOCK_SIZES`]: the same wherever it is found.
#[must_use]
pub fn no_block_size(bytes: impl fmt::Display) -> ControlError {
    let [small, large] = BLOCK_SIZES;
    ControlError::new(ErrorKind::InvalidArgument, format!("a volume cannot have blocks of {bytes} bytes"))
        .field("block_size")
        .remedy(format!("use {small} or {large}"))
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, ". {}", self.remedy)?;
        }
        Ok(())
    }
}

impl core::error::Error for ControlError {}
