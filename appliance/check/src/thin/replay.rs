//! What the journal says happened since the checkpoint, applied to the volumes, and the rules between its records.
//!
//! A checkpoint may contain the effect of records behind it already: a volume whose creation or deletion is still to be
//! replayed, a length, an entry. So the rules that compare a record with what was before are for what follows from records
//! alone ([`Changed::is_exact`]).

use super::Check;
use super::volumes::{Changed, LastLeaf, Volume, Volumes};
use crate::finding::{JournalProblem, Place};
use block::Blocks;
use core::ops::Range;
use ondisk::Name;
use ondisk::thin::{
    AU_BLOCKS, Au, JournalRecord, Lsn, MapEntry, MapRecord, Piece, Pointer, Region, UNIT_MASK_FULL,
    VolumeKind, data_checksum,
};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use uuid::Uuid;

/// A replay under way.
struct Replay<'v> {
    volumes: &'v mut Volumes,
    /// Records up to this one need no comparison with their data.
    settled: Lsn,
    /// Volumes that a record still to come deletes.
    deleted_later: BTreeSet<u32>,
    last: LastLeaf,
    dropped: u64,
    /// By volume and unit: the own allocation unit that a replayed trim took away. A record that adds to it brings it back.
    taken: BTreeMap<(u32, u64), Au>,
}

/// What a record creates.
struct New<'r> {
    number: u32,
    origin: Option<u32>,
    kind: VolumeKind,
    blocks: Blocks,
    uuid: Uuid,
    name: &'r Name,
    attributes: Option<Pointer>,
}

/// An entry without what is hidden or empty.
fn layers(own: Piece, base: Option<Piece>) -> Option<MapEntry> {
    let base = base.map(|base| Piece { mask: base.mask & !own.mask, ..base }).filter(|base| base.mask != 0);
    if own.mask == 0 { base.map(|own| MapEntry { own, base: None }) } else { Some(MapEntry { own, base }) }
}

/// The blocks of a unit that lie in a range of blocks of the volume.
fn mask_of(unit: u64, range: &Range<u64>) -> u16 {
    let start = unit.saturating_mul(AU_BLOCKS);
    let within = |at: u64| u32::try_from(at.saturating_sub(start).min(AU_BLOCKS)).unwrap_or(0);
    let below = |end: u32| !UNIT_MASK_FULL.checked_shl(end).unwrap_or(0);
    below(within(range.end)) & !below(within(range.start))
}

impl Volume {
    fn set(&mut self, unit: u64, before: Option<MapEntry>, now: Changed) {
        if before.is_some() {
            self.mapped = self.mapped.saturating_sub(1);
        }
        if now.entry.is_some() {
            self.mapped = self.mapped.saturating_add(1);
        }
        Rc::make_mut(&mut self.changed).insert(unit, now);
    }
}

