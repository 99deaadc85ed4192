//! A simulated drive with a volatile cache, and the randomness of tests.
//!
//! ```text
//!  submit ─▶ in flight ─ step ─▶ cache ─ flush that was submitted after ─▶ durable
//! ```
//! A power cut makes any subset of the blocks that were in flight or in the cache durable, in the order in which they
//! were written; a block of 4 KiB is never torn itself.

use block::{BLOCK_SIZE, BlockDevice, Blocks, Completion, Geometry, Lba, MediaError, Op, Tag};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Deterministic numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// True in `part` of `of` cases.
    pub(super) fn chance(&mut self, part: u64, of: u64) -> bool {
        self.below(of) < part
    }
}

type Block = Rc<[u8]>;

fn is_zero(block: &[u8]) -> bool {
    block == [0; BLOCK_SIZE]
}

/// A change that completed, or may have happened.
#[derive(Clone, Debug)]
enum Change {
    Write { lba: u64, data: Vec<Block> },
    Zero { lba: u64, blocks: u64 },
}

#[derive(Debug)]
struct InFlight {
    tag: Tag,
    op: Op<Vec<u8>>,
    /// A flush covers what completed before it was submitted, and nothing else.
    covers: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Drive {
    pub(super) serial: String,
    pub(super) geometry: Geometry,
    /// Writes and flushes that fail from now on: `None` none, `Some(n)` all after `n` more.
    pub(super) fails_after: Option<u64>,
    /// Blocks whose reads fail.
    pub(super) unreadable: Vec<u64>,
    durable: BTreeMap<u64, Block>,
    cache: Vec<(u64, Change)>,
    completed: u64,
}

/// A drive and what it is doing.
#[derive(Debug)]
pub(super) struct SimDrive {
    pub(super) drive: Drive,
    in_flight: Vec<InFlight>,
    ready: VecDeque<Completion<Vec<u8>>>,
}

impl Drive {
    pub(super) fn new(serial: &str, mib: u64) -> Self {
        let geometry = Geometry {
            blocks: Blocks((mib << 20) / BLOCK_SIZE as u64),
            transfer_max: Blocks(32),
            depth_max: 64,
            is_volatile: true,
            is_block_atomic: true,
        };
        Self {
            serial: serial.to_owned(),
            geometry,
            fails_after: None,
            unreadable: Vec::new(),
            durable: BTreeMap::new(),
            cache: Vec::new(),
            completed: 0,
        }
    }

    /// Puts bytes onto the drive as if they had always been there.
    pub(super) fn put(&mut self, byte_offset: u64, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = byte_offset + index as u64;
            let (lba, within) =
                (at / BLOCK_SIZE as u64, usize::try_from(at % BLOCK_SIZE as u64).expect("small"));
            let mut block = self.block(lba).map_or_else(|| vec![0; BLOCK_SIZE], |b| b.to_vec());
            block[within] = *byte;
            apply(&mut self.durable, &Change::Write { lba, data: vec![block.into()] }, |_| true);
        }
    }

    /// The block as a read shows it; `None` for zeroes.
    pub(super) fn block(&self, lba: u64) -> Option<Block> {
        for (_, change) in self.cache.iter().rev() {
            match change {
                Change::Write { lba: first, data } => {
                    let at = lba.checked_sub(*first).and_then(|o| usize::try_from(o).ok());
                    if let Some(block) = at.and_then(|o| data.get(o)) {
                        return (!is_zero(block)).then(|| block.clone());
                    }
                }
                Change::Zero { lba: first, blocks } if lba >= *first && lba < first + blocks => return None,
                Change::Zero { .. } => {}
            }
        }
        self.durable.get(&lba).cloned()
    }

    /// All blocks of a range that are not zero, as reads show them.
    pub(super) fn blocks(&self, lba: u64, count: u64) -> BTreeMap<u64, Block> {
        let range = lba..lba + count;
        let mut shown: BTreeMap<u64, Block> =
            self.durable.range(range.clone()).map(|(l, b)| (*l, b.clone())).collect();
        for (_, change) in &self.cache {
            apply(&mut shown, change, |l| range.contains(&l));
        }
        shown
    }

    fn run(&mut self, op: &mut Op<Vec<u8>>, covers: u64) -> Result<(), MediaError> {
        if !matches!(op, Op::Read { .. }) {
            if self.fails_after == Some(0) {
                return Err(MediaError::WriteFault);
            }
            self.fails_after = self.fails_after.map(|n| n - 1);
        }
        let range = op.range();
        if range.is_some_and(|(lba, blocks)| lba.0 + blocks.0 > self.geometry.blocks.0) {
            return Err(MediaError::OutOfRange);
        }
        match op {
            Op::Read { lba, buf } => {
                assert!(buf.len() / BLOCK_SIZE <= 32, "a transfer is at most 128 KiB");
                for (lba, part) in (lba.0..).zip(buf.chunks_mut(BLOCK_SIZE)) {
                    if self.unreadable.contains(&lba) {
                        return Err(MediaError::Unreadable);
                    }
                    match self.block(lba) {
                        Some(block) => part.copy_from_slice(&block),
                        None => part.fill(0),
                    }
                }
            }
            Op::Flush => {
                let durable = &mut self.durable;
                self.cache.retain(|(number, change)| {
                    if *number <= covers {
                        apply(durable, change, |_| true);
                    }
                    *number > covers
                });
            }
            Op::Write { .. } | Op::WriteZeroes { .. } => {
                self.completed += 1;
                self.cache.extend(change_of(op).map(|change| (self.completed, change)));
            }
        }
        Ok(())
    }

