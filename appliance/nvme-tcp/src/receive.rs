//! Bytes into PDUs: the part of receiving that both sides share.
//!
//! ```text
//!        ┌──────────── head (≤ 256 bytes, kept here) ─────────────┐┌── payload ──┐┌─ trailer ─┐
//!  PDU = common header │ specific header │ header digest │ padding │ owner's bytes │ data digest
//! ```
//!
//! Invariants
//! - The common header is checked as soon as its 8 bytes are there, and decides how long the rest is: no length from
//!   outside is used unchecked.
//! - PDO is one byte, so a head always fits.

use crate::digest::{Running, header_digest};
use crate::limits::HEAD_MAX;
use crate::wire::{Digests, Fault};
use nvme_spec::tcp::{CommonHeader, Fes, PduType, flag};
use zerocopy::FromBytes;

/// Bytes of the common header.
const COMMON_LEN: usize = 8;

/// How a PDU is laid out, from its common header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes before the payload (or all bytes, without one).
    pub(crate) head: usize,
    /// Header bytes that the digest covers.
    pub(crate) hlen: usize,
    /// Bytes of payload.
    pub(crate) data: u32,
    /// A header digest is there.
    pub(crate) has_header_digest: bool,
    /// A data digest follows the payload.
    pub(crate) has_data_digest: bool,
}

/// What a PDU of some type may look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Its header length.
    pub(crate) hlen: u8,
    /// It may carry data.
    pub(crate) may_carry_data: bool,
    /// Digests in use for it.
    pub(crate) digests: Digests,
}

impl Layout {
    /// Checks a common header against the shape of its type (TCP 1.1 §3.6.1); the fault names the field that is wrong.
    #[inline]
    pub(crate) fn of(ch: &CommonHeader, shape: Shape) -> Result<Self, Fault> {
        if ch.hlen != shape.hlen {
            return Err(Fault::field(2));
        }
        if (ch.flags & flag::HDGST != 0) != shape.digests.header {
            return Err(Fault::field(1));
        }
        let plen = ch.plen.get();
        let hlen = usize::from(shape.hlen);
        let base = shape.hlen.saturating_add(shape.digests.header_len());
        let mut layout = Self {
            head: usize::from(base),
            hlen,
            data: 0,
            has_header_digest: shape.digests.header,
            has_data_digest: false,
        };
        if plen == u32::from(base) {
            return Ok(layout);
        }
        if !shape.may_carry_data || plen < u32::from(base) {
            return Err(Fault::field(4));
        }
        if ch.pdo < base || !ch.pdo.is_multiple_of(4) {
            return Err(Fault::field(3));
        }
        if (ch.flags & flag::DDGST != 0) != shape.digests.data {
            return Err(Fault::field(1));
        }
        let around = u32::from(ch.pdo).saturating_add(shape.digests.data_len());
        layout.data = plen.checked_sub(around).filter(|data| *data > 0).ok_or(Fault::field(4))?;
        layout.head = usize::from(ch.pdo);
        layout.has_data_digest = shape.digests.data;
        Ok(layout)
    }

    /// A termination request: 24 bytes are read, the copied header behind them is not (TCP 1.1 §3.6.2.4).
    pub(crate) fn of_termination(ch: &CommonHeader) -> Result<Self, Fault> {
        if ch.hlen != 24 {
            return Err(Fault::field(2));
        }
        if !(24..=152).contains(&ch.plen.get()) {
            return Err(Fault::field(4));
        }
        Ok(Self { head: 24, hlen: 24, data: 0, has_header_digest: false, has_data_digest: false })
    }
}

/// What the bytes that come next are.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The common header.
    Common,
    /// The rest of the head.
    Head(Layout),
    /// Payload of `left` bytes, followed by a digest or not.
    Payload { left: u32, is_digested: bool },
    /// The data digest, to be compared with `expected`.
    Trailer { expected: [u8; 4] },
}

/// What `Receiver::on_header` has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More bytes are needed.
    Incomplete,
    /// The common header is complete: [`Receiver::begin_head`] is next.
    Common(CommonHeader),
    /// A head is complete: [`Receiver::begin_payload`] is next.
    Head(Layout),
    /// A payload's digest has been compared.
    Trailer { is_intact: bool },
}

