//! Any bytes give an answer: random ones, and good ones with damage that carries a good checksum.

use super::{Random, sample};
use crate::{Content, DriveLabel, PoolRecord, Slot, recognise, stamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

proptest! {
    // The same cases in every run; nothing is written to the source tree.
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Goal: decoding arbitrary bytes, also behind a good magic and with a good checksum, never panics.
    #[test]
    fn arbitrary_bytes_are_answered(mut bytes in proptest::collection::vec(any::<u8>(), 0..9000), magic: u8) {
        let magic = match magic % 3 {
            0 => crate::wire::RECORD_MAGIC,
            1 => crate::wire::LABEL_MAGIC,
            _ => [0; 16],
        };
        for (to, from) in bytes.iter_mut().zip(magic) {
            *to = from;
        }
        if let Some(len) = bytes.get_mut(72..76) {
            len.copy_from_slice(&4096_u32.to_le_bytes());
        }
        let end = bytes.len().min(4096);
        stamp::seal(&mut bytes[..end]);
        for slot in Slot::ALL {
            prop_assert!(PoolRecord::decode(&bytes, slot).is_err());
        }
        let _ = DriveLabel::decode(&bytes);
        let _ = recognise(&bytes, &bytes);
    }
}

/// Goal: damage at a few bytes that carries a good checksum either is refused or gives a record that satisfies every
/// rule and is stored as the same bytes again. 20,000 seeds.
#[test]
fn damaged_records_are_refused_or_valid() {
    let good = sample().encode(1);
    let mut accepted = 0;
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            // The interesting bytes are the first thousand: header and tables.
            let at = random.below(1300);
            bytes[at] = random.next().to_le_bytes()[0];
        }
        stamp::seal(&mut bytes);
        for slot in Slot::ALL {
            if let Ok((record, place)) = PoolRecord::decode(&bytes, slot) {
                assert_eq!(record.check(), Ok(()), "seed {seed}");
                assert_eq!(record.encode(place.member), bytes, "seed {seed}");
                accepted += 1;
            }
        }
    }
    assert!(accepted > 100, "some damage is harmless, such as another letter in a name: {accepted}");
}

/// Goal: random bytes of any length are never taken for ours or for blank.
#[test]
fn random_drives_are_foreign() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut head = vec![0; random.below(8192) + 64];
        let mut tail = vec![0; random.below(8192)];
        random.fill(&mut head);
        random.fill(&mut tail);
        assert!(matches!(recognise(&head, &tail), Content::Foreign(_)), "seed {seed}");
        assert!(DriveLabel::decode(&head).is_err() && PoolRecord::decode(&head, Slot::A).is_err());
    }
}
