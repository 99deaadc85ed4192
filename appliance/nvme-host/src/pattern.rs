//! Data that can be checked anywhere: each 8 bytes follow from the seed and their place, so any range can be verified
//! whatever the sizes of the writes were.

/// The word at byte `offset`, a multiple of 8 (splitmix64).
fn word(seed: u64, offset: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(offset).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `data`, which lies at byte `offset`, a multiple of 8.
pub fn fill(seed: u64, offset: u64, data: &mut [u8]) {
    for (at, chunk) in (offset..).step_by(8).zip(data.chunks_mut(8)) {
        chunk.copy_from_slice(&word(seed, at).to_le_bytes()[..chunk.len()]);
    }
}

/// A byte that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where.
    pub offset: u64,
    /// What the pattern has there.
    pub expected: u8,
    /// What is there.
    pub found: u8,
}

/// The first byte of `data`, which lies at byte `offset`, that differs from the pattern.
#[must_use]
pub fn check(seed: u64, offset: u64, data: &[u8]) -> Option<Mismatch> {
    for (at, chunk) in (offset..).step_by(8).zip(data.chunks(8)) {
        let expected = word(seed, at).to_le_bytes();
        if chunk != &expected[..chunk.len()] {
            return (at..)
                .zip(expected.iter().zip(chunk))
                .find(|(_, (expected, found))| expected != found)
                .map(|(offset, (&expected, &found))| Mismatch { offset, expected, found });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what one size of IO wrote, another verifies; other seeds, places and a flipped bit do not pass.
    #[test]
    fn patterns_depend_on_seed_and_place_only() {
        let mut whole = vec![0; 4096];
        fill(7, 8192, &mut whole);
        assert_eq!(check(7, 8192, &whole), None);
        assert_eq!(check(7, 8192 + 512, &whole[512..1024]), None);
        assert_eq!(check(8, 8192, &whole).map(|m| m.offset), Some(8192));
        assert!(check(7, 4096, &whole).is_some());
        whole[1001] ^= 1;
        let found = check(7, 8192, &whole).expect("a flipped bit");
        assert_eq!((found.offset, found.expected ^ found.found), (9193, 1));
    }
}
