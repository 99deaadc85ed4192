//! Damages of what volumes carry for their owner.

use super::image::{Image, put};
use super::{Planted, plant_all};

/// The blocks of volume 1, whose attributes the table names.
fn first(image: &Image) -> u64 {
    image.attributes(1).0
}

fn second(image: &Image) -> u64 {
    image.attributes(1).1
}

const DAMAGES: &[Planted] = &[
    ("the first block rots", |i| i.rot(first(i)), "attributes-damaged"),
    ("the last block rots", |i| i.rot(second(i)), "attributes-damaged"),
    ("a block cannot be read", |i| _ = i.unreadable.insert(first(i)), "attributes-damaged"),
    ("a block is erased", |i| i.erase(second(i)), "attributes-damaged"),
    (
        "the write of a block was lost, an older one is there",
        |i| {
            let table = i.block(i.table());
            i.edit(first(i), |b| put(b, 64, 1_u64.to_le_bytes()));
            i.edit(i.table(), |b| b.copy_from_slice(&table));
        },
        "attributes-other",
    ),
    (
        "those of another volume",
        |i| i.edit(first(i), |b| put(b, 72, 2_u32.to_le_bytes())),
        "attributes-other",
    ),
    (
        "another block of the chain",
        |i| i.edit(second(i), |b| put(b, 80, 2_u16.to_le_bytes())),
        "attributes-other",
    ),
    (
        "a chain with another length",
        |i| i.edit(first(i), |b| put(b, 76, 80_u32.to_le_bytes())),
        "attributes-damaged",
    ),
    (
        "too long a chain",
        |i| i.edit(first(i), |b| put(b, 76, 65_537_u32.to_le_bytes())),
        "attributes-damaged",
    ),
    ("a byte behind the last one", |i| i.edit(second(i), |b| b[4095] = 1), "attributes-damaged"),
    ("a byte in the reserve", |i| i.edit(first(i), |b| b[112] = 1), "attributes-damaged"),
    ("a later generation", |i| i.edit(second(i), |b| put(b, 64, 50_u64.to_le_bytes())), "attributes-newer"),
    (
        "a pointer into the journal",
        |i| i.edit_entry(1, |e| put(e, 136, 400_u64.to_le_bytes())),
        "attributes-outside",
    ),
    (
        "a pointer past the end of the drive",
        |i| i.edit(first(i), |b| put(b, 88, u64::MAX.to_le_bytes())),
        "attributes-outside",
    ),
    (
        "an entry of a map maps to where they are",
        |i| {
            let (leaf, au) = (i.child(i.map(1), 0), u32::try_from(first(i) / 16).expect("small"));
            let (_, base, mask, bits) = i.mapped(leaf, 1);
            i.map_unit(leaf, 1, (au, base, mask, bits));
        },
        "unit-holds-nodes",
    ),
    (
        "a record of attributes in a home",
        |i| {
            i.edit_record(7, |_| true, |r| put(r, 8, 16_u64.to_le_bytes()));
        },
        "attributes-outside",
    ),
    (
        "a record of a volume that never was",
        |i| {
            i.edit_record(7, |_| true, |r| put(r, 4, 66_u32.to_le_bytes()));
        },
        "record-unknown-volume",
    ),
];

/// Goal: each damage of attributes is named.
#[test]
fn damages_of_attributes_are_named() {
    plant_all(DAMAGES);
}
