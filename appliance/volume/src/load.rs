//! Loading what a root names: the volume table, then the map of each volume, each node once however many share it.
//!
//! References of nodes and units are counted on the way: nothing of that is stored. What is damaged is noted and left out: see
//! `docs/decisions/0011` about what a damaged block may cost. What contradicts itself with good checksums is refused.

use crate::attributes::Attributes;
use crate::engine::{Engine, Volume};
use crate::import::ImportError;
use crate::map::{Body, NodeId};
use crate::rules;
use block::BlockDevice;
use ondisk::thin::{
    Address, Au, LEAF_UNITS, Leaf, MapNode, Member, NODE_POINTERS, Pointer, Root, ThinIdentity, VolumeEntry,
    VolumeTable,
};
use std::collections::BTreeMap;

/// A node that is loaded: what named it, its level and first unit.
type Loaded = (NodeId, Pointer, (u8, u64));

/// What a root is to be loaded into.
struct Loading {
    nodes: BTreeMap<Address, Loaded>,
}

impl<D: BlockDevice> Engine<D> {
    /// Loads everything that a root names.
    pub(crate) async fn load(&self, root: &Root) -> Result<(), ImportError> {
        let mut loading = Loading { nodes: BTreeMap::new() };
        self.state.borrow_mut().next_volume = root.next_volume;
        for (pointer, index) in root.tables.iter().zip(0..) {
            let table =
                self.fetch_node(pointer, |bytes, owner| VolumeTable::decode(bytes, pointer, index, owner));
            let Some(table) = table.await? else { continue };
            self.place_node(pointer.at)?;
            self.state.borrow_mut().tables.push(pointer.at);
            for entry in table.entries {
                if !rules::is_possible_volume(&self.state.borrow(), &entry) {
                    return Err(ImportError::Impossible(pointer.at));
                }
                self.load_volume(entry, &mut loading).await?;
            }
        }
        let state = self.state.borrow();
        let is_all = usize::try_from(root.volume_count).is_ok_and(|count| count == state.volumes.len());
        let at = self.drives().root_at(Member::FIRST, Root::slot(root.generation, 0));
        if is_all || !state.damage.is_empty() { Ok(()) } else { Err(ImportError::Impossible(at)) }
    }

    async fn load_volume(&self, entry: VolumeEntry, loading: &mut Loading) -> Result<(), ImportError> {
        let root = match &entry.root {
            Some(pointer) => Some(self.load_node(pointer, entry.level(), 0, loading).await?),
            None => None,
        };
        let VolumeEntry { number, uuid, origin, kind, blocks, name, root: _, attributes } = entry;
        let attributes = Attributes::named(attributes);
        let volume = Volume { uuid, origin, kind, blocks, name, root, attributes };
        self.state.borrow_mut().volumes.insert(number, volume);
        Ok(())
    }

    /// Reads the block that a pointer means; `None` if it is damaged, which is noted.
    pub(crate) async fn fetch_node<T>(
        &self,
        pointer: &Pointer,
        decode: impl FnOnce(&[u8], ThinIdentity) -> Result<T, ondisk::LoadError>,
    ) -> Result<Option<T>, ImportError> {
        let at = pointer.at;
        if !self.drives().layout.is_usable_at(at) {
            return Err(ImportError::Impossible(at));
        }
        let error = match self.fetch_metadata(at, 1).await {
            Ok(bytes) => match decode(bytes.as_ref(), self.owner(at.member)) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => {
                    let error = ImportError::of_node(at, error);
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
            if let Some((id, meant, at)) = loading.nodes.get(&pointer.at).copied() {
                if (meant, at) != (*pointer, place) {
                    return Err(ImportError::Impossible(pointer.at));
                }
                self.state.borrow_mut().map.retain(id);
                return Ok(id);
            }
            let node = self.fetch_node(pointer, |bytes, owner| MapNode::decode(bytes, pointer, place, owner));
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
            self.place_node(pointer.at)?;
            let id = self.state.borrow_mut().map.add(body, Some(*pointer));
            loading.nodes.insert(pointer.at, (id, *pointer, place));
            Ok(id)
        })
    }

    /// A node lies here, where no data may be.
    pub(crate) fn place_node(&self, at: Address) -> Result<(), ImportError> {
        let mut state = self.state.borrow_mut();
        if Au::of(at).is_none_or(|au| state.space.refs(au) > 0) {
            return Err(ImportError::Impossible(at));
        }
        state.space.retain_node(at);
        Ok(())
    }

    /// Data lie in the units of a leaf, where no node may be.
    fn place_units(&self, entries: &Leaf) -> Result<(), ImportError> {
        let (mut state, drives) = (self.state.borrow_mut(), self.drives());
        for piece in entries.iter().flatten().flat_map(|e| core::iter::once(e.own).chain(e.base)) {
            if !drives.layout.is_usable(piece.au) || state.space.has_nodes(piece.au) {
                return Err(ImportError::Impossible(piece.au.start()));
            }
            state.space.retain(piece.au);
        }
        Ok(())
    }
}
