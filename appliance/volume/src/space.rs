//! Space on the drive: which units are free, how often each is used, and which are about to become free.
//!
//! Nothing of this is stored. It follows from what the maps reach, so it cannot contradict them.
//!
//! Invariants
//! - A unit that lost a reference counts as referenced until the journal record that took it is durable, and until every
//!   command that began before has ended. Otherwise a power cut would give it back to its old owner with the new one's
//!   data, or a slow read would see them.
//! - Data never takes the last units: the nodes of the next checkpoint fit always, so a full pool can be trimmed.

use block::{Blocks, Lba};
use ondisk::thin::{AU_BLOCKS, Au, ThinLayout};
use std::collections::{BTreeMap, VecDeque};

/// Nodes that fit a unit.
const AU_NODES: usize = 16;
const _: () = assert!(AU_NODES as u64 == AU_BLOCKS);

/// The units of one drive.
#[derive(Debug)]
pub(crate) struct Space {
    is_free: Vec<bool>,
    free: usize,
    cursor: usize,
    refs: Vec<u32>,
    /// Units with nodes, and which of their blocks are used.
    nodes: BTreeMap<Au, u16>,
    /// Units that lose a reference when their time has come.
    limbo: VecDeque<(u64, Au)>,
    /// Changes applied so far.
    now: u64,
    /// Changes up to this one are durable.
    durable: u64,
    /// When the commands in flight began: time and how many.
    active: BTreeMap<u64, u32>,
}

impl Space {
    pub(crate) fn new(layout: &ThinLayout) -> Self {
        let is_free: Vec<bool> = (0..layout.aus()).map(|au| layout.is_usable(Au(au))).collect();
        Self {
            free: is_free.iter().filter(|is| **is).count(),
            refs: vec![0; is_free.len()],
            is_free,
            cursor: 0,
            nodes: BTreeMap::new(),
            limbo: VecDeque::new(),
            now: 0,
            durable: 0,
            active: BTreeMap::new(),
        }
    }

    fn index(au: Au) -> usize {
        au.0 as usize
    }

    fn take(&mut self, au: Au) {
        if core::mem::replace(&mut self.is_free[Self::index(au)], false) {
            self.free -= 1;
        }
    }

    fn give(&mut self, au: Au) {
        assert!(!self.is_free[Self::index(au)], "a unit is given back once");
        self.is_free[Self::index(au)] = true;
        self.free += 1;
    }

    /// A free unit, which is nobody's until somebody retains it.
    fn any(&mut self) -> Option<Au> {
        let len = self.is_free.len();
        let found = (0..len).map(|n| (self.cursor + n) % len).find(|at| self.is_free[*at])?;
        self.cursor = found + 1;
        let au = Au(u32::try_from(found).ok()?);
        self.take(au);
        Some(au)
    }

    /// A unit for data, if more than `reserve` nodes still fit afterwards.
    pub(crate) fn allocate(&mut self, reserve: usize) -> Option<Au> {
        let needed = reserve.div_ceil(AU_NODES);
        if self.free <= needed {
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
        *self.active.entry(self.now).or_default() += 1;
        self.now
    }

    pub(crate) fn end(&mut self, begun: u64) {
        if let Some(count) = self.active.get_mut(&begun) {
            *count -= 1;
            if *count == 0 {
                self.active.remove(&begun);
            }
        }
        self.settle();
    }

    /// Takes the references away whose time has come.
    fn settle(&mut self) {
        let until = self.active.keys().next().map_or(self.durable, |oldest| self.durable.min(*oldest));
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
        let open = self.nodes.iter().find(|(_, used)| **used != u16::MAX).map(|(au, _)| *au);
        let au = open.or_else(|| self.any())?;
        let used = self.nodes.entry(au).or_default();
        let bit = used.trailing_ones();
        *used |= 1 << bit;
        Some(Lba(au.lba().0 + u64::from(bit)))
    }

    /// Whether a node lies here.
    pub(crate) fn is_node(&self, lba: Lba) -> bool {
        let used = Au::of(lba).and_then(|au| self.nodes.get(&au));
        used.is_some_and(|used| used >> (lba.0 % AU_BLOCKS) & 1 == 1)
    }

    /// Whether nodes lie in a unit.
    pub(crate) fn has_nodes(&self, au: Au) -> bool {
        self.nodes.contains_key(&au)
    }

    /// A node lies here: told while the maps are loaded.
    pub(crate) fn retain_node(&mut self, lba: Lba) {
        let au = Au::of(lba).expect("pointers were checked");
        self.take(au);
        *self.nodes.entry(au).or_default() |= 1 << (lba.0 % AU_BLOCKS);
    }

    /// The place of a node that no root needs any more.
    pub(crate) fn release_node(&mut self, lba: Lba) {
        let au = Au::of(lba).expect("it was allocated");
        let used = self.nodes.get_mut(&au).expect("it was allocated");
        *used &= !(1 << (lba.0 % AU_BLOCKS));
        if *used == 0 {
            self.nodes.remove(&au);
            self.give(au);
        }
    }

    /// Nodes for which there is room.
    pub(crate) fn node_room(&self) -> usize {
        let open: u32 = self.nodes.values().map(|used| used.count_zeros()).sum();
        self.free * AU_NODES + open as usize
    }

    /// Free units, in blocks.
    pub(crate) fn free(&self) -> Blocks {
        Blocks(self.free as u64 * AU_BLOCKS)
    }
}

#[cfg(test)]
impl Space {
    pub(crate) fn is_free(&self, au: Au) -> bool {
        self.is_free[Self::index(au)]
    }

    pub(crate) fn nodes_used(&self) -> usize {
        self.nodes.values().map(|used| used.count_ones() as usize).sum()
    }
}
