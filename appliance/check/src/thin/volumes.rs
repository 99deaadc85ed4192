//! The volumes as they are after the journal: the map of the checkpoint, which stays on the drive, and over it the units that
//! records changed.

use super::maps::Reached;
use super::{Check, child_span};
use crate::report::VolumeSummary;
use block::Blocks;
use ondisk::thin::{LEAF_UNITS, Leaf, MapEntry, MapNode, Pointer, VolumeEntry, VolumeKind};
use std::collections::BTreeMap;
use std::rc::Rc;
use uuid::Uuid;

/// A unit that a record changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    pub(super) entry: Option<MapEntry>,
    /// It follows from records alone: what the checkpoint says, and which records it contains already, is of no importance.
    pub(super) is_exact: bool,
}

/// The map of the checkpoint from which a volume comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) pointer: Pointer,
    pub(super) level: u8,
}

/// A volume or snapshot.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) uuid: Uuid,
    pub(super) name: String,
    pub(super) kind: VolumeKind,
    pub(super) origin: Option<Uuid>,
    pub(super) blocks: Blocks,
    /// The length follows from records alone.
    pub(super) is_length_exact: bool,
    pub(super) base: Option<Base>,
    /// The first block of what it carries for its owner.
    pub(super) attributes: Option<Pointer>,
    /// How many bytes that are; known when they have been read.
    pub(super) attributes_len: u32,
    /// Blocks up to the last one that the base maps.
    pub(super) end: u64,
    pub(super) mapped: u64,
    /// Shared with copies until one of them changes.
    pub(super) changed: Rc<BTreeMap<u64, Changed>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub(super) by_number: BTreeMap<u32, Volume>,
    /// The number of the next one.
    pub(super) next: u32,
}

impl Volumes {
    /// A volume of the table.
    pub(super) fn add(&mut self, entry: &VolumeEntry, reached: Reached) {
        let level = entry.level();
        let volume = Volume {
            uuid: entry.uuid,
            name: entry.name.to_string(),
            kind: entry.kind,
            origin: entry.origin,
            blocks: entry.blocks,
            is_length_exact: false,
            base: entry.root.map(|pointer| Base { pointer, level }),
            attributes: entry.attributes,
            attributes_len: 0,
            end: reached.end,
            mapped: reached.units,
            changed: Rc::default(),
        };
        // Of two with one number, which is a finding, the first counts.
        self.by_number.entry(entry.number).or_insert(volume);
    }

    pub(super) fn summary(&self) -> Vec<VolumeSummary> {
        let of = |(number, volume): (&u32, &Volume)| VolumeSummary {
            number: *number,
            name: volume.name.clone(),
            uuid: volume.uuid,
            kind: volume.kind,
            blocks: volume.blocks,
            origin: volume.origin,
            mapped: volume.mapped,
            attributes: volume.attributes_len,
        };
        self.by_number.iter().map(of).collect()
    }

    /// For each volume the one that was not made as a copy and from which it comes; `None` if something on the way is gone.
    pub(super) fn ancestors(&self) -> BTreeMap<u32, Option<u32>> {
        let numbers: BTreeMap<Uuid, u32> =
            self.by_number.iter().map(|(number, v)| (v.uuid, *number)).collect();
        let ancestor = |number: u32| {
            let mut at = number;
            // An origin that is younger is a finding; it must not lead round in circles.
            for _ in 0..=self.by_number.len() {
                let Some(origin) = self.by_number.get(&at)?.origin else { return Some(at) };
                at = *numbers.get(&origin)?;
            }
            None
        };
        self.by_number.keys().map(|number| (*number, ancestor(*number))).collect()
    }
}

/// The leaf that was read last.
#[derive(Debug, Default)]
pub(super) struct LastLeaf(Option<(Pointer, u64, Option<Box<Leaf>>)>);

impl Check<'_> {
    /// What a unit maps to after the records so far.
    pub(super) fn look_up(&self, volume: &Volume, unit: u64, last: &mut LastLeaf) -> Changed {
        match volume.changed.get(&unit) {
            Some(changed) => *changed,
            None => Changed { entry: self.look_up_base(volume, unit, last), is_exact: false },
        }
    }

    fn look_up_base(&self, volume: &Volume, unit: u64, last: &mut LastLeaf) -> Option<MapEntry> {
        let base = volume.base?;
        let units = LEAF_UNITS as u64;
        let number = unit.checked_div(units)?;
        let is_read = matches!(&last.0, Some((of, at, _)) if *of == base.pointer && *at == number);
        if !is_read {
            last.0 = Some((base.pointer, number, self.leaf_of(base, unit)));
        }
        let (_, _, leaf) = last.0.as_ref()?;
        let slot = usize::try_from(unit.checked_rem(units)?).ok()?;
        leaf.as_ref()?.get(slot).copied().flatten()
    }

    /// The leaf of a unit. Damage on the way was found before.
    fn leaf_of(&self, base: Base, unit: u64) -> Option<Box<Leaf>> {
        let (mut pointer, mut level, mut first_unit) = (base.pointer, base.level, 0_u64);
        if unit >= MapNode::span(level)? {
            return None;
        }
        loop {
            match self.node(&pointer, level, first_unit).ok()? {
                MapNode::Leaf(leaf) => return Some(leaf),
                MapNode::Inner { children, .. } => {
                    let span = child_span(level);
                    let slot = unit.checked_sub(first_unit)?.checked_div(span)?;
                    pointer = (*children.get(usize::try_from(slot).ok()?)?)?;
                    first_unit = first_unit.checked_add(slot.checked_mul(span)?)?;
                    level = level.checked_sub(1)?;
                }
            }
        }
    }
}
