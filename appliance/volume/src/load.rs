//! Loading what a root names: the volume table, then the map of each volume, each node once however many share it.
//!
//! References of nodes and units are counted on the way: nothing of that is stored.

use crate::engine::{Engine, Volume};
use crate::import::ImportError;
use crate::map::{Body, NodeId};
use block::{BlockDevice, Lba};
use ondisk::thin::{LEAF_UNITS, MapNode, NODE_POINTERS, Pointer, Root, VolumeTable};
use std::collections::BTreeMap;

/// What a root is to be loaded into.
struct Loading {
    nodes: BTreeMap<Lba, (NodeId, u8, u64)>,
}

impl<D: BlockDevice> Engine<D> {
    /// Loads everything that a root names.
    pub(crate) async fn load(&self, root: &Root) -> Result<(), ImportError> {
        let mut loading = Loading { nodes: BTreeMap::new() };
        self.state.borrow_mut().next_volume = root.next_volume;
        for (pointer, index) in root.tables.iter().zip(0..) {
            let bytes = self.fetch_node(pointer).await?;
            let table = VolumeTable::decode(bytes.as_ref(), pointer, index, self.identity)
                .map_err(|error| ImportError::of_node(pointer.lba, error))?;
            {
                let mut state = self.state.borrow_mut();
                state.tables.push(pointer.lba);
                state.space.retain_node(pointer.lba);
            }
            for entry in table.entries {
                let root = match &entry.root {
                    Some(pointer) => Some(self.load_node(pointer, entry.level(), 0, &mut loading).await?),
                    None => None,
                };
                let volume = Volume {
                    uuid: entry.uuid,
                    origin: entry.origin,
                    kind: entry.kind,
                    blocks: entry.blocks,
                    name: entry.name,
                    root,
                };
                self.state.borrow_mut().volumes.insert(entry.number, volume);
            }
        }
        Ok(())
    }

    async fn fetch_node(&self, pointer: &Pointer) -> Result<D::Buf, ImportError> {
        if !self.layout.is_usable_lba(pointer.lba) {
            return Err(ImportError::Impossible(pointer.lba.0));
        }
        self.fetch_metadata(pointer.lba, 1).await
    }

    /// Loads a node with everything below it, or adds a reference if it is there already. As deep as a map has levels.
    fn load_node<'a>(
        &'a self,
        pointer: &'a Pointer,
        level: u8,
        first_unit: u64,
        loading: &'a mut Loading,
    ) -> core::pin::Pin<Box<dyn Future<Output = Result<NodeId, ImportError>> + 'a>> {
        Box::pin(async move {
            if let Some((id, at_level, at_unit)) = loading.nodes.get(&pointer.lba).copied() {
                if (at_level, at_unit) != (level, first_unit) {
                    return Err(ImportError::Impossible(pointer.lba.0));
                }
                self.state.borrow_mut().map.retain(id);
                return Ok(id);
            }
            let bytes = self.fetch_node(pointer).await?;
            let node = MapNode::decode(bytes.as_ref(), pointer, (level, first_unit), self.identity)
                .map_err(|error| ImportError::of_node(pointer.lba, error))?;
            let body = match node {
                MapNode::Leaf(entries) => {
                    let mut state = self.state.borrow_mut();
                    for piece in entries.iter().flatten().flat_map(|e| core::iter::once(e.own).chain(e.base))
                    {
                        if !self.layout.is_usable(piece.au) {
                            return Err(ImportError::Impossible(piece.au.lba().0));
                        }
                        state.space.retain(piece.au);
                    }
                    Body::Leaf(entries)
                }
                MapNode::Inner { children: stored, .. } => {
                    let span = MapNode::span(level - 1).unwrap_or(LEAF_UNITS as u64);
                    let mut children = Box::new([None; NODE_POINTERS]);
                    for ((child, stored), at) in children.iter_mut().zip(stored.iter()).zip(0..) {
                        if let Some(pointer) = stored {
                            let unit = first_unit + at * span;
                            *child = Some(self.load_node(pointer, level - 1, unit, loading).await?);
                        }
                    }
                    Body::Inner { level, children }
                }
            };
            let mut state = self.state.borrow_mut();
            state.space.retain_node(pointer.lba);
            let id = state.map.add(body, Some(*pointer));
            loading.nodes.insert(pointer.lba, (id, level, first_unit));
            Ok(id)
        })
    }
}
