//! What a simulated drive remembers: durable blocks, its cache, and what a power cut leaves of it.
//!
//! Zero blocks are not kept, so a blank drive of any capacity costs nothing.

use crate::{Faults, NextWrite, Random};
use block::{BLOCK_SIZE, Blocks, Geometry, MediaError, Op};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The contents of one block.
pub type Block = Rc<[u8]>;

/// Units in which a drive whose blocks are not atomic tears them: 512-byte sectors.
const SECTOR_SIZE: usize = 512;

/// A change that completed, or may have happened.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { lba: u64, data: Vec<Block> },
    Zero { lba: u64, blocks: u64 },
}

/// A drive: copying it copies its contents, as a cloned or stolen drive would have them.
#[derive(Clone, Debug)]
pub struct Drive {
    /// As the drive names itself.
    pub serial: String,
    /// What it promises. `is_volatile` and `is_block_atomic` decide what a power cut may leave.
    pub geometry: Geometry,
    /// What is wrong with it.
    pub faults: Faults,
    durable: BTreeMap<u64, Block>,
    /// Completed and not durable, in the order of completion, numbered.
    cache: Vec<(u64, Change)>,
    completed: u64,
    commands: [u64; 3],
}

fn is_zero(block: &[u8]) -> bool {
    block == [0; BLOCK_SIZE]
}

impl Change {
    pub(crate) fn of(op: &Op<Vec<u8>>) -> Option<Self> {
        match op {
            Op::Write { lba, buf, .. } => {
                Some(Self::Write { lba: lba.0, data: buf.chunks(BLOCK_SIZE).map(Rc::from).collect() })
            }
            Op::WriteZeroes { lba, blocks, .. } => Some(Self::Zero { lba: lba.0, blocks: blocks.0 }),
            Op::Read { .. } | Op::Flush => None,
        }
    }

    fn range(&self) -> core::ops::Range<u64> {
        match self {
            Self::Write { lba, data } => *lba..*lba + data.len() as u64,
            Self::Zero { lba, blocks } => *lba..*lba + *blocks,
        }
    }

    /// Applies those blocks that survive.
    fn apply(&self, to: &mut BTreeMap<u64, Block>, mut survives: impl FnMut(u64) -> bool) {
        match self {
            Self::Write { lba, data } => {
                for (lba, block) in (*lba..).zip(data) {
                    if survives(lba) {
                        put_block(to, lba, block);
                    }
                }
            }
            Self::Zero { .. } => {
                let gone: Vec<u64> =
                    to.range(self.range()).map(|(l, _)| *l).filter(|l| survives(*l)).collect();
                for lba in gone {
                    to.remove(&lba);
                }
            }
        }
    }

    /// The block that this change gives a place; `None` if it does not touch it.
    fn block_at(&self, lba: u64) -> Option<Block> {
        let offset = usize::try_from(lba.checked_sub(self.range().start)?).ok()?;
        match self {
            Self::Write { data, .. } => data.get(offset).cloned(),
            Self::Zero { .. } => self.range().contains(&lba).then(|| Rc::from([0; BLOCK_SIZE])),
        }
    }
}

fn put_block(to: &mut BTreeMap<u64, Block>, lba: u64, block: &Block) {
    if is_zero(block) {
        to.remove(&lba);
    } else {
        to.insert(lba, block.clone());
    }
}

