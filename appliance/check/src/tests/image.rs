//! The image of a drive that can be damaged: bits flipped, or fields changed so that every checksum still holds.
//!
//! Offsets are those of `docs/ondisk.md`, written again here: a decoder with a mistake would hide it.

use crate::Medium;
use block::{BLOCK_SIZE, Blocks, Lba, MediaError};
use ondisk::thin::{
    Address, JournalBlock, JournalHead, JournalRecord, Lsn, Member, Pointer, ThinIdentity, data_checksum,
};
use sim::Drive;
use std::collections::{BTreeMap, BTreeSet};

/// A pointer begins with the block and the generation; the checksum follows.
const POINTER: usize = 24;
const RECORDS: usize = 128;

/// The contents of a drive.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) blocks: u64,
    stored: BTreeMap<u64, Vec<u8>>,
    /// Blocks that cannot be read.
    pub(super) unreadable: BTreeSet<u64>,
    pub(super) identity: ThinIdentity,
}

impl Medium for Image {
    fn capacity(&self) -> Blocks {
        Blocks(self.blocks)
    }

    fn read(&self, lba: Lba, to: &mut [u8]) -> Result<(), MediaError> {
        if self.unreadable.contains(&lba.0) {
            return Err(MediaError::Unreadable);
        }
        to.copy_from_slice(&self.block(lba.0));
        Ok(())
    }
}

