//! What is to be sent: a few header bytes, and a range of somebody's buffer.

use crate::digest::header_digest;
use crate::wire::{Digests, Fault, Slot};
use nvme_spec::tcp::{CommonHeader, PduType, TermReq, flag};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// The longest head: a termination request of 24 bytes with 128 quoted. (Data PDUs: PDO ≤ 128, since HPDA ≤ 31.)
const HEAD_MAX: usize = 152;

/// A range of a slot's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Whose buffer.
    pub slot: Slot,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// One PDU to be sent: [`Transmit::head`], then the payload, then, if [`Transmit::has_digest`], [`crate::data_digest`] of
/// the payload.
#[derive(Clone, Copy, Debug)]
pub struct Transmit {
    head: [u8; HEAD_MAX],
    len: u8,
    /// Bytes to be sent after the head.
    pub payload: Option<Payload>,
    /// The data digest of the payload follows it.
    pub has_digest: bool,
    /// This is the last PDU of that command: when it has left (and nothing refers to the buffer any more), release the
    /// slot. (Host side: always `None`.)
    pub done: Option<Slot>,
}

impl Transmit {
    /// Header, header digest and padding.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// A PDU without payload; header length, total length and digest are filled in.
    pub(crate) fn header<T: IntoBytes + Immutable>(header: &T, kind: PduType, digests: Digests) -> Self {
        let mut transmit = Self { head: [0; HEAD_MAX], len: 0, payload: None, has_digest: false, done: None };
        let bytes = header.as_bytes();
        transmit.push(bytes);
        let hlen = transmit.len;
        let flags = if digests.header { flag::HDGST } else { 0 };
        let plen = u32::from(hlen.saturating_add(digests.header_len()));
        transmit.set_common(CommonHeader { kind, flags, hlen, pdo: 0, plen: U32::new(plen) });
        if digests.header {
            transmit.push(&header_digest(transmit.head()));
        }
        transmit
    }

    /// A PDU with payload. `align_z` is the peer's PDU data alignment, 0's based in dwords.
    pub(crate) fn with_payload<T: IntoBytes + Immutable>(
        header: &T,
        kind: PduType,
        payload: Payload,
        options: DataOptions,
    ) -> Self {
        let digests = options.digests;
        let mut transmit = Self {
            head: [0; HEAD_MAX],
            len: 0,
            payload: Some(payload),
            has_digest: digests.data,
            done: None,
        };
        transmit.push(header.as_bytes());
        let hlen = transmit.len;
        let align = options.align_z.min(31).saturating_add(1).saturating_mul(4);
        let pdo = hlen.saturating_add(digests.header_len()).next_multiple_of(align);
        let plen = u32::from(pdo).saturating_add(payload.len).saturating_add(digests.data_len());
        let mut flags = options.flags;
        if digests.header {
            flags |= flag::HDGST;
        }
        if digests.data {
            flags |= flag::DDGST;
        }
        transmit.set_common(CommonHeader { kind, flags, hlen, pdo, plen: U32::new(plen) });
        if digests.header {
            transmit.push(&header_digest(transmit.head()));
        }
        transmit.len = pdo;
        transmit
    }

    /// A termination request that quotes the header in error (TCP 1.1 §3.6.2.4). It never carries digests.
    pub(crate) fn termination(kind: PduType, fault: Fault, quote: &[u8]) -> Self {
        let mut header = TermReq::new_zeroed();
        header.fes = U16::new(fault.fes.0);
        header.fei = U32::new(fault.fei);
        let mut transmit = Self::header(&header, kind, Digests::default());
        let hlen = transmit.len;
        transmit.push(quote);
        let plen = u32::from(transmit.len);
        transmit.set_common(CommonHeader { kind, flags: 0, hlen, pdo: 0, plen: U32::new(plen) });
        transmit
    }

    fn set_common(&mut self, ch: CommonHeader) {
        // The head array is longer than a common header, so this cannot fail.
        let _ = ch.write_to_prefix(&mut self.head);
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        let end = start.saturating_add(bytes.len());
        let room = self.head.get_mut(start..end);
        assert!(room.is_some(), "a head never exceeds {HEAD_MAX} bytes");
        if let Some(room) = room {
            room.copy_from_slice(bytes);
        }
        self.len = u8::try_from(end).unwrap_or(u8::MAX);
    }
}

/// How a data-carrying PDU is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataOptions {
    pub(crate) digests: Digests,
    pub(crate) align_z: u8,
    pub(crate) flags: u8,
}
