//! Damages of nodes, leaves, and of what they name.

use super::image::{Image, put};
use super::{Planted, plant_all};

/// The first leaf of volume 1.
fn leaf(image: &Image) -> u64 {
    image.child(image.map(1), 0)
}

fn map(image: &mut Image, slot: usize, change: impl Fn((u32, u32, u16, u16)) -> (u32, u32, u16, u16)) {
    let leaf = leaf(image);
    let to = change(image.mapped(leaf, slot));
    image.map_unit(leaf, slot, to);
}

const DAMAGES: &[Planted] = &[
    ("the root of a map rots", |i| i.rot(i.map(1)), "node-damaged"),
    ("a leaf rots", |i| i.rot(leaf(i)), "node-damaged"),
    ("a leaf cannot be read", |i| _ = i.unreadable.insert(leaf(i)), "node-damaged"),
    ("a leaf is erased", |i| i.erase(leaf(i)), "node-damaged"),
    (
        "a leaf was written to another place",
        |i| {
            let (here, there) = (leaf(i), i.child(i.map(1), 1));
            i.write(here, i.block(there));
        },
        "node-damaged",
    ),
    (
        "a leaf is that of another part, written here",
        |i| {
            let (here, there) = (leaf(i), i.child(i.map(1), 1));
            let mut block = i.block(there);
            put(&mut block, 24, here.to_le_bytes());
            i.write(here, block);
            i.edit(here, |_| {});
        },
        "node-other",
    ),
    (
        "the write of a leaf was lost, an older one is there",
        |i| {
            let root = i.block(i.map(1));
            i.edit(leaf(i), |b| put(b, 64, 1_u64.to_le_bytes()));
            i.edit(i.map(1), |b| b.copy_from_slice(&root));
        },
        "node-other",
    ),
    ("a leaf of another pool", |i| i.edit(leaf(i), |b| b[48] ^= 1), "node-damaged"),
    (
        "a leaf of a later generation than its parent",
        |i| i.edit(leaf(i), |b| put(b, 64, 50_u64.to_le_bytes())),
        "node-newer",
    ),
    (
        "a pointer into the journal",
        |i| i.edit(i.map(1), |b| put(b, 256, 400_u64.to_le_bytes())),
        "node-outside",
    ),
    (
        "a pointer past the end of the drive",
        |i| i.edit(i.map(1), |b| put(b, 256, u64::MAX.to_le_bytes())),
        "node-outside",
    ),
    ("a pointer with a byte in its reserve", |i| i.edit(i.map(1), |b| b[256 + 21] = 1), "node-damaged"),
    ("one leaf at two places", |i| i.copy_pointer((i.map(1), 1), (i.map(1), 2)), "node-elsewhere"),
    ("a byte in the reserve of a leaf", |i| i.edit(leaf(i), |b| b[200] = 1), "node-damaged"),
    ("an entry without a mask", |i| map(i, 1, |(own, base, _, bits)| (own, base, 0, bits)), "node-damaged"),
    ("an entry over itself", |i| map(i, 1, |(own, _, mask, _)| (own, own, mask, !mask)), "node-damaged"),
    ("a base that is hidden", |i| map(i, 0, |(own, base, mask, _)| (own, base, mask, mask)), "node-damaged"),
    ("a mask without a unit", |i| map(i, 9, |_| (0, 0, 1, 0)), "node-damaged"),
    ("an entry maps to a home", |i| map(i, 1, |(_, base, mask, bits)| (1, base, mask, bits)), "unit-outside"),
    (
        "an entry maps to the journal",
        |i| map(i, 1, |(_, base, mask, bits)| (20, base, mask, bits)),
        "unit-outside",
    ),
    (
        "an entry maps past the end of the drive",
        |i| map(i, 1, |(_, base, mask, bits)| (99_999, base, mask, bits)),
        "unit-outside",
    ),
    (
        "an entry maps to where nodes are",
        |i| {
            let au = u32::try_from(leaf(i) / 16).expect("small");
            map(i, 1, |(_, base, mask, bits)| (au, base, mask, bits));
        },
        "unit-holds-nodes",
    ),
    (
        "two units of a volume map to one",
        |i| {
            let (au, ..) = i.mapped(leaf(i), 4);
            map(i, 1, |(_, base, mask, bits)| (au, base, mask, bits));
        },
        "unit-twice",
    ),
    (
        "a unit of another volume",
        |i| {
            let (au, ..) = i.mapped(i.map(4), 5);
            map(i, 5, |(_, base, mask, bits)| (au, base, mask, bits));
        },
        "unit-of-stranger",
    ),
    (
        "a base of another volume",
        |i| {
            let (au, ..) = i.mapped(i.map(4), 0);
            map(i, 0, |(own, _, mask, bits)| (own, au, mask, bits));
        },
        "unit-of-stranger",
    ),
    (
        "a unit over another one in a copy",
        |i| {
            let leaf = i.child(i.map(3), 0);
            let (own, base, mask, bits) = i.mapped(self::leaf(i), 0);
            let free = i.free_unit();
            assert!(base != 0, "the unit has a base");
            i.map_unit(leaf, 0, (own, free, mask, bits));
        },
        "base-differs",
    ),
    (
        "a map of another volume",
        |i| {
            let table = i.block(i.table());
            let from = i.entry(4) + 48;
            i.edit_entry(6, |e| e[48..72].copy_from_slice(&table[from..from + 24]));
            i.edit_entry(6, |e| put(e, 16, [0; 16]));
        },
        "node-of-stranger",
    ),
    (
        "a unit past the end of the volume",
        |i| i.edit_entry(3, |e| put(e, 40, 4100_u64.to_le_bytes())),
        "mapped-past-end",
    ),
];

/// Goal: each damage of a map is named.
#[test]
fn damages_of_maps_are_named() {
    plant_all(DAMAGES);
}
