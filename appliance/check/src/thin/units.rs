//! Who uses each allocation unit, after the journal was replayed.
//!
//! A node that several volumes reach is looked into once; only on the way to units that records changed it is entered again.

use super::Check;
use super::maps::{At, Nodes};
use super::sums::LastPage;
use super::volumes::{Base, Changed, Volume, Volumes};
use crate::finding::{MapProblem, Place};
use crate::report::Units;
use ondisk::thin::{Address, Au, LEAF_UNITS, Leaf, MapEntry, MapNode, Member, Piece, Pointer};
use std::collections::{BTreeMap, BTreeSet};

/// Units of a piece of the table of units, which is made when the first of them is used.
const PIECE: usize = 16384;

/// What is known of a unit.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// Who was found first: its place in [`Usage::claims`] plus one; 0: nobody.
    claim: u32,
    /// Which unit of the leaf.
    slot: u8,
    is_shared: bool,
    has_nodes: bool,
    /// What lies below it, as far as is known.
    base: Option<Au>,
    /// Blocks that were compared with their checksums.
    compared: u16,
}

/// A leaf of a volume.
#[derive(Clone, Copy, Debug)]
struct Claim {
    volume: u32,
    first_unit: u64,
}

struct Usage {
    pieces: BTreeMap<(Member, usize), Box<[Use]>>,
    claims: Vec<Claim>,
    /// Nodes below which nothing was changed, and who was seen first to reach them.
    seen: BTreeMap<Address, u32>,
    /// Nodes below which everything is marked as shared.
    shared: BTreeSet<Address>,
    /// From which volume each comes; `None` if something on the way is gone.
    ancestors: BTreeMap<u32, Option<u32>>,
    last_page: LastPage,
}

impl Usage {
    fn unit(&mut self, au: Au) -> Option<&mut Use> {
        let at = usize::try_from(au.index).ok()?;
        let piece = self.pieces.entry((au.member, at.checked_div(PIECE)?));
        piece
            .or_insert_with(|| vec![Use::default(); PIECE].into_boxed_slice())
            .get_mut(at.checked_rem(PIECE)?)
    }

    fn claim(&mut self, volume: u32, first_unit: u64) -> u32 {
        self.claims.push(Claim { volume, first_unit });
        u32::try_from(self.claims.len()).unwrap_or(u32::MAX)
    }

    fn claimed(&self, claim: u32) -> Option<Claim> {
        self.claims.get(usize::try_from(claim).ok()?.checked_sub(1)?).copied()
    }

    /// Whether two volumes certainly do not come from the same one.
    fn are_strangers(&self, a: u32, b: u32) -> bool {
        let ancestor = |number: u32| self.ancestors.get(&number).copied().flatten();
        matches!((ancestor(a), ancestor(b)), (Some(a), Some(b)) if a != b)
    }

    fn count(&self) -> Units {
        let mut units = Units::default();
        for found in self.pieces.values().flatten() {
            units.data = units.data.saturating_add(u64::from(found.claim > 0));
            units.shared = units.shared.saturating_add(u64::from(found.claim > 0 && found.is_shared));
            units.nodes = units.nodes.saturating_add(u64::from(found.has_nodes));
        }
        units
    }
}

