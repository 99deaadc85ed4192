//! Finding the pools on the drives of a node.
//!
//! Invariants
//! - Drives are told apart by the UUID in their label, never by slot or serial number.
//! - The newest valid record wins; two different ones of the same generation are never chosen between.
//! - Nothing is written here. What lags is listed in the pool and written by [`Pool::begin_settle`].
//! - Every drive gets exactly one role.
//!
//! A member is current (newest generation), one change behind (cut off while the change was written), without a valid
//! record (the same, in a creation; or damaged), or further behind. The last cannot come from a power cut, since each
//! change waits until the one before is durable everywhere: it is an older copy of the drive, or a drive that lost
//! what it had confirmed. Its data may be as old as its record, so such a pool is not served.

use crate::drive::{Drive, KnownDrive, MemberIndex, Role};
use crate::pool::{Phase, Pool, Stale, pool_status, volume_statuses};
use crate::probe::{Finding, Labelled, SlotContent};
use control::{PoolState, PoolStatus, VolumeState, VolumeStatus};
use ondisk::thin::Superblock;
use ondisk::{MemberRecord, PoolRecord, Serial, Slot, has_extents};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A drive and what the probe found on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The drive.
    pub drive: Drive,
    /// What is on it.
    pub finding: Finding,
}

/// A pool of the thin engine on a drive: what is in it, only the engine finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundThin {
    /// The drive.
    pub drive: Drive,
    /// What the drive says of itself.
    pub superblock: Superblock,
}

/// The pools of a node.
#[derive(Debug, Default)]
pub struct Imported {
    /// To be opened; see [`Pool::thin`].
    pub thin: Vec<FoundThin>,
    /// Complete; each needs [`Pool::begin_settle`] before it is served.
    pub pools: Vec<Pool>,
    /// Not usable, with the reason.
    pub offline: Vec<OfflinePool>,
    /// All drives that were found, in the order given.
    pub drives: Vec<KnownDrive>,
}

/// A pool that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflinePool {
    /// Identity.
    pub uuid: Uuid,
    /// The newest record, if any is valid.
    pub record: Option<PoolRecord>,
    /// Incomplete or damaged.
    pub state: PoolState,
    /// Why.
    pub detail: String,
    /// Serial numbers of the drives that are there.
    pub present: Vec<String>,
}

impl OfflinePool {
    /// The name, or nothing if no record is valid.
    #[must_use]
    pub fn name(&self) -> &str {
        self.record.as_ref().map_or("", |r| r.name.as_str())
    }

    /// How people name it: its UUID if nobody knows the name.
    #[must_use]
    pub fn name_or_uuid(&self) -> String {
        if self.name().is_empty() { self.uuid.to_string() } else { self.name().to_owned() }
    }

    /// The pool for people. The NQN is the subsystem's.
    #[must_use]
    pub fn status(&self, subsystem_nqn: &str) -> PoolStatus {
        let status = self.record.as_ref().map(|r| pool_status(r, self.state, subsystem_nqn));
        let mut status = status.unwrap_or_else(|| PoolStatus {
            uuid: self.uuid,
            name: String::new(),
            state: self.state,
            detail: String::new(),
            drive_serials: self.present.clone(),
            size_bytes: 0,
            free_bytes: 0,
            subsystem_nqn: subsystem_nqn.to_owned(),
            revision: 0,
        });
        status.detail.clone_from(&self.detail);
        status
    }

    /// Its volumes for people, as far as they are known.
    #[must_use]
    pub fn volume_statuses(&self, subsystem_nqn: &str) -> Vec<VolumeStatus> {
        let statuses = |record| volume_statuses(record, VolumeState::Offline, subsystem_nqn);
        self.record.as_ref().map(statuses).unwrap_or_default()
    }
}

/// A drive that names a pool, on the way to its role.
struct Claim<'a> {
    /// Place in the list of drives.
    place: usize,
    drive: &'a Drive,
    label: &'a Labelled,
}

/// Why a group of drives is not an online pool.
enum Verdict {
    Online(Vec<Stale>),
    Incomplete(String),
    Damaged(String),
}

