//! Waking a sleeping core from another thread.
//!
//! ```text
//!  core:   is_asleep := true;  is there a message? yes → stay awake;  no → sleep on the eventfd
//!  others: put the message;    was is_asleep? yes → write the eventfd
//! ```
//! Both sides exchange `is_asleep`, and exchanges of one value have an order: either the core's comes first and is seen by the
//! sender, or the sender's comes first and the core, which reads its result, sees the message, too. So no message is left
//! behind with the core asleep. A core that spins costs the sender no system call.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes one core. Clones wake the same core.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: EventFd,
    is_asleep: AtomicBool,
}

impl Waker {
    /// A waker for a core that does not exist yet.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { shared: Arc::new(Shared { event, is_asleep: AtomicBool::new(false) }) })
    }

    /// Ends the core's sleep if it sleeps. Call it after the message is where the core will look for it.
    pub fn wake(&self) {
        if self.shared.is_asleep.swap(false, Ordering::SeqCst) {
            // The counter cannot overflow: the core reads it, and each sleep allows one write.
            let _ = self.shared.event.write(1);
        }
    }

    /// The core is about to sleep; it must look for messages once more after this.
    pub fn begin_sleep(&self) {
        self.shared.is_asleep.swap(true, Ordering::SeqCst);
    }

    /// The core is awake.
    pub fn end_sleep(&self) {
        self.shared.is_asleep.store(false, Ordering::SeqCst);
    }

    /// The eventfd, for other sources of wake-ups (another ring).
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}