#[derive(Debug)]
pub(crate) struct Receiver {
    head: [u8; HEAD_MAX],
    have: usize,
    phase: Phase,
    digest: Running,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self { head: [0; HEAD_MAX], have: 0, phase: Phase::Common, digest: Running::new() }
    }

    /// Bytes until the next step, unless payload is next.
    pub(crate) fn header_missing(&self) -> Option<usize> {
        let need = match &self.phase {
            Phase::Common => COMMON_LEN,
            Phase::Head(layout) => layout.head,
            Phase::Trailer { .. } => 4,
            Phase::Payload { .. } => return None,
        };
        Some(need.saturating_sub(self.have))
    }

    /// Payload bytes left, if payload is next.
    pub(crate) fn payload_left(&self) -> Option<u32> {
        match &self.phase {
            Phase::Payload { left, .. } => Some(*left),
            Phase::Common | Phase::Head(_) | Phase::Trailer { .. } => None,
        }
    }

    /// Takes header bytes; returns how many, and what they complete. Inlined, since moving what it returns costs more than what
    /// it does.
    #[inline]
    pub(crate) fn on_header(&mut self, bytes: &[u8]) -> Result<(usize, Step), Fault> {
        let taken = self.header_missing().unwrap_or(0).min(bytes.len());
        let end = self.have.saturating_add(taken);
        if let (Some(to), Some(from)) = (self.head.get_mut(self.have..end), bytes.get(..taken)) {
            copy_head(to, from);
        }
        self.have = end;
        if self.header_missing() != Some(0) {
            return Ok((taken, Step::Incomplete));
        }
        let step = match &self.phase {
            Phase::Common => match CommonHeader::read_from_prefix(&self.head) {
                Ok((ch, _)) => Step::Common(ch),
                Err(_) => Step::Incomplete,
            },
            Phase::Head(layout) => {
                let layout = *layout;
                self.check_header_digest(layout)?;
                Step::Head(layout)
            }
            Phase::Trailer { expected } => {
                let is_intact = self.head.get(..4) == Some(expected.as_slice());
                self.end_pdu();
                Step::Trailer { is_intact }
            }
            Phase::Payload { .. } => Step::Incomplete,
        };
        Ok((taken, step))
    }

    fn check_header_digest(&self, layout: Layout) -> Result<(), Fault> {
        if !layout.has_header_digest {
            return Ok(());
        }
        let (Some(header), Some(sent)) = (
            self.head.get(..layout.hlen),
            self.head.get(layout.hlen..).and_then(|rest| rest.first_chunk::<4>()),
        ) else {
            return Err(Fault::field(2));
        };
        if header_digest(header) == *sent {
            return Ok(());
        }
        Err(Fault { fes: Fes::HEADER_DIGEST_ERROR, fei: u32::from_le_bytes(*sent) })
    }

    /// Some of a PDU is here, and not all of it.
    pub(crate) fn is_inside_pdu(&self) -> bool {
        self.have > 0 || !matches!(self.phase, Phase::Common)
    }

    /// The layout is known: the rest of the head comes next.
    pub(crate) fn begin_head(&mut self, layout: Layout) {
        assert!(layout.head >= COMMON_LEN && layout.head <= HEAD_MAX, "a head is 8 to 256 bytes");
        self.phase = Phase::Head(layout);
    }

    /// The head is read: its payload comes next, or the next PDU.
    pub(crate) fn begin_payload(&mut self, layout: Layout) {
        self.have = 0;
        self.phase = if layout.data > 0 {
            Phase::Payload { left: layout.data, is_digested: layout.has_data_digest }
        } else {
            Phase::Common
        };
    }

    /// Takes payload; returns true if it was the last, and no digest follows.
    pub(crate) fn on_payload(&mut self, bytes: &[u8]) -> bool {
        let Phase::Payload { left, is_digested } = &mut self.phase else {
            panic!("payload was shown where none was wanted");
        };
        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        *left = left.checked_sub(taken).expect_owner("no more payload is shown than was wanted");
        let (left, is_digested) = (*left, *is_digested);
        if is_digested {
            self.digest.update(bytes);
        }
        if left > 0 {
            return false;
        }
        if is_digested {
            self.phase = Phase::Trailer { expected: self.digest.finish() };
            return false;
        }
        self.end_pdu();
        true
    }

    fn end_pdu(&mut self) {
        self.have = 0;
        self.phase = Phase::Common;
    }

    /// The head that was just completed, as a header struct.
    pub(crate) fn header<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(&self) -> Option<&T> {
        T::ref_from_prefix(&self.head).ok().map(|(header, _)| header)
    }

    /// What a termination request quotes: the header in error, at most 128 bytes of it.
    pub(crate) fn quote(&self) -> &[u8] {
        let hlen = match &self.phase {
            Phase::Head(layout) => layout.hlen.min(self.have),
            Phase::Common | Phase::Payload { .. } | Phase::Trailer { .. } => self.have.min(COMMON_LEN),
        };
        self.head.get(..hlen.min(128)).unwrap_or_default()
    }
}

/// Panics on behalf of an owner that broke the calling rules: a bug of ours, not of the peer.
trait ExpectOwner<T> {
    fn expect_owner(self, rule: &str) -> T;
}

impl<T> ExpectOwner<T> for Option<T> {
    fn expect_owner(self, rule: &str) -> T {
        match self {
            Some(value) => value,
            None => panic!("{rule}"),
        }
    }
}

/// Copies a part of a head. The lengths of a command capsule are known, which spares them a call.
fn copy_head(to: &mut [u8], from: &[u8]) {
    if let (Ok(to), Ok(from)) =
        (<&mut [u8; COMMON_LEN]>::try_from(&mut *to), <&[u8; COMMON_LEN]>::try_from(from))
    {
        *to = *from;
    } else if let (Ok(to), Ok(from)) = (<&mut [u8; 64]>::try_from(&mut *to), <&[u8; 64]>::try_from(from)) {
        *to = *from;
    } else {
        to.copy_from_slice(from);
    }
}

/// Types that the receiving side of either party knows at all; the others are a fault in byte 0.
pub(crate) fn is_known(kind: PduType) -> bool {
    kind.name().is_some()
}