/// Sorts the drives of a node into pools.
#[must_use]
pub fn import(found: &[Found]) -> Imported {
    let mut groups: BTreeMap<Uuid, Vec<Claim<'_>>> = BTreeMap::new();
    let mut thin: BTreeMap<Uuid, Vec<FoundThin>> = BTreeMap::new();
    let mut imported = Imported::default();
    for (place, Found { drive, finding }) in found.iter().enumerate() {
        let role = match finding {
            Finding::Blank => Role::Blank,
            Finding::Foreign(signature) => Role::Foreign(*signature),
            Finding::Damaged(why) => Role::Damaged(why.clone()),
            Finding::Unreadable(error) => Role::Failed(error.to_string()),
            Finding::Ours(label) => {
                groups.entry(label.pool).or_default().push(Claim { place, drive, label });
                Role::Member(label.pool)
            }
            Finding::Thin(superblock) => {
                let (drive, superblock) = (drive.clone(), Superblock::clone(superblock));
                let pool = superblock.identity.pool;
                thin.entry(pool).or_default().push(FoundThin { drive, superblock });
                Role::Member(pool)
            }
        };
        imported.drives.push(KnownDrive { drive: drive.clone(), role });
    }
    for (uuid, claims) in groups {
        import_group(&mut imported, uuid, claims);
    }
    for found in thin.into_values() {
        import_thin(&mut imported, found);
    }
    imported
}

/// One pool of the thin engine, from all drives that name it.
fn import_thin(imported: &mut Imported, mut found: Vec<FoundThin>) {
    let serials: Vec<&str> = found.iter().map(|found| found.drive.serial.as_str()).collect();
    let trouble = match found.as_slice() {
        [one] if one.superblock.member_count > 1 => {
            let count = one.superblock.member_count;
            Some((
                PoolState::Incomplete,
                format!("it has {count} drives, and only pools of one can be served"),
            ))
        }
        [_] => None,
        _ => Some((
            PoolState::Damaged,
            format!(
                "drives {} all claim to be it: one is a copy of the other; remove the copy and restart",
                serials.join(" and ")
            ),
        )),
    };
    match trouble {
        None => imported.thin.append(&mut found),
        Some((state, detail)) => imported.offline.extend(offline_thin(&found, state, detail)),
    }
}

/// A pool of the thin engine that cannot be served; `None` without drives.
#[must_use]
pub fn offline_thin(found: &[FoundThin], state: PoolState, detail: String) -> Option<OfflinePool> {
    let first = &found.first()?.superblock;
    let present: Vec<String> = found.iter().map(|found| found.drive.serial.clone()).collect();
    let record = PoolRecord {
        pool: first.identity.pool,
        name: first.name.clone(),
        generation: 1,
        members: found.iter().filter_map(|found| thin_member(found, 0)).collect(),
        volumes: Vec::new(),
    };
    Some(OfflinePool { uuid: first.identity.pool, record: Some(record), state, detail, present })
}

/// A drive of a pool of the thin engine, as a member with so many extents for volumes. A drive whose serial number cannot be stored
/// was refused when the pool was made.
pub(crate) fn thin_member(found: &FoundThin, extents: u32) -> Option<MemberRecord> {
    let serial = Serial::new(&found.drive.serial).ok()?;
    Some(MemberRecord { drive: found.superblock.identity.drive, serial, extents })
}

/// One pool, from all drives that name it.
fn import_group(imported: &mut Imported, uuid: Uuid, claims: Vec<Claim<'_>>) {
    let newest = claims.iter().filter_map(|c| c.label.newest()).max_by_key(|r| r.generation).cloned();
    let Some(record) = newest else {
        if claims.iter().all(|c| is_leftover(c.label)) {
            for claim in &claims {
                imported.drives[claim.place].role = Role::Leftover;
            }
            return;
        }
        let detail = format!("no drive of it has a valid record: {}", slot_flaws(&claims));
        imported.offline.push(offline(uuid, None, PoolState::Damaged, detail, &claims));
        return;
    };
    let (claims, strays): (Vec<_>, Vec<_>) =
        claims.into_iter().partition(|c| record.members.iter().any(|m| m.drive == c.label.drive));
    for stray in strays {
        imported.drives[stray.place].role = match stray.label.newest() {
            None if is_leftover(stray.label) => Role::Leftover,
            _ => {
                Role::Damaged(format!("pool \"{}\" ({uuid}) does not list this drive any more", record.name))
            }
        };
    }
    match judge(&record, &claims) {
        Verdict::Online(stale) => {
            let drives = record.members.iter().map(|m| {
                let claim = claims.iter().find(|c| c.label.drive == m.drive);
                claim.map(|c| c.drive.clone()).expect("an online pool has all its drives")
            });
            imported.pools.push(Pool {
                drives: drives.collect(),
                record,
                phase: Phase::Unsettled(stale),
                is_zeroing: false,
                is_thin: false,
            });
        }
        Verdict::Incomplete(detail) => {
            imported.offline.push(offline(uuid, Some(record), PoolState::Incomplete, detail, &claims));
        }
        Verdict::Damaged(detail) => {
            imported.offline.push(offline(uuid, Some(record), PoolState::Damaged, detail, &claims));
        }
    }
}

