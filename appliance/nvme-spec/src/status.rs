//! The status field of a completion (Base 2.1 §4.2.3, figure 100): what a host is told about its command.

use core::fmt;

/// Status without the phase bit: SC in bits 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u16);

/// Status code types (Base 2.1 figure 101).
pub mod sct {
    /// Generic command status.
    pub const GENERIC: u8 = 0;
    /// Command specific status.
    pub const COMMAND: u8 = 1;
    /// Media and data integrity errors.
    pub const MEDIA: u8 = 2;
    /// Path related status.
    pub const PATH: u8 = 3;
}

const DNR: u16 = 1 << 14;
const MORE: u16 = 1 << 13;

macro_rules! statuses {
    ($( $(#[$doc:meta])* $name:ident = ($sct:ident, $sc:literal, $text:literal), )*) => {
        impl Status {
            $( $(#[$doc])* pub const $name: Self = Self::new(sct::$sct, $sc); )*

            /// What the status says; `None` for one that is not known here.
            #[must_use]
            pub const fn text(self) -> Option<&'static str> {
                match (self.sct(), self.sc()) {
                    $( (sct::$sct, $sc) => Some($text), )*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// The command completed.
    SUCCESS = (GENERIC, 0x00, "success"),
    /// Unknown or unsupported opcode.
    INVALID_OPCODE = (GENERIC, 0x01, "invalid command opcode"),
    /// A reserved or unsupported value in a field.
    INVALID_FIELD = (GENERIC, 0x02, "invalid field in command"),
    /// The command identifier is already in use.
    COMMAND_ID_CONFLICT = (GENERIC, 0x03, "command ID conflict"),
    /// Data transfer failed.
    DATA_TRANSFER_ERROR = (GENERIC, 0x04, "data transfer error"),
    /// Power loss notification.
    ABORTED_POWER_LOSS = (GENERIC, 0x05, "aborted due to power loss notification"),
    /// An error of the controller.
    INTERNAL_ERROR = (GENERIC, 0x06, "internal error"),
    /// Aborted by an Abort command.
    ABORT_REQUESTED = (GENERIC, 0x07, "command abort requested"),
    /// Aborted because the queue was deleted.
    ABORTED_SQ_DELETION = (GENERIC, 0x08, "command aborted due to queue deletion"),
    /// The other half of a fused operation failed.
    ABORTED_FAILED_FUSED = (GENERIC, 0x09, "command aborted due to failed fused command"),
    /// The other half of a fused operation did not come.
    ABORTED_MISSING_FUSED = (GENERIC, 0x0a, "command aborted due to missing fused command"),
    /// Invalid namespace or format.
    INVALID_NAMESPACE = (GENERIC, 0x0b, "invalid namespace or format"),
    /// The order of commands is wrong.
    COMMAND_SEQUENCE_ERROR = (GENERIC, 0x0c, "command sequence error"),
    /// SGL last segment descriptor invalid.
    INVALID_SGL_SEGMENT = (GENERIC, 0x0d, "invalid SGL segment descriptor"),
    /// Wrong number of SGL descriptors.
    INVALID_SGL_COUNT = (GENERIC, 0x0e, "invalid number of SGL descriptors"),
    /// Length of a data SGL wrong.
    INVALID_SGL_LENGTH = (GENERIC, 0x0f, "data SGL length invalid"),
    /// Descriptor type not supported.
    INVALID_SGL_TYPE = (GENERIC, 0x11, "SGL descriptor type invalid"),
    /// Offset of in-capsule data wrong.
    INVALID_SGL_OFFSET = (GENERIC, 0x16, "SGL offset invalid"),
    /// Host identifiers of 64 and 128 bits are mixed.
    HOST_ID_INCONSISTENT = (GENERIC, 0x18, "host identifier inconsistent format"),
    /// Keep alive timer expired.
    KEEP_ALIVE_EXPIRED = (GENERIC, 0x19, "keep alive timer expired"),
    /// Aborted because its host was preempted.
    ABORTED_PREEMPT = (GENERIC, 0x1b, "command aborted due to preempt and abort"),
    /// Write to a namespace that is write protected.
    WRITE_PROTECTED = (GENERIC, 0x20, "namespace is write protected"),
    /// Could not be completed now; to be retried.
    COMMAND_INTERRUPTED = (GENERIC, 0x21, "command interrupted"),
    /// The transport failed in passing; to be retried.
    TRANSIENT_TRANSPORT_ERROR = (GENERIC, 0x22, "transient transport error"),
    /// LBA range exceeds the namespace.
    LBA_OUT_OF_RANGE = (GENERIC, 0x80, "LBA out of range"),
    /// No space.
    CAPACITY_EXCEEDED = (GENERIC, 0x81, "capacity exceeded"),
    /// Namespace not ready.
    NAMESPACE_NOT_READY = (GENERIC, 0x82, "namespace not ready"),
    /// Conflict with a reservation.
    RESERVATION_CONFLICT = (GENERIC, 0x83, "reservation conflict"),

    /// The queue does not exist or is in use.
    INVALID_QUEUE_ID = (COMMAND, 0x01, "invalid queue identifier"),
    /// Queue size out of bounds.
    INVALID_QUEUE_SIZE = (COMMAND, 0x02, "invalid queue size"),
    /// Too many Asynchronous Event Requests outstanding.
    AER_LIMIT_EXCEEDED = (COMMAND, 0x05, "asynchronous event request limit exceeded"),
    /// Log page not supported.
    INVALID_LOG_PAGE = (COMMAND, 0x09, "invalid log page"),
    /// The feature cannot be saved.
    FEATURE_NOT_SAVEABLE = (COMMAND, 0x0d, "feature identifier not saveable"),
    /// The feature cannot be changed.
    FEATURE_NOT_CHANGEABLE = (COMMAND, 0x0e, "feature not changeable"),
    /// The feature does not belong to a namespace.
    FEATURE_NOT_NAMESPACE = (COMMAND, 0x0f, "feature not namespace specific"),
    /// Protection information setting not possible with this format (NVM 1.1).
    INVALID_PROTECTION_INFORMATION = (COMMAND, 0x81, "invalid protection information"),
    /// More or longer ranges than the controller said it takes (NVM 1.1).
    SIZE_LIMIT_EXCEEDED = (COMMAND, 0x83, "command size limit exceeded"),
    /// What is copied and where it goes have blocks in common (NVM 1.1).
    OVERLAPPING_RANGE = (COMMAND, 0x87, "overlapping I/O range"),
    /// The media refused a write: read-only range (NVM 1.1).
    WRITE_TO_READ_ONLY_RANGE = (COMMAND, 0x82, "attempted write to read only range"),

    /// The data could not be stored.
    WRITE_FAULT = (MEDIA, 0x80, "write fault"),
    /// The data could not be read.
    UNRECOVERED_READ_ERROR = (MEDIA, 0x81, "unrecovered read error"),
    /// Compare found a difference.
    COMPARE_FAILURE = (MEDIA, 0x85, "compare failure"),
    /// Access refused.
    ACCESS_DENIED = (MEDIA, 0x86, "access denied"),

    /// An internal error of this path.
    INTERNAL_PATH_ERROR = (PATH, 0x00, "internal path error"),
    /// ANA: persistent loss.
    ANA_PERSISTENT_LOSS = (PATH, 0x01, "asymmetric access persistent loss"),
    /// ANA: inaccessible.
    ANA_INACCESSIBLE = (PATH, 0x02, "asymmetric access inaccessible"),
    /// ANA: in transition.
    ANA_TRANSITION = (PATH, 0x03, "asymmetric access transition"),
}

/// Command specific codes of fabrics commands; their numbers overlap with those of other commands (Base 2.1 figure 105).
impl Status {
    /// Connect data format not supported.
    pub const CONNECT_INCOMPATIBLE_FORMAT: Self = Self::new(sct::COMMAND, 0x80);
    /// The controller is busy: try again.
    pub const CONNECT_CONTROLLER_BUSY: Self = Self::new(sct::COMMAND, 0x81);
    /// A parameter of Connect is wrong; also wrong property offsets.
    pub const CONNECT_INVALID_PARAMETERS: Self = Self::new(sct::COMMAND, 0x82);
    /// Ask the discovery controller again.
    pub const CONNECT_RESTART_DISCOVERY: Self = Self::new(sct::COMMAND, 0x83);
    /// This host may not connect here.
    pub const CONNECT_INVALID_HOST: Self = Self::new(sct::COMMAND, 0x84);
    /// Disconnect is not possible on this queue type.
    pub const INVALID_QUEUE_TYPE: Self = Self::new(sct::COMMAND, 0x85);
    /// The discovery log changed while it was read.
    pub const DISCOVER_RESTART: Self = Self::new(sct::COMMAND, 0x90);
    /// Authenticate first.
    pub const AUTHENTICATION_REQUIRED: Self = Self::new(sct::COMMAND, 0x91);
}

impl Status {
    /// A status from its type and code.
    #[must_use]
    pub const fn new(sct: u8, sc: u8) -> Self {
        Self((((sct & 7) as u16) << 8) | sc as u16)
    }

    /// The status in the upper 15 bits of completion dword 3's upper half; the phase bit is dropped.
    #[must_use]
    pub const fn from_field(status_and_phase: u16) -> Self {
        Self(status_and_phase >> 1)
    }

    /// The 15 bits, shifted into place above the phase bit.
    #[must_use]
    pub const fn to_field(self) -> u16 {
        self.0 << 1
    }

    /// The same status with "do not retry" set.
    #[must_use]
    pub const fn dnr(self) -> Self {
        Self(self.0 | DNR)
    }

    /// The same status with the bit that says the error log has more.
    #[must_use]
    pub const fn more(self) -> Self {
        Self(self.0 | MORE)
    }

    /// Status code type.
    #[must_use]
    pub const fn sct(self) -> u8 {
        ((self.0 >> 8) & 7) as u8
    }

    /// Status code.
    #[must_use]
    pub const fn sc(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Index of the command retry delay time.
    #[must_use]
    pub const fn crd(self) -> u8 {
        ((self.0 >> 11) & 3) as u8
    }

    /// "Do not retry": the same command will fail again.
    #[must_use]
    pub const fn is_dnr(self) -> bool {
        self.0 & DNR != 0
    }

    /// Completed without error.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 & 0x7ff == 0
    }

    /// Same type and code, whatever the retry bits say.
    #[must_use]
    pub const fn is(self, other: Self) -> bool {
        self.0 & 0x7ff == other.0 & 0x7ff
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().unwrap_or("status"))?;
        write!(f, " ({:x}h/{:02x}h)", self.sct(), self.sc())?;
        if self.is_dnr() { f.write_str(", do not retry") } else { Ok(()) }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