impl Check<'_> {
    /// Counts the units, and finds those that are used in a way that cannot be.
    pub(super) fn units(&mut self, volumes: &Volumes, nodes: &Nodes) -> Units {
        let mut usage = Usage {
            pieces: BTreeMap::new(),
            claims: Vec::new(),
            seen: BTreeMap::new(),
            shared: BTreeSet::new(),
            ancestors: volumes.ancestors(),
            last_page: LastPage::default(),
        };
        for au in nodes.units() {
            if let Some(found) = usage.unit(au) {
                found.has_nodes = true;
            }
        }
        for (number, volume) in &volumes.by_number {
            let blocks = volume.blocks.0;
            if volume.end > blocks {
                let block = volume.end.saturating_sub(1);
                self.found(MapProblem::PastEnd { block, blocks }, Place::volume(*number));
            }
            if let Some(Base { pointer, level }) = volume.base {
                self.visit(At { volume: *number, level, first_unit: 0 }, &pointer, volume, &mut usage);
            }
            self.changed(*number, volume, &mut usage);
        }
        usage.count()
    }

    /// The units that records changed.
    fn changed(&mut self, number: u32, volume: &Volume, usage: &mut Usage) {
        let mut claim = (0, u64::MAX);
        for (unit, Changed { entry, .. }) in volume.changed.iter() {
            let Some(entry) = entry else { continue };
            let slot = unit.checked_rem(LEAF_UNITS as u64).unwrap_or(0);
            let first_unit = unit.saturating_sub(slot);
            if claim.1 != first_unit {
                claim = (usage.claim(number, first_unit), first_unit);
            }
            self.entry(claim.0, slot, entry, usage);
        }
    }

    /// What a node maps of a volume, without what records changed.
    fn visit(&mut self, at: At, pointer: &Pointer, volume: &Volume, usage: &mut Usage) {
        let end = at.first_unit.saturating_add(MapNode::span(at.level).unwrap_or(u64::MAX));
        let is_changed = volume.changed.range(at.first_unit..end).next().is_some();
        if !is_changed {
            if let Some(other) = usage.seen.get(&pointer.at).copied() {
                if usage.are_strangers(other, at.volume) {
                    let problem = MapProblem::NodeOfStranger { level: at.level, other };
                    self.found(problem, at.place(pointer.at));
                }
                self.share(at, pointer, usage);
                return;
            }
            usage.seen.insert(pointer.at, at.volume);
        }
        match self.node(pointer, at.level, at.first_unit) {
            Ok(MapNode::Leaf(leaf)) => self.visit_leaf(at, &leaf, volume, usage),
            Ok(MapNode::Inner { children, .. }) => {
                for (child, slot) in children.iter().zip(0..) {
                    if let Some(child) = child {
                        self.visit(at.child(slot), child, volume, usage);
                    }
                }
            }
            // It was found before.
            Err(_) => {}
        }
    }

    fn visit_leaf(&mut self, at: At, leaf: &Leaf, volume: &Volume, usage: &mut Usage) {
        let claim = usage.claim(at.volume, at.first_unit);
        for (entry, slot) in leaf.iter().zip(0..) {
            let is_changed = volume.changed.contains_key(&at.first_unit.saturating_add(slot));
            if let Some(entry) = entry.as_ref().filter(|_| !is_changed) {
                self.entry(claim, slot, entry, usage);
            }
        }
    }

    fn entry(&mut self, claim: u32, slot: u64, entry: &MapEntry, usage: &mut Usage) {
        for piece in core::iter::once(entry.own).chain(entry.base) {
            if self.layout.is_usable(piece.au) {
                self.piece(claim, slot, piece, usage);
            }
        }
        let (au, below) = (entry.own.au, entry.base.map(|base| base.au));
        let (Some(base), Some(found)) = (below, usage.unit(au)) else { return };
        let other = *found.base.get_or_insert(base);
        if other != base {
            let Some(Claim { volume, first_unit }) = usage.claimed(claim) else { return };
            let place = Place::unit(volume, first_unit.saturating_add(slot)).at(au.start());
            self.found(MapProblem::BaseDiffers { au, base, other }, place);
        }
    }

    /// A unit that an entry names.
    fn piece(&mut self, claim: u32, slot: u64, Piece { au, mask }: Piece, usage: &mut Usage) {
        let Some(found) = usage.unit(au).copied() else { return };
        let Some(Claim { volume, first_unit }) = usage.claimed(claim) else { return };
        let unit = first_unit.saturating_add(slot);
        let place = Place::unit(volume, unit).at(au.start());
        if found.has_nodes {
            self.found(MapProblem::UnitHoldsNodes { au }, place);
        }
        if let Some(first) = usage.claimed(found.claim) {
            let (other, other_unit) = (first.volume, first.first_unit.saturating_add(found.slot.into()));
            if other_unit != unit {
                self.found(MapProblem::UnitTwice { au, other, other_unit }, place);
            } else if usage.are_strangers(other, volume) {
                self.found(MapProblem::UnitOfStranger { au, other }, place);
            }
            if let Some(found) = usage.unit(au) {
                found.is_shared = true;
            }
        } else if let Some(found) = usage.unit(au) {
            found.claim = claim;
            found.slot = u8::try_from(slot).unwrap_or(0);
        }
        if let Some(found) = usage.unit(au) {
            let new = mask & !found.compared;
            found.compared |= mask;
            self.compare_data(au, new, place, &mut usage.last_page);
        }
    }

    /// Everything below a node belongs to several volumes.
    fn share(&mut self, at: At, pointer: &Pointer, usage: &mut Usage) {
        if !usage.shared.insert(pointer.at) {
            return;
        }
        match self.node(pointer, at.level, at.first_unit) {
            Ok(MapNode::Leaf(leaf)) => {
                for entry in leaf.iter().flatten() {
                    for piece in core::iter::once(entry.own).chain(entry.base) {
                        if let Some(found) = usage.unit(piece.au).filter(|found| found.claim > 0) {
                            found.is_shared = true;
                        }
                    }
                }
            }
            Ok(MapNode::Inner { children, .. }) => {
                for (child, slot) in children.iter().zip(0..) {
                    if let Some(child) = child {
                        self.share(at.child(slot), child, usage);
                    }
                }
            }
            Err(_) => {}
        }
    }
}
