//! Writing the journal: records of many requests in one block, one block on its way while the next one fills.
//!
//! ```text
//!  append ─▶ [filling] ─ writer task ─▶ [on its way] ─▶ [written] ─▶ everybody who waited for this block goes on
//! ```
//!
//! Invariants
//! - Blocks complete in order: the next one is written when the one before has completed.
//! - A map record is *applied* when its data and its block have been written. The settle mark in a block is below every
//!   record that is not applied, and, where drives have a volatile cache, below everything that was not flushed since. So at
//!   an import only records above the mark need to be compared with their data.
//! - A mark counts only when it is durable itself: until then the data of the records that it covers must not be
//!   overwritten in place, or the import would find other data than the record says and drop it.
//! - A block that is durable counts only if all blocks before it are, too: an import ends at the first one that is missing.
//!   Each block says how far that was certain when it was written, so an import knows a block that was lost from the end.

use core::cell::{Cell, RefCell};
use ondisk::thin::{JournalBlock, JournalHead, JournalRecord, Lsn, ThinIdentity};
use std::rc::Rc;
use task::{Core, WaitQueue};

/// The journal of one drive, as far as it is written.
#[derive(Debug)]
pub(crate) struct Journal {
    filling: RefCell<JournalBlock>,
    /// The sequence number of the block that is being filled.
    next: Cell<u64>,
    /// The first block that the last root needs.
    pub(crate) first: Cell<u64>,
    /// Blocks before this one are written.
    written: Cell<u64>,
    /// Blocks before this one are durable.
    durable: Cell<u64>,
    pub(crate) epoch: Cell<u64>,
    /// Blocks of the ring.
    blocks: u64,
    is_volatile: bool,
    /// Records whose change is not in the maps yet, the oldest first.
    open: RefCell<Vec<Lsn>>,
    last: Cell<Lsn>,
    /// Applied and flushed: the mark that the next block gets.
    settled: Cell<Lsn>,
    /// The mark of the last block that was written.
    mark_written: Cell<Lsn>,
    /// The mark that is durable.
    mark: Cell<Lsn>,
    wants_mark: Cell<bool>,
    has_failed: Cell<bool>,
    /// Who waits for a block to be written, or for room in one.
    progress: WaitQueue,
    /// Who waits for the data of other records.
    applying: WaitQueue,
    /// The writer, when there is nothing to do.
    work: WaitQueue,
}

/// What a flush makes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covered {
    settled: Lsn,
    mark: Lsn,
    /// Blocks before this one.
    blocks: u64,
}

/// The number of the first block of a new pool: so there is a mark below its first record.
const FIRST_BLOCK: u64 = 1;

/// The drive failed while the journal was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalFailed;

impl Journal {
    pub(crate) fn new(core: &Rc<Core>, waiting_max: usize, blocks: u64, is_volatile: bool) -> Self {
        Self {
            filling: RefCell::default(),
            next: Cell::new(FIRST_BLOCK),
            first: Cell::new(FIRST_BLOCK),
            written: Cell::new(FIRST_BLOCK),
            durable: Cell::new(FIRST_BLOCK),
            epoch: Cell::new(1),
            blocks,
            is_volatile,
            open: RefCell::new(Vec::with_capacity(waiting_max)),
            last: Cell::new(Lsn(0)),
            settled: Cell::new(Lsn(0)),
            mark_written: Cell::new(Lsn(0)),
            mark: Cell::new(Lsn(0)),
            wants_mark: Cell::new(false),
            has_failed: Cell::new(false),
            progress: WaitQueue::new(core, waiting_max),
            applying: WaitQueue::new(core, waiting_max),
            work: WaitQueue::new(core, 1),
        }
    }

    /// Begins behind what was replayed: nothing before `next` is needed any more, nor has to be compared.
    pub(crate) fn restart(&self, next: u64, epoch: u64) {
        assert!(self.filling.borrow().is_empty() && self.open.borrow().is_empty(), "nothing is under way");
        self.next.set(next);
        self.first.set(next);
        self.written.set(next);
        self.durable.set(next);
        self.epoch.set(epoch);
        let before = Lsn(Lsn::new(next, 0).0.saturating_sub(1));
        for mark in [&self.last, &self.settled, &self.mark_written, &self.mark] {
            mark.set(before);
        }
    }

    /// The block that is being filled.
    pub(crate) fn next(&self) -> u64 {
        self.next.get()
    }

    /// Waits until the maps have the changes of all records in the blocks before `first`.
    pub(crate) async fn wait_applied_before(&self, first: u64) -> Result<(), JournalFailed> {
        self.wait_applied(Lsn(Lsn::new(first, 0).0.saturating_sub(1))).await
    }

    /// A root is durable that needs the blocks from `first` on: no import will read or compare what is before.
    pub(crate) fn forget_before(&self, first: u64) {
        assert!((self.first.get()..=self.next.get()).contains(&first), "roots go forward");
        self.first.set(first);
        let before = Lsn(Lsn::new(first, 0).0.saturating_sub(1));
        for mark in [&self.settled, &self.mark] {
            mark.set(mark.get().max(before));
        }
    }

