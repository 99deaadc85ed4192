//! Why a drive cannot be used: at bring-up, and later.

use nvme_spec::Status;

/// A controller that does not come up. Each text says what to do; the caller adds which drive it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BringUpError {
    /// All registers read as ones.
    #[error("the controller does not answer; take the drive out and put it in again")]
    Gone,
    /// The controller lacks something that this driver needs.
    #[error("the controller cannot be used: {what}; use another drive")]
    Unsupported {
        /// What is missing.
        what: &'static str,
    },
    /// CSTS.RDY did not follow CC.EN in time.
    #[error("the controller did not {what} within {seconds} s; switch the drive's power off and on")]
    NotReady {
        /// `start` or `stop`.
        what: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// CSTS.CFS is set, also after another reset.
    #[error(
        "the controller reports a fatal error; switch the drive's power off and on, replace it if that does not help"
    )]
    Fatal,
    /// The arena has no queue memory left.
    #[error("no memory left for the queues of this drive; give the engine a larger arena")]
    NoMemory,
    /// An admin command failed.
    #[error("{command} failed: {status}; update the drive's firmware or replace it")]
    Command {
        /// Its name.
        command: &'static str,
        /// What the controller said.
        status: Status,
    },
    /// An admin command was not answered.
    #[error("{command} was not answered within {seconds} s; switch the drive's power off and on")]
    NoAnswer {
        /// Its name.
        command: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// An admin completion names a command that was not sent.
    #[error("{command} was answered for another command; update the drive's firmware or replace it")]
    WrongAnswer {
        /// Its name.
        command: &'static str,
    },
    /// No active namespace.
    #[error("the drive has no active namespace; create and attach one (nvme create-ns, nvme attach-ns)")]
    NoNamespace,
    /// A namespace of no size, or smaller than one block.
    #[error("the drive's namespace {nsid} is empty; delete it and create one over the whole capacity")]
    Empty {
        /// Its identifier.
        nsid: u32,
    },
    /// A format that this driver does not know.
    #[error(
        "the drive is formatted with blocks of {lba_bytes} bytes and {metadata_bytes} bytes of metadata; \
         format it with 4096 or 512 bytes and no metadata (nvme format)"
    )]
    Format {
        /// Bytes of a logical block; 0 if the drive reports nonsense.
        lba_bytes: u64,
        /// Bytes of metadata of each block.
        metadata_bytes: u16,
    },
}

/// Why a drive that worked is not used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A command was not answered in time.
    #[error("a command was not answered in time; the controller was reset and is not used any more")]
    TimedOut,
    /// The controller says that it failed.
    #[error("the controller reports a fatal error and is not used any more; replace the drive")]
    Fatal,
    /// A completion for a command that was not in flight.
    #[error("the controller answered a command that was not sent; it was reset and is not used any more")]
    WrongAnswer,
    /// The controller is gone.
    #[error("the controller does not answer; the drive was pulled or lost its power")]
    Gone,
    /// Shut down on request.
    #[error("the drive was shut down")]
    ShutDown,
}
