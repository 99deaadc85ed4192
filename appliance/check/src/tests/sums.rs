//! Damages of data and of their checksums, where these may not lag: no write since the last two checkpoints.

use super::image::Image;
use super::pool::{pool, pool_after};
use super::{Planted, plant_on};
use crate::{Depth, check_thin};

/// The second block of the second unit of volume 1, counted from the start of the drive: the first that is mapped is 2.
fn data(image: &Image) -> u64 {
    let (own, _, mask, _) = image.mapped(image.child(image.map(1), 0), 1);
    assert_eq!(mask, 0b1_1100);
    u64::from(own) * 16 + 3
}

/// The page with the checksums of the unit of that block: the first page lies in unit 2.
fn page(image: &Image) -> u64 {
    32 + data(image) / 16 / 63
}

const DAMAGES: &[Planted] = &[
    ("nothing", |_| {}, ""),
    ("a block of data rots", |i| i.rot(data(i)), "data-damaged"),
    ("a block of data is erased", |i| i.erase(data(i)), "data-damaged"),
    ("a block of data cannot be read", |i| _ = i.unreadable.insert(data(i)), "data-unreadable"),
    ("a block that nothing maps rots", |i| i.rot(data(i) + 4), ""),
    ("a page of checksums rots", |i| i.rot(page(i)), "page-damaged"),
    ("a page of checksums is erased, and knows nothing", |i| i.erase(page(i)), ""),
    (
        "a page that knows nothing cannot tell of damaged data",
        |i| {
            i.erase(page(i));
            i.rot(data(i));
        },
        "",
    ),
];

/// Goal: damage of data is named where the checksums may not lag, and only if it is looked for.
#[test]
fn damages_of_data_are_named() {
    plant_on(&pool_after(3), DAMAGES);
    let mut image = pool_after(3);
    image.rot(data(&image));
    let report = check_thin(&image, Depth::Metadata).expect("a drive of the thin engine");
    assert!(report.is_clean());
}

/// Goal: where checksums may lag the data count: their damage is not noticed, and this test says so.
#[test]
fn dirty_regions_are_believed() {
    let mut image = pool();
    image.rot(data(&image));
    assert!(check_thin(&image, Depth::Data).expect("a drive of the thin engine").is_clean());
}