impl Check<'_> {
    /// Replays the blocks of the journal; gives the number of records, and of those that were dropped.
    pub(super) fn replay(&mut self, blocks: Range<u64>, settled: Lsn, volumes: &mut Volumes) -> (u64, u64) {
        let mut count: u64 = 0;
        let mut deleted_later = BTreeSet::new();
        for (_, record) in blocks.clone().flat_map(|sequence| self.records(sequence)) {
            count = count.saturating_add(1);
            if let JournalRecord::Delete { volume } = record {
                deleted_later.insert(volume);
            }
        }
        let (last, taken) = (LastLeaf::default(), BTreeMap::new());
        let mut replay = Replay { volumes, settled, deleted_later, last, dropped: 0, taken };
        for sequence in blocks {
            for (lsn, record) in self.records(sequence) {
                self.record(&mut replay, lsn, &record);
            }
        }
        (count, replay.dropped)
    }

    fn record(&mut self, replay: &mut Replay<'_>, lsn: Lsn, record: &JournalRecord) {
        match record {
            JournalRecord::Map(map) => self.record_map(replay, lsn, map),
            JournalRecord::Trim { volume, first, blocks } => {
                let range = *first..first.saturating_add(blocks.0);
                self.record_trim(replay, lsn, *volume, range);
            }
            JournalRecord::Create { volume, origin, kind, blocks, uuid, name, attributes } => {
                let (number, origin, kind, blocks) = (*volume, *origin, *kind, *blocks);
                let (uuid, attributes) = (*uuid, *attributes);
                let new = New { number, origin, kind, blocks, uuid, name, attributes };
                self.record_create(replay, lsn, &new);
            }
            JournalRecord::Delete { volume } => {
                if self.is_there(replay, lsn, *volume) {
                    replay.volumes.by_number.remove(volume);
                }
                replay.deleted_later.remove(volume);
            }
            JournalRecord::Attributes { volume, attributes } => {
                if self.is_there(replay, lsn, *volume)
                    && let Some(volume) = replay.volumes.by_number.get_mut(volume)
                {
                    volume.attributes = *attributes;
                }
            }
            JournalRecord::Grow { volume, blocks } => self.record_grow(replay, lsn, *volume, *blocks),
            JournalRecord::Dirty { first, regions } => {
                let place = Place::block(self.layout.journal_at(lsn.sequence()));
                let last = first.0.saturating_add(regions.saturating_sub(1));
                // One past the end is enough to be found.
                for region in first.0..=last.min(self.layout.regions()) {
                    self.region(Region(region), place);
                }
            }
        }
    }

    /// Whether a volume is there. If not, the checkpoint may know of its deletion already.
    fn is_there(&mut self, replay: &Replay<'_>, lsn: Lsn, number: u32) -> bool {
        if replay.volumes.by_number.contains_key(&number) {
            return true;
        }
        if number >= replay.volumes.next || !replay.deleted_later.contains(&number) {
            self.record_found(lsn, |record| JournalProblem::UnknownVolume { record }, Place::volume(number));
        }
        false
    }

    fn record_found(&mut self, lsn: Lsn, problem: impl FnOnce(u64) -> JournalProblem, place: Place) {
        let at = self.layout.journal_at(lsn.sequence());
        self.found(problem(lsn.0), place.at(at));
    }

    /// The rules for a record that changes blocks of a volume. Says whether it can be applied.
    fn may_change(&mut self, replay: &Replay<'_>, lsn: Lsn, number: u32, end: u64) -> bool {
        if !self.is_there(replay, lsn, number) {
            return false;
        }
        let Some(volume) = replay.volumes.by_number.get(&number) else { return false };
        if volume.kind == VolumeKind::Snapshot {
            self.record_found(
                lsn,
                |record| JournalProblem::SnapshotChanged { record },
                Place::volume(number),
            );
        }
        let blocks = volume.blocks.0;
        if end > blocks {
            self.record_found(
                lsn,
                |record| JournalProblem::PastEnd { record, blocks },
                Place::volume(number),
            );
        }
        end <= blocks
    }

    fn record_map(&mut self, replay: &mut Replay<'_>, lsn: Lsn, map: &MapRecord) {
        let place = Place::unit(map.volume, map.unit);
        for piece in core::iter::once(map.own).chain(map.base) {
            if !self.layout.is_usable(piece.au) {
                let au = piece.au;
                self.record_found(lsn, |record| JournalProblem::UnitOutside { record, au }, place);
                return;
            }
        }
        // Whether or not it is dropped.
        self.dirty.extend(self.layout.region_of(map.own.au));
        let blocks = u64::from(u16::BITS.saturating_sub(map.own.mask.leading_zeros()));
        let end = map.unit.saturating_mul(AU_BLOCKS).saturating_add(blocks);
        if !self.may_change(replay, lsn, map.volume, end) {
            return;
        }
        let Some(volume) = replay.volumes.by_number.get(&map.volume) else { return };
        let before = self.look_up(volume, map.unit, &mut replay.last);
        let is_taken = replay.taken.remove(&(map.volume, map.unit)) == Some(map.own.au);
        let now = if lsn > replay.settled && !self.has_arrived(map) {
            replay.dropped = replay.dropped.saturating_add(1);
            self.record_found(lsn, |record| JournalProblem::Unfinished { record }, place);
            // What follows may add to what was dropped.
            Changed { is_exact: false, ..before }
        } else if map.is_fresh {
            self.fresh(lsn, map, before)
        } else if is_taken {
            Changed { entry: layers(map.own, before.entry.map(|entry| entry.own)), ..before }
        } else {
            self.more(lsn, map, before)
        };
        if let Some(volume) = replay.volumes.by_number.get_mut(&map.volume) {
            volume.set(map.unit, before.entry, now);
        }
    }

    /// The unit gets a new allocation unit.
    fn fresh(&mut self, lsn: Lsn, map: &MapRecord, before: Changed) -> Changed {
        let had = |piece: Piece| {
            before
                .entry
                .is_some_and(|entry| core::iter::once(entry.own).chain(entry.base).any(|p| p.au == piece.au))
        };
        if let Some(base) = map.base.filter(|base| before.is_exact && !had(*base)) {
            let (place, base) = (Place::unit(map.volume, map.unit), base.au);
            self.record_found(lsn, |record| JournalProblem::NotItsBase { record, base }, place);
        }
        Changed { entry: layers(map.own, map.base), is_exact: true }
    }

    /// The unit's own allocation unit gets more blocks.
    fn more(&mut self, lsn: Lsn, map: &MapRecord, before: Changed) -> Changed {
        match before.entry {
            Some(MapEntry { own, base }) if own.au == map.own.au => {
                let own = Piece { mask: own.mask | map.own.mask, ..own };
                Changed { entry: layers(own, base), ..before }
            }
            Some(_) | None => {
                if before.is_exact {
                    let (place, au) = (Place::unit(map.volume, map.unit), map.own.au);
                    self.record_found(lsn, |record| JournalProblem::NotItsUnit { record, au }, place);
                }
                before
            }
        }
    }

    /// Whether the data of a record are there. What cannot be read counts: the host shall get an error, not older data.
    fn has_arrived(&self, map: &MapRecord) -> bool {
        let blocks = (0..u16::BITS).filter(|bit| map.own.mask.checked_shr(*bit).unwrap_or(0) & 1 == 1);
        let mut pairs = blocks.zip(map.sums);
        pairs.all(|(block, sum)| {
            self.fetch(map.own.au.block(block)).map_or(true, |bytes| data_checksum(&bytes) == sum)
        })
    }

    fn record_trim(&mut self, replay: &mut Replay<'_>, lsn: Lsn, number: u32, range: Range<u64>) {
        if !self.may_change(replay, lsn, number, range.end) {
            return;
        }
        let units = range.start.checked_div(AU_BLOCKS).unwrap_or(0)..range.end.div_ceil(AU_BLOCKS);
        let Some(volume) = replay.volumes.by_number.get_mut(&number) else { return };
        for unit in units {
            let before = self.look_up(volume, unit, &mut replay.last);
            let Some(MapEntry { own, base }) = before.entry else { continue };
            let gone = mask_of(unit, &range);
            let without = |piece: Piece| Piece { mask: piece.mask & !gone, ..piece };
            let entry = layers(without(own), base.map(without));
            if entry.is_none_or(|entry| entry.own.au != own.au) {
                replay.taken.insert((number, unit), own.au);
            }
            volume.set(unit, before.entry, Changed { entry, ..before });
        }
    }

    fn record_create(&mut self, replay: &mut Replay<'_>, lsn: Lsn, new: &New<'_>) {
        let place = Place::volume(new.number);
        let Volumes { by_number, next } = &mut *replay.volumes;
        if by_number.get(&new.number).is_some_and(|volume| volume.uuid == new.uuid) {
            return;
        }
        let is_gone_already = replay.deleted_later.contains(&new.number);
        let is_same = |(number, volume): &(&u32, &Volume)| {
            **number == new.number || volume.uuid == new.uuid || volume.name == new.name.as_str()
        };
        if let Some((other, _)) = by_number.iter().find(is_same).filter(|_| !is_gone_already) {
            let other = *other;
            self.record_found(lsn, |record| JournalProblem::Taken { record, other }, place);
            return;
        }
        if new.number > *next || (new.number < *next && !is_gone_already) {
            let next = *next;
            self.record_found(lsn, |record| JournalProblem::NotNext { record, next }, place);
        }
        let origin = new.origin.and_then(|origin| by_number.get(&origin)).cloned();
        if let Some(origin) = new.origin.filter(|_| origin.is_none() && !is_gone_already) {
            self.record_found(lsn, |record| JournalProblem::UnknownOrigin { record, origin }, place);
        }
        if let Some(Volume { blocks: of_origin, is_length_exact, .. }) = &origin
            && (new.blocks > *of_origin || (*is_length_exact && new.blocks < *of_origin))
        {
            let (blocks, of_origin) = (new.blocks.0, of_origin.0);
            self.record_found(lsn, |record| JournalProblem::CopyLength { record, blocks, of_origin }, place);
        }
        *next = (*next).max(new.number.saturating_add(1));
        let volume = Volume {
            uuid: new.uuid,
            name: new.name.to_string(),
            kind: new.kind,
            origin: origin.as_ref().map(|origin| origin.uuid),
            blocks: new.blocks,
            is_length_exact: true,
            base: origin.as_ref().and_then(|origin| origin.base),
            attributes: new.attributes,
            attributes_len: 0,
            end: origin.as_ref().map_or(0, |origin| origin.end),
            mapped: origin.as_ref().map_or(0, |origin| origin.mapped),
            changed: origin.map(|origin| origin.changed).unwrap_or_default(),
        };
        by_number.insert(new.number, volume);
    }

    fn record_grow(&mut self, replay: &mut Replay<'_>, lsn: Lsn, number: u32, blocks: Blocks) {
        if !self.is_there(replay, lsn, number) {
            return;
        }
        let Some(volume) = replay.volumes.by_number.get_mut(&number) else { return };
        if volume.kind == VolumeKind::Snapshot {
            self.record_found(
                lsn,
                |record| JournalProblem::SnapshotChanged { record },
                Place::volume(number),
            );
        }
        let from = volume.blocks.0;
        if volume.is_length_exact && blocks.0 <= from {
            let to = blocks.0;
            self.record_found(
                lsn,
                |record| JournalProblem::Shrinks { record, from, to },
                Place::volume(number),
            );
        }
        if blocks >= volume.blocks {
            (volume.blocks, volume.is_length_exact) = (blocks, true);
        }
    }
}
