//! When a drive stops answering: from the first doubt to the point where its buffers are ours again.
//!
//! ```text
//!  Running ── too old, CFS, wrong answer ──▶ Stopping (CC.EN = 0) ── RDY = 0 ──────────────▶ Failed, buffers back
//!     │                                         └── too long, gone ─┐
//!     └──────────────── gone ──────────────────────────────────────▶ isolate() ── yes ────▶ Failed, buffers back
//!                                                                        └────── no ─────▶ Failed, buffers given up
//! ```
//!
//! Invariant: a buffer of a command in flight is neither freed nor handed out before the device certainly cannot write
//! it. A late write into a buffer that meanwhile holds another host's data would be silent corruption.
//!
//! Not here: bringing a failed drive back. The pool treats it as missing.

use crate::controller::Wait;
use crate::drive::{NvmeDrive, Work};
use crate::error::Failure;
use crate::limits::{
    CHECK_INTERVAL, COMMAND_TIMEOUT, SHUTDOWN_TIMEOUT_MAX, SHUTDOWN_TIMEOUT_MIN, SUSPICION_AFTER,
};
use crate::platform::Platform;
use block::{MediaError, Tick};
use nvme_spec::register::CreateQueueCdw10;
use nvme_spec::{AdminOpcode, Sqe};
use zerocopy::little_endian::U32;

/// CC.SHN: normal shutdown (Base 2.1 §3.1.4.5).
const SHN_NORMAL: u8 = 1;
/// CSTS.SHST: shutdown complete (Base 2.1 §3.1.4.6).
const SHST_COMPLETE: u8 = 2;

/// What the drive is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Taking commands.
    Running,
    /// Told to stop; may still write buffers.
    Stopping {
        /// Why.
        cause: Failure,
        /// When it is cut off instead.
        deadline: Tick,
    },
    /// Nothing is in flight, nothing is taken.
    Failed(Failure),
}

impl<P: Platform> NvmeDrive<P> {
    /// Looks at the time, and at the controller if something is overdue.
    pub(crate) fn check(&mut self) {
        match self.state {
            State::Failed(_) => {}
            State::Stopping { cause, deadline } => {
                self.now = self.controller.platform.now();
                match self.controller.csts() {
                    Some(csts) if !csts.rdy() => self.drain(cause, true),
                    Some(_) if self.now < deadline => {}
                    Some(_) | None => self.cut_off(cause),
                }
            }
            State::Running => {
                if self.slots.in_flight() > 0 {
                    self.now = self.controller.platform.now();
                    if self.now >= self.check_at {
                        self.check_at = self.now.after(CHECK_INTERVAL);
                        self.check_age();
                    }
                }
            }
        }
    }

    fn check_age(&mut self) {
        let age = self.slots.oldest().map(|oldest| self.now.since(oldest)).unwrap_or_default();
        if age < SUSPICION_AFTER {
            return;
        }
        match self.controller.csts() {
            None => self.cut_off(Failure::Gone),
            Some(csts) if csts.cfs() => self.begin_recovery(Failure::Fatal),
            Some(_) if age >= COMMAND_TIMEOUT => self.begin_recovery(Failure::TimedOut),
            Some(_) => {}
        }
    }

    /// Stops the controller; `check` sees the end of it.
    pub(crate) fn begin_recovery(&mut self, cause: Failure) {
        assert_eq!(self.state, State::Running, "a drive fails once");
        self.controller.begin_stop();
        let deadline = self.controller.platform.now().after(self.controller.ready_timeout);
        self.state = State::Stopping { cause, deadline };
    }

    /// The controller does not stop by itself, or is gone.
    fn cut_off(&mut self, cause: Failure) {
        let is_cut_off = self.controller.platform.isolate();
        self.drain(cause, is_cut_off);
    }

    /// Ends everything. Buffers are ours only if the device cannot write them any more.
    fn drain(&mut self, cause: Failure, are_buffers_ours: bool) {
        let error = match cause {
            Failure::Gone | Failure::ShutDown => MediaError::Gone,
            Failure::TimedOut | Failure::Fatal | Failure::WrongAnswer => MediaError::TimedOut,
        };
        while let Some(work) = self.slots.finish_any() {
            match work {
                Work::Op { tag, buf, .. } => {
                    let buf = buf.and_then(|buf| self.reclaim(buf, are_buffers_ours));
                    self.complete(tag, buf, Err(error));
                }
                Work::Zeroes { job } => {
                    if let Some((tag, result)) = self.zeroes.finish_part(job, Err(error)) {
                        self.complete(tag, None, result);
                    }
                }
            }
        }
        while let Some(tag) = self.zeroes.abandon() {
            self.complete(tag, None, Err(error));
        }
        self.state = State::Failed(cause);
    }

    fn reclaim(&mut self, mut buf: P::Buf, is_ours: bool) -> Option<P::Buf> {
        if is_ours {
            self.controller.platform.take_back(&mut buf);
            return Some(buf);
        }
        // Never freed, never reused: the device may still write it.
        core::mem::forget(buf);
        self.buffers_lost += 1;
        None
    }

    /// Stops the drive in an orderly way: what it has cached becomes durable, and it does not count an unsafe shutdown.
    /// Blocks until that is done, or its time is over. Operations in flight complete with an error; collect them with
    /// `poll`.
    ///
    /// # Errors
    /// If the drive had failed before, or did not confirm.
    pub fn shutdown(&mut self) -> Result<(), Failure> {
        if let Some(cause) = self.failure() {
            self.halt(cause);
            return Err(cause);
        }
        let confirmed =
            if self.slots.in_flight() == 0 { self.notify_shutdown() } else { Err(Failure::TimedOut) };
        self.halt(Failure::ShutDown);
        confirmed
    }

    /// Deletes the queues and waits for the shutdown to be complete (Base 2.1 §3.6.1).
    fn notify_shutdown(&mut self) -> Result<(), Failure> {
        for (command, opcode) in [
            ("Delete I/O Submission Queue", AdminOpcode::DELETE_IO_SQ),
            ("Delete I/O Completion Queue", AdminOpcode::DELETE_IO_CQ),
        ] {
            let mut sqe = Sqe::new(opcode.0, 0);
            sqe.cdw10 = U32::new(CreateQueueCdw10::new().with_qid(crate::bring_up::IO_QID).into_bits());
            // A courtesy of the sequence: the shutdown follows whatever the answer is.
            let _answer = self.parts.admin.execute(&self.controller, command, sqe);
        }
        self.controller.set_cc(self.controller.cc().with_shn(SHN_NORMAL));
        let time = self.parts.identity.shutdown_time.clamp(SHUTDOWN_TIMEOUT_MIN, SHUTDOWN_TIMEOUT_MAX);
        match self.controller.wait_for(time, |csts| csts.shst() == SHST_COMPLETE) {
            Wait::Reached => Ok(()),
            Wait::Fatal => Err(Failure::Fatal),
            Wait::Gone => Err(Failure::Gone),
            Wait::TooLong => Err(Failure::TimedOut),
        }
    }

    /// Stops the controller now, waiting for it; nothing is in flight afterwards.
    fn halt(&mut self, cause: Failure) {
        match self.state {
            State::Failed(_) => {}
            State::Running | State::Stopping { .. } => {
                if self.controller.stop() == Wait::Reached {
                    self.drain(cause, true);
                } else {
                    self.cut_off(cause);
                }
            }
        }
    }
}

impl<P: Platform> Drop for NvmeDrive<P> {
    fn drop(&mut self) {
        self.halt(Failure::ShutDown);
    }
}
