//! PDU data alignment: data that we send begins where the host wants it, for all that a host can want.

use super::pair::{Options, Pair, pattern};
use crate::data_digest;
use crate::host;
use crate::wire::Digests;
use nvme_spec::tcp::PduType;

/// The PDUs of a recorded stream: type, header length, offset of the data, and all of its bytes.
fn pdus(mut wire: &[u8]) -> Vec<(PduType, usize, usize, &[u8])> {
    let mut found = Vec::new();
    while let [kind, _, hlen, pdo, a, b, c, d, ..] = *wire {
        let (pdu, rest) = wire.split_at(u32::from_le_bytes([a, b, c, d]) as usize);
        found.push((PduType(kind), usize::from(hlen), usize::from(pdo), pdu));
        wire = rest;
    }
    found
}

/// Goal: HPDA 0 to 31, with every combination of digests: the data lies at the first aligned offset behind header and
/// digest, what is between is zero, lengths and digests are right, and the host reads what was stored.
#[test]
fn every_alignment_and_digest() {
    for bits in 0..4 {
        let digests = Digests::from_bits(bits);
        for hpda_z in 0..32 {
            let mut options = Options::default();
            options.host = host::Config { digests, hpda_z, ..options.host };
            let mut pair = Pair::new(&options);
            let start = pair.to_host.len();
            for len in [1, 4, 4096, 4099] {
                pair.stored = pattern(len, hpda_z);
                pair.read(len);
                pair.run().expect("the read succeeds");
                let (_, cqe, data) = pair.completed.pop().expect("it completes");
                assert!(cqe.status().is_success() && data == pair.stored, "{digests:?} {hpda_z} {len}");
            }
            let sent = pdus(&pair.to_host[start..]);
            let data_pdus: Vec<_> = sent.iter().filter(|(kind, ..)| *kind == PduType::C2H_DATA).collect();
            assert_eq!(data_pdus.len(), 4);
            for (_, hlen, pdo, pdu) in data_pdus {
                let behind_header = hlen + if digests.header { 4 } else { 0 };
                let align = (usize::from(hpda_z) + 1) * 4;
                assert_eq!(*pdo, behind_header.next_multiple_of(align), "{digests:?} {hpda_z}");
                assert!(pdu[behind_header..*pdo].iter().all(|byte| *byte == 0), "padding is zero");
                if digests.header {
                    assert_eq!(pdu[*hlen..behind_header], data_digest([&pdu[..*hlen]]));
                }
                if digests.data {
                    let (data, digest) = pdu[*pdo..].split_at(pdu.len() - pdo - 4);
                    assert_eq!(digest, data_digest([data]));
                }
            }
        }
    }
}
