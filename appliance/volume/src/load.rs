//! Loading what a root names: the volume table, then the map of each volume, each node once however many share it.
//!
//! References of nodes and units are counted on the way: nothing of that is stored. What is damaged is noted and left out: see
//! `docs/decisions/0011` about what a damaged block may cost. What contradicts itself with good checksums is refused.

use crate::engine::{Engine, Volume};
use crate::import::ImportError;
use crate::map::{Body, NodeId};
use crate::rules;
use block::{BlockDevice, Lba};
use ondisk::thin::{Au, LEAF_UNITS, Leaf, MapNode, NODE_POINTERS, Pointer, Root, VolumeEntry, VolumeTable};
use std::collections::BTreeMap;

/// A node that is loaded: what named it, its level and first unit.
type Loaded = (NodeId, Pointer, (u8, u64));

/// What a root is to be loaded into.
struct Loading {
    nodes: BTreeMap<Lba, Loaded>,
}

impl<D: BlockDevice> Engine<D> {
    /// Loads everything that a root names.
    pub(crate) async fn load(&self, root: &Root) -> Result<(), ImportError> {
        let mut loading = Loading { nodes: BTreeMap::new() };
        self.state.borrow_mut().next_volume = root.next_volume;
        for (pointer, index) in root.tables.iter().zip(0..) {
            let table =
                self.fetch_node(pointer, |bytes| VolumeTable::decode(bytes, pointer, index, self.identity));
            let Some(table) = table.await? else { continue };
            self.place_node(pointer.lba)?;
            self.state.borrow_mut().tables.push(pointer.lba);
            for entry in table.entries {
                if !rules::is_possible_volume(&self.state.borrow(), &entry) {
                    return Err(ImportError::Impossible(pointer.lba.0));
                }
                self.load_volume(entry, &mut loading).await?;
            }
        }
        let state = self.state.borrow();
        let is_all = usize::try_from(root.volume_count).is_ok_and(|count| count == state.volumes.len());
        let lba = self.layout.root_lba(Root::slot(root.generation, 0));
        if is_all || !state.damage.is_empty() { Ok(()) } else { Err(ImportError::Impossible(lba.0)) }
    }

    async fn load_volume(&self, entry: VolumeEntry, loading: &mut Loading) -> Result<(), ImportError> {
        let root = match &entry.root {
            Some(pointer) => Some(self.load_node(pointer, entry.level(), 0, loading).await?),
            None => None,
        };
        let VolumeEntry { number, uuid, origin, kind, blocks, name, root: _ } = entry;
        self.state.borrow_mut().volumes.insert(number, Volume { uuid, origin, kind, blocks, name, root });
        Ok(())
    }

    /// Reads the block that a pointer means; `None` if it is damaged, which is noted.
    async fn fetch_node<T>(
        &self,
        pointer: &Pointer,
        decode: impl FnOnce(&[u8]) -> Result<T, ondisk::LoadError>,
    ) -> Result<Option<T>, ImportError> {
        let lba = pointer.lba.0;
        if !self.layout.is_usable_lba(pointer.lba) {
            return Err(ImportError::Impossible(lba));
        }
        let error = match self.fetch_metadata(pointer.lba, 1).await {
            Ok(bytes) => match decode(bytes.as_ref()) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => {
                    let error = ImportError::of_node(pointer.lba, error);
                    if matches!(error, ImportError::NotKept { .. }) {
                        // Who knows what else is not as the maps say.
                        return Err(error);
                    }
                    error
                }
            },
            Err(error @ ImportError::Unreadable { .. }) => error,
            Err(error) => return Err(error),
        };
        self.state.borrow_mut().damage.push(error);
        Ok(None)
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
            let place = (level, first_unit);
            if let Some((id, meant, at)) = loading.nodes.get(&pointer.lba).copied() {
                if (meant, at) != (*pointer, place) {
                    return Err(ImportError::Impossible(pointer.lba.0));
                }
                self.state.borrow_mut().map.retain(id);
                return Ok(id);
            }
            let node =
                self.fetch_node(pointer, |bytes| MapNode::decode(bytes, pointer, place, self.identity));
            let body = match node.await? {
                None => Body::Lost,
                Some(MapNode::Leaf(entries)) => {
                    self.place_units(&entries)?;
                    Body::Leaf(entries)
                }
                Some(MapNode::Inner { children: stored, .. }) => {
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
            self.place_node(pointer.lba)?;
            let id = self.state.borrow_mut().map.add(body, Some(*pointer));
            loading.nodes.insert(pointer.lba, (id, *pointer, place));
            Ok(id)
        })
    }

    /// A node lies here, where no data may be.
    pub(crate) fn place_node(&self, lba: Lba) -> Result<(), ImportError> {
        let mut state = self.state.borrow_mut();
        if Au::of(lba).is_none_or(|au| state.space.refs(au) > 0) {
            return Err(ImportError::Impossible(lba.0));
        }
        state.space.retain_node(lba);
        Ok(())
    }

    /// Data lie in the units of a leaf, where no node may be.
    fn place_units(&self, entries: &Leaf) -> Result<(), ImportError> {
        let mut state = self.state.borrow_mut();
        for piece in entries.iter().flatten().flat_map(|e| core::iter::once(e.own).chain(e.base)) {
            if !self.layout.is_usable(piece.au) || state.space.has_nodes(piece.au) {
                return Err(ImportError::Impossible(piece.au.lba().0));
            }
            state.space.retain(piece.au);
        }
        Ok(())
    }
}
