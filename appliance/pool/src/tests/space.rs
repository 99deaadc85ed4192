//! Allocation: spread, fallback, bounds, and agreement with a naive model.

use super::uuid;
use crate::space::{NoSpace, Space};
use ondisk::limits::{RUNS_MAX, VOLUMES_MAX};
use ondisk::{LbaSize, MemberRecord, Name, PoolRecord, Run, Serial, Settings, VolumeRecord};
use sim::Random;
use std::collections::BTreeMap;

fn pool(extents: &[u32]) -> PoolRecord {
    let member = |(index, extents): (u64, &u32)| MemberRecord {
        drive: uuid(b'D', index),
        serial: Serial::new(&format!("S{index}")).expect("a good serial"),
        extents: *extents,
    };
    PoolRecord {
        pool: uuid(b'P', 1),
        name: Name::new("tank").expect("a good name"),
        generation: 2,
        members: (0..).zip(extents).map(member).collect(),
        volumes: Vec::new(),
    }
}

fn add(record: &mut PoolRecord, extents: u32) -> Result<(), NoSpace> {
    let runs = Space::of(record).extend(&[], extents)?;
    let nsid = record.volumes.last().map_or(1, |v| v.nsid + 1);
    record.volumes.push(VolumeRecord {
        uuid: uuid(b'V', u64::from(nsid)),
        name: Name::new(&format!("v{nsid}")).expect("a good name"),
        nsid,
        extents,
        revision: 2,
        settings: Settings::new(LbaSize::B4096),
        runs,
    });
    record.check().expect("an allocation keeps every rule");
    Ok(())
}

/// Extents of a volume by member.
fn shares(runs: &[Run]) -> BTreeMap<u16, u32> {
    let mut shares = BTreeMap::new();
    for run in runs {
        *shares.entry(run.member).or_insert(0) += run.count;
    }
    shares
}

/// Goal: a volume lies on equal drives in equal parts, in turns of 64 MiB while it is small.
#[test]
fn equal_drives_take_turns() {
    let mut record = pool(&[1000, 1000, 1000]);
    add(&mut record, 200).expect("space");
    let runs: Vec<_> = record.volumes[0].runs.iter().map(|r| (r.member, r.first, r.count)).collect();
    assert_eq!(runs, [(0, 0, 64), (1, 0, 64), (2, 0, 64), (0, 64, 8)]);
}

/// Goal: a drive with more free space takes more of a volume.
#[test]
fn bigger_drives_take_more() {
    let mut record = pool(&[1000, 3000]);
    add(&mut record, 1600).expect("space");
    let shares = shares(&record.volumes[0].runs);
    assert!((380..=450).contains(&shares[&0]), "a quarter of 1600, to a run: {shares:?}");
}

/// Goal: a volume as large as a petabyte pool takes no more runs than its share.
#[test]
fn huge_volumes_have_few_runs() {
    let mut record = pool(&[32 << 20; 16]);
    add(&mut record, 400 << 20).expect("space");
    assert!(record.volumes[0].runs.len() <= 128, "{}", record.volumes[0].runs.len());
    assert_eq!(shares(&record.volumes[0].runs).len(), 16);
}

/// Goal: early volumes cannot use up the run table: 256 large volumes fit.
#[test]
fn run_table_lasts_for_all_volumes() {
    let mut record = pool(&[1 << 24; 4]);
    for _ in 0..VOLUMES_MAX {
        add(&mut record, 200_000).expect("space and runs");
    }
    let runs: usize = record.volumes.iter().map(|v| v.runs.len()).sum();
    assert!(runs <= RUNS_MAX);
}

/// Goal: growing a volume whose next extents are free lengthens its last run.
#[test]
fn growth_continues_the_last_run() {
    let mut record = pool(&[1000]);
    add(&mut record, 10).expect("space");
    let runs = Space::of(&record).extend(&record.volumes[0].runs, 20).expect("space");
    assert_eq!(runs, [Run { member: 0, first: 0, count: 30, position: 0 }]);
}

/// Goal: any free extents do, also single ones, up to the last.
#[test]
fn fragments_are_used_up() {
    let mut record = pool(&[100, 100]);
    for _ in 0..100 {
        add(&mut record, 2).expect("space");
    }
    let mut keep = false;
    record.volumes.retain(|_| {
        keep = !keep;
        keep
    });
    assert_eq!(Space::of(&record).free(), 100);
    for (nsid, volume) in (1..).zip(&mut record.volumes) {
        volume.nsid = nsid;
    }
    let free = Space::of(&record);
    assert_eq!(free.extend(&[], 101), Err(NoSpace::Full));
    let runs = free.extend(&[], 100).expect("all of it");
    assert_eq!(runs.iter().map(|r| r.count).sum::<u32>(), 100);
}

/// Goal: when the free extents lie in more pieces than the run table can name, that is said, not "full"; the longest
/// pieces are tried before giving up.
#[test]
fn fragmentation_beyond_the_run_table_is_named() {
    // One volume that owns every second extent, and uses nearly all runs.
    let used = u32::try_from(RUNS_MAX).expect("small") - 10;
    let mut record = pool(&[used * 2 + 500]);
    record.volumes.push(VolumeRecord {
        uuid: uuid(b'V', 1),
        name: Name::new("comb").expect("a good name"),
        nsid: 1,
        extents: used,
        revision: 2,
        settings: Settings::new(LbaSize::B4096),
        runs: (0..used).map(|n| Run { member: 0, first: n * 2 + 1, count: 1, position: n }).collect(),
    });
    record.check().expect("a valid record");
    let space = Space::of(&record);
    assert_eq!(space.free(), u64::from(used) + 500);
    let runs = space.extend(&[], 500 + 9).expect("the long gap and nine short ones");
    assert_eq!(runs.len(), 10);
    assert_eq!(space.extend(&[], 500 + 10), Err(NoSpace::Fragmented));
}

/// Goal: through random creations, growths and deletions no rule breaks, space is counted exactly, and a request for
/// no more than the free space always succeeds while the run table has room.
#[test]
fn random_life_keeps_every_rule() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let members: Vec<u32> = (0..=random.index(4)).map(|_| 50 + small(random.below(500))).collect();
        let mut record = pool(&members);
        let total: u64 = members.iter().map(|m| u64::from(*m)).sum();
        for step in 0..60 {
            let used: u64 = record.volumes.iter().map(|v| u64::from(v.extents)).sum();
            assert_eq!(Space::of(&record).free(), total - used, "seed {seed}");
            match random.below(3) {
                0 if !record.volumes.is_empty() => {
                    let index = random.index(record.volumes.len());
                    record.volumes.remove(index);
                }
                1 if !record.volumes.is_empty() => {
                    let index = random.index(record.volumes.len());
                    let more = 1 + small(random.below(total - used + 5));
                    let runs = Space::of(&record).extend(&record.volumes[index].runs, more);
                    assert_eq!(runs.is_ok(), u64::from(more) <= total - used, "seed {seed} step {step}");
                    if let Ok(runs) = runs {
                        record.volumes[index].runs = runs;
                        record.volumes[index].extents += more;
                    }
                }
                _ => {
                    let want = 1 + small(random.below((total - used) / 2 + 5));
                    let done = add(&mut record, want);
                    assert_eq!(done.is_ok(), u64::from(want) <= total - used, "seed {seed} step {step}");
                }
            }
            record.check().expect("every rule holds");
        }
    }
}

fn small(n: u64) -> u32 {
    u32::try_from(n).expect("a small number")
}
