//! Errors on the bus: a [`ControlError`] as a D-Bus error, without loss, and back.
//!
//! ```text
//!  name: org.ironbay.Error.NotFound      body: ssss  message (first, where D-Bus tools look for it), object, field, remedy
//! ```

use control::{ControlError, ErrorKind};
use zbus::message::{Header, Message};
use zbus::names::ErrorName;

/// What the methods of our interfaces fail with.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) ControlError);

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        Self(error)
    }
}

const NAMES: [(ErrorKind, &str); 7] = [
    (ErrorKind::InvalidArgument, "org.ironbay.Error.InvalidArgument"),
    (ErrorKind::NotFound, "org.ironbay.Error.NotFound"),
    (ErrorKind::AlreadyExists, "org.ironbay.Error.AlreadyExists"),
    (ErrorKind::FailedPrecondition, "org.ironbay.Error.FailedPrecondition"),
    (ErrorKind::ResourceExhausted, "org.ironbay.Error.ResourceExhausted"),
    (ErrorKind::Unavailable, "org.ironbay.Error.Unavailable"),
    (ErrorKind::Internal, "org.ironbay.Error.Internal"),
];

impl zbus::DBusError for Refusal {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        let ControlError { kind: _, message, object, field, remedy } = &self.0;
        Message::error(call, self.name()).build(&(message, object, field, remedy))
    }

    fn name(&self) -> ErrorName<'_> {
        let name =
            NAMES.iter().find(|(kind, _)| *kind == self.0.kind).map_or("org.ironbay.Error.Internal", |n| n.1);
        ErrorName::from_static_str_unchecked(name)
    }

    fn description(&self) -> Option<&str> {
        Some(&self.0.message)
    }
}

/// What a failed call means: the peer's own error, or none of it (then the connection or the peer is at fault).
pub(crate) fn from_reply(error: &zbus::Error) -> Option<ControlError> {
    let zbus::Error::MethodError(name, _, reply) = error else { return None };
    let (kind, _) = NAMES.iter().find(|(_, known)| *known == name.as_str())?;
    let body = reply.body();
    let (message, object, field, remedy): (String, String, String, String) = body.deserialize().ok()?;
    Some(ControlError { kind: *kind, message, object, field, remedy })
}
