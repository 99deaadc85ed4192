//! Damages of superblocks and roots.

use super::image::{put, u64_at};
use super::{Planted, plant_all};

const DAMAGES: &[Planted] = &[
    ("a superblock rots", |i| i.rot(i.homes()[1]), "superblock-damaged"),
    ("a superblock is erased", |i| i.erase(0), "superblock-damaged"),
    ("a superblock cannot be read", |i| _ = i.unreadable.insert(i.homes()[3]), "superblock-damaged"),
    (
        "three superblocks rot",
        |i| [0, 2, 3].map(|n| i.rot(i.homes()[n])).into_iter().collect(),
        "superblock-damaged",
    ),
    ("all superblocks rot", |i| i.homes().into_iter().for_each(|lba| i.rot(lba)), "no-superblock"),
    ("a superblock in the place of another", |i| i.write(16, i.block(0)), "superblock-damaged"),
    (
        "a superblock missed a change",
        |i| {
            i.homes().into_iter().skip(1).for_each(|lba| i.edit(lba, |b| put(b, 64, 2_u64.to_le_bytes())));
        },
        "superblock-older",
    ),
    ("a superblock tells another member count", |i| i.edit(16, |b| b[90] = 2), "superblocks-differ"),
    ("a byte in the reserve of a superblock", |i| i.edit(16, |b| b[3000] = 1), "superblock-damaged"),
    ("the drive is cut off", |i| i.blocks -= 64, "drive-shrank"),
    ("the drive is longer", |i| i.blocks += 64, "drive-grew"),
    ("the pool has another member", |i| i.edit_superblocks(|b| b[90] = 2), "other-members"),
    (
        "a journal of no whole units",
        |i| i.edit_superblocks(|b| put(b, 80, 513_u64.to_le_bytes())),
        "no-superblock",
    ),
    ("a copy of the newest root rots", |i| i.rot(i.roots().0[2]), "root-damaged"),
    ("a copy of the newest root cannot be read", |i| _ = i.unreadable.insert(i.roots().0[0]), "root-damaged"),
    ("a copy of the newest root is erased", |i| i.erase(i.roots().0[0]), "root-lags"),
    (
        "a copy of the newest root is an older one",
        |i| {
            i.edit(i.roots().0[3], |b| put(b, 64, (u64_at(b, 64) - 2).to_le_bytes()));
        },
        "root-lags",
    ),
    ("a copy of the older root is erased", |i| i.erase(i.roots().1[1]), "root-before-lags"),
    ("a copy of the older root rots", |i| i.rot(i.roots().1[1]), "root-damaged"),
    (
        "all copies of the newest root rot",
        |i| i.roots().0.into_iter().for_each(|lba| i.rot(lba)),
        "root-damaged root-lost root-before-missing table-damaged record-unknown-origin record-unknown-volume \
         attributes-newer",
    ),
    (
        "all copies of the older root rot",
        |i| i.roots().1.into_iter().for_each(|lba| i.rot(lba)),
        "root-damaged root-lost root-before-missing",
    ),
    (
        "all copies of the older root are erased",
        |i| i.roots().1.into_iter().for_each(|lba| i.erase(lba)),
        "root-before-missing",
    ),
    (
        "all roots rot",
        |i| {
            let (newest, before) = i.roots();
            newest.into_iter().chain(before).for_each(|lba| i.rot(lba));
        },
        "root-damaged no-root",
    ),
    (
        "no root was ever written",
        |i| {
            let (newest, before) = i.roots();
            newest.into_iter().chain(before).for_each(|lba| i.erase(lba));
        },
        "no-root",
    ),
    ("two roots of one generation", |i| i.edit(i.roots().0[1], |b| b[92 - 4] ^= 64), "roots-differ"),
    (
        "a root in the slot of the others",
        |i| {
            i.edit(i.roots().0[0], |b| put(b, 64, (u64_at(b, 64) + 1).to_le_bytes()));
        },
        "root-damaged",
    ),
    ("a byte in the reserve of a root", |i| i.edit(i.roots().0[0], |b| b[4000] = 1), "root-damaged"),
    ("a root of another pool", |i| i.edit(i.roots().0[0], |b| b[48] ^= 1), "root-damaged"),
    (
        "the epoch goes back",
        |i| {
            i.roots().1.into_iter().for_each(|lba| i.edit(lba, |b| put(b, 72, 9_u64.to_le_bytes())));
        },
        "root-went-back",
    ),
    (
        "the number of the next volume goes back",
        |i| {
            i.roots().1.into_iter().for_each(|lba| i.edit(lba, |b| put(b, 88, 90_u32.to_le_bytes())));
        },
        "root-went-back",
    ),
];

/// Goal: each damage of a superblock or root is named.
#[test]
fn damages_of_homes_are_named() {
    plant_all(DAMAGES);
}
