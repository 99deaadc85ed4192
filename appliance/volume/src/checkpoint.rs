//! Checkpoints: the maps as they are now, on the drive, and a new root that names them.
//!
//! ```text
//!  changed nodes, children first ─▶ volume table ─▶ flush ─▶ root into all homes ─▶ flush ─▶ old places are free
//! ```
//!
//! | order | crash that it prevents |
//! |---|---|
//! | flush before the root | a root that names nodes that are not there |
//! | old places free after the last flush | the older root, which still counts, names nodes that were overwritten |
//! | the other slot than the last root's | a torn root leaves no root at all |
//!
//! Writes wait while this goes on; reads do not.

use crate::engine::{Engine, EngineError, Volume};
use crate::map::NodeId;
use block::{BLOCK_SIZE, BlockDevice, Lba, Op};
use ondisk::thin::{DirtyNode, HOMES, Pointer, Root, TABLE_ENTRIES, VolumeEntry, VolumeTable};
use task::Mode;

impl<D: BlockDevice> Engine<D> {
    /// Writes a checkpoint: afterwards the journal is empty.
    ///
    /// # Errors
    /// If the drive fails; nothing is changed any more then.
    pub async fn checkpoint(&self) -> Result<(), EngineError> {
        let _door = self.door.claim(0, 0..1, Mode::Exclusive).await;
        self.checkpoint_inside().await
    }

    /// The same for whoever has closed the door.
    pub(crate) async fn checkpoint_inside(&self) -> Result<(), EngineError> {
        if self.state.borrow().is_frozen {
            return Err(EngineError::Frozen);
        }
        let generation = self.state.borrow().generation + 1;
        self.write_nodes(generation).await?;
        let tables = self.write_tables(generation).await?;
        self.flush().await?;
        let root = {
            let state = self.state.borrow();
            Root {
                generation,
                epoch: self.journal.epoch.get(),
                journal_sequence: self.journal.next(),
                next_volume: state.next_volume,
                volume_count: u32::try_from(state.volumes.len()).map_err(|_| EngineError::Exists)?,
                tables: tables.clone(),
                dirty: [None; DirtyNode::INDEXES],
            }
        };
        for home in 0..HOMES {
            let lba = self.layout.root_lba(Root::slot(generation, home));
            self.put(lba, &root.encode(lba, self.identity)).await?;
        }
        self.flush().await?;
        self.journal.restart(root.journal_sequence, root.epoch);
        let mut state = self.state.borrow_mut();
        state.generation = generation;
        state.unsettled.clear();
        let old_tables = core::mem::replace(&mut state.tables, tables.iter().map(|p| p.lba).collect());
        let stale = core::mem::take(&mut state.map.stale);
        for lba in stale.into_iter().chain(old_tables) {
            state.space.release_node(lba);
        }
        Ok(())
    }

    async fn write_nodes(&self, generation: u64) -> Result<(), EngineError> {
        let dirty: Vec<(NodeId, u64)> = {
            let state = self.state.borrow();
            let mut found = Vec::new();
            for root in state.volumes.values().filter_map(|v| v.root) {
                state.map.dirty_below(root, 0, &mut found);
            }
            found
        };
        for (id, first_unit) in dirty {
            let lba = self.allocate_node()?;
            let stored = self.state.borrow().map.stored(id);
            let (bytes, pointer) = stored.encode(first_unit, generation, lba, self.identity);
            self.put(lba, &bytes).await?;
            self.state.borrow_mut().map.placed(id, pointer);
        }
        Ok(())
    }

    async fn write_tables(&self, generation: u64) -> Result<Vec<Pointer>, EngineError> {
        let entries: Vec<VolumeEntry> = {
            let state = self.state.borrow();
            let entry = |(number, v): (&u32, &Volume)| VolumeEntry {
                number: *number,
                uuid: v.uuid,
                origin: v.origin,
                kind: v.kind,
                blocks: v.blocks,
                name: v.name.clone(),
                root: v.root.map(|root| state.map.node(root).disk.expect("all nodes have been written")),
            };
            state.volumes.iter().map(entry).collect()
        };
        let mut pointers = Vec::new();
        for (entries, index) in entries.chunks(TABLE_ENTRIES).zip(0..) {
            let lba = self.allocate_node()?;
            let table = VolumeTable { index, entries: entries.to_vec() };
            let (bytes, pointer) = table.encode(generation, lba, self.identity);
            self.put(lba, &bytes).await?;
            pointers.push(pointer);
        }
        Ok(pointers)
    }

    fn allocate_node(&self) -> Result<Lba, EngineError> {
        let mut state = self.state.borrow_mut();
        let found = state.space.allocate_node();
        assert!(found.is_some() || state.is_frozen, "room for nodes is kept");
        found.ok_or(EngineError::Full)
    }

    pub(crate) async fn put(&self, lba: Lba, bytes: &[u8]) -> Result<(), EngineError> {
        let mut buf = (self.memory)(BLOCK_SIZE);
        buf.as_mut().copy_from_slice(bytes);
        self.run(Op::Write { lba, buf, fua: false }).await
    }
}
