//! What an executor shares with everything that tasks wait for: who is running, and who is to run next.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Names a task of one executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) usize);

/// The ready list of one core.
#[derive(Debug, Default)]
pub struct Core {
    ready: RefCell<VecDeque<TaskId>>,
    /// By task: whether it is in the list. So a task is in it once, and the list never outgrows the tasks.
    is_ready: RefCell<Vec<bool>>,
    current: Cell<Option<TaskId>>,
}

impl Core {
    /// A core without tasks.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// A new task; it is ready at once. Only here the lists grow.
    pub(crate) fn add_task(&self) -> TaskId {
        let mut is_ready = self.is_ready.borrow_mut();
        let task = TaskId(is_ready.len());
        is_ready.push(false);
        let mut ready = self.ready.borrow_mut();
        let missing = is_ready.len().saturating_sub(ready.len());
        ready.reserve(missing);
        drop((is_ready, ready));
        self.wake(task);
        task
    }

    /// The task that is being polled.
    ///
    /// # Panics
    /// If none is: a leaf future was polled outside of its executor.
    #[must_use]
    pub fn current(&self) -> TaskId {
        self.current.get().expect("leaf futures are polled by a task")
    }

    /// Whether a task is being polled. Futures that are dropped while none is are torn down with their executor.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.current.get().is_some()
    }

    /// The task runs in this round, after those that became ready before it.
    pub fn wake(&self, task: TaskId) {
        let is_new =
            self.is_ready.borrow_mut().get_mut(task.0).is_some_and(|is| !core::mem::replace(is, true));
        if is_new {
            self.ready.borrow_mut().push_back(task);
        }
    }

    /// The task that is next, which becomes the current one.
    pub(crate) fn begin_next(&self) -> Option<TaskId> {
        let task = self.ready.borrow_mut().pop_front()?;
        if let Some(is) = self.is_ready.borrow_mut().get_mut(task.0) {
            *is = false;
        }
        self.current.set(Some(task));
        Some(task)
    }

    pub(crate) fn end_current(&self) {
        self.current.set(None);
    }

    /// Asserts that no future is given up half way; called where waiting futures are dropped.
    pub(crate) fn assert_torn_down(&self, what: &str) {
        // While a panic unwinds, a second one would hide the first.
        assert!(!self.is_running() || std::thread::panicking(), "{what} was given up while it waited");
    }
}
