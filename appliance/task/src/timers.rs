//! Waiting until a time. Time is what the owner of the loop says it is.

use crate::{Core, TaskId};
use block::Tick;
use core::cell::{Cell, RefCell};
use core::cmp::Reverse;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::BinaryHeap;
use std::rc::Rc;

/// The timers of one core.
#[derive(Debug)]
pub struct Timers {
    core: Rc<Core>,
    now: Cell<Tick>,
    /// Earliest first; at the same time, in the order in which they were set.
    waiting: RefCell<BinaryHeap<Reverse<(Tick, u64, TaskId)>>>,
    count: Cell<u64>,
}

impl Timers {
    /// No timers; room for `timers_max` without an allocation.
    #[must_use]
    pub fn new(core: &Rc<Core>, timers_max: usize) -> Self {
        Self {
            core: core.clone(),
            now: Cell::new(Tick(0)),
            waiting: RefCell::new(BinaryHeap::with_capacity(timers_max)),
            count: Cell::new(0),
        }
    }

    /// The time as it was told last.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.now.get()
    }

    /// Tells the time, and wakes whoever waited for it. Time does not run backwards: an earlier one is ignored.
    pub fn advance(&self, now: Tick) {
        self.now.set(now.max(self.now.get()));
        let mut waiting = self.waiting.borrow_mut();
        while waiting.peek().is_some_and(|Reverse((at, ..))| *at <= self.now.get()) {
            if let Some(Reverse((_, _, task))) = waiting.pop() {
                self.core.wake(task);
            }
        }
    }

    /// When the next timer ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.waiting.borrow().peek().map(|Reverse((at, ..))| *at)
    }

    /// Waits until a time.
    pub async fn sleep_until(&self, at: Tick) {
        Sleep { timers: self, at, is_set: false }.await;
    }
}

struct Sleep<'a> {
    timers: &'a Timers,
    at: Tick,
    is_set: bool,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let timers = self.timers;
        if timers.now.get() >= self.at {
            return Poll::Ready(());
        }
        if !self.is_set {
            let count = timers.count.get();
            timers.count.set(count + 1);
            timers.waiting.borrow_mut().push(Reverse((self.at, count, timers.core.current())));
            self.is_set = true;
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if self.is_set && self.timers.now.get() < self.at {
            self.timers.core.assert_torn_down("a timer");
        }
    }
}
