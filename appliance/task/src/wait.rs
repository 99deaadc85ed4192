//! Waiting for something that another task does, first come, first served.

use crate::{Core, TaskId};
use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::VecDeque;
use std::rc::Rc;

/// A line in which tasks wait.
#[derive(Debug)]
pub struct WaitQueue {
    core: Rc<Core>,
    waiting: RefCell<VecDeque<TaskId>>,
    /// The ticket of whoever comes next.
    next: Cell<u64>,
    /// Tickets below this one have been called. The front of the line holds this ticket.
    called: Cell<u64>,
}

impl WaitQueue {
    /// An empty line. It has room for `waiting_max` waiters without an allocation.
    #[must_use]
    pub fn new(core: &Rc<Core>, waiting_max: usize) -> Self {
        Self {
            core: core.clone(),
            waiting: RefCell::new(VecDeque::with_capacity(waiting_max)),
            next: Cell::new(0),
            called: Cell::new(0),
        }
    }

    /// Waits to be called. The place in the line is taken when this is polled first.
    pub fn wait(&self) -> Wait<'_> {
        Wait { queue: self, ticket: None }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Calls the first in the line.
    pub fn wake_one(&self) {
        if let Some(task) = self.waiting.borrow_mut().pop_front() {
            self.called.set(self.called.get() + 1);
            self.core.wake(task);
        }
    }

    /// Calls everybody who waits now.
    pub fn wake_all(&self) {
        while !self.is_empty() {
            self.wake_one();
        }
    }
}

/// The future of [`WaitQueue::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Wait<'a> {
    queue: &'a WaitQueue,
    ticket: Option<u64>,
}

impl Wait<'_> {
    fn is_called(&self) -> bool {
        self.ticket.is_some_and(|ticket| ticket < self.queue.called.get())
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.is_called() {
            return Poll::Ready(());
        }
        if self.ticket.is_none() {
            let ticket = self.queue.next.get();
            self.queue.next.set(ticket + 1);
            self.queue.waiting.borrow_mut().push_back(self.queue.core.current());
            self.ticket = Some(ticket);
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() && !self.is_called() {
            self.queue.core.assert_torn_down("a place in a line");
        }
    }
}