fn judge(record: &PoolRecord, claims: &[Claim<'_>]) -> Verdict {
    let mut stale = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    for (index, member) in record.members.iter().enumerate() {
        let mut holders = claims.iter().filter(|c| c.label.drive == member.drive);
        let Some(claim) = holders.next() else {
            missing.push(member.serial.as_str());
            continue;
        };
        if let Some(twin) = holders.next() {
            return Verdict::Damaged(format!(
                "drives {} and {} both claim to be member {index} (recorded as {}): one is a copy of the other; \
                 remove the copy and restart",
                claim.drive.serial, twin.drive.serial, member.serial
            ));
        }
        if !has_extents(claim.drive.geometry.blocks, member.extents) {
            return Verdict::Damaged(format!("drive {} is smaller than when it joined", claim.drive.serial));
        }
        let number = MemberIndex(u16::try_from(index).unwrap_or(u16::MAX));
        match compare(record, claim, number) {
            Ok(None) => {}
            Ok(Some(behind)) => stale.push(behind),
            Err(why) => return Verdict::Damaged(why),
        }
    }
    if missing.is_empty() {
        return Verdict::Online(stale);
    }
    let noun = if missing.len() == 1 { "drive" } else { "drives" };
    Verdict::Incomplete(format!("missing {noun} {}", missing.join(", ")))
}

/// What a member needs to be up to date; an error if it must not be used.
fn compare(record: &PoolRecord, claim: &Claim<'_>, member: MemberIndex) -> Result<Option<Stale>, String> {
    let serial = &claim.drive.serial;
    let needs_record = match claim.label.newest() {
        Some(own) if own.generation == record.generation && own != record => {
            return Err(format!(
                "drive {serial} and another one have different records of generation {}: the drives were used \
                 apart from each other; remove those that do not belong together",
                own.generation
            ));
        }
        Some(own) if own.generation == record.generation => false,
        Some(own) if own.generation + 1 == record.generation => true,
        Some(own) => {
            // Two or more behind. If the slot of the generation between is damaged, that explains it.
            let between = Slot::of_generation(record.generation).other();
            if !matches!(claim.label.slot(between), SlotContent::Flawed(_)) {
                return Err(format!(
                    "drive {serial} has generation {}, the pool is at {}: it is an older copy, or lost what it \
                     had confirmed; put the original drive back and restart",
                    own.generation, record.generation
                ));
            }
            true
        }
        None => true,
    };
    let needs_label = claim.label.label_flaw.is_some();
    let stale = Stale { member: member.0, needs_label, needs_record };
    Ok((needs_label || needs_record).then_some(stale))
}

/// A label whose records were never written, or were erased: slot A is written first by generation 2, so it is blank;
/// slot B may hold a torn generation 1.
fn is_leftover(label: &Labelled) -> bool {
    *label.slot(Slot::A) == SlotContent::Blank && label.slot(Slot::B).record().is_none()
}

fn slot_flaws(claims: &[Claim<'_>]) -> String {
    let describe = |claim: &Claim<'_>| {
        let slots = Slot::ALL.iter().map(|slot| match claim.label.slot(*slot) {
            SlotContent::Blank => "it is blank".to_owned(),
            SlotContent::Record(_) => "it is valid".to_owned(),
            SlotContent::Flawed(why) => why.clone(),
        });
        let slots: Vec<String> = slots.collect();
        format!("drive {} (slot A: {}; slot B: {})", claim.drive.serial, slots[0], slots[1])
    };
    claims.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn offline(
    uuid: Uuid,
    record: Option<PoolRecord>,
    state: PoolState,
    detail: String,
    claims: &[Claim<'_>],
) -> OfflinePool {
    let present = claims.iter().map(|c| c.drive.serial.clone()).collect();
    OfflinePool { uuid, record, state, detail, present }
}
