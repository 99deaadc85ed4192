//! What stands in volumes, kept by the sector of 512 bytes: a number instead of the bytes, zero for zeroes.
//!
//! There are two of these in a conversation. One does what the target asks its storage for; the other does what the host's
//! command says, worked out from the entry and its data alone. They must never differ.

use core::ops::Range;
use std::collections::BTreeMap;

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;

/// All volumes; sectors that hold zeroes are absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sectors(BTreeMap<(u64, u64), u32>);

impl Sectors {
    /// Writes the same number everywhere.
    pub(crate) fn fill(&mut self, volume: u64, sectors: Range<u64>, stamp: u32) {
        if stamp == 0 {
            return self.zero(volume, sectors);
        }
        self.0.extend(sectors.map(|sector| ((volume, sector), stamp)));
    }

    pub(crate) fn zero(&mut self, volume: u64, sectors: Range<u64>) {
        let range = (volume, sectors.start)..(volume, sectors.end);
        let gone: Vec<_> = self.0.range(range).map(|(at, _)| *at).collect();
        for at in gone {
            self.0.remove(&at);
        }
    }

    /// What is there, counted from the start.
    pub(crate) fn read(&self, volume: u64, sectors: Range<u64>) -> Vec<(u64, u32)> {
        let start = sectors.start;
        let range = (volume, start)..(volume, sectors.end);
        self.0.range(range).map(|((_, sector), stamp)| (sector - start, *stamp)).collect()
    }

    /// Everywhere is this number.
    pub(crate) fn is_filled(&self, volume: u64, sectors: Range<u64>, stamp: u32) -> bool {
        let len = sectors.end - sectors.start;
        let there = self.read(volume, sectors);
        let is_whole = there.len() as u64 == if stamp == 0 { 0 } else { len };
        is_whole && there.iter().all(|(_, other)| *other == stamp)
    }

    pub(crate) fn stamp(&self, volume: u64, sector: u64) -> u32 {
        self.0.get(&(volume, sector)).copied().unwrap_or(0)
    }

    pub(crate) fn copy(&mut self, volume: u64, from: Range<u64>, to: u64) {
        let len = from.end - from.start;
        let what = self.read(volume, from);
        self.zero(volume, to..to + len);
        self.0.extend(what.into_iter().map(|(at, stamp)| ((volume, to + at), stamp)));
    }
}
