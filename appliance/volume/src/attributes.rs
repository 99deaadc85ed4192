//! Attributes of volumes and snapshots: bytes for their owner, which are kept and not looked into.
//!
//! ```text
//!  new bytes ─▶ blocks in places for nodes ─▶ flush ─▶ record that names the first, durable ─▶ the old places are free
//! ```
//!
//! | order | crash that it prevents |
//! |---|---|
//! | flush before the record | a record that names blocks that are not there: neither old nor new attributes |
//! | old places free when the record is durable | the record is lost, and what it replaced is overwritten |
//!
//! A root names the blocks as they are, so a checkpoint writes none of them. They may change beside one: whatever its table
//! names, the record is replayed over it. *An import reads only what each volume has after the last record*: what the root or an
//! older record names may be overwritten by then. So nothing waits for the next root, and in a full pool attributes can be
//! replaced again and again in a few places.
//!
//! What an import cannot read freezes the pool, as a damaged map does, and is `None` for its volume: nobody knows then who may
//! use it.

use crate::engine::{Engine, EngineError, State};
use crate::import::ImportError;
use block::BlockDevice;
use ondisk::limits::ATTRIBUTES_MAX;
use ondisk::thin::{Address, AttributesBlock, JournalRecord, Pointer};
use task::Mode;

/// What a volume carries for its owner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    /// The first block.
    pub(crate) pointer: Option<Pointer>,
    /// All of them.
    pub(crate) places: Vec<Address>,
    /// `None`: not read yet by the import that is under way, or damaged.
    pub(crate) bytes: Option<Box<[u8]>>,
}

impl Attributes {
    /// As the table or a record names them; they are still to be read.
    pub(crate) fn named(pointer: Option<Pointer>) -> Self {
        Self { pointer, places: Vec::new(), bytes: None }
    }
}

impl State {
    /// Other attributes are current, by a record that is durable.
    pub(crate) fn replace_attributes(&mut self, volume: u32, attributes: Attributes) {
        let Some(volume) = self.volumes.get_mut(&volume) else { return };
        let old = core::mem::replace(&mut volume.attributes, attributes);
        old.places.into_iter().for_each(|at| self.space.release_node(at));
    }
}

impl<D: BlockDevice> Engine<D> {
    /// Replaces the attributes of a volume or snapshot. When this ends they are durable; after a power cut before that they are
    /// the old or the new ones, as a whole.
    ///
    /// # Errors
    /// If there is no such volume, they are too long, no room is left for them beside the old ones, or the drive fails.
    pub async fn set_attributes(&self, volume: u32, attributes: &[u8]) -> Result<(), EngineError> {
        let count = blocks_for(attributes)?;
        for may_wait in [true, false] {
            let door = self.admit().await?;
            let turn = self.attribute_turns.claim(u64::from(volume), 0..1, Mode::Exclusive).await;
            self.state.borrow().volume(volume)?;
            match self.places_for(count) {
                Ok(places) => return self.write_attributes(volume, attributes, places).await,
                Err(_) if may_wait && self.may_gain_places() => {}
                Err(error) => return Err(error),
            }
            // A checkpoint may have to wait for a change of the volumes, which waits for the door.
            drop((turn, door));
            self.checkpoint().await?;
        }
        Err(EngineError::Full)
    }

    async fn write_attributes(
        &self,
        volume: u32,
        attributes: &[u8],
        places: Vec<Address>,
    ) -> Result<(), EngineError> {
        let attributes = self.store_attributes(volume, attributes, places).await?;
        let record = JournalRecord::Attributes { volume, attributes: attributes.pointer };
        self.commit(&record, |state| state.replace_attributes(volume, attributes)).await
    }

    /// Places for so many blocks, if what others need is left.
    pub(crate) fn places_for(&self, count: usize) -> Result<Vec<Address>, EngineError> {
        let mut state = self.state.borrow_mut();
        if state.space.node_room() < state.nodes_needed() + count {
            return Err(EngineError::Full);
        }
        (0..count).map(|_| self.allocate_node(&mut state)).collect()
    }

    /// Whether a checkpoint may give places back.
    pub(crate) fn may_gain_places(&self) -> bool {
        let state = self.state.borrow();
        state.nodes_gained() > 0 || state.space.is_waiting()
    }

    /// Makes attributes durable at places that nothing names yet.
    pub(crate) async fn store_attributes(
        &self,
        volume: u32,
        bytes: &[u8],
        places: Vec<Address>,
    ) -> Result<Attributes, EngineError> {
        let generation = self.state.borrow().generation + 1;
        let (blocks, pointer) =
            AttributesBlock::encode_chain(volume, bytes, &places, generation, |member| self.owner(member));
        for (at, block) in &blocks {
            self.put(*at, block).await?;
        }
        if !blocks.is_empty() {
            self.flush().await?;
        }
        Ok(Attributes { pointer, places, bytes: Some(bytes.into()) })
    }

    /// Reads the attributes of all volumes, for an import that has replayed everything.
    pub(crate) async fn load_attributes(&self) -> Result<(), ImportError> {
        let numbers: Vec<u32> = self.state.borrow().volumes.keys().copied().collect();
        for number in numbers {
            let named = self.state.borrow().volumes.get(&number).map(|volume| volume.attributes.pointer);
            let attributes = self.load_chain(number, named.flatten()).await?;
            if let Some(volume) = self.state.borrow_mut().volumes.get_mut(&number) {
                volume.attributes = attributes;
            }
        }
        Ok(())
    }

    async fn load_chain(&self, volume: u32, first: Option<Pointer>) -> Result<Attributes, ImportError> {
        let (mut next, mut places, mut bytes) = (first, Vec::new(), Vec::new());
        // A chain that were longer has no such index: decoding refuses it.
        for index in 0.. {
            let Some(pointer) = next else { break };
            let place = (volume, index);
            let block = self
                .fetch_node(&pointer, |bytes, owner| AttributesBlock::decode(bytes, &pointer, place, owner))
                .await?;
            let Some(block) = block else { return Ok(Attributes::named(first)) };
            self.place_node(pointer.at)?;
            places.push(pointer.at);
            bytes.extend_from_slice(&block.bytes);
            next = block.next;
        }
        Ok(Attributes { pointer: first, places, bytes: Some(bytes.into()) })
    }
}

/// Blocks of these attributes.
pub(crate) fn blocks_for(attributes: &[u8]) -> Result<usize, EngineError> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(EngineError::TooLong);
    }
    Ok(AttributesBlock::count(attributes.len()))
}
