//! A submission and a completion queue: two rings in memory shared with the controller.
//!
//! ```text
//!  SQ  [ . . E E E . ]      push() writes at the tail, ring() tells the controller the tail
//!  CQ  [ C C . . . . ]      pop() reads at the head while the phase tag is new, acknowledge() tells the head
//! ```
//!
//! Invariants
//! - The owner keeps fewer commands in flight than a ring has entries; so neither ring overflows, and the head that the
//!   controller reports is not needed.
//! - The phase tag flips each time the completion ring wraps; an entry is new when its tag equals ours (Base 2.1
//!   §4.2.4). The word with the tag is read first, the rest of the entry after it.

use crate::limits::{CQE_BYTES, PAGE, SQE_BYTES};
use crate::platform::{Platform, QueueMemory, Registers};
use nvme_spec::register::{cq_head_doorbell, sq_tail_doorbell};
use nvme_spec::{Cqe, Sqe};
use zerocopy::{IntoBytes, transmute};

/// One pair of rings.
#[derive(Debug)]
pub(crate) struct QueuePair<Q> {
    sq: Q,
    cq: Q,
    entries: u16,
    sq_tail: u16,
    /// The tail that the controller knows.
    sq_rung: u16,
    cq_head: u16,
    /// The head that the controller knows.
    cq_rung: u16,
    /// Tag of new entries in this pass over the ring.
    phase: bool,
    sq_doorbell: u64,
    cq_doorbell: u64,
}

impl<Q: QueueMemory> QueuePair<Q> {
    /// Takes memory for a pair; `None` if there is none left. The controller has to be told of it.
    pub(crate) fn new<P: Platform<Queue = Q>>(
        platform: &P,
        qid: u16,
        entries: u16,
        dstrd: u8,
    ) -> Option<Self> {
        assert!(entries >= 2, "a ring of one entry holds nothing (Base 2.1 §3.3.3.1)");
        Some(Self {
            sq: platform.alloc_queue((usize::from(entries) * SQE_BYTES).next_multiple_of(PAGE))?,
            cq: platform.alloc_queue((usize::from(entries) * CQE_BYTES).next_multiple_of(PAGE))?,
            entries,
            sq_tail: 0,
            sq_rung: 0,
            cq_head: 0,
            cq_rung: 0,
            phase: true,
            sq_doorbell: sq_tail_doorbell(qid, dstrd),
            cq_doorbell: cq_head_doorbell(qid, dstrd),
        })
    }

    pub(crate) fn entries(&self) -> u16 {
        self.entries
    }

    pub(crate) fn sq_address(&self) -> u64 {
        self.sq.address()
    }

    pub(crate) fn cq_address(&self) -> u64 {
        self.cq.address()
    }

    /// Puts a command at the tail. The owner has checked that fewer than `entries - 1` are in flight.
    pub(crate) fn push(&mut self, sqe: &Sqe) {
        let entry: [u8; SQE_BYTES] = transmute!(*sqe);
        self.sq.store_entry(usize::from(self.sq_tail) * SQE_BYTES, &entry);
        self.sq_tail = next(self.sq_tail, self.entries);
        assert!(self.sq_tail != self.sq_rung, "a submission ring never fills up");
    }

    /// Tells the controller about commands pushed since the last time: at most one doorbell.
    pub(crate) fn ring(&mut self, registers: &impl Registers) {
        if self.sq_rung != self.sq_tail {
            registers.write32(self.sq_doorbell, u32::from(self.sq_tail));
            self.sq_rung = self.sq_tail;
        }
    }

    /// The next completion.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        let at = usize::from(self.cq_head) * CQE_BYTES;
        // Command identifier, and status with the phase tag in the top half.
        let last = self.cq.load_u32(at + 12);
        if ((last >> 16) & 1 != 0) != self.phase {
            return None;
        }
        let words = [self.cq.load_u32(at), self.cq.load_u32(at + 4), self.cq.load_u32(at + 8), last];
        let mut cqe = Cqe::new(0, nvme_spec::Status::SUCCESS);
        for (to, word) in cqe.as_mut_bytes().as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        self.cq_head = next(self.cq_head, self.entries);
        if self.cq_head == 0 {
            self.phase = !self.phase;
        }
        Some(cqe)
    }

    /// Gives entries popped since the last time back to the controller: at most one doorbell.
    pub(crate) fn acknowledge(&mut self, registers: &impl Registers) {
        if self.cq_rung != self.cq_head {
            registers.write32(self.cq_doorbell, u32::from(self.cq_head));
            self.cq_rung = self.cq_head;
        }
    }
}

fn next(index: u16, entries: u16) -> u16 {
    if index + 1 == entries { 0 } else { index + 1 }
}
