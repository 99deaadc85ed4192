//! Words shared by both sides: slots, wants, faults.

use core::fmt;
use nvme_spec::tcp::Fes;

/// Names a command on its connection, for its whole life; small and dense, so that owners index arrays with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) u16);

impl Slot {
    /// Index into whatever the owner keeps per slot.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Where the next received bytes belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To `on_header`. It takes at most `len` bytes more until something happens; offering fewer or more is fine.
    Header {
        /// Bytes until the current step is complete.
        len: u32,
    },
    /// Into the buffer of this slot at `offset`; then show them to `on_payload`, in pieces if you like.
    Payload {
        /// Whose buffer.
        slot: Slot,
        /// Where in it.
        offset: u32,
        /// At most this many.
        len: u32,
    },
    /// Nowhere: data of a command that is refused or answered already. Show them to `on_payload`.
    Discard {
        /// At most this many.
        len: u32,
    },
    /// Nothing may be received now: first release slots or transmit; after an error, never again.
    Nothing,
}

/// Which digests are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Over headers.
    pub header: bool,
    /// Over data.
    pub data: bool,
}

impl Digests {
    /// From the DGST byte of ICReq and ICResp.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self { header: bits & 1 != 0, data: bits & 2 != 0 }
    }

    /// The DGST byte.
    #[must_use]
    pub fn to_bits(self) -> u8 {
        u8::from(self.header) | u8::from(self.data) << 1
    }

    /// Bytes of the header digest.
    pub(crate) fn header_len(self) -> u8 {
        if self.header { 4 } else { 0 }
    }

    /// Bytes of the data digest.
    pub(crate) fn data_len(self) -> u32 {
        if self.data { 4 } else { 0 }
    }
}

/// A violation of the protocol as a termination request tells it (TCP 1.1 §3.6.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Fatal error status.
    pub fes: Fes,
    /// Fatal error information: for header fields, the byte offset of the field.
    pub fei: u32,
}

impl Fault {
    pub(crate) const fn field(offset: u32) -> Self {
        Self { fes: Fes::INVALID_HEADER_FIELD, fei: offset }
    }

    pub(crate) const fn sequence() -> Self {
        Self { fes: Fes::SEQUENCE_ERROR, fei: 0 }
    }

    pub(crate) const fn out_of_range() -> Self {
        Self { fes: Fes::DATA_OUT_OF_RANGE, fei: 0 }
    }

    pub(crate) const fn limit() -> Self {
        Self { fes: Fes::LIMIT_EXCEEDED, fei: 0 }
    }

    pub(crate) const fn unsupported(offset: u32) -> Self {
        Self { fes: Fes::UNSUPPORTED_PARAMETER, fei: offset }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (FES {}, FEI {:#x})", self.fes, self.fes.0, self.fei)
    }
}

/// What a connection was waiting for when its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The ICReq or ICResp.
    Initialization,
    /// The Connect command.
    Connect,
    /// The rest of a PDU that has begun.
    Pdu,
    /// The data that an R2T asked for.
    Data,
    /// The peer to close, after a termination request.
    Close,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// The peer broke the protocol. A termination request waits in `poll_transmit`: send it, then wait for the peer to
    /// close, until `poll_deadline`.
    Protocol(Fault),
    /// The peer sent a termination request: close.
    TerminatedByPeer(Fault),
    /// Time ran out: close.
    TimedOut(Waiting),
    /// The peer refuses what we need (host side).
    Unsupported(&'static str),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(fault) => write!(f, "the peer broke the protocol: {fault}"),
            Self::TerminatedByPeer(fault) => write!(f, "the peer terminated the connection: {fault}"),
            Self::TimedOut(Waiting::Initialization) => f.write_str("no connection initialization in time"),
            Self::TimedOut(Waiting::Connect) => f.write_str("no Connect command in time"),
            Self::TimedOut(Waiting::Pdu) => f.write_str("the rest of a PDU did not come in time"),
            Self::TimedOut(Waiting::Data) => f.write_str("data that was asked for did not come in time"),
            Self::TimedOut(Waiting::Close) => f.write_str("the peer did not close in time"),
            Self::Unsupported(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for ConnectionError {}
