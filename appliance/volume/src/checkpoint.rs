//! Checkpoints: the maps on the drive, and a new root that names them, beside the writes of hosts.
//!
//! ```text
//!  begin ─▶ wait ─▶ changed nodes, children first ─▶ volume table ─▶ checksums ─▶ flush ─▶ root into all homes ─▶ flush ─▶ end
//!    │        └ until all records before that block are in the maps                              old places are free
//!    └ the journal block that is being filled is the first that this root needs
//! ```
//!
//! Begin and end are steps in memory. Between them each node is written as it is when its turn comes, so the root names maps of
//! no single moment: some changes of this time are in it, some are not. All of them have records in the block that was noted
//! at the beginning or later, and an import replays them: *a record says what is, not what changes*, so it does no harm to
//! replay one over a map that has it already, or has what came later (`import` about the one exception).
//!
//! | order | crash that it prevents |
//! |---|---|
//! | flush before the root | a root that names nodes that are not there, or a change whose record is lost |
//! | old places free after the last flush | the older root, which still counts, names nodes that were overwritten |
//! | the other slot than the last root's | a torn root leaves no root at all |
//! | units that are given up after the beginning stay taken until the end | the new root, or a record that is replayed over it, names a unit that has a second owner |
//! | maps of deleted volumes are given up before or after | a node that only such a map has since a write copied it is overwritten, and the new root names it |
//! | volumes come, go and grow before or after | a snapshot that is replayed shares what its origin became later |
//!
//! Not here: who waits for a checkpoint, and when one is due (`engine`).

use crate::engine::{Engine, EngineError, State, Volume};
use crate::map::{Map, NodeId};
use block::{BLOCK_SIZE, BlockDevice, Op};
use ondisk::thin::{Address, Pointer, Root, TABLE_ENTRIES, VolumeEntry, VolumeTable};

impl<D: BlockDevice> Engine<D> {
    /// Writes a checkpoint: afterwards an import needs no journal block that was full when it began.
    ///
    /// # Errors
    /// If the drive fails; nothing is changed any more then.
    pub async fn checkpoint(&self) -> Result<(), EngineError> {
        let _turn = self.take_turn().await;
        self.checkpoint_inside().await
    }

    /// The same for whoever has the turn.
    pub(crate) async fn checkpoint_inside(&self) -> Result<(), EngineError> {
        self.check_frozen()?;
        // As if it read everything that is there now, and everything that a later record names.
        let begun = self.state.borrow_mut().space.begin();
        self.checkpoints.is_running.set(true);
        let written = self.write_checkpoint(self.journal.next()).await;
        self.checkpoints.is_running.set(false);
        self.state.borrow_mut().space.end(begun);
        self.leave();
        self.checkpoints.ended.wake_all();
        written
    }

    async fn write_checkpoint(&self, first: u64) -> Result<(), EngineError> {
        self.journal.wait_applied_before(first).await?;
        self.state.borrow_mut().map.begin_round();
        let generation = self.state.borrow().generation + 1;
        self.sums.borrow_mut().begin_checkpoint();
        let entries = self.write_nodes(generation).await?;
        let tables = self.write_tables(generation, &entries).await?;
        self.write_sums().await?;
        let stale_bitmap = self.write_bitmap(generation).await?;
        self.flush().await?;
        let root = Root {
            generation,
            epoch: self.journal.epoch.get(),
            journal_sequence: first,
            next_volume: self.state.borrow().next_volume,
            volume_count: u32::try_from(entries.len()).map_err(|_| EngineError::Exists)?,
            tables,
            dirty: self.state.borrow().bitmap.indexes,
        };
        let drives = self.drives();
        for (member, home) in drives.homes() {
            let at = drives.root_at(member, Root::slot(generation, home));
            self.put(at, &root.encode(at.lba, drives.owner(member))).await?;
        }
        self.flush().await?;
        self.journal.forget_before(first);
        self.sums.borrow_mut().end_checkpoint();
        let mut state = self.state.borrow_mut();
        state.generation = generation;
        let mark = self.journal.mark();
        state.unsettled.retain(|_, (_, until)| *until > mark);
        let old_tables = core::mem::replace(&mut state.tables, root.tables.iter().map(|p| p.at).collect());
        let stale = core::mem::take(&mut state.map.stale);
        for at in stale.into_iter().chain(old_tables).chain(stale_bitmap) {
            state.space.release_node(at);
        }
        Ok(())
    }

    /// Writes what changed before the checkpoint began; gives the volumes with their roots, once all that these name is written.
    async fn write_nodes(&self, generation: u64) -> Result<Vec<VolumeEntry>, EngineError> {
        let mut volume = 0;
        loop {
            let (at, bytes) = {
                let mut state = self.state.borrow_mut();
                let Some((number, id, first_unit)) = state.pending_from(volume) else {
                    return Ok(state.volumes.iter().map(entry(&state.map)).collect());
                };
                volume = number;
                let at = self.allocate_node(&mut state)?;
                let (bytes, pointer) =
                    state.map.to_store(id).encode(first_unit, generation, at, self.owner(at.member));
                // From here on it may change again.
                state.map.place(id, pointer);
                (at, bytes)
            };
            self.put(at, &bytes).await?;
        }
    }

    async fn write_tables(
        &self,
        generation: u64,
        entries: &[VolumeEntry],
    ) -> Result<Vec<Pointer>, EngineError> {
        let mut pointers = Vec::new();
        for (entries, index) in entries.chunks(TABLE_ENTRIES).zip(0..) {
            let at = self.allocate_node(&mut self.state.borrow_mut())?;
            let table = VolumeTable { index, entries: entries.to_vec() };
            let (bytes, pointer) = table.encode(generation, at, self.owner(at.member));
            self.put(at, &bytes).await?;
            pointers.push(pointer);
        }
        Ok(pointers)
    }

    pub(crate) fn allocate_node(&self, state: &mut State) -> Result<Address, EngineError> {
        let found = state.space.allocate_node();
        assert!(found.is_some() || state.is_frozen, "room for nodes is kept");
        found.ok_or(EngineError::Full)
    }

    pub(crate) async fn put(&self, at: Address, bytes: &[u8]) -> Result<(), EngineError> {
        let mut buf = (self.memory)(BLOCK_SIZE);
        buf.as_mut().copy_from_slice(bytes);
        self.run(at.member, Op::Write { lba: at.lba, buf, fua: false }).await
    }
}

impl State {
    /// A node that the running checkpoint has to write next: of this volume or a later one, else of any; with its volume and
    /// the first unit that it covers.
    fn pending_from(&self, volume: u32) -> Option<(u32, NodeId, u64)> {
        let volumes = self.volumes.range(volume..).chain(self.volumes.range(..volume));
        let mut roots = volumes.filter_map(|(number, v)| Some((*number, v.root?)));
        roots.find_map(|(number, root)| self.map.pending(root, 0).map(|(id, unit)| (number, id, unit)))
    }
}

/// The entry of a volume in the table, with its map as it was stored last.
fn entry(map: &Map) -> impl Fn((&u32, &Volume)) -> VolumeEntry {
    |(number, v)| VolumeEntry {
        number: *number,
        uuid: v.uuid,
        origin: v.origin,
        kind: v.kind,
        blocks: v.blocks,
        name: v.name.clone(),
        attributes: v.attributes.pointer,
        root: v.root.map(|root| map.node(root).stored.expect("no root is pending")),
    }
}
