//! Every order in which a few commands can arrive and end, against what the claims promise.

use super::*;
use block::Bytes;

/// A command of the model.
#[derive(Clone, Copy, Debug)]
struct Kind {
    area: Area,
    is_exclusive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Outside,
    Waits,
    Runs { has_claim: bool },
    Ended,
}

/// What happens next: a command arrives, or one that is inside leaves (ends, or is dropped while it waits).
#[derive(Clone, Copy, Debug)]
enum Move {
    Arrive(usize),
    Leave(usize),
}

fn area(first: u64, end: u64) -> Area {
    Area::of(7, Span::new(Bytes(first * 4096), Bytes((end - first) * 4096)).expect("small numbers"))
}

/// Plays moves from the start; checks the promises after each.
fn play(kinds: &[Kind], moves: &[Move]) -> Vec<Stage> {
    let mut ranges = Ranges::new();
    let mut stages = vec![Stage::Outside; kinds.len()];
    for step in moves {
        match *step {
            Move::Arrive(index) => {
                let Kind { area, is_exclusive } = kinds[index];
                let unnoted = Stage::Runs { has_claim: false };
                let inside = kinds.iter().zip(&stages);
                let at_drives = inside.filter(|(k, s)| **s == unnoted && k.area.overlaps(&area)).count();
                let want =
                    if is_exclusive { Want::Exclusive { at_drives } } else { Want::Ordinary { lost: 0 } };
                stages[index] = match ranges.enter(Owner { place: index, index: 0 }, area, want) {
                    Entry::Unnoted => unnoted,
                    Entry::Begins => Stage::Runs { has_claim: true },
                    Entry::Waits => Stage::Waits,
                    Entry::Full => panic!("a few commands have room"),
                };
            }
            Move::Leave(index) => {
                match stages[index] {
                    Stage::Runs { has_claim: true } | Stage::Waits => {
                        ranges.leave(Owner { place: index, index: 0 }, &kinds[index].area);
                    }
                    Stage::Runs { has_claim: false } => ranges.on_unnoted_end(&kinds[index].area),
                    Stage::Outside | Stage::Ended => unreachable!("only who is inside leaves"),
                }
                stages[index] = Stage::Ended;
            }
        }
        while let Some(owner) = ranges.pop_ready() {
            assert_eq!(stages[owner.place], Stage::Waits, "{kinds:?} {moves:?}");
            stages[owner.place] = Stage::Runs { has_claim: true };
        }
        check(kinds, &stages, moves);
    }
    let is_over = stages.iter().all(|stage| matches!(stage, Stage::Outside | Stage::Ended));
    assert!(!is_over || ranges.is_empty(), "{kinds:?} {moves:?}");
    stages
}

/// Who runs alone is alone; and somebody runs as long as somebody waits.
fn check(kinds: &[Kind], stages: &[Stage], moves: &[Move]) {
    let runs: Vec<usize> =
        (0..kinds.len()).filter(|index| matches!(stages[*index], Stage::Runs { .. })).collect();
    for &one in &runs {
        for &other in runs.iter().filter(|other| **other != one) {
            let is_apart = !kinds[one].area.overlaps(&kinds[other].area);
            assert!(is_apart || !kinds[one].is_exclusive, "{kinds:?} {moves:?}: {one} and {other}");
        }
    }
    assert!(!runs.is_empty() || !stages.contains(&Stage::Waits), "{kinds:?} {moves:?}: all wait");
}

/// Tries every continuation; says how many ends there are.
fn explore(kinds: &[Kind], moves: &mut Vec<Move>, arrived: usize) -> usize {
    let stages = play(kinds, moves);
    let mut next: Vec<Move> = (0..kinds.len())
        .filter(|index| matches!(stages[*index], Stage::Runs { .. } | Stage::Waits))
        .map(Move::Leave)
        .collect();
    next.extend((arrived < kinds.len()).then_some(Move::Arrive(arrived)));
    if next.is_empty() {
        return 1;
    }
    let mut ends = 0;
    for step in next {
        moves.push(step);
        ends += explore(kinds, moves, arrived + usize::from(matches!(step, Move::Arrive(_))));
        moves.pop();
    }
    ends
}

/// Goal: three commands of every kind, in every order of arriving, ending and being dropped while they wait: an exclusive one
/// is never at the drives together with another at its blocks, nobody waits for ever, and nothing is left behind.
#[test]
fn every_order_of_three() {
    let areas = [area(0, 1), area(1, 2), area(0, 2)];
    let kinds: Vec<Kind> = areas
        .iter()
        .flat_map(|&area| [false, true].map(|is_exclusive| Kind { area, is_exclusive }))
        .collect();
    let mut ends = 0;
    for number in 0..kinds.len().pow(3) {
        let [a, b, c] = [number, number / kinds.len(), number / kinds.len().pow(2)];
        let chosen = [a, b, c].map(|n| kinds[n % kinds.len()]);
        ends += explore(&chosen, &mut Vec::new(), 0);
    }
    assert_eq!(ends, 216 * 15, "orders of three arrivals in a row and three ends, each behind its arrival");
}

