//! Where ranges of volumes lie.

use crate::map::segments;
use crate::{MapError, MemberIndex, Segment};
use block::{Blocks, Lba};
use ondisk::{LbaSize, Name, Run, Settings, VolumeRecord};
use sim::Random;

/// A volume of three runs on two members: 2, 1 and 3 extents.
fn sample() -> VolumeRecord {
    let run = |member, first, count, position| Run { member, first, count, position };
    VolumeRecord {
        uuid: super::uuid(b'V', 1),
        name: Name::new("db").expect("a good name"),
        nsid: 1,
        extents: 6,
        revision: 2,
        settings: Settings::new(LbaSize::B4096),
        runs: vec![run(0, 10, 2, 0), run(1, 0, 1, 2), run(0, 20, 3, 3)],
    }
}

fn mapped(lba: u64, blocks: u64) -> Vec<(u16, u64, u64)> {
    let volume = sample();
    let segments = segments(&volume, Lba(lba), Blocks(blocks)).expect("inside");
    segments.map(|Segment { member: MemberIndex(m), lba, blocks }| (m, lba.0, blocks.0)).collect()
}

/// Goal: a range within one run is one segment, one over several runs is cut at their borders.
#[test]
fn ranges_are_cut_at_runs() {
    let extent = |n: u64| 2048 + n * 256;
    assert_eq!(mapped(0, 8), [(0, extent(10), 8)]);
    assert_eq!(mapped(511, 1), [(0, extent(11) + 255, 1)]);
    assert_eq!(mapped(512, 1), [(1, extent(0), 1)]);
    assert_eq!(mapped(500, 400), [(0, extent(11) + 244, 12), (1, extent(0), 256), (0, extent(20), 132)]);
    assert_eq!(mapped(0, 1536).len(), 3);
}

/// Goal: a range behind the end is refused, also where its end is outside the numbers; an empty one is empty.
#[test]
fn ranges_outside_are_refused() {
    let volume = sample();
    for (lba, blocks) in [(1536, 1), (1535, 2), (0, 1537), (u64::MAX, 1), (1, u64::MAX)] {
        assert_eq!(
            segments(&volume, Lba(lba), Blocks(blocks)).map(|_| ()),
            Err(MapError::OutOfRange),
            "{lba}+{blocks}"
        );
    }
    assert_eq!(mapped(1536, 0), []);
    assert_eq!(mapped(700, 0), []);
}

/// Goal: every block maps to the same place whether asked for alone or within a range.
#[test]
fn ranges_agree_with_single_blocks() {
    let single: Vec<(u16, u64)> = (0..1536).map(|lba| mapped(lba, 1)[0]).map(|(m, l, _)| (m, l)).collect();
    let mut random = Random(7);
    for _ in 0..500 {
        let lba = random.below(1536);
        let blocks = random.below(1537 - lba);
        let mut found = Vec::new();
        for (member, first, count) in mapped(lba, blocks) {
            found.extend((first..first + count).map(|l| (member, l)));
        }
        let range = usize::try_from(lba).expect("small")..usize::try_from(lba + blocks).expect("small");
        assert_eq!(found, single[range], "{lba}+{blocks}");
    }
}
