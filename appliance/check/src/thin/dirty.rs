//! The bitmap of dirty regions: which checksums may lag behind their data.

use super::Check;
use super::maps::Nodes;
use crate::finding::{Place, SumsProblem};
use crate::medium::{Fault, fetch};
use ondisk::thin::{DirtyNode, Pointer, Region, Root};

/// Regions that an index covers.
const INDEX_REGIONS: u64 = DirtyNode::REGIONS as u64 * DirtyNode::FAN_OUT as u64;

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
        let place = Place::block(pointer.lba);
        if !self.layout.is_usable_lba(pointer.lba) {
            self.found(SumsProblem::BitmapOutside { level }, place);
            return;
        }
        nodes.add_table(pointer);
        let generation = pointer.generation;
        if generation > above {
            self.found(SumsProblem::BitmapNewer { level, generation, above }, place);
        }
        let node: Result<DirtyNode, Fault> = fetch(self.medium, pointer.lba)
            .and_then(|bytes| Ok(DirtyNode::decode(&bytes, pointer, (level, first), self.identity)?));
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
                let last = bits.iter().zip(0_u32..).filter(|(byte, _)| **byte != 0).last();
                if let Some((byte, at)) = last {
                    let bit = 7_u32.saturating_sub(byte.leading_zeros());
                    let region = first.0.saturating_add(at.saturating_mul(8)).saturating_add(bit);
                    self.region(region, place);
                }
            }
            Err(fault) => {
                self.found(SumsProblem::BitmapDamaged { level, first: first.0, fault }, place);
            }
        }
    }

    /// A region that is said to be dirty.
    pub(super) fn region(&mut self, region: u32, place: Place) {
        let regions = self.layout.regions();
        if region >= regions {
            self.found(SumsProblem::NoSuchRegion { region, regions }, place);
        }
    }
}