/// A block of the only drive.
pub(super) fn on_first(lba: u64) -> Address {
    Address { member: Member::FIRST, lba: Lba(lba) }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn seal(bytes: &mut [u8]) {
    put(bytes, 16, [0; 4]);
    let sum = data_checksum(bytes);
    put(bytes, 16, sum.to_le_bytes());
}

/// Where the pointers of a block are.
fn pointers(bytes: &[u8]) -> Vec<usize> {
    let each = |first: usize, step: usize, count: usize| -> Vec<usize> {
        (0..count).map(|n| first + n * step).collect()
    };
    match &bytes[..16] {
        b"IRONBAY ROOT\0\0\0\0" => [each(128, POINTER, 128), each(3200, POINTER, 18)].concat(),
        b"IRONBAY DIRTY\0\0\0" if bytes[76] == 1 => each(256, POINTER, 128),
        b"IRONBAY VOLUMES\0" => [each(256 + 48, 160, 24), each(256 + 136, 160, 24)].concat(),
        b"IRONBAY ATTRS\0\0\0" => vec![88],
        b"IRONBAY NODE\0\0\0\0" => each(256, POINTER, 128),
        _ => Vec::new(),
    }
}

impl Image {
    pub(super) fn of(drive: &Drive, identity: ThinIdentity) -> Self {
        let blocks = drive.geometry.blocks.0;
        let stored = drive.blocks(0, blocks).into_iter().map(|(lba, block)| (lba, block.to_vec())).collect();
        Self { blocks, stored, unreadable: BTreeSet::new(), identity }
    }

    pub(super) fn block(&self, lba: u64) -> Vec<u8> {
        self.stored.get(&lba).cloned().unwrap_or_else(|| vec![0; BLOCK_SIZE])
    }

    pub(super) fn write(&mut self, lba: u64, block: Vec<u8>) {
        self.stored.insert(lba, block);
    }

    pub(super) fn erase(&mut self, lba: u64) {
        self.stored.remove(&lba);
    }

    /// One bit flips.
    pub(super) fn rot(&mut self, lba: u64) {
        let mut block = self.block(lba);
        block[2000] ^= 4;
        self.write(lba, block);
    }

    /// Changes a block; its checksum and all pointers to it follow, up to the roots.
    pub(super) fn edit(&mut self, lba: u64, change: impl FnOnce(&mut [u8])) {
        let mut block = self.block(lba);
        change(&mut block);
        self.seal(lba, block);
    }

    fn seal(&mut self, lba: u64, mut block: Vec<u8>) {
        seal(&mut block);
        let (generation, sum) = (u64_at(&block, 64), u32_at(&block, 16));
        self.write(lba, block);
        // Nothing points to the first block: 0 is no pointer.
        let parents: Vec<u64> = self.stored.keys().copied().filter(|_| lba > 0).collect();
        for parent in parents {
            let mut bytes = self.block(parent);
            let is_meant = |at: &usize| u64_at(&bytes, *at) == lba;
            let found: Vec<usize> = pointers(&bytes).into_iter().filter(is_meant).collect();
            for at in &found {
                put(&mut bytes, at + 8, generation.to_le_bytes());
                put(&mut bytes, at + 16, sum.to_le_bytes());
            }
            if !found.is_empty() {
                self.seal(parent, bytes);
            }
        }
    }

    /// The first blocks of the homes.
    pub(super) fn homes(&self) -> [u64; 4] {
        let end = self.blocks / 16 * 16;
        [0, 16, end - 32, end - 16]
    }

    /// The places of the newest root, and of the one before.
    pub(super) fn roots(&self) -> ([u64; 4], [u64; 4]) {
        let generation = |parity: u64| u64_at(&self.block(1 + parity), 64);
        let newest = u64::from(generation(1) > generation(0));
        (self.homes().map(|home| home + 1 + newest), self.homes().map(|home| home + 2 - newest))
    }

    pub(super) fn edit_superblocks(&mut self, change: impl Fn(&mut [u8])) {
        self.homes().into_iter().for_each(|lba| self.edit(lba, &change));
    }

    pub(super) fn edit_roots(&mut self, change: impl Fn(&mut [u8])) {
        self.roots().0.into_iter().for_each(|lba| self.edit(lba, &change));
    }

    /// The first block of the volume table.
    pub(super) fn table(&self) -> u64 {
        u64_at(&self.block(self.roots().0[0]), 128)
    }

    /// Where the entry of a volume begins in the table.
    pub(super) fn entry(&self, volume: u32) -> usize {
        let table = self.block(self.table());
        let found = (0..24).map(|n| 256 + n * 160).find(|at| u32_at(&table, at + 32) == volume);
        found.expect("the volume is in the checkpoint")
    }

    pub(super) fn edit_entry(&mut self, volume: u32, change: impl FnOnce(&mut [u8])) {
        let at = self.entry(volume);
        self.edit(self.table(), |table| change(&mut table[at..at + 160]));
    }

    /// The root of the map of a volume.
    pub(super) fn map(&self, volume: u32) -> u64 {
        u64_at(&self.block(self.table()), self.entry(volume) + 48)
    }

    /// The first block of the attributes of a volume, and the block after it.
    pub(super) fn attributes(&self, volume: u32) -> (u64, u64) {
        let first = u64_at(&self.block(self.table()), self.entry(volume) + 136);
        (first, u64_at(&self.block(first), 88))
    }

    /// A child of an inner node.
    pub(super) fn child(&self, node: u64, slot: usize) -> u64 {
        u64_at(&self.block(node), 256 + slot * POINTER)
    }

    /// Copies a pointer from one slot of an inner node to another one.
    pub(super) fn copy_pointer(&mut self, from: (u64, usize), to: (u64, usize)) {
        let pointer = self.block(from.0)[256 + from.1 * POINTER..][..POINTER].to_vec();
        self.edit(to.0, |bytes| bytes[256 + to.1 * POINTER..][..POINTER].copy_from_slice(&pointer));
    }

    /// The entry of a unit in a leaf: own, base, own mask, base mask.
    pub(super) fn mapped(&self, leaf: u64, slot: usize) -> (u32, u32, u16, u16) {
        let bytes = self.block(leaf);
        let at = 256 + slot * 15;
        let mask = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        (u32_at(&bytes, at), u32_at(&bytes, at + 4), mask(at + 8), mask(at + 10))
    }

    pub(super) fn map_unit(&mut self, leaf: u64, slot: usize, to: (u32, u32, u16, u16)) {
        self.edit(leaf, |bytes| {
            let at = 256 + slot * 15;
            put(bytes, at, to.0.to_le_bytes());
            put(bytes, at + 4, to.1.to_le_bytes());
            put(bytes, at + 8, to.2.to_le_bytes());
            put(bytes, at + 10, to.3.to_le_bytes());
        });
    }

    fn ring(&self) -> u64 {
        u64_at(&self.block(0), 80)
    }

    pub(super) fn journal_lba(&self, sequence: u64) -> u64 {
        304 + sequence % self.ring()
    }

    /// Makes the newest root name a block that was encoded.
    pub(super) fn name_in_roots(&mut self, at: usize, (bytes, pointer): (Box<[u8]>, Pointer)) {
        self.write(pointer.at.lba.0, bytes.into());
        self.edit_roots(|root| {
            put(root, at, pointer.at.lba.0.to_le_bytes());
            put(root, at + 8, pointer.generation.to_le_bytes());
            put(root, at + 16, pointer.checksum.to_le_bytes());
        });
    }

    fn root_field(&self, at: usize) -> u64 {
        u64_at(&self.block(self.roots().0[0]), at)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.root_field(72)
    }

    /// The first journal block that is not in the checkpoint.
    pub(super) fn first(&self) -> u64 {
        self.root_field(80)
    }

    /// The number of the journal block after the last one.
    pub(super) fn next(&self) -> u64 {
        let is_there = |sequence: &u64| {
            let block = self.block(self.journal_lba(*sequence));
            u64_at(&block, 64) == *sequence && u64_at(&block, 72) == self.epoch()
        };
        (self.first()..).find(|sequence| !is_there(sequence)).expect("the journal ends")
    }

    /// Adds a journal block; everything before it is settled.
    pub(super) fn append(&mut self, records: &[JournalRecord]) {
        let sequence = self.next();
        self.append_as(sequence, records);
    }

    pub(super) fn append_as(&mut self, sequence: u64, records: &[JournalRecord]) {
        let head = JournalHead {
            sequence,
            epoch: self.epoch(),
            settled: Lsn(sequence * 256 - 1),
            durable: sequence,
        };
        let mut block = JournalBlock::default();
        records.iter().for_each(|record| assert!(block.push(record).is_some(), "they fit"));
        let lba = self.journal_lba(sequence);
        let mut bytes = vec![0; BLOCK_SIZE];
        block.seal(head, Lba(lba), self.identity, &mut bytes);
        self.write(lba, bytes);
    }

    /// Journal block and offset in it of the first record of a kind behind the checkpoint for which `is_it` holds.
    pub(super) fn record(&self, kind: u8, is_it: impl Fn(&[u8]) -> bool) -> (u64, usize) {
        for sequence in self.first()..self.next() {
            let lba = self.journal_lba(sequence);
            let bytes = self.block(lba);
            let end = RECORDS + usize::from(u16::from_le_bytes([bytes[100], bytes[101]]));
            let mut at = RECORDS;
            while at < end {
                if bytes[at] == kind && is_it(&bytes[at..]) {
                    return (lba, at);
                }
                at += usize::from(u16::from_le_bytes([bytes[at + 2], bytes[at + 3]]));
            }
        }
        panic!("there is no such record of kind {kind}")
    }

    pub(super) fn edit_record(
        &mut self,
        kind: u8,
        is_it: impl Fn(&[u8]) -> bool,
        change: impl FnOnce(&mut [u8]),
    ) {
        let (lba, at) = self.record(kind, is_it);
        self.edit(lba, |bytes| change(&mut bytes[at..]));
    }

    /// A unit that nothing uses: behind everything that was allocated.
    pub(super) fn free_unit(&self) -> u32 {
        let used = self.stored.range(..self.homes()[2]).next_back().expect("something is stored");
        u32::try_from(used.0 / 16 + 2).expect("small")
    }
}
