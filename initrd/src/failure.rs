//! What could not be done, in the words of an operator: operation, object, reason, remedy.
//!
//! Every failed step of the boot becomes one of these; it reaches the console, the kernel log and the bus unchanged.

use nix::errno::Errno;
use std::fmt;

/// A failed operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was to be done: "load module".
    pub operation: String,
    /// To which object: "vfio-pci", "0000:00:04.0", "/dev/hugepages".
    pub object: String,
    /// Why it did not work.
    pub reason: String,
    /// What to do now; empty if nothing can be said.
    pub remedy: String,
}

impl Failure {
    /// A failure with a reason in words.
    #[must_use]
    pub fn new(operation: &str, object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            operation: operation.to_owned(),
            object: object.into(),
            reason: reason.into(),
            remedy: String::new(),
        }
    }

    /// A failed system call.
    #[must_use]
    pub fn errno(operation: &str, object: impl Into<String>, errno: Errno) -> Self {
        Self::new(operation, object, format!("{errno:?}, {}", errno.desc()))
    }

    /// A failed operation of the standard library.
    #[must_use]
    pub fn io(operation: &str, object: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Self::errno(operation, object, Errno::from_raw(raw)),
            None => Self::new(operation, object, error.to_string()),
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Failure {
    /// Operation, object and reason; the remedy stands on a line of its own where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        if !self.object.is_empty() {
            write!(f, " {}", self.object)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the line names operation, object and errno by name and in words.
    #[test]
    fn a_failed_call_names_everything() {
        let failure = Failure::errno("load module", "vfio-pci", Errno::ENOENT);
        assert_eq!(failure.to_string(), "load module vfio-pci: ENOENT, No such file or directory");
    }

    /// Goal: an error without a number keeps its own words.
    #[test]
    fn an_error_without_a_number_keeps_its_words() {
        let failure = Failure::io("read", "/x", &std::io::Error::other("too long"));
        assert_eq!(failure.to_string(), "read /x: too long");
    }
}
