//! The volume table: its blocks, and the rules between its entries.

use super::Check;
use super::maps::Nodes;
use crate::finding::{Place, TableProblem};
use ondisk::thin::{Pointer, Root, VolumeEntry, VolumeKind, VolumeTable};

impl Check<'_> {
    /// The entries that can be read, each with the pointer to its block of the table.
    pub(super) fn tables(&mut self, root: &Root, nodes: &mut Nodes) -> Vec<(VolumeEntry, Pointer)> {
        let mut found: Vec<(VolumeEntry, Pointer)> = Vec::new();
        for (pointer, index) in root.tables.iter().zip(0..) {
            let place = Place::block(pointer.at);
            if !self.layout.is_usable_at(pointer.at) {
                self.found(TableProblem::Outside { index }, place);
                self.is_complete = false;
                continue;
            }
            if pointer.generation > root.generation {
                let (generation, root) = (pointer.generation, root.generation);
                self.found(TableProblem::Newer { index, generation, root }, place);
            }
            nodes.add_table(pointer);
            let owner = self.owner(pointer.at.member);
            let table = self
                .fetch(pointer.at)
                .and_then(|bytes| Ok(VolumeTable::decode(&bytes, pointer, index, owner)?));
            match table {
                Ok(table) => found.extend(table.entries.into_iter().map(|entry| (entry, *pointer))),
                Err(fault) => {
                    self.found(TableProblem::Damaged { index, fault }, place);
                    self.is_complete = false;
                }
            }
        }
        let count = found.len() as u64;
        if self.is_complete && count != u64::from(root.volume_count) {
            self.found(TableProblem::Count { found: count, expected: root.volume_count }, Place::default());
        }
        self.entries(root, &found);
        found
    }

    fn entries(&mut self, root: &Root, entries: &[(VolumeEntry, Pointer)]) {
        let mut before = 0;
        for (index, (entry, table)) in entries.iter().enumerate() {
            let place = Place::volume(entry.number).at(table.at);
            if entry.number <= before {
                self.found(TableProblem::Order { before }, place);
            }
            before = entry.number;
            if entry.number >= root.next_volume {
                self.found(TableProblem::Number { next: root.next_volume }, place);
            }
            for (other, _) in entries.iter().take(index) {
                if other.name == entry.name {
                    self.found(TableProblem::SameName { other: other.number }, place);
                }
                if other.uuid == entry.uuid {
                    self.found(TableProblem::SameUuid { other: other.number }, place);
                }
            }
            let origin = entries.iter().map(|(e, _)| e).find(|e| entry.origin == Some(e.uuid));
            if let Some(origin) = origin {
                self.origin(entry, origin, place);
            }
        }
    }

    fn origin(&mut self, entry: &VolumeEntry, origin: &VolumeEntry, place: Place) {
        if origin.number > entry.number {
            self.found(TableProblem::OriginYounger { origin: origin.number }, place);
        }
        if entry.kind == VolumeKind::Snapshot && entry.blocks > origin.blocks {
            let (blocks, of_origin) = (entry.blocks.0, origin.blocks.0);
            self.found(TableProblem::LongerThanOrigin { blocks, origin: origin.number, of_origin }, place);
        }
    }
}
