//! Damages of the bitmap of dirty regions, which is added to the pool here.

use super::image::{Image, on_first, put};
use super::{Planted, plant_all};
use ondisk::thin::{DirtyNode, Region};

/// Adds a bitmap in which the first region is dirty; gives its index and its bits.
fn bitmap(image: &mut Image) -> (u64, u64) {
    let bits = u64::from(image.free_unit()) * 16;
    let index = bits + 1;
    let mut bytes = Box::new([0; 3840]);
    bytes[0] = 1;
    let (bytes, pointer) = DirtyNode::Bits(bytes).encode(Region(0), 2, on_first(bits), image.identity);
    image.write(bits, bytes.into());
    let mut pointers = Box::new([None; DirtyNode::FAN_OUT]);
    pointers[0] = Some(pointer);
    let encoded = DirtyNode::Index(pointers).encode(Region(0), 2, on_first(index), image.identity);
    image.name_in_roots(3200, encoded);
    (index, bits)
}

const DAMAGES: &[Planted] = &[
    ("nothing", |i| _ = bitmap(i), ""),
    (
        "the index rots",
        |i| {
            let (index, _) = bitmap(i);
            i.rot(index);
        },
        "bitmap-damaged",
    ),
    (
        "the bits rot",
        |i| {
            let (_, bits) = bitmap(i);
            i.rot(bits);
        },
        "bitmap-damaged",
    ),
    (
        "the index lies in the journal",
        |i| {
            bitmap(i);
            i.edit_roots(|root| put(root, 3200, 400_u64.to_le_bytes()));
        },
        "bitmap-outside",
    ),
    (
        "the bits are newer than the index",
        |i| {
            let (_, bits) = bitmap(i);
            i.edit(bits, |b| put(b, 64, 50_u64.to_le_bytes()));
        },
        "bitmap-newer",
    ),
    (
        "a dirty region that the drive does not have",
        |i| {
            let (_, bits) = bitmap(i);
            i.edit(bits, |b| b[256 + 1] = 2);
        },
        "no-such-region",
    ),
];

/// Goal: each damage of the bitmap is named.
#[test]
fn damages_of_the_bitmap_are_named() {
    plant_all(DAMAGES);
}
