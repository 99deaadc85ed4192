//! One io_uring: set up as well as this kernel can, entered only when there is a reason to.
//!
//! Invariant: an entry that does not fit the submission queue waits in a backlog; no operation is lost.

use core::time::Duration;
use io_uring::{IoUring, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What a ring is for; decides how completions are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingKind {
    /// The ring a core sleeps in: completions are processed when we enter it (Linux 6.1, `DEFER_TASKRUN`).
    Core,
    /// A ring that is looked at: completions arrive when the thread enters the kernel, for whatever reason; a flag says
    /// that some wait for that.
    Side,
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// As given with the entry.
    pub user_data: u64,
    /// Bytes, a descriptor, or a negative error number.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

impl Finished {
    /// The result as Rust has it.
    ///
    /// # Errors
    /// The error number that the kernel gave.
    pub fn count(&self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}

/// A submission and a completion queue shared with the kernel.
pub struct Ring {
    uring: IoUring,
    backlog: VecDeque<squeue::Entry>,
}

impl core::fmt::Debug for Ring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for the calling thread.
    ///
    /// # Errors
    /// If the kernel has no io_uring, or forbids it to this process (`kernel.io_uring_disabled`, seccomp).
    pub fn new(kind: RingKind, submissions: u32, completions: u32) -> io::Result<Self> {
        // From the best set-up to the plainest; older kernels answer EINVAL to flags they do not know.
        let mut error = None;
        for attempt in 0..3u8 {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(completions).setup_clamp();
            match (attempt, kind) {
                (0, RingKind::Core) => {
                    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
                }
                (0, RingKind::Side) => {
                    builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
                }
                (1, _) => {
                    builder.setup_coop_taskrun().setup_taskrun_flag();
                }
                _ => {}
            }
            match builder.build(submissions) {
                Ok(uring) => return Ok(Self { uring, backlog: VecDeque::new() }),
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => error = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(error.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)))
    }

    /// Queues an operation; the next [`Ring::flush`] or [`Ring::wait`] hands it to the kernel.
    ///
    /// # Safety
    /// All memory that the entry names stays valid, and is not used otherwise, until its completion was seen.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() {
            // SAFETY: the caller keeps the memory of the entry valid until its completion.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    /// Hands queued operations to the kernel and lets it deliver what has finished. No system call if there is neither.
    pub fn flush(&mut self) {
        let queue = self.uring.submission();
        let is_idle = queue.is_empty() && !queue.taskrun() && !queue.cq_overflow();
        drop(queue);
        if is_idle && self.backlog.is_empty() {
            return;
        }
        self.enter_without_waiting();
        while !self.backlog.is_empty() && self.refill() {
            self.enter_without_waiting();
        }
    }

    /// Sleeps until something finishes or `timeout` has passed.
    pub fn wait(&mut self, timeout: Duration) {
        self.flush();
        if !self.uring.completion().is_empty() {
            return;
        }
        let span = types::Timespec::from(timeout);
        let args = types::SubmitArgs::new().timespec(&span);
        // ETIME: the time has passed. EINTR: a signal; the caller looks around and comes again. EBUSY, EAGAIN: the
        // completion queue has to be emptied first, which the caller does next.
        let _ = self.uring.submitter().submit_with_args(1, &args);
    }

    /// The next completion that is already there.
    pub fn poll(&mut self) -> Option<Finished> {
        let entry = self.uring.completion().next()?;
        Some(Finished { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() })
    }

    /// Lets completions of this ring ring an eventfd while [`Ring::set_notify`] allows it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn register_notify(&mut self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.uring.submitter().register_eventfd(event.as_raw_fd())?;
        self.set_notify(false);
        Ok(())
    }

    /// Whether completions ring the eventfd.
    pub fn set_notify(&mut self, is_on: bool) {
        let queue = self.uring.completion();
        if is_on {
            queue.enable_eventfd();
        } else {
            queue.disable_eventfd();
        }
    }

    /// A completion is there to be taken.
    pub fn has_finished(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    fn enter_without_waiting(&mut self) {
        // Errors here are EINTR, EBUSY or EAGAIN: entries stay queued and go with the next call.
        let _ = self.uring.submitter().submit();
    }

    /// Moves entries from the backlog to the queue; false if none fits.
    fn refill(&mut self) -> bool {
        let mut queue = self.uring.submission();
        let mut has_moved = false;
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed the entry keeps its memory valid until its completion.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
            has_moved = true;
        }
        has_moved
    }
}
