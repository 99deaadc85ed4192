//! Looking at a drive: what is it to us?
//!
//! ```text
//!  read block 0 ─┬─ label, or a damaged one ──▶ read both slots ──▶ Ours | Damaged
//!                ├─ zero, or other data ──────▶ read slot heads, homes, head and tail of the drive ──▶ Thin | Blank | Foreign | Damaged
//!                └─ cannot be read ───────────▶ read both slots and homes ──▶ Ours | Thin | Unreadable
//! ```
//!
//! Invariants
//! - Nothing is written.
//! - `Blank` and `Foreign` are said only if block 0 could be read and has no label; `Ours` only if the drive names its
//!   pool itself, in a valid label or record.
//! - `Thin` is said only if a home has a good superblock, and block 0 is not somebody else's: who has taken the drive since keeps it.
//! - At most 20 small reads, one after the other, so that a start with many drives needs few buffers.

use block::{BLOCK_SIZE, Blocks, Completion, Geometry, IoBuf, Lba, MediaError, Op, Tag};
use ondisk::limits::TRANSFER_BYTES_MAX;
use ondisk::thin::{HOMES, Superblock, home_of};
use ondisk::{
    Content, DATA_LBA, DriveLabel, HEAD_BYTES, LABEL_LBA, LoadError, PoolRecord, Signature, Slot, TAIL_BYTES,
};
use std::collections::VecDeque;
use uuid::Uuid;

/// What a drive turned out to be, before it is compared with the other drives of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Zeroes where one looked.
    Blank,
    /// Somebody's data.
    Foreign(Signature),
    /// A drive of a pool.
    Ours(Box<Labelled>),
    /// A drive of a pool of the thin engine, and its newest superblock.
    Thin(Box<Superblock>),
    /// Was ours, but does not tell its pool any more.
    Damaged(String),
    /// Cannot be read.
    Unreadable(MediaError),
}

/// What a drive of a pool says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The pool it belongs to.
    pub pool: Uuid,
    /// Its own identity.
    pub drive: Uuid,
    /// The label is damaged, the identity comes from a record.
    pub label_flaw: Option<String>,
    /// The records in slots A and B.
    pub slots: [SlotContent; 2],
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotContent {
    /// Never written, or erased.
    Blank,
    /// A valid record of this drive.
    Record(Box<PoolRecord>),
    /// Neither.
    Flawed(String),
}

impl Labelled {
    /// What is in a slot.
    #[must_use]
    pub fn slot(&self, slot: Slot) -> &SlotContent {
        let [a, b] = &self.slots;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }

    /// The newest valid record.
    #[must_use]
    pub fn newest(&self) -> Option<&PoolRecord> {
        self.slots.iter().filter_map(SlotContent::record).max_by_key(|r| r.generation)
    }
}

impl SlotContent {
    /// The record, if there is a valid one.
    #[must_use]
    pub fn record(&self) -> Option<&PoolRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Blank | Self::Flawed(_) => None,
        }
    }
}

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Label,
    Home(u8),
    SlotHead(Slot),
    SlotBody(Slot),
    Head,
    Tail,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    what: What,
    lba: Lba,
    blocks: Blocks,
}

type Bytes = Result<Vec<u8>, MediaError>;

/// The reads that are needed to know a drive. `poll_op`, do it, `on_completion`, until [`Probe::result`] is there.
#[derive(Debug)]
pub struct Probe {
    capacity: Blocks,
    piece_max: Blocks,
    plan: VecDeque<Read>,
    /// Bytes of the read at the front of the plan that have arrived.
    partial: Vec<u8>,
    is_reading: bool,
    label: Option<Result<DriveLabel, Flaw>>,
    slots: [Option<Bytes>; 2],
    /// The superblocks of the homes that were looked at, the first one with the label.
    homes: Vec<Result<Superblock, Flaw>>,
    head: Option<Bytes>,
    tail: Option<Bytes>,
    result: Option<Finding>,
}

/// Why block 0 gives no label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Flaw {
    Load(LoadError),
    Media(MediaError),
}

