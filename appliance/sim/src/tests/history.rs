//! The oracle: which versions it allows, told as small stories.

use crate::{History, Verdict};

/// The versions up to 5 that a read may show now, and that a block may hold after a cut.
fn allowed(history: &History) -> (Vec<u64>, Vec<u64>) {
    let mut history = history.clone();
    let mark = history.mark();
    let now = (0..6).filter(|v| history.check_read(1, 0, mark, *v).is_ok()).collect();
    let after = (0..6).filter(|v| history.clone().check_after_cut(1, 0, *v).is_ok()).collect();
    (now, after)
}

/// Goal: the picture of the module header.
#[test]
fn later_writes_replace_earlier_ones() {
    let mut history = History::default();
    assert_eq!(allowed(&history), (vec![0], vec![0]));
    history.begin(1, 0, 1);
    assert_eq!(allowed(&history), (vec![0, 1], vec![0, 1]));
    history.end(1, 0, 1);
    history.begin(1, 0, 2);
    history.end(1, 0, 2);
    history.begin(1, 0, 3);
    assert_eq!(allowed(&history), (vec![2, 3], vec![0, 1, 2, 3]));
    let flush = history.mark();
    history.flushed(flush);
    assert_eq!(allowed(&history), (vec![2, 3], vec![2, 3]));
}

/// Goal: a flush covers only what had ended when it began.
#[test]
fn flushes_cover_what_had_ended() {
    let mut history = History::default();
    history.begin(1, 0, 1);
    let flush = history.mark();
    history.end(1, 0, 1);
    history.flushed(flush);
    assert_eq!(allowed(&history), (vec![1], vec![0, 1]));
    history.all_durable();
    assert_eq!(allowed(&history), (vec![1], vec![1]));
}

/// Goal: of two writes that overlap in time either may win; a read that began before a write ended may miss it.
#[test]
fn concurrent_writes_may_end_in_either_order() {
    let mut history = History::default();
    history.begin(1, 0, 1);
    history.begin(1, 0, 2);
    history.end(1, 0, 2);
    let early = history.mark();
    history.end(1, 0, 1);
    history.all_durable();
    assert_eq!(allowed(&history), (vec![1, 2], vec![1, 2]));
    history.begin(1, 0, 3);
    history.end(1, 0, 3);
    assert_eq!(history.check_read(1, 0, early, 1), Ok(()), "the read is older than version 3");
    assert_eq!(allowed(&history).0, [3]);
}

/// Goal: a write that failed may have happened, and replaces nothing.
#[test]
fn failed_writes_may_have_happened() {
    let mut history = History::default();
    history.begin(1, 0, 1);
    history.fail(1, 0, 1);
    history.all_durable();
    assert_eq!(allowed(&history), (vec![0, 1], vec![0, 1]));
    history.begin(1, 0, 2);
    history.end(1, 0, 2);
    assert_eq!(allowed(&history), (vec![2], vec![0, 1, 2]));
}

/// Goal: what was seen after a cut stays, for that block and no other.
#[test]
fn a_cut_decides_block_by_block() {
    let mut history = History::default();
    for lba in 0..2 {
        history.begin(1, lba, 1);
        history.end(1, lba, 1);
    }
    assert_eq!(history.check_after_cut(1, 1, 0), Ok(()));
    assert_eq!(allowed(&history), (vec![1], vec![0, 1]), "the other block is still open");
    assert_eq!(history.check_after_cut(1, 0, 1), Ok(()));
    assert_eq!(allowed(&history), (vec![1], vec![1]));
    let wrong = Verdict::Wrong { owner: 1, lba: 1, found: 1, allowed: vec![0] };
    assert_eq!(history.check_after_cut(1, 1, 1), Err(wrong));
}

/// Goal: a snapshot holds what its source could show while it was taken, and the first look decides; a clone goes on.
#[test]
fn snapshots_stay_as_they_were() {
    let mut history = History::default();
    history.begin(1, 0, 1);
    history.end(1, 0, 1);
    history.begin(1, 0, 2);
    let mark = history.mark();
    history.end(1, 0, 2);
    history.fork(1, 7, mark);
    history.fork(1, 8, mark);
    history.begin(1, 0, 3);
    history.end(1, 0, 3);
    for never in [0, 3] {
        assert!(history.check_snapshot(7, 0, never).is_err());
    }
    assert_eq!(history.check_snapshot(7, 0, 1), Ok(()));
    assert!(history.check_snapshot(7, 0, 2).is_err(), "it was 1 before");
    let mark = history.mark();
    assert_eq!([0, 1, 2, 3].map(|v| history.check_read(8, 0, mark, v).is_ok()), [false, true, true, false]);
    history.begin(8, 0, 4);
    history.end(8, 0, 4);
    let mark = history.mark();
    assert_eq!([1, 2, 4].map(|v| history.check_read(8, 0, mark, v).is_ok()), [false, false, true]);
    assert_eq!(history.known(7).collect::<Vec<_>>(), [0]);
    history.forget(7);
    assert_eq!(history.check_snapshot(7, 0, 0), Ok(()));
}

/// Goal: a snapshot that nobody confirmed holds what its source's blocks may hold after the cut.
#[test]
fn unconfirmed_snapshots_are_as_open_as_their_source() {
    let mut history = History::default();
    for version in 1..3 {
        history.begin(1, 0, version);
        history.end(1, 0, version);
    }
    history.fork_after_cut(1, 7);
    assert!((0..3).all(|v| history.clone().check_snapshot(7, 0, v).is_ok()));
    history.all_durable();
    history.fork_after_cut(1, 8);
    assert_eq!((0..3).filter(|v| history.clone().check_snapshot(8, 0, *v).is_ok()).collect::<Vec<_>>(), [2]);
}
