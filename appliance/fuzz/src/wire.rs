//! PDUs as a peer would write them, and the reading of what we sent, independent of the code under test.

use nvme_spec::tcp::{CommonHeader, PduType, flag};
use nvme_tcp::{Digests, data_digest};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// CRC32C of a header; the same function as for data.
fn digest(bytes: &[u8]) -> [u8; 4] {
    data_digest([bytes])
}

/// Appends a PDU. `header` has its common header filled in, except what this adds: PDO, PLEN and the digest flags.
pub(crate) fn push_pdu<T: IntoBytes + Immutable>(
    wire: &mut Vec<u8>,
    header: &T,
    data: &[u8],
    digests: Digests,
) {
    let start = wire.len();
    wire.extend_from_slice(header.as_bytes());
    let hlen = wire.len() - start;
    let head = hlen + if digests.header { 4 } else { 0 };
    let has_data_digest = digests.data && !data.is_empty();
    let total = head + data.len() + if has_data_digest { 4 } else { 0 };
    wire[start + 1] |= u8::from(digests.header) | u8::from(has_data_digest) << 1;
    wire[start + 2] = u8::try_from(hlen).expect("headers are short");
    wire[start + 3] = if data.is_empty() { 0 } else { u8::try_from(head).expect("headers are short") };
    wire[start + 4..start + 8].copy_from_slice(&u32::try_from(total).expect("short").to_le_bytes());
    if digests.header {
        let digest = digest(&wire[start..start + hlen]);
        wire.extend_from_slice(&digest);
    }
    wire.extend_from_slice(data);
    if has_data_digest {
        wire.extend_from_slice(&digest_of_data(data));
    }
}

fn digest_of_data(data: &[u8]) -> [u8; 4] {
    data_digest([data])
}

/// A common header of this type, everything else for [`push_pdu`].
pub(crate) fn kind(kind: PduType, flags: u8) -> CommonHeader {
    CommonHeader { kind, flags, hlen: 0, pdo: 0, plen: 0.into() }
}

/// The head of a PDU that we sent, looked at by nothing but the standard.
pub(crate) struct Head<'a> {
    pub(crate) common: CommonHeader,
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// Checks what holds for every PDU (TCP 1.1 §3.6.1), with `payload` bytes behind the head.
    pub(crate) fn check(bytes: &'a [u8], payload: u32, digests: Digests, align_z: u8) -> Self {
        let (common, _) = CommonHeader::read_from_prefix(bytes).expect("a head has a common header");
        let hlen = match common.kind {
            PduType::IC_REQ | PduType::IC_RESP => 128,
            PduType::CAPSULE_CMD => 72,
            _ => 24,
        };
        assert_eq!(common.hlen, hlen, "{common:?}");
        let is_plain = matches!(
            common.kind,
            PduType::IC_REQ | PduType::IC_RESP | PduType::H2C_TERM_REQ | PduType::C2H_TERM_REQ
        );
        let digests = if is_plain { Digests::default() } else { digests };
        let has_digest = common.flags & flag::HDGST != 0;
        assert_eq!(has_digest, digests.header, "{common:?}");
        let hlen = usize::from(hlen);
        let mut head = hlen;
        if has_digest {
            assert_eq!(bytes[hlen..hlen + 4], digest(&bytes[..hlen]), "a header digest is right");
            head += 4;
        }
        let mut total = bytes.len() + payload as usize;
        if payload > 0 {
            assert_eq!(common.flags & flag::DDGST != 0, digests.data, "{common:?}");
            total += if digests.data { 4 } else { 0 };
            assert_eq!(usize::from(common.pdo), bytes.len(), "data begins where PDO says");
            assert!(
                bytes.len().is_multiple_of((usize::from(align_z) + 1) * 4),
                "data is aligned: {common:?}"
            );
            assert!(bytes[head..].iter().all(|byte| *byte == 0), "padding is zero");
        } else if is_plain && hlen == 24 {
            assert!(bytes.len() <= 152, "a termination request quotes 128 bytes at most");
        } else {
            assert_eq!((bytes.len(), common.pdo), (head, 0), "{common:?}");
        }
        assert_eq!(common.plen.get() as usize, total, "{common:?}");
        Self { common, bytes }
    }

    pub(crate) fn header<T: FromBytes + KnownLayout + Immutable>(&self) -> &'a T {
        T::ref_from_prefix(self.bytes).expect("the header is there").0
    }
}