impl Probe {
    /// Begins to look at a drive.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        let piece_max = geometry.transfer_max.0.min((TRANSFER_BYTES_MAX / BLOCK_SIZE) as u64).max(1);
        let mut probe = Self {
            capacity: geometry.blocks,
            piece_max: Blocks(piece_max),
            plan: VecDeque::new(),
            partial: Vec::new(),
            is_reading: false,
            label: None,
            slots: [None, None],
            homes: Vec::new(),
            head: None,
            tail: None,
            result: None,
        };
        if probe.capacity == Blocks(0) {
            probe.result = Some(Finding::Blank);
        } else {
            probe.plan.push_back(Read { what: What::Label, lba: LABEL_LBA, blocks: Blocks(1) });
        }
        probe
    }

    /// The next read; at most one is in flight. `None` while waiting, when finished, or while `alloc` has no buffer.
    pub fn poll_op<B: IoBuf>(&mut self, mut alloc: impl FnMut(usize) -> Option<B>) -> Option<(Tag, Op<B>)> {
        if self.is_reading || self.result.is_some() {
            return None;
        }
        let read = self.plan.front()?;
        let done = Blocks((self.partial.len() / BLOCK_SIZE) as u64);
        let blocks = Blocks((read.blocks.0 - done.0).min(self.piece_max.0));
        let buf = alloc(blocks.buffer_len()?)?;
        self.is_reading = true;
        Some((Tag(0), Op::Read { lba: Lba(read.lba.0 + done.0), buf }))
    }

    /// The end of the read that [`Probe::poll_op`] gave.
    ///
    /// # Panics
    /// If no read is in flight.
    pub fn on_completion<B: IoBuf>(&mut self, completion: Completion<B>) {
        assert!(self.is_reading, "a completion answers a read");
        self.is_reading = false;
        let read = *self.plan.front().expect("a read in flight is at the front of the plan");
        let bytes = match (completion.result, completion.buf) {
            (Ok(()), Some(buf)) => {
                self.partial.extend_from_slice(buf.as_ref());
                if (self.partial.len() / BLOCK_SIZE) as u64 != read.blocks.0 {
                    return;
                }
                Ok(core::mem::take(&mut self.partial))
            }
            (Ok(()), None) => Err(MediaError::Unreadable),
            (Err(error), _) => Err(error),
        };
        self.partial.clear();
        self.plan.pop_front();
        self.on_read(read.what, bytes);
        if self.plan.is_empty() {
            self.result = Some(self.conclude());
        }
    }

    /// What the drive is, when all reads are done.
    #[must_use]
    pub fn result(&self) -> Option<&Finding> {
        self.result.as_ref()
    }

    /// The same, taking it.
    #[must_use]
    pub fn into_result(self) -> Option<Finding> {
        self.result
    }

    fn on_read(&mut self, what: What, bytes: Bytes) {
        match what {
            What::Label => {
                self.on_home(0, &bytes);
                let label =
                    bytes.map_err(Flaw::Media).and_then(|b| DriveLabel::decode(&b).map_err(Flaw::Load));
                self.plan_after_label(&label);
                self.label = Some(label);
            }
            What::SlotHead(slot) => {
                let len = bytes.as_ref().ok().and_then(|b| ondisk::claimed_len(b).ok());
                let is_ours = !self.is_without_label();
                if let (Some(len), true) = (len.filter(|len| *len > BLOCK_SIZE), is_ours) {
                    let rest = Blocks((len / BLOCK_SIZE) as u64 - 1);
                    let read = Read { what: What::SlotBody(slot), lba: Lba(slot.lba().0 + 1), blocks: rest };
                    self.plan.push_front(read);
                }
                self.slots[place(slot)] = Some(bytes);
            }
            What::SlotBody(slot) => {
                let head = self.slots[place(slot)].take();
                self.slots[place(slot)] = Some(match (head, bytes) {
                    (Some(Ok(head)), Ok(body)) => Ok([head, body].concat()),
                    (_, Err(error)) => Err(error),
                    (head, Ok(_)) => head.unwrap_or(Err(MediaError::Unreadable)),
                });
            }
            What::Home(home) => self.on_home(home, &bytes),
            What::Head => self.head = Some(bytes),
            What::Tail => self.tail = Some(bytes),
        }
    }

    fn plan_after_label(&mut self, label: &Result<DriveLabel, Flaw>) {
        if self.capacity > DATA_LBA_BLOCKS {
            for slot in Slot::ALL {
                self.plan.push_back(Read { what: What::SlotHead(slot), lba: slot.lba(), blocks: Blocks(1) });
            }
        }
        if matches!(label, Err(Flaw::Load(LoadError::Blank | LoadError::NotOurs) | Flaw::Media(_))) {
            for home in (1..HOMES).filter(|_| self.capacity > DATA_LBA_BLOCKS) {
                let lba = home_of(self.capacity, home);
                self.plan.push_back(Read { what: What::Home(home), lba, blocks: Blocks(1) });
            }
        }
        if matches!(label, Err(Flaw::Load(LoadError::Blank | LoadError::NotOurs))) {
            let head = self.capacity.0.min((HEAD_BYTES / BLOCK_SIZE) as u64);
            let tail = self.capacity.0.min((TAIL_BYTES / BLOCK_SIZE) as u64);
            self.plan.push_back(Read { what: What::Head, lba: Lba(0), blocks: Blocks(head) });
            let end = Lba(self.capacity.0 - tail);
            self.plan.push_back(Read { what: What::Tail, lba: end, blocks: Blocks(tail) });
        }
    }

    fn on_home(&mut self, home: u8, bytes: &Bytes) {
        let lba = home_of(self.capacity, home);
        let superblock = match bytes {
            Ok(bytes) => Superblock::decode(bytes, home, lba).map_err(Flaw::Load),
            Err(error) => Err(Flaw::Media(*error)),
        };
        self.homes.push(superblock);
    }

    /// What the homes say; `None` if this is no drive of the thin engine.
    fn conclude_by_homes(&mut self) -> Option<Finding> {
        let homes = core::mem::take(&mut self.homes);
        let first = homes.first().and_then(|home| home.as_ref().err()).cloned();
        let newest = homes.into_iter().flatten().max_by_key(|found| found.generation);
        match (first, newest) {
            (Some(Flaw::Load(LoadError::NotOurs)), _) => None,
            (_, Some(found)) => Some(Finding::Thin(Box::new(found))),
            (Some(Flaw::Load(LoadError::Blank) | Flaw::Media(_)) | None, None) => None,
            (Some(Flaw::Load(flaw)), None) => {
                Some(Finding::Damaged(format!("the superblock is damaged, and no copy is good: {flaw}")))
            }
        }
    }

    fn is_without_label(&self) -> bool {
        matches!(self.label, Some(Err(Flaw::Load(LoadError::Blank | LoadError::NotOurs))))
    }

    fn conclude(&mut self) -> Finding {
        let slots = core::mem::take(&mut self.slots);
        match self.label.take() {
            Some(Ok(label)) => {
                let slots = load_slots(&slots, Some((label.pool, label.drive)));
                Finding::Ours(Box::new(Labelled {
                    pool: label.pool,
                    drive: label.drive,
                    label_flaw: None,
                    slots,
                }))
            }
            Some(Err(Flaw::Load(LoadError::Blank | LoadError::NotOurs))) => {
                self.conclude_by_homes().unwrap_or_else(|| self.conclude_foreign(&slots))
            }
            Some(Err(Flaw::Load(flaw))) => conclude_by_records(&slots, &flaw.to_string())
                .unwrap_or_else(|| Finding::Damaged(format!("the drive label is damaged: {flaw}"))),
            Some(Err(Flaw::Media(error))) => {
                let ours = conclude_by_records(&slots, &error.to_string());
                ours.or_else(|| self.conclude_by_homes()).unwrap_or(Finding::Unreadable(error))
            }
            None => Finding::Unreadable(MediaError::Unreadable),
        }
    }

    fn conclude_foreign(&mut self, slots: &[Option<Bytes>; 2]) -> Finding {
        let head = match self.head.take() {
            Some(Ok(head)) => head,
            Some(Err(error)) => return Finding::Unreadable(error),
            None => return Finding::Unreadable(MediaError::Unreadable),
        };
        let (tail, tail_error) = match self.tail.take() {
            Some(Ok(tail)) => (tail, None),
            Some(Err(error)) => (Vec::new(), Some(error)),
            None => (Vec::new(), None),
        };
        match (ondisk::recognise(&head, &tail), tail_error) {
            (Content::Foreign(signature), _) => Finding::Foreign(signature),
            (Content::Blank, Some(error)) => Finding::Unreadable(error),
            (Content::Blank, None) => {
                let record = |b: &Option<Bytes>| matches!(b, Some(Ok(b)) if ondisk::claimed_len(b).is_ok());
                if slots.iter().any(record) {
                    return Finding::Damaged("the drive label was erased, a pool record remains".to_owned());
                }
                Finding::Blank
            }
        }
    }
}

