//! How the client ends when it does not succeed: what is printed, and the exit code.

use super::args::Output;
use api::Error;
use control::{ControlError, ErrorKind};
use std::io::Write;
use std::process::ExitCode;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ControlError,
    code: u8,
}

const FAILED: u8 = 1;
const WRONG_ARGUMENTS: u8 = 2;
const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 4;
const UNREACHABLE: u8 = 5;

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let code = match error.kind {
            ErrorKind::InvalidArgument => WRONG_ARGUMENTS,
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::AlreadyExists | ErrorKind::FailedPrecondition | ErrorKind::ResourceExhausted => {
                REFUSED
            }
            ErrorKind::Unavailable => UNREACHABLE,
            ErrorKind::Internal => FAILED,
        };
        Self { error, code }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(error) => Self::from(error),
            Error::Unreachable(error) => Self { error, code: UNREACHABLE },
        }
    }
}

impl Failure {
    pub(crate) fn is_not_found(&self) -> bool {
        self.error.kind == ErrorKind::NotFound
    }

    /// Prints the failure on standard error and gives the exit code.
    pub(crate) fn report(&self, output: Output) -> ExitCode {
        let text = match output {
            Output::Table => self.text(),
            Output::Json => self.json(),
        };
        let _ = writeln!(std::io::stderr(), "{text}");
        ExitCode::from(self.code)
    }

    fn text(&self) -> String {
        let ControlError { kind: _, message, object, field, remedy } = &self.error;
        let mut text = format!("error: {message}");
        for (label, value) in [("object", object), ("field", field), ("try:", remedy)] {
            if !value.is_empty() {
                text.push_str(&format!("\n  {label} {value}"));
            }
        }
        text
    }

    fn json(&self) -> String {
        let ControlError { kind, message, object, field, remedy } = &self.error;
        let kind = match kind {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::FailedPrecondition => "failed_precondition",
            ErrorKind::ResourceExhausted => "resource_exhausted",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Internal => "internal",
        };
        serde_json::json!({ "error": {
            "kind": kind, "message": message, "object": object, "field": field, "remedy": remedy,
        }})
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// Goal: what a person reads.
    #[test]
    fn errors_name_object_and_remedy() {
        let error = ControlError::new(
            ErrorKind::ResourceExhausted,
            "pool \"tank\" has 3 GiB free, volume \"db\" needs 4 GiB",
        )
        .object("pool/tank")
        .field("size_bytes")
        .remedy("choose a size of at most 3221225472 bytes, or add a drive to the pool");
        let failure = Failure::from(error);
        expect![[r#"
            error: pool "tank" has 3 GiB free, volume "db" needs 4 GiB
              object pool/tank
              field size_bytes
              try: choose a size of at most 3221225472 bytes, or add a drive to the pool"#]]
        .assert_eq(&failure.text());
        assert_eq!(failure.code, 4);
    }

    /// Goal: scripts tell the reasons apart by the exit code.
    #[test]
    fn exit_codes() {
        let code = |kind| Failure::from(ControlError::new(kind, "")).code;
        assert_eq!(code(ErrorKind::NotFound), 3);
        assert_eq!(code(ErrorKind::FailedPrecondition), 4);
        assert_eq!(code(ErrorKind::InvalidArgument), 2);
        assert_eq!(Failure::from(Error::unreachable("n:1", "refused")).code, 5);
        assert_eq!(code(ErrorKind::Internal), 1);
    }
}
