//! CRC32C, over headers and over data (TCP 1.1 §3.1.1): reflected, initial value and final XOR all ones, sent little-endian.

use crc_fast::{CrcAlgorithm, Digest};

/// The digest of a header, as sent.
pub(crate) fn header_digest(header: &[u8]) -> [u8; 4] {
    low_half(u64::from(crc_fast::crc32_iscsi(header)))
}

/// The digest of data that lies in several pieces, as sent.
#[must_use]
pub fn data_digest<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 4] {
    let mut running = Running::new();
    for piece in pieces {
        running.update(piece);
    }
    running.finish()
}

/// A digest over data that arrives in pieces.
#[derive(Debug)]
pub(crate) struct Running(Digest);

impl Running {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of everything since the last one.
    pub(crate) fn finish(&mut self) -> [u8; 4] {
        low_half(self.0.finalize_reset())
    }
}

fn low_half(value: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = value.to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: it is the CRC of iSCSI and no other: check value of the Rocksoft catalogue and the vector of RFC 3720 B.4.
    #[test]
    fn digest_is_crc32c() {
        assert_eq!(u32::from_le_bytes(header_digest(b"123456789")), 0xe306_9283);
        assert_eq!(header_digest(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
    }

    /// Goal: the same data gives the same digest in any pieces.
    #[test]
    fn pieces_do_not_matter() {
        let data: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let whole = header_digest(&data);
        for cut in [0, 1, 7, 64, 4096, 5000] {
            let (a, b) = data.split_at(cut);
            assert_eq!(data_digest([a, b]), whole);
        }
    }
}