const DATA_LBA_BLOCKS: Blocks = Blocks(DATA_LBA.0);

fn place(slot: Slot) -> usize {
    match slot {
        Slot::A => 0,
        Slot::B => 1,
    }
}

/// The drive's identity from its records, where the label does not give it.
fn conclude_by_records(slots: &[Option<Bytes>; 2], label_flaw: &str) -> Option<Finding> {
    let newest = Slot::ALL
        .iter()
        .filter_map(|slot| {
            let bytes = slots[place(*slot)].as_ref()?.as_ref().ok()?;
            PoolRecord::decode(bytes, *slot).ok()
        })
        .max_by_key(|(record, _)| record.generation)?;
    let (pool, drive) = (newest.0.pool, newest.1.drive);
    let slots = load_slots(slots, Some((pool, drive)));
    Some(Finding::Ours(Box::new(Labelled { pool, drive, label_flaw: Some(label_flaw.to_owned()), slots })))
}

/// Decodes both slots; a record of another drive or pool is a flaw (a misdirected or copied write).
fn load_slots(slots: &[Option<Bytes>; 2], identity: Option<(Uuid, Uuid)>) -> [SlotContent; 2] {
    let load = |slot: Slot| match &slots[place(slot)] {
        None => SlotContent::Blank,
        Some(Err(error)) => SlotContent::Flawed(error.to_string()),
        Some(Ok(bytes)) => match PoolRecord::decode(bytes, slot) {
            Ok((record, at)) if identity.is_none_or(|i| i == (record.pool, at.drive)) => {
                SlotContent::Record(Box::new(record))
            }
            Ok((record, at)) => {
                SlotContent::Flawed(format!("it was written for drive {} of pool {}", at.drive, record.pool))
            }
            Err(LoadError::Blank) => SlotContent::Blank,
            Err(error) => SlotContent::Flawed(error.to_string()),
        },
    };
    [load(Slot::A), load(Slot::B)]
}
