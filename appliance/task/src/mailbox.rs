//! Values for whichever task is free: requests to the tasks that serve them, and replies back.

use crate::{Core, WaitQueue};
use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A bounded list of values, first in, first out.
#[derive(Debug)]
pub struct Mailbox<T> {
    values: RefCell<VecDeque<T>>,
    len_max: usize,
    takers: WaitQueue,
}

impl<T> Mailbox<T> {
    /// An empty one with room for `len_max` values.
    #[must_use]
    pub fn new(core: &Rc<Core>, len_max: usize) -> Self {
        Self {
            values: RefCell::new(VecDeque::with_capacity(len_max)),
            len_max,
            takers: WaitQueue::new(core, len_max),
        }
    }

    /// Adds a value, and wakes a task that waits for one. May be called from outside the tasks.
    ///
    /// # Errors
    /// The value itself, if there is no room for it.
    pub fn put(&self, value: T) -> Result<(), T> {
        let mut values = self.values.borrow_mut();
        if values.len() == self.len_max {
            return Err(value);
        }
        values.push_back(value);
        drop(values);
        self.takers.wake_one();
        Ok(())
    }

    /// The oldest value, if there is one.
    #[must_use]
    pub fn try_take(&self) -> Option<T> {
        self.values.borrow_mut().pop_front()
    }

    /// The oldest value, as soon as there is one.
    pub async fn take(&self) -> T {
        loop {
            if let Some(value) = self.try_take() {
                return value;
            }
            self.takers.wait().await;
        }
    }

    /// Values that nobody took yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.borrow().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
