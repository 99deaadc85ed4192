//! Volumes, snapshots and clones come and go: one record in the journal each, whatever their size.

use crate::attributes::{Attributes, blocks_for};
use crate::engine::{Engine, EngineError, State, Volume};
use block::{BlockDevice, Blocks};
use ondisk::Name;
use ondisk::thin::{JournalRecord, MapNode, Root, VolumeKind, units_of};
use uuid::Uuid;

/// What is to be created.
#[derive(Clone, Debug)]
pub struct NewVolume {
    /// Identity.
    pub uuid: Uuid,
    /// For people; unique in the pool.
    pub name: Name,
    /// Volume or snapshot.
    pub kind: VolumeKind,
    /// What it carries for its owner: at most [`ondisk::limits::ATTRIBUTES_MAX`] bytes. A copy does not inherit them.
    pub attributes: Box<[u8]>,
}

/// The longest volume: a map of five levels.
pub(crate) fn blocks_max() -> u64 {
    MapNode::span(4).unwrap_or(0) * ondisk::thin::AU_BLOCKS
}

/// Makes a creation current; what is to be copied gives the new one its map.
pub(crate) fn apply_create(state: &mut State, number: u32, origin: Option<u32>, new: Volume) {
    let source = origin.and_then(|origin| state.volumes.get(&origin));
    let (root, origin) = (source.and_then(|s| s.root), source.map(|s| s.uuid));
    if let Some(root) = root {
        state.map.retain(root);
    }
    state.volumes.insert(number, Volume { root, origin, ..new });
    state.next_volume = state.next_volume.max(number + 1);
}

/// The record of a creation.
fn created(number: u32, origin: Option<u32>, new: &Volume) -> JournalRecord {
    JournalRecord::Create {
        volume: number,
        origin,
        kind: new.kind,
        blocks: new.blocks,
        uuid: new.uuid,
        name: new.name.clone(),
        attributes: new.attributes.pointer,
    }
}

/// Makes a deletion current, for an import: nobody reads, and attributes have no places yet.
pub(crate) fn apply_delete(state: &mut State, number: u32) {
    if let Some(Volume { root: Some(root), .. }) = state.volumes.remove(&number) {
        state.map.release(root, &mut state.space);
    }
}

/// Makes a growth current.
pub(crate) fn apply_grow(state: &mut State, number: u32, blocks: Blocks) {
    let State { map, volumes, .. } = state;
    let Some(volume) = volumes.get_mut(&number) else { return };
    let level = |blocks| MapNode::level_for(units_of(blocks));
    for level in level(volume.blocks) + 1..=level(blocks) {
        volume.root = volume.root.map(|root| map.raise(root, level));
    }
    volume.blocks = blocks;
}

impl<D: BlockDevice> Engine<D> {
    /// Creates an empty volume; gives its number.
    ///
    /// # Errors
    /// If it exists, is too long, the pool has no room for its attributes, or the drive fails.
    pub async fn create(&self, blocks: Blocks, new: NewVolume) -> Result<u32, EngineError> {
        if blocks.0 == 0 || blocks.0 > blocks_max() {
            return Err(EngineError::OutOfRange);
        }
        self.add(None, Some(blocks), new).await
    }

    /// Makes a snapshot or a clone of a volume or snapshot, as it is now; gives its number. All writes that ended before are
    /// in it, and durable when it is.
    ///
    /// # Errors
    /// If it exists, there is no such origin, the pool has no room for its attributes, or the drive fails.
    pub async fn snapshot(&self, origin: u32, new: NewVolume) -> Result<u32, EngineError> {
        self.add(Some(origin), None, new).await
    }

    async fn add(
        &self,
        origin: Option<u32>,
        blocks: Option<Blocks>,
        new: NewVolume,
    ) -> Result<u32, EngineError> {
        let count = blocks_for(&new.attributes)?;
        let _alone = self.admit_alone().await?;
        self.check_node_room()?;
        let (number, blocks) = {
            let state = self.state.borrow();
            let is_taken =
                new.uuid.is_nil() || state.volumes.values().any(|v| v.uuid == new.uuid || v.name == new.name);
            if is_taken || state.volumes.len() >= Root::VOLUMES_MAX || state.next_volume == u32::MAX {
                return Err(EngineError::Exists);
            }
            let of_origin = origin.map(|origin| state.volume(origin).map(|v| v.blocks)).transpose()?;
            (state.next_volume, blocks.or(of_origin).ok_or(EngineError::OutOfRange)?)
        };
        let places = match self.places_for(count) {
            Err(_) if self.may_gain_places() => {
                self.checkpoint_inside().await?;
                self.places_for(count)?
            }
            found => found?,
        };
        let NewVolume { uuid, name, kind, attributes } = new;
        let attributes = self.store_attributes(number, &attributes, places).await?;
        let volume = Volume { uuid, origin: None, kind, blocks, name, root: None, attributes };
        let record = created(number, origin, &volume);
        self.commit(&record, |state| apply_create(state, number, origin, volume)).await?;
        Ok(number)
    }

    /// Deletes a volume or snapshot. Its space is free as far as nothing else shares it.
    ///
    /// Reads of it that are under way see what it stored: until they have ended, others do not become the only owners of
    /// what they shared with it, who would write there in place.
    ///
    /// # Errors
    /// If there is no such volume, or the drive fails.
    pub async fn delete(&self, volume: u32) -> Result<(), EngineError> {
        let _alone = self.admit_alone().await?;
        self.state.borrow().volume(volume)?;
        let mut root = None;
        let leave = |state: &mut State| {
            state.replace_attributes(volume, Attributes::default());
            root = state.volumes.remove(&volume).and_then(|volume| volume.root);
        };
        self.commit(&JournalRecord::Delete { volume }, leave).await?;
        self.apply(|state| {
            let since = state.space.now();
            state.leaving.extend(root.map(|root| (since, root)));
            state.leave();
        });
        // It was flushed with the record.
        let now = self.state.borrow().space.now();
        self.state.borrow_mut().space.set_durable(now);
        Ok(())
    }

    /// Makes a volume longer.
    ///
    /// # Errors
    /// If there is no such volume, it would not become longer, or the drive fails.
    pub async fn grow(&self, volume: u32, blocks: Blocks) -> Result<(), EngineError> {
        let _alone = self.admit_alone().await?;
        self.check_node_room()?;
        let (old, kind) = {
            let state = self.state.borrow();
            let found = state.volume(volume)?;
            (found.blocks, found.kind)
        };
        if kind != VolumeKind::Volume {
            return Err(EngineError::NoSuchVolume);
        }
        if blocks <= old || blocks.0 > blocks_max() {
            return Err(EngineError::OutOfRange);
        }
        self.commit(&JournalRecord::Grow { volume, blocks }, |state| apply_grow(state, volume, blocks)).await
    }

    /// Makes a change whose record is durable when this ends, with everything before it.
    pub(crate) async fn commit(
        &self,
        record: &JournalRecord,
        change: impl FnOnce(&mut State),
    ) -> Result<(), EngineError> {
        let lsn = self.journal.append(record, |_| {}).await?;
        self.flush().await?;
        self.finish(lsn, change);
        Ok(())
    }
}
