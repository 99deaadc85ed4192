//! The tree against a plain list.

use super::*;
use block::Bytes;
use nvme_subsystem::Span;

fn area(volume: u64, first: u64, len: u64) -> Area {
    Area::of(volume, Span::new(Bytes(first * 4096), Bytes(len * 4096)).expect("small numbers"))
}

/// A sequence that is the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn claim(number: u64, area: Area) -> Claim {
    let place = usize::try_from(number).expect("small");
    Claim {
        owner: Owner { place, index: 0 },
        area,
        is_exclusive: false,
        counts_lost: false,
        number,
        ahead: 0,
    }
}

fn overlapping(claims: &mut Claims, area: &Area) -> Vec<u64> {
    let mut found = Vec::new();
    claims.each_overlapping(area, |claim| found.push(claim.number));
    found.sort_unstable();
    found
}

/// Levels of a side that is in order, balanced and summed up.
fn checked(claims: &Claims, at: u16) -> u8 {
    let Some(node) = claims.nodes.get(usize::from(at)) else { return 0 };
    let (left, right) = (checked(claims, node.left), checked(claims, node.right));
    assert!(left.abs_diff(right) <= 1 && node.levels == left.max(right) + 1, "{left} and {right} levels");
    let sides = [node.left, node.right].into_iter().filter_map(|side| claims.nodes.get(usize::from(side)));
    let reach = sides.map(|side| side.reach).chain([node.claim.area.end()]).max();
    assert_eq!(Some(node.reach), reach);
    node.levels
}

/// Goal: whatever comes and goes, in random order and in order of blocks, the tree finds what a list of all claims finds, and
/// stays balanced.
#[test]
fn the_tree_finds_what_a_list_finds() {
    for is_ordered in [false, true] {
        let mut random = Random(1);
        let mut claims = Claims::new();
        let mut list: Vec<Claim> = Vec::new();
        for number in 0..4000 {
            let first = if is_ordered { number } else { random.below(200) };
            let new = claim(number, area(random.below(3), first, 1 + random.below(40)));
            claims.insert(new);
            list.push(new);
            while list.len() as u64 > 20 + random.below(100) {
                let at = random.below(list.len() as u64);
                let gone = list.swap_remove(usize::try_from(at).expect("small"));
                assert_eq!(claims.remove(gone.owner, &gone.area).number, gone.number);
            }
            let around = area(random.below(3), random.below(300), random.below(60));
            let mut expected: Vec<u64> =
                list.iter().filter(|claim| claim.area.overlaps(&around)).map(|claim| claim.number).collect();
            expected.sort_unstable();
            assert_eq!(overlapping(&mut claims, &around), expected);
            checked(&claims, claims.root);
        }
        for gone in list {
            claims.remove(gone.owner, &gone.area);
        }
        assert!(claims.is_empty());
    }
}

/// Goal: a host that holds as many claims as there can be, next to the blocks of another, on the same volume, makes that one
/// look at a few of them at most: one for each level. (Without order it was all of them, for each command of everybody.)
#[test]
fn claims_elsewhere_cost_nothing() {
    let bound = u64::try_from(CLAIMS_MAX).expect("small");
    for (step, len) in [(0, 1), (1, 1), (2, 2)] {
        let mut claims = Claims::new();
        for number in 0..bound {
            claims.insert(claim(number, area(1, 1000 + step * number, len)));
        }
        assert!(claims.is_full());
        for elsewhere in [area(1, 0, 1000), area(1, 1000 + step * bound + len, 256), area(0, 1000, 8)] {
            claims.looks = 0;
            assert_eq!(overlapping(&mut claims, &elsewhere), []);
            assert!(claims.looks <= LEVELS_MAX, "{} looks", claims.looks);
        }
    }
}
