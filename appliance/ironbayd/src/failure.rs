//! Why the daemon cannot run, for people: what happened, to which object, what to do.

use core::fmt;
use engine::StartError;

/// The end of the process with exit code 1.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    object: String,
    remedy: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), object: String::new(), remedy: String::new() }
    }

    pub(crate) fn object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// An address on which the API cannot listen.
    pub(crate) fn listen(address: std::net::SocketAddr, error: &std::io::Error) -> Self {
        Self::new(format!("cannot listen on {address}: {error}"))
            .object(format!("address/{address}"))
            .remedy(LISTEN_REMEDY)
    }

    /// A socket path on which the bus cannot be served.
    pub(crate) fn bus(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot serve the bus at {}: {error}", path.display()))
            .object(format!("socket/{}", path.display()))
            .remedy("choose a path in a directory that exists and may be written, below 108 characters")
    }
}

const LISTEN_REMEDY: &str = "end the process that listens there (\"ss -ltnp\" shows it), or choose another address; port 0 takes a free one";

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            StartError::Arena { .. } => failure
                .object("memory")
                .remedy("ask for less with --arena-mib, or give the machine more huge pages (ironbay.hugepages=)"),
            StartError::Listen { address, .. } => failure.object(format!("address/{address}")).remedy(LISTEN_REMEDY),
            StartError::Cores { .. } => failure.object("--core").remedy(
                "choose fewer cores, or processors that exist and that this process may use (\"taskset -p PID\" shows them); auto \
                 suits the machine",
            ),
            StartError::System { what, .. } => failure.object(what).remedy(
                "the kernel must allow io_uring (sysctl kernel.io_uring_disabled=0; containers need a seccomp profile \
                 that allows it) and enough open files (ulimit -n)",
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if !self.object.is_empty() {
            write!(f, "\n  object {}", self.object)?;
        }
        if !self.remedy.is_empty() {
            write!(f, "\n  try: {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an engine that does not start names the object and the remedy.
    #[test]
    fn start_errors_say_what_to_do() {
        let taken = StartError::Listen {
            address: "127.0.0.1:4420".parse().expect("an address"),
            source: std::io::Error::from(std::io::ErrorKind::AddrInUse),
        };
        let text = Failure::from(taken).to_string();
        assert!(text.contains("\n  object address/127.0.0.1:4420\n  try: end the process"), "{text}");
        let memory = StartError::Arena { bytes: 1 << 40, detail: "out of memory".into() };
        assert!(Failure::from(memory).to_string().contains("--arena-mib"));
        let source = std::io::Error::other("9 cores need as many processors; there are 2");
        let text = Failure::from(StartError::Cores { what: "cores on x9".into(), source }).to_string();
        let message = "error: cannot run cores on x9: 9 cores need as many processors; there are 2";
        assert!(
            text.starts_with(&format!("{message}\n  object --core\n  try: choose fewer cores")),
            "{text}"
        );
    }
}
