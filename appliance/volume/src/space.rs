//! Space on the drive: which units are free, how often each is used, and which are about to become free.
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
use block::{Blocks, Lba};
use ondisk::thin::{AU_BLOCKS, Au, ThinLayout};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Nodes that fit a unit.
const AU_NODES: usize = 16;
const _: () = assert!(AU_NODES as u64 == AU_BLOCKS);

/// The units of one drive.
#[derive(Debug)]
pub(crate) struct Space {
    free: Bitmap,
    /// Where the next free unit is looked for.
    cursor: usize,
    refs: Vec<u32>,
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
    pub(crate) fn new(layout: &ThinLayout) -> Self {
        let units = layout.aus() as usize;
        let mut free = Bitmap::new(units);
        for au in (0..layout.aus()).map(Au).filter(|au| layout.is_usable(*au)) {
            free.insert(Self::index(au));
        }
        Self {
            free,
            cursor: 0,
            refs: vec![0; units],
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
        au.0 as usize
    }

    fn take(&mut self, au: Au) {
        self.free.remove(Self::index(au));
    }

    fn give(&mut self, au: Au) {
        assert!(self.free.insert(Self::index(au)), "a unit is given back once");
    }

    /// A free unit, which is nobody's until somebody retains it.
    fn any(&mut self) -> Option<Au> {
        let found = self.free.next(self.cursor)?;
        self.cursor = found + 1;
        let au = Au(u32::try_from(found).ok()?);
        self.take(au);
        Some(au)
    }

    /// A unit for data, if more than `reserve` nodes still fit afterwards.
    pub(crate) fn allocate(&mut self, reserve: usize) -> Option<Au> {
        let needed = reserve.div_ceil(AU_NODES);
        if self.free.len() <= needed {
            return None;
        }
        self.any()
    }

    pub(crate) fn refs(&self, au: Au) -> u32 {
        self.refs[Self::index(au)]
    }

    pub(crate) fn retain(&mut self, au: Au) {
        self.take(au);
        self.refs[Self::index(au)] += 1;
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
            let refs = &mut self.refs[Self::index(au)];
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
    pub(crate) fn allocate_node(&mut self) -> Option<Lba> {
        let au = self.open.first().copied().or_else(|| self.any())?;
        let bit = self.nodes.get(&au).copied().unwrap_or(0).trailing_ones();
        self.use_places(au, |used| used | 1 << bit);
        Some(Lba(au.lba().0 + u64::from(bit)))
    }

    /// Whether a node lies here.
    pub(crate) fn is_node(&self, lba: Lba) -> bool {
        let used = Au::of(lba).and_then(|au| self.nodes.get(&au));
        used.is_some_and(|used| used >> (lba.0 % AU_BLOCKS) & 1 == 1)
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
    pub(crate) fn retain_node(&mut self, lba: Lba) {
        let au = Au::of(lba).expect("pointers were checked");
        self.take(au);
        self.use_places(au, |used| used | 1 << (lba.0 % AU_BLOCKS));
    }

    /// The place of a node that no root needs any more.
    pub(crate) fn release_node(&mut self, lba: Lba) {
        let au = Au::of(lba).expect("it was allocated");
        let bit = 1 << (lba.0 % AU_BLOCKS);
        assert!(self.nodes.get(&au).is_some_and(|used| used & bit != 0), "it was allocated");
        self.use_places(au, |used| used & !bit);
        if !self.has_nodes(au) {
            self.give(au);
        }
    }

    /// Nodes for which there is room.
    pub(crate) fn node_room(&self) -> usize {
        self.free.len() * AU_NODES + self.open_places
    }

    /// Free units, in blocks.
    pub(crate) fn free(&self) -> Blocks {
        Blocks(self.free.len() as u64 * AU_BLOCKS)
    }
}

#[cfg(test)]
impl Space {
    pub(crate) fn is_free(&self, au: Au) -> bool {
        self.free.contains(Self::index(au))
    }

    pub(crate) fn nodes_used(&self) -> usize {
        self.nodes.values().map(|used| used.count_ones() as usize).sum()
    }
}
