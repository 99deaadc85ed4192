//! The bitmap of dirty regions: which checksums may lag behind their data.

use super::Check;
use super::maps::Nodes;
use crate::finding::{Place, SumsProblem};
use crate::medium::Fault;
use ondisk::thin::{DirtyNode, Pointer, Region, Root};
use std::collections::BTreeSet;

/// Regions that an index covers.
const INDEX_REGIONS: u64 = DirtyNode::REGIONS as u64 * DirtyNode::FAN_OUT as u64;

/// The regions whose checksums may lag.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    regions: BTreeSet<Region>,
    /// Part of the bitmap is gone: any may.
    is_unknown: bool,
}

impl Dirty {
    pub(super) fn contains(&self, region: Region) -> bool {
        self.is_unknown || self.regions.contains(&region)
    }

    pub(super) fn extend(&mut self, regions: impl IntoIterator<Item = Region>) {
        self.regions.extend(regions);
    }
}

impl Check<'_> {
    /// Walks the bitmap that the root names.
    pub(super) fn bitmap(&mut self, root: &Root, nodes: &mut Nodes) {
        for (pointer, at) in root.dirty.iter().zip(0_u64..) {
            let first = u32::try_from(at.saturating_mul(INDEX_REGIONS)).unwrap_or(u32::MAX);
            if let Some(pointer) = pointer {
                self.bitmap_node(pointer, (1, Region(first)), root.generation, nodes);
            }
        }
    }

    fn bitmap_node(
        &mut self,
        pointer: &Pointer,
        (level, first): (u8, Region),
        above: u64,
        nodes: &mut Nodes,
    ) {
        let place = Place::block(pointer.at);
        if !self.layout.is_usable_at(pointer.at) {
            self.found(SumsProblem::BitmapOutside { level }, place);
            self.dirty.is_unknown = true;
            return;
        }
        nodes.add_table(pointer);
        let generation = pointer.generation;
        if generation > above {
            self.found(SumsProblem::BitmapNewer { level, generation, above }, place);
        }
        let owner = self.owner(pointer.at.member);
        let node: Result<DirtyNode, Fault> = self
            .fetch(pointer.at)
            .and_then(|bytes| Ok(DirtyNode::decode(&bytes, pointer, (level, first), owner)?));
        match node {
            Ok(DirtyNode::Index(children)) => {
                for (child, at) in children.iter().zip(0_u32..) {
                    let first = Region(first.0.saturating_add(at.saturating_mul(DirtyNode::REGIONS)));
                    if let Some(child) = child {
                        self.bitmap_node(child, (0, first), generation, nodes);
                    }
                }
            }
            Ok(DirtyNode::Bits(bits)) => {
                for (byte, at) in bits.iter().zip(0_u32..) {
                    let set = (0..8).filter(|bit| byte.checked_shr(*bit).unwrap_or(0) & 1 == 1);
                    for bit in set {
                        let region = first.0.saturating_add(at.saturating_mul(8)).saturating_add(bit);
                        self.region(Region(region), place);
                    }
                }
            }
            Err(fault) => {
                self.dirty.is_unknown = true;
                self.found(SumsProblem::BitmapDamaged { level, first: first.0, fault }, place);
            }
        }
    }

    /// A region that is said to be dirty.
    pub(super) fn region(&mut self, region: Region, place: Place) {
        let regions = self.layout.regions();
        if region.0 < regions {
            self.dirty.extend([region]);
        } else {
            self.found(SumsProblem::NoSuchRegion { region: region.0, regions }, place);
        }
    }
}
