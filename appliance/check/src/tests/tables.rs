//! Damages of the volume table.

use super::image::{on_first, put, u64_at};
use super::pool::uuid;
use super::{Planted, plant_all};
use block::Blocks;
use ondisk::Name;
use ondisk::thin::{VolumeEntry, VolumeKind, VolumeTable};

const DAMAGES: &[Planted] = &[
    ("the table rots", |i| i.rot(i.table()), "table-damaged record-unknown-volume"),
    (
        "the table is an older one",
        |i| {
            let older = u64_at(&i.block(i.roots().1[0]), 128);
            let mut block = i.block(older);
            put(&mut block, 24, i.table().to_le_bytes());
            i.write(i.table(), block);
        },
        "table-damaged record-unknown-volume",
    ),
    (
        "a root that names no table",
        |i| i.edit_roots(|b| b[128..152].fill(0)),
        "root-damaged root-lost root-before-missing table-damaged record-unknown-origin record-unknown-volume \
         attributes-newer",
    ),
    (
        "a root that names a table in the journal",
        |i| {
            let lba = i.table();
            i.edit_roots(|b| put(b, 128, 400_u64.to_le_bytes()));
            i.erase(lba);
        },
        "table-outside record-unknown-volume",
    ),
    (
        "a table of a later generation",
        |i| i.edit(i.table(), |b| put(b, 64, 99_u64.to_le_bytes())),
        "table-newer",
    ),
    ("the root counts other volumes", |i| i.edit_roots(|b| put(b, 92, 4_u32.to_le_bytes())), "volume-count"),
    (
        "a volume has the next number",
        |i| i.edit_entry(6, |e| put(e, 32, 77_u32.to_le_bytes())),
        "volume-number",
    ),
    (
        "volumes out of order",
        |i| i.edit_entry(6, |e| put(e, 32, 2_u32.to_le_bytes())),
        "table-damaged record-unknown-volume",
    ),
    (
        "two volumes of one name",
        |i| {
            i.edit_entry(6, |e| {
                e[72..136].fill(0);
                e[72..76].copy_from_slice(b"logs");
            });
        },
        "volume-same-name",
    ),
    ("two volumes of one UUID", |i| i.edit_entry(6, |e| put(e, 0, uuid(4).into_bytes())), "volume-same-uuid"),
    ("a nil UUID", |i| i.edit_entry(6, |e| put(e, 0, [0; 16])), "table-damaged record-unknown-volume"),
    ("a name with a space", |i| i.edit_entry(6, |e| e[73] = b' '), "table-damaged record-unknown-volume"),
    (
        "a volume of an unknown kind",
        |i| i.edit_entry(6, |e| e[36] = 3),
        "table-damaged record-unknown-volume",
    ),
    (
        "a volume without length",
        |i| i.edit_entry(6, |e| put(e, 40, 0_u64.to_le_bytes())),
        "table-damaged record-unknown-volume",
    ),
    (
        "a map with another level than the length asks for",
        |i| i.edit_entry(6, |e| e[37] = 1),
        "table-damaged record-unknown-volume",
    ),
    (
        "a byte in the reserve of the table",
        |i| i.edit(i.table(), |b| b[100] = 1),
        "table-damaged record-unknown-volume",
    ),
    ("a copy of a later volume", |i| i.edit_entry(2, |e| put(e, 16, uuid(3).into_bytes())), "origin-younger"),
    (
        "a snapshot longer than its origin",
        |i| i.edit_entry(2, |e| put(e, 40, 5001_u64.to_le_bytes())),
        "snapshot-longer",
    ),
];

/// A volume without anything in it.
fn volume(number: u32) -> VolumeEntry {
    VolumeEntry {
        number,
        uuid: uuid(number),
        origin: None,
        kind: VolumeKind::Volume,
        blocks: Blocks(16),
        name: Name::new(&format!("v{number}")).expect("a good name"),
        root: None,
        attributes: None,
    }
}

/// Goal: the order of volumes is looked at from block to block of the table, too.
#[test]
fn volumes_are_in_order_from_block_to_block() {
    let codes = |last: u32| {
        let mut image = super::pool::pool();
        let (first, next) = (u64::from(image.free_unit()) * 16, image.next());
        let numbers = [(10..34).collect::<Vec<u32>>(), vec![last]];
        for (numbers, index) in numbers.into_iter().zip(0_u16..) {
            let table = VolumeTable { index, entries: numbers.into_iter().map(volume).collect() };
            let encoded = table.encode(2, on_first(first + u64::from(index)), image.identity);
            image.name_in_roots(usize::from(index) * 24 + 128, encoded);
            image.edit_roots(|root| {
                put(root, 80, next.to_le_bytes());
                put(root, 88, 100_u32.to_le_bytes());
                put(root, 92, (24 * u32::from(index) + 1).to_le_bytes());
                put(root, 96, (index + 1).to_le_bytes());
            });
        }
        let report = crate::check_thin(&image, crate::Depth::Data).expect("it is a drive of the thin engine");
        report.findings.iter().map(|finding| finding.problem.facts().code).collect::<Vec<_>>()
    };
    assert_eq!(codes(34), Vec::<&str>::new());
    assert_eq!(codes(9), ["volume-order"]);
}

/// Goal: each damage of the volume table is named.
#[test]
fn damages_of_the_volume_table_are_named() {
    plant_all(DAMAGES);
}
