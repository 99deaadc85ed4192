//! Space on the drives: which units are free, how often each is used, and which are about to become free.
//!
//! New units come from the drives in turn, from each as often as its share of the free space: so all get full together, and one that
//! was added later is not the only one that is written to. Which one is next follows from the units taken before.
//!
//! Nothing of this is stored. It follows from what the maps reach, so it cannot contradict them.
//!
//! Invariants
//! - A unit that lost a reference counts as referenced until the journal record that took it is durable, and until every
//!   command that began before has ended. Otherwise a power cut would give it back to its old owner with the new one's
//!   data, or a slow read would see them.
//! - Data never takes the last units: the nodes of the next checkpoint fit always, so a full pool can be trimmed.

use crate::bitmap::Bitmap;
use crate::limits::ACTIVE_MAX;
use block::Blocks;
use core::cmp::Reverse;
use ondisk::thin::{AU_BLOCKS, Address, Au, Member, PoolLayout};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Nodes that fit a unit.
const AU_NODES: usize = 16;
const _: () = assert!(AU_NODES as u64 == AU_BLOCKS);

/// The units of one drive.
#[derive(Debug)]
struct DriveSpace {
    free: Bitmap,
    /// Where the next free unit is looked for.
    cursor: usize,
    refs: Vec<u32>,
    /// Units that it should have given so far, by its share, beyond those that it gave: in fractions of a unit, of which the free
    /// units of all drives make a whole one.
    credit: i64,
}

/// The units of a pool.
#[derive(Debug)]
pub(crate) struct Space {
    drives: Vec<DriveSpace>,
    /// Units with nodes, and which of their blocks are used.
    nodes: BTreeMap<Au, u16>,
    /// Those of them that have room.
    open: BTreeSet<Au>,
    /// How many nodes fit in there.
    open_places: usize,
    /// Units that lose a reference when their time has come.
    limbo: VecDeque<(u64, Au)>,
    /// Changes applied so far.
    now: u64,
    /// Changes up to this one are durable.
    durable: u64,
    /// When the commands in flight began: time and how many, the oldest first.
    active: Vec<(u64, u32)>,
}

impl Space {
    pub(crate) fn new(layout: &PoolLayout) -> Self {
        let drive = |units: usize| DriveSpace {
            free: Bitmap::new(units),
            cursor: 0,
            refs: vec![0; units],
            credit: 0,
        };
        let mut drives: Vec<DriveSpace> =
            layout.members().map(|(_, layout)| drive(layout.aus() as usize)).collect();
        for au in layout.usable() {
            drives[usize::from(au.member.0)].free.insert(Self::index(au));
        }
        Self {
            drives,
            nodes: BTreeMap::new(),
            open: BTreeSet::new(),
            open_places: 0,
            limbo: VecDeque::new(),
            now: 0,
            durable: 0,
            active: Vec::with_capacity(ACTIVE_MAX),
        }
    }

    fn index(au: Au) -> usize {
        au.index as usize
    }

    fn drive(&self, au: Au) -> &DriveSpace {
        &self.drives[usize::from(au.member.0)]
    }

    fn drive_mut(&mut self, au: Au) -> &mut DriveSpace {
        &mut self.drives[usize::from(au.member.0)]
    }

    fn take(&mut self, au: Au) {
        self.drive_mut(au).free.remove(Self::index(au));
    }

    fn give(&mut self, au: Au) {
        assert!(self.drive_mut(au).free.insert(Self::index(au)), "a unit is given back once");
    }

    fn free_units(&self) -> usize {
        self.drives.iter().map(|drive| drive.free.len()).sum()
    }

    /// A free unit, which is nobody's until somebody retains it.
    fn any(&mut self) -> Option<Au> {
        // Fewer than 2^32 on each drive.
        let share = |units: usize| i64::try_from(units).unwrap_or(i64::MAX);
        let whole = share(self.free_units());
        for drive in &mut self.drives {
            drive.credit += share(drive.free.len());
        }
        let drives = self.drives.iter_mut().enumerate().filter(|(_, drive)| drive.free.len() > 0);
        let (at, drive) = drives.max_by_key(|(at, drive)| (drive.credit, Reverse(*at)))?;
        drive.credit -= whole;
        let found = drive.free.next(drive.cursor)?;
        drive.cursor = found + 1;
        let au = Au { member: Member(u8::try_from(at).ok()?), index: u32::try_from(found).ok()? };
        self.take(au);
        Some(au)
    }

    /// A unit for data, if more than `reserve` nodes still fit afterwards.
    pub(crate) fn allocate(&mut self, reserve: usize) -> Option<Au> {
        let needed = reserve.div_ceil(AU_NODES);
        if self.free_units() <= needed {
            return None;
        }
        self.any()
    }

