//! The maps of the checkpoint: every node that the volume table reaches, each once.

use super::{Check, child_span};
use crate::finding::{MapProblem, Place};
use crate::medium::Fault;
use ondisk::thin::{AU_BLOCKS, Address, Au, Leaf, MapNode, Pointer, VolumeEntry};
use ondisk::{Inconsistency, LoadError};
use std::collections::BTreeMap;

/// Where a node belongs in the map of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) volume: u32,
    pub(super) level: u8,
    pub(super) first_unit: u64,
}

impl At {
    pub(super) fn place(&self, at: Address) -> Place {
        Place::unit(self.volume, self.first_unit).at(at)
    }

    /// The child in this slot of an inner node.
    pub(super) fn child(&self, slot: u64) -> Self {
        let first_unit = self.first_unit.saturating_add(child_span(self.level).saturating_mul(slot));
        Self { level: self.level.saturating_sub(1), first_unit, ..*self }
    }
}

/// What a node and everything below it map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Units.
    pub(super) units: u64,
    /// Blocks of the volume up to the last one that is mapped.
    pub(super) end: u64,
}

impl Reached {
    fn with(self, other: Self) -> Self {
        Self { units: self.units.saturating_add(other.units), end: self.end.max(other.end) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Known {
    pointer: Pointer,
    level: u8,
    first_unit: u64,
    reached: Reached,
}

/// Everything that the root reaches and that is not data.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: BTreeMap<Address, Known>,
    tables: Vec<Address>,
}

impl Nodes {
    /// A block of the volume table, of the bitmap of dirty regions, or of attributes.
    pub(super) fn add_table(&mut self, pointer: &Pointer) {
        self.tables.push(pointer.at);
    }

    /// The units in which they lie; a unit may come several times.
    pub(super) fn units(&self) -> impl Iterator<Item = Au> {
        self.known.keys().chain(&self.tables).filter_map(|at| Au::of(*at))
    }
}

impl Check<'_> {
    /// The map of a volume of the table.
    pub(super) fn map(
        &mut self,
        entry: &VolumeEntry,
        pointer: &Pointer,
        table: &Pointer,
        nodes: &mut Nodes,
    ) -> Reached {
        let at = At { volume: entry.number, level: entry.level(), first_unit: 0 };
        self.walk(at, pointer, table.generation, nodes)
    }

    /// A node and what is below it. As deep as a map has levels.
    fn walk(&mut self, at: At, pointer: &Pointer, above: u64, nodes: &mut Nodes) -> Reached {
        let (level, generation) = (at.level, pointer.generation);
        let place = at.place(pointer.at);
        if generation > above {
            self.found(MapProblem::NodeNewer { level, generation, above }, place);
        }
        if !self.layout.is_usable_at(pointer.at) {
            self.found(MapProblem::NodeOutside { level }, place);
            self.is_complete = false;
            return Reached::default();
        }
        if let Some(known) = nodes.known.get(&pointer.at).copied() {
            if (known.level, known.first_unit) != (level, at.first_unit) {
                let (other, other_level) = (known.first_unit, known.level);
                self.found(MapProblem::NodeElsewhere { level, other, other_level }, place);
                return Reached::default();
            }
            if known.pointer == *pointer {
                return known.reached;
            }
        }
        let reached = match self.node(pointer, level, at.first_unit) {
            Ok(MapNode::Leaf(leaf)) => self.leaf(at, &leaf),
            Ok(MapNode::Inner { children, .. }) => {
                let mut reached = Reached::default();
                for (child, slot) in children.iter().zip(0..) {
                    if let Some(child) = child {
                        reached = reached.with(self.walk(at.child(slot), child, generation, nodes));
                    }
                }
                reached
            }
            Err(fault) => {
                let problem = match fault {
                    Fault::Load(LoadError::Inconsistent(Inconsistency::OtherNode)) => {
                        MapProblem::NodeOther { level }
                    }
                    fault @ (Fault::Media(_) | Fault::Load(_)) => MapProblem::NodeDamaged { level, fault },
                };
                self.found(problem, place);
                self.is_complete = false;
                Reached::default()
            }
        };
        let known = Known { pointer: *pointer, level, first_unit: at.first_unit, reached };
        nodes.known.insert(pointer.at, known);
        reached
    }

    fn leaf(&mut self, at: At, leaf: &Leaf) -> Reached {
        let mut reached = Reached::default();
        for (entry, unit) in leaf.iter().zip(at.first_unit..) {
            let Some(entry) = entry else { continue };
            let mut mask = 0;
            for piece in core::iter::once(entry.own).chain(entry.base) {
                mask |= piece.mask;
                if !self.layout.is_usable(piece.au) {
                    let place = Place::unit(at.volume, unit).at(piece.au.start());
                    self.found(MapProblem::UnitOutside { au: piece.au }, place);
                }
            }
            let blocks = u64::from(u16::BITS.saturating_sub(mask.leading_zeros()));
            let end = unit.saturating_mul(AU_BLOCKS).saturating_add(blocks);
            reached = reached.with(Reached { units: 1, end });
        }
        reached
    }
}
