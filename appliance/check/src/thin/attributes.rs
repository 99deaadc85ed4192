//! What volumes carry for their owner, as it is after the journal: what the checkpoint or an older record names may be
//! overwritten.

use super::Check;
use super::maps::Nodes;
use super::volumes::Volumes;
use crate::finding::{AttributesProblem, Place};
use crate::medium::Fault;
use ondisk::thin::{AttributesBlock, Pointer, Root};
use ondisk::{Inconsistency, LoadError};

impl Check<'_> {
    /// Reads the attributes of all volumes; where they lie is added to the nodes.
    pub(super) fn attributes(&mut self, root: &Root, volumes: &mut Volumes, nodes: &mut Nodes) {
        for (number, volume) in &mut volumes.by_number {
            let (mut next, mut index) = (volume.attributes, 0);
            while let Some(pointer) = next {
                let Some(block) = self.attributes_block(root, &pointer, (*number, index)) else {
                    self.is_complete = false;
                    break;
                };
                nodes.add_table(&pointer);
                volume.attributes_len = block.total;
                // The length of the whole says which block is the last.
                (next, index) = (block.next, index.saturating_add(1));
            }
        }
    }

    fn attributes_block(
        &mut self,
        root: &Root,
        pointer: &Pointer,
        (volume, index): (u32, u16),
    ) -> Option<AttributesBlock> {
        let place = Place::volume(volume).at(pointer.at);
        if !self.layout.is_usable_at(pointer.at) {
            self.found(AttributesProblem::Outside { index }, place);
            return None;
        }
        let (generation, root) = (pointer.generation, root.generation);
        // Those of a journal record are as old as the checkpoint that was to come.
        if generation > root.saturating_add(1) {
            self.found(AttributesProblem::Newer { index, generation, root }, place);
        }
        let owner = self.owner(pointer.at.member);
        let block = self
            .fetch(pointer.at)
            .and_then(|bytes| Ok(AttributesBlock::decode(&bytes, pointer, (volume, index), owner)?));
        let problem = match block {
            Ok(block) => return Some(block),
            Err(Fault::Load(LoadError::Inconsistent(Inconsistency::OtherNode))) => {
                AttributesProblem::Other { index }
            }
            Err(fault) => AttributesProblem::Damaged { index, fault },
        };
        self.found(problem, place);
        None
    }
}
