//! A deterministic executor for one core (layer 2; storage code that is written as `async fn` runs on it).
//!
//! ```text
//!                      ┌───────────── ready: first in, first out ◀───────────────┐
//!                      ▼                                                         │ wake
//!  Executor::run ─▶ task ─▶ async fn … ─▶ leaf: Devices::run   one device command │ ◀─ Devices::poll
//!                                         Timers::sleep_until  one timer         │ ◀─ Timers::advance
//!                                         Claims, WaitQueue, Mailbox: other tasks ┘
//! ```
//!
//! Invariants
//! - Tasks are made at start and live as long as the executor; a task that serves requests takes one after the other
//!   from a [`Mailbox`]. So nothing is allocated for a request, and the number of tasks bounds what is under way.
//! - The order in which tasks run follows from the order of completions alone: equal inputs give equal runs. Whatever
//!   waits for the same thing is served in the order in which it came.
//! - There is no cancellation. A future that has begun to wait is polled until it has ended; dropping one inside a
//!   running task is a fault of ours and stops the process. (Dropping the whole executor is how a test cuts the power.)
//! - Wakers are not used: a leaf remembers the task that polled it, and wakes that. A task may be polled without need
//!   when it waits for several things ([`join`]); every leaf bears that.
//!
//! Not here: threads, clocks (time is an argument of [`Timers::advance`]), what the tasks do (`volume`).
//!
//! A task that serves requests, and the loop of a core around it:
//!
//! ```
//! use std::rc::Rc;
//! use task::{Core, Executor, Mailbox};
//!
//! let core = Core::new();
//! let requests = Rc::new(Mailbox::new(&core, 8));
//! let replies = Rc::new(Mailbox::new(&core, 8));
//! let mut executor = Executor::new(&core);
//! for _ in 0..2 {
//!     let (requests, replies) = (requests.clone(), replies.clone());
//!     executor.spawn(async move {
//!         loop {
//!             let number: u32 = requests.take().await;
//!             replies.put(number * 2).expect("as many replies as requests");
//!         }
//!     });
//! }
//! requests.put(21).expect("room");
//! executor.run();
//! assert_eq!(replies.try_take(), Some(42));
//! ```
#![forbid(unsafe_code)]

mod claims;
mod core;
mod devices;
mod executor;
mod join;
mod mailbox;
mod timers;
mod wait;

pub use claims::{Claims, Guard, Mode};
pub use core::{Core, TaskId};
pub use devices::Devices;
pub use executor::Executor;
pub use join::join;
pub use mailbox::Mailbox;
pub use timers::Timers;
pub use wait::{Wait, WaitQueue};

#[cfg(test)]
mod tests;
