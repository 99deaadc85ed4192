//! Claims: who waits for whom, and that everybody's turn comes.

use super::{bench, note, taken};
use crate::{Claims, Mode, WaitQueue};
use core::cell::RefCell;
use std::rc::Rc;

struct Case {
    executor: crate::Executor,
    claims: Rc<Claims>,
    doors: Vec<Rc<WaitQueue>>,
    log: super::Log,
}

/// One task for each claim; each holds its claim until its door opens.
fn case(wanted: &[(u64, core::ops::Range<u64>, Mode)]) -> Case {
    let (core, mut executor, log) = bench();
    let claims = Rc::new(Claims::new(&core, wanted.len()));
    let doors: Vec<_> = wanted.iter().map(|_| Rc::new(WaitQueue::new(&core, 1))).collect();
    for (number, ((owner, range, mode), door)) in wanted.iter().cloned().zip(&doors).enumerate() {
        let (claims, door, log) = (claims.clone(), door.clone(), log.clone());
        executor.spawn(async move {
            let held = claims.claim(owner, range, mode).await;
            note(&log, format!("{number}"));
            door.wait().await;
            drop(held);
        });
    }
    executor.run();
    Case { executor, claims, doors, log }
}

impl Case {
    /// Ends a claim; returns the claims that are granted by that.
    fn end(&mut self, number: usize) -> String {
        self.doors[number].wake_one();
        self.executor.run();
        taken(&self.log)
    }
}

/// Goal: the picture of the module header: overlapping claims wait, in order; disjoint ones and shared ones do not.
#[test]
fn overlapping_claims_wait_in_order() {
    use Mode::{Exclusive, Shared};
    let mut case = case(&[
        (1, 0..16, Exclusive),
        (1, 32..48, Shared),
        (1, 8..40, Exclusive),
        (1, 40..41, Shared),
        (2, 0..16, Exclusive),
        (1, 39..41, Shared),
    ]);
    assert_eq!(taken(&case.log), "0 1 3 4", "2 waits for 0 and 1, and 5 does not overtake 2");
    assert_eq!(case.end(0), "");
    assert_eq!(case.end(1), "2");
    assert_eq!(case.end(2), "5");
    for last in 3..6 {
        case.end(last);
    }
    assert!(case.claims.is_empty());
}

/// Goal: with one range for all it is a door: whoever closes it waits for those inside, and those behind wait for him.
#[test]
fn a_door_can_be_closed() {
    let door = |mode| (0, 0..1, mode);
    let mut case = case(&[Mode::Shared, Mode::Shared, Mode::Exclusive, Mode::Shared, Mode::Shared].map(door));
    assert_eq!(taken(&case.log), "0 1");
    assert_eq!(case.end(1), "");
    assert_eq!(case.end(0), "2");
    assert_eq!(case.end(2), "3 4");
}

/// Goal: random claims against the rule itself: no two that conflict are held together, overlapping ones are granted in
/// the order in which they came, and all are granted in the end. 300 seeds, 40 tasks.
#[test]
fn random_claims_obey_the_rule() {
    for seed in 0..300_u64 {
        let mut state = seed;
        let mut next = move |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        let wanted: Vec<_> = (0..40)
            .map(|_| {
                let first = next(20);
                let mode = if next(2) == 0 { Mode::Shared } else { Mode::Exclusive };
                (next(2), first..first + 1 + next(6), mode)
            })
            .collect();
        let conflict = |a: usize, b: usize| {
            let ((owner_a, range_a, mode_a), (owner_b, range_b, mode_b)) = (&wanted[a], &wanted[b]);
            let is_apart = range_a.end <= range_b.start || range_b.end <= range_a.start;
            owner_a == owner_b && !is_apart && (*mode_a == Mode::Exclusive || *mode_b == Mode::Exclusive)
        };
        let mut case = case(&wanted);
        let held: RefCell<Vec<usize>> = RefCell::default();
        let mut granted = 0;
        let mut take = |text: String| {
            for number in text.split_whitespace().map(|n| n.parse::<usize>().expect("a number")) {
                let mut held = held.borrow_mut();
                assert!(!held.iter().any(|h| conflict(*h, number)), "seed {seed}: {number} beside {held:?}");
                held.push(number);
                granted += 1;
            }
        };
        take(taken(&case.log));
        while let Some(ended) = {
            let len = held.borrow().len() as u64;
            (len > 0).then(|| usize::try_from(next(len)).expect("small"))
        } {
            let number = held.borrow_mut().swap_remove(ended);
            take(case.end(number));
        }
        assert_eq!(granted, wanted.len(), "seed {seed}: somebody waits for ever");
    }
}
