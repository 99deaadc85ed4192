//! Claims on ranges: who may touch which blocks now, and who comes next.
//!
//! ```text
//!  arrival ──▶  [0..16 exclusive: held] [32..48 shared: held] [8..40 exclusive: waits for both] [40..41 shared: held]
//! ```
//!
//! A claim waits for the earlier claims that overlap it, unless both are shared. So overlapping writes happen in the
//! order in which they came, nobody is overtaken for ever, and two claims never wait for each other. With one range
//! for everything this is also a door that many may pass together and somebody can close.
//!
//! Deadlock is possible only for a task that claims again while it holds a claim; whoever does so must claim in one
//! order everywhere, and says it.

use crate::{Core, TaskId};
use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::rc::Rc;

/// Whether a claim bears others beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Beside other shared ones.
    Shared,
    /// Alone.
    Exclusive,
}

/// The claims of one core, in the order in which they came.
#[derive(Debug)]
pub struct Claims {
    core: Rc<Core>,
    entries: RefCell<Vec<Entry>>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    owner: u64,
    range: Range<u64>,
    mode: Mode,
    task: TaskId,
    is_held: bool,
}

impl Entry {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.owner == other.owner
            && self.range.start < other.range.end
            && other.range.start < self.range.end
            && (self.mode == Mode::Exclusive || other.mode == Mode::Exclusive)
    }
}

impl Claims {
    /// No claims; room for `claims_max` without an allocation.
    #[must_use]
    pub fn new(core: &Rc<Core>, claims_max: usize) -> Self {
        Self { core: core.clone(), entries: RefCell::new(Vec::with_capacity(claims_max)), next: Cell::new(0) }
    }

    /// Claims a range of what `owner` has (a volume, say), and waits until it is granted. It ends with the guard.
    pub async fn claim(&self, owner: u64, range: Range<u64>, mode: Mode) -> Guard<'_> {
        assert!(range.start < range.end, "a claim is not empty");
        let number = self.next.get();
        self.next.set(number + 1);
        Claim { claims: self, number, wanted: Some((owner, range, mode)), is_done: false }.await;
        Guard { claims: self, number }
    }

    /// Claims that are held or waited for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a claim at the end of the line; says whether it is held at once.
    fn add(&self, number: u64, (owner, range, mode): (u64, Range<u64>, Mode)) -> bool {
        let mut entries = self.entries.borrow_mut();
        let mut entry = Entry { number, owner, range, mode, task: self.core.current(), is_held: false };
        entry.is_held = !entries.iter().any(|earlier| earlier.conflicts_with(&entry));
        let is_held = entry.is_held;
        entries.push(entry);
        is_held
    }

    fn is_held(&self, number: u64) -> bool {
        self.entries.borrow().iter().any(|e| e.number == number && e.is_held)
    }

    /// Takes a claim away and grants those that waited for nothing else.
    fn release(&self, number: u64) {
        let mut entries = self.entries.borrow_mut();
        let Some(index) = entries.iter().position(|e| e.number == number) else { return };
        let gone = entries.remove(index);
        for later in index..entries.len() {
            let (earlier, rest) = entries.split_at_mut(later);
            let entry = &mut rest[0];
            if !entry.is_held
                && entry.conflicts_with(&gone)
                && !earlier.iter().any(|e| e.conflicts_with(entry))
            {
                entry.is_held = true;
                self.core.wake(entry.task);
            }
        }
    }
}

struct Claim<'a> {
    claims: &'a Claims,
    number: u64,
    wanted: Option<(u64, Range<u64>, Mode)>,
    is_done: bool,
}

impl Future for Claim<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.is_done = match self.wanted.take() {
            Some(wanted) => self.claims.add(self.number, wanted),
            None => self.claims.is_held(self.number),
        };
        if self.is_done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.is_done && self.wanted.is_none() {
            self.claims.core.assert_torn_down("a claim");
        }
    }
}

/// A claim that is held; dropping it lets the next ones in.
#[derive(Debug)]
#[must_use = "a claim that is dropped at once protects nothing"]
pub struct Guard<'a> {
    claims: &'a Claims,
    number: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.claims.release(self.number);
    }
}
