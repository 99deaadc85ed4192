//! The tasks of one core.

use crate::{Core, TaskId};
use core::pin::Pin;
use core::task::{Context, Waker};
use std::rc::Rc;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Owns the tasks and polls those that are ready.
pub struct Executor {
    core: Rc<Core>,
    /// `None` for a task that has ended.
    tasks: Vec<Option<Task>>,
}

impl core::fmt::Debug for Executor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).field("core", &self.core).finish()
    }
}

impl Executor {
    /// An executor without tasks.
    #[must_use]
    pub fn new(core: &Rc<Core>) -> Self {
        Self { core: core.clone(), tasks: Vec::new() }
    }

    /// Adds a task; it runs first in the next [`Executor::run`]. At start only: this allocates.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'static) -> TaskId {
        let id = self.core.add_task();
        assert_eq!(id.0, self.tasks.len(), "a core has one executor");
        self.tasks.push(Some(Box::pin(task)));
        id
    }

    /// Polls tasks until none is ready. Returns how many polls that took.
    pub fn run(&mut self) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let mut polls = 0;
        while let Some(id) = self.core.begin_next() {
            let slot = &mut self.tasks[id.0];
            if let Some(task) = slot {
                polls += 1;
                if task.as_mut().poll(&mut context).is_ready() {
                    *slot = None;
                }
            }
            self.core.end_current();
        }
        polls
    }

    /// Whether a task has ended.
    ///
    /// # Panics
    /// If the executor has no such task.
    #[must_use]
    pub fn has_ended(&self, task: TaskId) -> bool {
        self.tasks[task.0].is_none()
    }
}
