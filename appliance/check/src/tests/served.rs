//! The served format: two drives of a pool, and what is found after each of many damages.

use crate::{Kind, Medium, check_served};
use block::{BLOCK_SIZE, Blocks, Lba, MediaError};
use ondisk::{
    DriveLabel, LbaSize, MemberRecord, Name, PoolRecord, Run, Serial, Settings, Slot, VolumeRecord,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A drive of 64 MiB.
#[derive(Clone, Debug)]
struct Drive {
    blocks: u64,
    stored: BTreeMap<u64, Vec<u8>>,
}

type Pool = [Drive; 2];

impl Medium for Drive {
    fn capacity(&self) -> Blocks {
        Blocks(self.blocks)
    }

    fn read(&self, lba: Lba, to: &mut [u8]) -> Result<(), MediaError> {
        match self.stored.get(&lba.0) {
            Some(block) => to.copy_from_slice(block),
            None => to.fill(0),
        }
        Ok(())
    }
}

impl Drive {
    fn put(&mut self, lba: Lba, bytes: &[u8]) {
        for (lba, block) in (lba.0..).zip(bytes.chunks(BLOCK_SIZE)) {
            self.stored.insert(lba, block.to_vec());
        }
    }

    fn rot(&mut self, lba: Lba) {
        self.stored.get_mut(&lba.0).expect("it is written")[100] ^= 1;
    }

    fn erase(&mut self, lba: Lba) {
        self.stored.remove(&lba.0);
    }
}

fn drive(n: u16) -> Uuid {
    Uuid::from_u128(0x20 + u128::from(n))
}

fn serial(n: u16) -> Serial {
    Serial::new(&format!("S{n}")).expect("a good serial number")
}

fn record(generation: u64) -> PoolRecord {
    let volume = VolumeRecord {
        uuid: Uuid::from_u128(0x30),
        name: Name::new("db").expect("a good name"),
        nsid: 1,
        extents: 20,
        revision: 2,
        settings: Settings::new(LbaSize::B4096),
        runs: vec![
            Run { member: 0, first: 0, count: 15, position: 0 },
            Run { member: 1, first: 3, count: 5, position: 15 },
        ],
    };
    let member = |n| MemberRecord { drive: drive(n), serial: serial(n), extents: 55 };
    PoolRecord {
        pool: Uuid::from_u128(0x10),
        name: Name::new("tank").expect("a good name"),
        generation,
        members: vec![member(0), member(1)],
        volumes: vec![volume],
    }
}

fn put_record(to: &mut Drive, record: &PoolRecord, member: u16) {
    to.put(record.slot().lba(), &record.encode(member));
}

fn pool() -> Pool {
    [0, 1].map(|member| {
        let mut made = Drive { blocks: 16384, stored: BTreeMap::new() };
        let label =
            DriveLabel { drive: drive(member), pool: Uuid::from_u128(0x10), member, serial: serial(member) };
        made.put(Lba(0), &label.encode());
        for generation in [5, 6] {
            put_record(&mut made, &record(generation), member);
        }
        made
    })
}

const A: Lba = Slot::A.lba();
const B: Lba = Slot::B.lba();

type Planted = (&'static str, fn(&mut Pool), &'static str);

const DAMAGES: &[Planted] = &[
    ("nothing", |_| {}, ""),
    ("a label rots", |p| p[0].rot(Lba(0)), "label-damaged"),
    ("a label is erased", |p| p[0].erase(Lba(0)), "label-erased drive-missing"),
    ("a partition table over the label", |p| p[0].put(Lba(0), &[7; 4096]), "label-erased drive-missing"),
    (
        "label and records rot",
        |p| [Lba(0), A, B].map(|lba| p[0].rot(lba)).into_iter().collect(),
        "drive-unknown drive-missing",
    ),
    ("the newest record rots", |p| p[0].rot(A), "record-cut-off behind"),
    ("the record before rots", |p| p[1].rot(B), "record-cut-off"),
    (
        "both records of a drive rot",
        |p| [A, B].map(|lba| p[0].rot(lba)).into_iter().collect(),
        "record-damaged no-record",
    ),
    (
        "all records rot",
        |p| p.iter_mut().for_each(|d| [A, B].map(|lba| d.rot(lba)).into_iter().collect()),
        "record-damaged no-records",
    ),
    (
        "the records of a drive were never written",
        |p| [A, B].map(|lba| p[0].erase(lba)).into_iter().collect(),
        "no-record",
    ),
    (
        "no record was ever written",
        |p| p.iter_mut().for_each(|d| [A, B].map(|lba| d.erase(lba)).into_iter().collect()),
        "leftover",
    ),
    ("a change reached one drive only", |p| put_record(&mut p[1], &record(7), 1), "behind"),
    (
        "a drive is two changes behind",
        |p| {
            put_record(&mut p[1], &record(7), 1);
            put_record(&mut p[1], &record(8), 1);
        },
        "far-behind",
    ),
    ("a drive lost a change", |p| put_record(&mut p[1], &record(9), 1), "records-apart far-behind"),
    (
        "two histories",
        |p| {
            let mut other = record(6);
            other.volumes[0].revision = 3;
            put_record(&mut p[1], &other, 1);
        },
        "records-differ",
    ),
    (
        "a drive holds the record of the other",
        |p| {
            let bytes = record(6).encode(1);
            p[0].put(A, &bytes);
        },
        "record-of-other behind",
    ),
    ("a copy instead of the other drive", |p| p[1] = p[0].clone(), "twin drive-missing"),
    (
        "a drive that the pool gave up",
        |p| {
            let mut alone = record(7);
            alone.members.truncate(1);
            alone.volumes[0].runs.truncate(1);
            alone.volumes[0].extents = 15;
            put_record(&mut p[0], &alone, 0);
        },
        "not-listed",
    ),
    (
        "a label with another number",
        |p| {
            let label =
                DriveLabel { drive: drive(0), pool: Uuid::from_u128(0x10), member: 5, serial: serial(0) };
            p[0].put(Lba(0), &label.encode());
        },
        "member-number",
    ),
    ("a drive that shrank", |p| p[1].blocks -= 1024, "drive-shrank"),
    ("a backup partition table at the end", |p| p[0].put(Lba(16383), &[1; 4096]), "stray-bytes"),
    ("somebody's superblock behind the label", |p| p[0].put(Lba(16), &[1; 4096]), "stray-bytes"),
];

/// Goal: each damage of labels and records is named, and what is in order is not.
#[test]
fn damages_of_the_served_format_are_named() {
    let mut wrong = Vec::new();
    for (name, plant, expected) in DAMAGES {
        let mut drives = pool();
        plant(&mut drives);
        let report = check_served(&[&drives[0], &drives[1]]);
        assert_eq!(report.kinds, [Kind::Member, Kind::Member], "{name}");
        let mut codes: Vec<&str> =
            report.findings.iter().map(|finding| finding.problem.facts().code).collect();
        codes.dedup();
        if codes.join(" ") != *expected {
            wrong.push(format!("{name}: expected {expected:?}, found {:?}", codes.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Goal: the summary is that of the newest record; drives of others are told apart and not judged.
#[test]
fn pools_and_strangers_are_told_apart() {
    let [first, second] = pool();
    let mut blank = Drive { blocks: 16384, stored: BTreeMap::new() };
    let report = check_served(&[&second, &blank, &first]);
    assert_eq!(report.kinds, [Kind::Member, Kind::Blank, Kind::Member]);
    assert!(report.findings.is_empty());
    let found = &report.pools[0];
    assert_eq!(
        (found.record.generation, &*found.drives, found.extents()),
        (6, &[Some(2), Some(0)][..], (110, 20))
    );
    blank.put(Lba(3), &[1; 4096]);
    assert!(matches!(check_served(&[&blank]).kinds[..], [Kind::Foreign(_)]));
}
