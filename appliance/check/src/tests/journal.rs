//! Damages of the journal.

use super::image::{Image, put, u32_at, u64_at};
use super::pool::uuid;
use super::{Planted, plant_all};
use block::{BLOCK_SIZE, Blocks};
use ondisk::Name;
use ondisk::thin::{Au, JournalRecord, MapRecord, Member, Piece, Region, VolumeKind, data_checksum};

fn au(index: u32) -> Au {
    Au { member: Member::FIRST, index }
}

/// A write of the first block of a unit, whose data is there: the zeroes of a free unit.
fn written(image: &Image, volume: u32, unit: u64, base: Option<u32>) -> MapRecord {
    let own = Piece { au: au(image.free_unit()), mask: 1 };
    let mut sums = [0; 16];
    sums[0] = data_checksum(&[0; BLOCK_SIZE]);
    let base = base.map(|index| Piece { au: au(index), mask: 2 });
    MapRecord { volume, unit, own, base, is_fresh: true, sums }
}

fn created(number: u32, n: u32, name: &str, origin: Option<u32>, blocks: u64) -> JournalRecord {
    let name = Name::new(name).expect("a good name");
    JournalRecord::Create {
        volume: number,
        origin,
        kind: VolumeKind::Volume,
        blocks: Blocks(blocks),
        uuid: uuid(n),
        name,
        attributes: None,
    }
}

fn append(image: &mut Image, record: JournalRecord) {
    image.append(&[record]);
}

/// The first block behind the checkpoint, and the last one.
fn ends(image: &Image) -> (u64, u64) {
    (image.journal_lba(image.first()), image.journal_lba(image.next() - 1))
}

const BLOCKS: &[Planted] = &[
    ("the first block rots", |i| i.rot(ends(i).0), "journal-damaged"),
    ("the first block cannot be read", |i| _ = i.unreadable.insert(ends(i).0), "journal-damaged"),
    ("the first block is erased", |i| i.erase(ends(i).0), "journal-missing"),
    ("the last block rots", |i| i.rot(ends(i).1), "journal-damaged"),
    ("a block with a record of an unknown kind", |i| i.edit(ends(i).0, |b| b[128] = 77), "journal-damaged"),
    ("a block with a byte behind its records", |i| i.edit(ends(i).0, |b| b[4095] = 1), "journal-damaged"),
    ("a block with another count of records", |i| i.edit(ends(i).0, |b| b[98] += 1), "journal-damaged"),
    ("a block of another place", |i| i.write(ends(i).0, i.block(ends(i).1)), "journal-damaged"),
    ("a block of another pool", |i| i.edit(ends(i).0, |b| b[48] ^= 1), "journal-damaged"),
    (
        "a block of a later epoch",
        |i| i.edit(ends(i).1, |b| put(b, 72, 9_u64.to_le_bytes())),
        "journal-other-epoch",
    ),
    (
        "a block a ring ahead",
        |i| i.append_as(i.first() + volume::limits::JOURNAL_BLOCKS_MIN, &[]),
        "journal-ahead journal-missing",
    ),
    (
        "a block with the number of another place",
        |i| {
            let number = i.next() + 5;
            i.edit(ends(i).1, |b| put(b, 64, number.to_le_bytes()));
        },
        "journal-elsewhere",
    ),
    (
        "blocks behind a gap",
        |i| {
            let next = i.next();
            i.append_as(next + 1, &[]);
            let lba = i.journal_lba(next + 1);
            i.edit(lba, |b| {
                put(b, 80, (next * 256 - 1).to_le_bytes());
                put(b, 88, next.to_le_bytes());
            });
        },
        "journal-gap",
    ),
    ("the last block but one of a journal is erased", |i| i.append_as(i.next() + 1, &[]), "journal-missing"),
    (
        "something else lies where the journal goes on",
        |i| i.write(i.journal_lba(i.next()), vec![7; 4096]),
        "journal-damaged",
    ),
    (
        "a block that takes back what was durable",
        |i| i.edit(ends(i).1, |b| put(b, 88, 0_u64.to_le_bytes())),
        "journal-durable-back",
    ),
    (
        "a block that settles itself",
        |i| {
            i.edit(ends(i).1, |b| put(b, 80, (u64_at(b, 64) * 256).to_le_bytes()));
        },
        "journal-settled-ahead",
    ),
    (
        "a block that takes back what was settled",
        |i| i.edit(ends(i).1, |b| put(b, 80, 1_u64.to_le_bytes())),
        "journal-settled-back",
    ),
    (
        "the data of the last write is older",
        |i| {
            let (lba, at) = i.record(1, |r| u32_at(r, 4) == 3);
            let own = u32_at(&i.block(lba), at + 16);
            i.rot(u64::from(own) * 16 + 4);
        },
        "write-unfinished",
    ),
];