    /// Makes any subset of what is not durable durable and forgets the rest.
    fn cut(&mut self, in_flight: &[InFlight], random: &mut Random) {
        let mut changes: Vec<Change> = core::mem::take(&mut self.cache).into_iter().map(|(_, c)| c).collect();
        let mut late: Vec<Change> = in_flight.iter().filter_map(|f| change_of(&f.op)).collect();
        while !late.is_empty() {
            changes.push(late.swap_remove(random.index(late.len())));
        }
        // Often all or nothing of an operation, often any part of it.
        let part = random.below(5);
        for change in &changes {
            let whole = random.chance(part, 4);
            let is_torn = random.chance(1, 2);
            apply(&mut self.durable, change, |_| if is_torn { random.chance(part, 4) } else { whole });
        }
    }
}

fn change_of(op: &Op<Vec<u8>>) -> Option<Change> {
    match op {
        Op::Write { lba, buf, .. } => {
            Some(Change::Write { lba: lba.0, data: buf.chunks(BLOCK_SIZE).map(Rc::from).collect() })
        }
        Op::WriteZeroes { lba, blocks, .. } => Some(Change::Zero { lba: lba.0, blocks: blocks.0 }),
        Op::Read { .. } | Op::Flush => None,
    }
}

/// Applies those blocks of a change that survive. Zero blocks are not kept.
fn apply(to: &mut BTreeMap<u64, Block>, change: &Change, mut survives: impl FnMut(u64) -> bool) {
    match change {
        Change::Write { lba, data } => {
            for (lba, block) in (*lba..).zip(data) {
                if survives(lba) {
                    if is_zero(block) {
                        to.remove(&lba);
                    } else {
                        to.insert(lba, block.clone());
                    }
                }
            }
        }
        Change::Zero { lba, blocks } => {
            let gone: Vec<u64> =
                to.range(*lba..lba + blocks).map(|(l, _)| *l).filter(|l| survives(*l)).collect();
            for lba in gone {
                to.remove(&lba);
            }
        }
    }
}

impl SimDrive {
    pub(super) fn new(drive: Drive) -> Self {
        Self { drive, in_flight: Vec::new(), ready: VecDeque::new() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Completes one operation in flight, in any order.
    pub(super) fn step(&mut self, random: &mut Random) {
        let InFlight { tag, mut op, covers } = self.in_flight.swap_remove(random.index(self.in_flight.len()));
        let result = self.drive.run(&mut op, covers);
        self.ready.push_back(Completion { tag, buf: op.into_buf(), result });
    }

    /// The power fails, and returns.
    pub(super) fn power_cut(&mut self, random: &mut Random) {
        self.ready.clear();
        self.drive.cut(&core::mem::take(&mut self.in_flight), random);
    }

    /// The engine ends and starts again while the drive keeps running: what is in flight completes, or never arrived.
    pub(super) fn restart(&mut self, random: &mut Random) {
        while !self.in_flight.is_empty() {
            let InFlight { mut op, covers, .. } =
                self.in_flight.swap_remove(random.index(self.in_flight.len()));
            if random.chance(1, 2) {
                let _ = self.drive.run(&mut op, covers);
            }
        }
        self.ready.clear();
    }
}

impl BlockDevice for SimDrive {
    type Buf = Vec<u8>;

    fn geometry(&self) -> Geometry {
        self.drive.geometry
    }

    fn submit(&mut self, tag: Tag, op: Op<Vec<u8>>) -> Result<(), Op<Vec<u8>>> {
        if self.in_flight.len() >= 64 {
            return Err(op);
        }
        self.in_flight.push(InFlight { tag, op, covers: self.drive.completed });
        Ok(())
    }

    fn kick(&mut self) {}

    fn poll(&mut self) -> Option<Completion<Vec<u8>>> {
        self.ready.pop_front()
    }
}

/// Goal: the simulator itself: a flush covers what completed before it was submitted, and a cut loses the rest.
#[test]
fn flush_covers_only_what_completed_before() {
    let mut random = Random(1);
    let mut sim = SimDrive::new(Drive::new("S0", 64));
    let write = |lba, byte| Op::Write { lba: Lba(lba), buf: vec![byte; BLOCK_SIZE], fua: false };
    sim.submit(Tag(1), write(1, 1)).expect("room");
    sim.step(&mut random);
    sim.submit(Tag(2), write(2, 2)).expect("room");
    sim.submit(Tag(3), Op::Flush).expect("room");
    while !sim.is_idle() {
        sim.step(&mut random);
    }
    assert_eq!(sim.drive.durable.keys().collect::<Vec<_>>(), [&1], "the second write was in flight");
    assert_eq!(sim.drive.blocks(0, 10).len(), 2, "both are shown");
}
