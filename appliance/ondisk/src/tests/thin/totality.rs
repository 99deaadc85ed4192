//! Any bytes give an answer, and what is accepted is stored as the same bytes again.

use super::samples;
use crate::stamp;
use crate::tests::Random;

/// Goal: damage that carries a good checksum is refused, or gives a value that satisfies every rule and is stored as the
/// same bytes again. 4,000 seeds for each struct.
#[test]
fn damaged_blocks_are_refused_or_valid() {
    for (what, good, again) in samples() {
        let (mut accepted, mut refused) = (0, 0);
        for seed in 0..4000 {
            let mut random = Random(seed);
            let mut bytes = good.clone();
            for _ in 0..=random.below(3) {
                let at = if random.below(4) == 0 { random.below(bytes.len()) } else { random.below(480) };
                bytes[at] = random.next().to_le_bytes()[random.below(2)] & [0xff, 3][random.below(2)];
            }
            stamp::seal(&mut bytes);
            match again(&bytes) {
                Some(stored) => {
                    assert_eq!(stored, bytes, "{what}, seed {seed}");
                    accepted += 1;
                }
                None => refused += 1,
            }
        }
        assert!(accepted > 20 && refused > 500, "{what}: {accepted} accepted, {refused} refused");
    }
}

/// Goal: without a good checksum nothing is accepted: every bit of every struct counts.
#[test]
fn every_flipped_bit_is_noticed() {
    for (what, good, again) in samples() {
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            assert_eq!(again(&bytes), None, "{what}, byte {at}");
        }
    }
}