    /// Blocks of the ring.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Blocks in use since the last root.
    pub(crate) fn used(&self) -> u64 {
        self.next.get() - self.first.get()
    }

    /// Adds a record; waits until its block has been written. It stays open until [`Journal::applied`].
    pub(crate) async fn append(
        &self,
        record: &JournalRecord,
        note: impl FnOnce(Lsn),
    ) -> Result<Lsn, JournalFailed> {
        let lsn = loop {
            if self.has_failed.get() {
                return Err(JournalFailed);
            }
            let pushed = self.filling.borrow_mut().push(record);
            match pushed {
                Some(index) => break Lsn::new(self.next.get(), index),
                None => self.progress.wait().await,
            }
        };
        self.last.set(lsn);
        // In their order: the last one has the highest number.
        self.open.borrow_mut().push(lsn);
        note(lsn);
        self.work.wake_one();
        while self.written.get() <= lsn.sequence() {
            if self.has_failed.get() {
                return Err(JournalFailed);
            }
            self.progress.wait().await;
        }
        Ok(lsn)
    }

    /// A record is written, its data too, and the maps have the change.
    pub(crate) fn applied(&self, lsn: Lsn) {
        let at = self.open.borrow().binary_search(&lsn).expect("a record is applied once");
        self.open.borrow_mut().remove(at);
        if !self.is_volatile {
            self.settled.set(self.applied_through());
        }
        self.applying.wake_all();
    }

    /// The data of a map record could not be written: it stays open, and nobody waits for it any more.
    pub(crate) fn give_up(&self) {
        self.has_failed.set(true);
        self.applying.wake_all();
        self.progress.wake_all();
    }

    /// Waits until all records up to this one are applied.
    pub(crate) async fn wait_applied(&self, lsn: Lsn) -> Result<(), JournalFailed> {
        while self.open.borrow().first().is_some_and(|first| *first <= lsn) {
            if self.has_failed.get() {
                return Err(JournalFailed);
            }
            self.applying.wait().await;
        }
        Ok(())
    }

    /// All records up to this one are applied.
    fn applied_through(&self) -> Lsn {
        let open = self.open.borrow();
        let written = Lsn(Lsn::new(self.written.get(), 0).0.saturating_sub(1)).min(self.last.get());
        open.first().map_or(written, |first| Lsn(first.0 - 1).min(written))
    }

    /// What a flush that begins now will cover.
    pub(crate) fn begin_flush(&self) -> Covered {
        Covered { settled: self.applied_through(), mark: self.mark_written.get(), blocks: self.written.get() }
    }

    pub(crate) fn flushed(&self, covered: Covered) {
        self.settled.set(self.settled.get().max(covered.settled));
        self.mark.set(self.mark.get().max(covered.mark));
        self.durable.set(self.durable.get().max(covered.blocks));
    }

    /// The durable mark.
    pub(crate) fn mark(&self) -> Lsn {
        self.mark.get()
    }

    /// Waits for the next block; writes an empty one if there is nothing else. Its mark is durable then if
    /// all blocks before it are, else with the next flush.
    pub(crate) async fn write_mark(&self) -> Result<(), JournalFailed> {
        // A block that is on its way already has an older mark.
        let wanted = self.next.get();
        self.wants_mark.set(true);
        self.work.wake_one();
        while self.written.get() <= wanted {
            if self.has_failed.get() {
                return Err(JournalFailed);
            }
            self.progress.wait().await;
        }
        Ok(())
    }

    /// For the writer: the next block as it is to be written, and whether it must be durable when it is.
    pub(crate) async fn next_block(
        &self,
        owner: ThinIdentity,
        place: impl Fn(u64) -> block::Lba,
        to: &mut [u8],
    ) -> (block::Lba, bool, Lsn) {
        while self.filling.borrow().is_empty() && !self.wants_mark.get() {
            self.work.wait().await;
        }
        let sequence = self.next.get();
        assert!(self.used() < self.blocks, "admission keeps room in the ring");
        let settled = self.settled.get();
        let head = JournalHead { sequence, epoch: self.epoch.get(), settled, durable: self.durable.get() };
        let lba = place(sequence);
        self.filling.borrow_mut().seal(head, lba, owner, to);
        self.filling.borrow_mut().clear();
        self.next.set(sequence + 1);
        let fua = self.wants_mark.replace(false) && self.is_volatile;
        self.progress.wake_all();
        (lba, fua, settled)
    }

    /// The block has been written, or not.
    pub(crate) fn written(&self, is_ok: bool, fua: bool, settled: Lsn) {
        if !is_ok {
            self.give_up();
            return;
        }
        // With FUA it is durable, and of use if the one before it is.
        let is_durable = !self.is_volatile || fua && self.durable.get() == self.written.get();
        self.written.set(self.next.get());
        self.mark_written.set(settled);
        if is_durable {
            self.durable.set(self.next.get());
            self.mark.set(self.mark.get().max(settled));
        }
        if !self.is_volatile {
            self.settled.set(self.applied_through());
        }
        self.progress.wake_all();
    }
}