    pub(crate) fn refs(&self, au: Au) -> u32 {
        self.drive(au).refs[Self::index(au)]
    }

    pub(crate) fn retain(&mut self, au: Au) {
        self.take(au);
        self.drive_mut(au).refs[Self::index(au)] += 1;
    }

    /// One reference less, in its time.
    pub(crate) fn release(&mut self, au: Au) {
        self.limbo.push_back((self.now, au));
    }

    /// A change was applied: what it released belongs to it.
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Changes up to `until` are durable.
    pub(crate) fn set_durable(&mut self, until: u64) {
        self.durable = self.durable.max(until);
        self.settle();
    }

    /// A command begins; [`Space::end`] takes what this gives.
    pub(crate) fn begin(&mut self) -> u64 {
        match self.active.last_mut() {
            Some((time, count)) if *time == self.now => *count += 1,
            Some(_) | None => self.active.push((self.now, 1)),
        }
        self.now
    }

    pub(crate) fn end(&mut self, begun: u64) {
        let at = self.active.binary_search_by_key(&begun, |(time, _)| *time).expect("it has begun");
        self.active[at].1 -= 1;
        if self.active[at].1 == 0 {
            self.active.remove(at);
        }
        self.settle();
    }

    /// Whether all commands have ended that began before a time.
    pub(crate) fn is_past(&self, time: u64) -> bool {
        self.active.first().is_none_or(|(oldest, _)| *oldest >= time)
    }

    /// Takes the references away whose time has come.
    fn settle(&mut self) {
        let until = self.active.first().map_or(self.durable, |(oldest, _)| self.durable.min(*oldest));
        while self.limbo.front().is_some_and(|(at, _)| *at < until) {
            let Some((_, au)) = self.limbo.pop_front() else { return };
            let refs = &mut self.drive_mut(au).refs[Self::index(au)];
            *refs -= 1;
            if *refs == 0 {
                self.give(au);
            }
        }
    }

    /// Whether units wait only for a flush.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.limbo.is_empty()
    }

    /// A place for a node of the map or a block of the volume table.
    pub(crate) fn allocate_node(&mut self) -> Option<Address> {
        let au = self.open.first().copied().or_else(|| self.any())?;
        let bit = self.nodes.get(&au).copied().unwrap_or(0).trailing_ones();
        self.use_places(au, |used| used | 1 << bit);
        Some(au.block(bit))
    }

    /// Whether a node lies here.
    pub(crate) fn is_node(&self, at: Address) -> bool {
        let used = Au::of(at).and_then(|au| self.nodes.get(&au));
        used.is_some_and(|used| used >> (at.lba.0 % AU_BLOCKS) & 1 == 1)
    }

    /// Other blocks of a unit hold nodes from now on.
    fn use_places(&mut self, au: Au, change: impl FnOnce(u16) -> u16) {
        let places = |used: u16| if used == 0 { 0 } else { used.count_zeros() as usize };
        let old = self.nodes.get(&au).copied().unwrap_or(0);
        let used = change(old);
        self.open_places = self.open_places - places(old) + places(used);
        if used == 0 {
            self.nodes.remove(&au);
        } else {
            self.nodes.insert(au, used);
        }
        if places(used) == 0 {
            self.open.remove(&au);
        } else {
            self.open.insert(au);
        }
    }

    /// Whether nodes lie in a unit.
    pub(crate) fn has_nodes(&self, au: Au) -> bool {
        self.nodes.contains_key(&au)
    }

    /// A node lies here: told while the maps are loaded.
    pub(crate) fn retain_node(&mut self, at: Address) {
        let au = Au::of(at).expect("pointers were checked");
        self.take(au);
        self.use_places(au, |used| used | 1 << (at.lba.0 % AU_BLOCKS));
    }

    /// The place of a node that no root needs any more.
    pub(crate) fn release_node(&mut self, at: Address) {
        let au = Au::of(at).expect("it was allocated");
        let bit = 1 << (at.lba.0 % AU_BLOCKS);
        assert!(self.nodes.get(&au).is_some_and(|used| used & bit != 0), "it was allocated");
        self.use_places(au, |used| used & !bit);
        if !self.has_nodes(au) {
            self.give(au);
        }
    }

    /// Nodes for which there is room.
    pub(crate) fn node_room(&self) -> usize {
        self.free_units() * AU_NODES + self.open_places
    }

    /// Free units, in blocks.
    pub(crate) fn free(&self) -> Blocks {
        Blocks(self.free_units() as u64 * AU_BLOCKS)
    }
}

#[cfg(test)]
impl Space {
    pub(crate) fn is_free(&self, au: Au) -> bool {
        self.drive(au).free.contains(Self::index(au))
    }

    pub(crate) fn nodes_used(&self) -> usize {
        self.nodes.values().map(|used| used.count_ones() as usize).sum()
    }
}