const RECORDS: &[Planted] = &[
    (
        "a write to a volume that never was",
        |i| append(i, JournalRecord::Map(written(i, 40, 0, None))),
        "record-unknown-volume",
    ),
    (
        "a write to a volume that was deleted",
        |i| append(i, JournalRecord::Map(written(i, 5, 0, None))),
        "record-unknown-volume",
    ),
    (
        "a volume is deleted twice",
        |i| append(i, JournalRecord::Delete { volume: 9 }),
        "record-unknown-volume",
    ),
    ("a write past the end", |i| append(i, JournalRecord::Map(written(i, 7, 13, None))), "record-past-end"),
    (
        "a trim past the end",
        |i| append(i, JournalRecord::Trim { volume: 7, first: 199, blocks: Blocks(2) }),
        "record-past-end",
    ),
    (
        "a write to a home",
        |i| {
            let own = Piece { au: au(1), mask: 1 };
            append(i, JournalRecord::Map(MapRecord { own, ..written(i, 1, 0, None) }));
        },
        "record-unit-outside",
    ),
    (
        "a write over the journal",
        |i| append(i, JournalRecord::Map(written(i, 1, 0, Some(20)))),
        "record-unit-outside",
    ),
    (
        "a write to a snapshot",
        |i| append(i, JournalRecord::Map(written(i, 2, 9, None))),
        "record-changes-snapshot",
    ),
    (
        "a trim of a snapshot",
        |i| append(i, JournalRecord::Trim { volume: 2, first: 0, blocks: Blocks(1) }),
        "record-changes-snapshot",
    ),
    (
        "a snapshot grows",
        |i| append(i, JournalRecord::Grow { volume: 2, blocks: Blocks(6000) }),
        "record-changes-snapshot",
    ),
    (
        "blocks are added to a unit that is not there",
        |i| {
            append(i, JournalRecord::Map(MapRecord { is_fresh: false, ..written(i, 1, 7, None) }));
        },
        "record-not-its-unit",
    ),
    (
        "a unit over one that was not there",
        |i| append(i, JournalRecord::Map(written(i, 1, 7, Some(i.free_unit() + 1)))),
        "record-not-its-base",
    ),
    ("a number that is taken", |i| append(i, created(8, 50, "other", None, 9)), "record-taken"),
    ("a name that is taken", |i| append(i, created(10, 50, "db", None, 9)), "record-taken"),
    ("a UUID that is taken", |i| append(i, created(10, 1, "other", None, 9)), "record-taken"),
    ("a number that is not next", |i| append(i, created(12, 50, "other", None, 9)), "record-not-next"),
    ("a number that was given before", |i| append(i, created(5, 50, "other", None, 9)), "record-not-next"),
    (
        "a copy of what never was",
        |i| append(i, created(10, 50, "other", Some(41), 9)),
        "record-unknown-origin",
    ),
    ("a copy that is longer", |i| append(i, created(10, 50, "other", Some(7), 201)), "record-copy-length"),
    (
        "a volume that shrinks",
        |i| append(i, JournalRecord::Grow { volume: 4, blocks: Blocks(300) }),
        "record-shrinks",
    ),
    (
        "a write to a unit of another volume",
        |i| {
            let (own, _, mask, _) = i.mapped(i.map(4), 0);
            let mut map = MapRecord { own: Piece { au: au(own), mask: 1 }, ..written(i, 1, 0, None) };
            assert!(mask & 1 == 1, "the block is written");
            map.sums[0] = data_checksum(&i.block(u64::from(own) * 16));
            append(i, JournalRecord::Map(map));
        },
        "unit-of-stranger",
    ),
    (
        "a dirty region that the drive does not have",
        |i| append(i, JournalRecord::Dirty { first: Region(8), regions: 2 }),
        "no-such-region",
    ),
    (
        "a record that is changed into one of another volume",
        |i| {
            i.edit_record(1, |r| u32_at(r, 4) == 7, |r| put(r, 4, 66_u32.to_le_bytes()));
        },
        "record-unknown-volume",
    ),
];

/// Goal: each damage of a journal block is named.
#[test]
fn damages_of_the_journal_are_named() {
    plant_all(BLOCKS);
}

/// Goal: each record that cannot be is named.
#[test]
fn impossible_records_are_named() {
    plant_all(RECORDS);
}