/// Goal: who came first goes first, also over a chain of commands that only partly overlap.
#[test]
fn first_come_first_served() {
    let mut ranges = Ranges::new();
    let owner = |place| Owner { place, index: 0 };
    let alone = Want::Exclusive { at_drives: 0 };
    assert_eq!(ranges.enter(owner(0), area(0, 2), alone), Entry::Begins);
    assert_eq!(ranges.enter(owner(1), area(1, 3), alone), Entry::Waits);
    assert_eq!(ranges.enter(owner(2), area(2, 4), Want::Ordinary { lost: 0 }), Entry::Waits);
    assert_eq!(ranges.enter(owner(3), area(3, 5), alone), Entry::Waits);
    assert_eq!(ranges.enter(owner(4), area(5, 6), Want::Ordinary { lost: 0 }), Entry::Unnoted);
    ranges.leave(owner(0), &area(0, 2));
    assert_eq!((ranges.pop_ready(), ranges.pop_ready()), (Some(owner(1)), None));
    ranges.leave(owner(1), &area(1, 3));
    assert_eq!((ranges.pop_ready(), ranges.pop_ready()), (Some(owner(2)), None));
    ranges.leave(owner(2), &area(2, 4));
    assert_eq!((ranges.pop_ready(), ranges.pop_ready()), (Some(owner(3)), None));
    ranges.leave(owner(3), &area(3, 5));
    assert!(ranges.is_empty());
}

/// Goal: the number of claims is bounded; one more is refused, and nothing is lost.
#[test]
fn claims_are_bounded() {
    let mut ranges = Ranges::new();
    let alone = Want::Exclusive { at_drives: 0 };
    for place in 0..CLAIMS_MAX {
        assert_ne!(ranges.enter(Owner { place, index: 0 }, area(0, 1), alone), Entry::Full);
    }
    let more = Owner { place: CLAIMS_MAX, index: 0 };
    assert_eq!(ranges.enter(more, area(0, 1), Want::Ordinary { lost: 0 }), Entry::Full);
    assert_eq!(ranges.enter(more, area(1, 2), Want::Ordinary { lost: 0 }), Entry::Unnoted);
    for place in 0..CLAIMS_MAX {
        ranges.leave(Owner { place, index: 0 }, &area(0, 1));
        let next = (place + 1 < CLAIMS_MAX).then_some(Owner { place: place + 1, index: 0 });
        assert_eq!(ranges.pop_ready(), next);
    }
    assert!(ranges.is_empty());
}

/// Goal: a write waits for those of lost connections that were lost before it came, and for no later ones; who reads, or has
/// the blocks for itself, is not concerned.
#[test]
fn only_what_was_lost_before_is_waited_for() {
    let owner = |place| Owner { place, index: 0 };
    let mut ranges = Ranges::new();
    let first = ranges.begin_loss();
    assert!(!ranges.is_empty() && ranges.has_lost());
    assert_eq!(ranges.enter(owner(1), area(0, 4), Want::Ordinary { lost: 1 }), Entry::Waits);
    assert_eq!(ranges.enter(owner(2), area(0, 4), Want::Ordinary { lost: 0 }), Entry::Unnoted);
    let second = ranges.begin_loss();
    assert_eq!(ranges.enter(owner(3), area(3, 5), Want::Ordinary { lost: 2 }), Entry::Waits);
    ranges.on_lost_end(&area(2, 4), second);
    assert_eq!(ranges.pop_ready(), None);
    ranges.on_lost_end(&area(0, 4), first);
    assert_eq!([ranges.pop_ready(), ranges.pop_ready()], [Some(owner(1)), Some(owner(3))]);
    ranges.on_unnoted_end(&area(0, 4));
    for (place, area) in [(1, area(0, 4)), (3, area(3, 5))] {
        ranges.leave(owner(place), &area);
    }
    (0..2).for_each(|_| ranges.end_loss());
    assert!(ranges.is_empty());
}

/// Goal: a command that meets one with a claim, but nobody who needs the blocks for itself, has none: claims end with what caused
/// them, and do not go from one to the next at blocks that are always busy.
#[test]
fn claims_are_not_contagious() {
    let owner = |place| Owner { place, index: 0 };
    let ordinary = Want::Ordinary { lost: 0 };
    let mut ranges = Ranges::new();
    assert_eq!(ranges.enter(owner(0), area(0, 1), Want::Exclusive { at_drives: 0 }), Entry::Begins);
    assert_eq!(ranges.enter(owner(1), area(0, 1), ordinary), Entry::Waits);
    ranges.leave(owner(0), &area(0, 1));
    assert_eq!(ranges.pop_ready(), Some(owner(1)));
    assert_eq!(ranges.enter(owner(2), area(0, 1), ordinary), Entry::Unnoted);
    // One that comes now waits for both.
    assert_eq!(ranges.enter(owner(3), area(0, 1), Want::Exclusive { at_drives: 1 }), Entry::Waits);
    ranges.leave(owner(1), &area(0, 1));
    assert_eq!(ranges.pop_ready(), None);
    ranges.on_unnoted_end(&area(0, 1));
    assert_eq!(ranges.pop_ready(), Some(owner(3)));
    ranges.leave(owner(3), &area(0, 1));
    assert_eq!(ranges.enter(owner(4), area(0, 1), ordinary), Entry::Unnoted);
    assert!(ranges.is_empty(), "although somebody is at the drives");
}