impl Drive {
    /// A blank drive with a volatile cache and atomic blocks.
    #[must_use]
    pub fn new(serial: &str, mib: u64) -> Self {
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
            faults: Faults::default(),
            durable: BTreeMap::new(),
            cache: Vec::new(),
            completed: 0,
            commands: [0; 3],
        }
    }

    /// Puts bytes onto the drive as if they had always been there.
    ///
    /// # Panics
    /// Never: offsets within a block fit every integer.
    pub fn put(&mut self, byte_offset: u64, bytes: &[u8]) {
        for (at, byte) in (byte_offset..).zip(bytes) {
            let lba = at / BLOCK_SIZE as u64;
            let within = usize::try_from(at % BLOCK_SIZE as u64).expect("small");
            let mut block = self.block(lba).map_or_else(|| vec![0; BLOCK_SIZE], |b| b.to_vec());
            block[within] = *byte;
            self.settle(lba..lba + 1);
            put_block(&mut self.durable, lba, &block.into());
        }
    }

    /// Bit rot: one bit of what is stored flips.
    pub fn rot(&mut self, lba: u64, bit: usize) {
        let mut block = self.block(lba).map_or_else(|| vec![0; BLOCK_SIZE], |b| b.to_vec());
        block[bit / 8 % BLOCK_SIZE] ^= 1 << (bit % 8);
        self.settle(lba..lba + 1);
        put_block(&mut self.durable, lba, &block.into());
    }

    /// The block as a read shows it; `None` for zeroes.
    #[must_use]
    pub fn block(&self, lba: u64) -> Option<Block> {
        let cached = self.cache.iter().rev().find_map(|(_, change)| change.block_at(lba));
        cached.or_else(|| self.durable.get(&lba).cloned()).filter(|block| !is_zero(block))
    }

    /// All blocks of a range that are not zero, as reads show them.
    #[must_use]
    pub fn blocks(&self, lba: u64, count: u64) -> BTreeMap<u64, Block> {
        let range = lba..lba + count;
        let mut shown: BTreeMap<u64, Block> =
            self.durable.range(range.clone()).map(|(l, b)| (*l, b.clone())).collect();
        for (_, change) in &self.cache {
            change.apply(&mut shown, |l| range.contains(&l));
        }
        shown
    }

    /// Changes that a power cut may take away.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// Changes completed so far: what a flush that is submitted now covers.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    /// Commands so far: reads, writes (zeroes included), flushes.
    #[must_use]
    pub fn commands(&self) -> [u64; 3] {
        self.commands
    }

    /// Does what a command asks for.
    pub(crate) fn run(&mut self, op: &mut Op<Vec<u8>>, covers: u64) -> Result<(), MediaError> {
        self.commands[match op {
            Op::Read { .. } => 0,
            Op::Write { .. } | Op::WriteZeroes { .. } => 1,
            Op::Flush => 2,
        }] += 1;
        self.faults.on_command(matches!(op, Op::Read { .. }))?;
        let end = |(lba, blocks): (block::Lba, Blocks)| lba.0.checked_add(blocks.0);
        if op.range().is_some_and(|range| end(range).is_none_or(|end| end > self.geometry.blocks.0)) {
            return Err(MediaError::OutOfRange);
        }
        match op {
            Op::Read { lba, buf } => self.read(lba.0, buf)?,
            Op::Flush => self.flush(covers),
            Op::Write { fua, .. } | Op::WriteZeroes { fua, .. } => {
                let fua = *fua;
                let change = Change::of(op).into_iter().next();
                if let Some(change) = change {
                    self.store(change, fua);
                }
            }
        }
        Ok(())
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> Result<(), MediaError> {
        let blocks = (buf.len() / BLOCK_SIZE) as u64;
        assert!(
            blocks <= self.geometry.transfer_max.0,
            "a transfer is at most {:?}",
            self.geometry.transfer_max
        );
        if self.faults.unreadable.range(lba..lba + blocks).next().is_some() {
            return Err(MediaError::Unreadable);
        }
        for (lba, part) in (lba..).zip(buf.chunks_mut(BLOCK_SIZE)) {
            match self.block(lba) {
                Some(block) => part.copy_from_slice(&block),
                None => part.fill(0),
            }
        }
        Ok(())
    }

    fn flush(&mut self, covers: u64) {
        if self.faults.lies_about_flush {
            return;
        }
        let durable = &mut self.durable;
        self.cache.retain(|(number, change)| {
            if *number <= covers {
                change.apply(durable, |_| true);
            }
            *number > covers
        });
    }

    fn store(&mut self, mut change: Change, fua: bool) {
        match core::mem::take(&mut self.faults.next_write) {
            NextWrite::Arrives => {}
            NextWrite::IsLost => return,
            NextWrite::GoesTo(place) => match &mut change {
                Change::Write { lba, .. } | Change::Zero { lba, .. } => *lba = place,
            },
        }
        let range = change.range();
        self.faults.unreadable.retain(|lba| !range.contains(lba));
        self.completed += 1;
        self.cache.push((self.completed, change));
        if (fua || !self.geometry.is_volatile) && !self.faults.lies_about_flush {
            self.settle(range);
        }
    }

    /// Makes durable what is cached of a range, and nothing that has nothing to do with it: changes that touch it go as a whole, and
    /// with them those before them that touch these, so that the order of what overlaps is kept.
    fn settle(&mut self, range: core::ops::Range<u64>) {
        let mut ranges = vec![range];
        let mut goes = vec![false; self.cache.len()];
        for ((_, change), goes) in self.cache.iter().zip(&mut goes).rev() {
            let own = change.range();
            *goes = ranges.iter().any(|range| own.start < range.end && range.start < own.end);
            if *goes {
                ranges.push(own);
            }
        }
        let durable = &mut self.durable;
        let mut goes = goes.into_iter();
        self.cache.retain(|(_, change)| {
            let goes = goes.next() == Some(true);
            if goes {
                change.apply(durable, |_| true);
            }
            !goes
        });
    }

    /// Everything that is not durable, in the order of completion; what was in flight last.
    fn take_pending(&mut self, in_flight: Vec<Change>) -> Vec<Change> {
        core::mem::take(&mut self.cache).into_iter().map(|(_, change)| change).chain(in_flight).collect()
    }

    /// The power fails: any subset of what is not durable becomes so, the rest is forgotten.
    pub(crate) fn cut(&mut self, mut in_flight: Vec<Change>, random: &mut Random) {
        let mut shuffled = Vec::with_capacity(in_flight.len());
        while !in_flight.is_empty() {
            shuffled.push(in_flight.swap_remove(random.index(in_flight.len())));
        }
        // Often all or nothing of an operation, often any part of it.
        let part = random.below(5);
        for change in self.take_pending(shuffled) {
            let whole = random.chance(part, 4);
            let is_torn = random.chance(1, 2);
            let is_block_atomic = self.geometry.is_block_atomic;
            if is_torn && !is_block_atomic {
                self.tear(&change, part, random);
            } else {
                change.apply(&mut self.durable, |_| if is_torn { random.chance(part, 4) } else { whole });
            }
        }
    }

    /// Each sector of a change survives or not.
    fn tear(&mut self, change: &Change, part: u64, random: &mut Random) {
        for lba in change.range() {
            let Some(new) = change.block_at(lba) else { continue };
            let mut block = self.durable.get(&lba).map_or_else(|| vec![0; BLOCK_SIZE], |b| b.to_vec());
            for (old, new) in block.chunks_mut(SECTOR_SIZE).zip(new.chunks(SECTOR_SIZE)) {
                if random.chance(part, 4) {
                    old.copy_from_slice(new);
                }
            }
            put_block(&mut self.durable, lba, &block.into());
        }
    }

    /// The power fails: of what is not durable exactly those changes survive, whole, whose bit is set.
    pub(crate) fn cut_to(&mut self, in_flight: Vec<Change>, subset: u64) {
        for (index, change) in self.take_pending(in_flight).into_iter().enumerate() {
            if index < 64 && subset >> index & 1 == 1 {
                change.apply(&mut self.durable, |_| true);
            }
        }
    }
}
