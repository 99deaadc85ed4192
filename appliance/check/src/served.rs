//! The check of drives of the served format, several of a pool together: `docs/ondisk.md`, first part.
//!
//! Each drive alone: label, both record slots, the blocks that must be zero. Then the drives of each pool against its newest
//! record: generations, members, sizes. That the runs of volumes cover them and that no extent has two owners is a rule of
//! the record itself: one that breaks it does not count as good.

use crate::finding::ServedProblem;
use crate::medium::{Fault, Medium, fetch};
use block::{BLOCK_SIZE, Blocks, Lba};
use ondisk::{
    Content, DATA_LBA, DriveLabel, EXTENT_BLOCKS, HEAD_BYTES, LABEL_LBA, LoadError, PoolRecord, Signature,
    Slot, TAIL_BLOCKS, TAIL_BYTES, claimed_len, has_extents, limits, recognise,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a drive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a pool, or of what is left of one.
    Member,
    /// Zeroes where one looked.
    Blank,
    /// Somebody's data.
    Foreign(Signature),
    /// Its start or end cannot be read.
    Unreadable(Fault),
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedFinding {
    /// Which of the drives; `None` for one that is not there.
    pub drive: Option<usize>,
    /// What.
    pub problem: ServedProblem,
}

/// A pool, by its newest record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSummary {
    /// The record.
    pub record: PoolRecord,
    /// For each member the drive that it is.
    pub drives: Vec<Option<usize>>,
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct ServedReport {
    /// What each drive is.
    pub kinds: Vec<Kind>,
    /// Drive by drive, then pool by pool.
    pub findings: Vec<ServedFinding>,
    /// The pools with a good record.
    pub pools: Vec<PoolSummary>,
}

#[derive(Debug)]
enum SlotContent {
    Blank,
    Record(Box<PoolRecord>),
    Flawed,
}

/// A drive that names its pool.
#[derive(Debug)]
struct Claim {
    drive: usize,
    uuid: Uuid,
    member: Option<u16>,
    capacity: Blocks,
    slots: [SlotContent; 2],
}

impl SlotContent {
    fn record(&self) -> Option<&PoolRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Blank | Self::Flawed => None,
        }
    }
}

impl Claim {
    fn newest(&self) -> Option<&PoolRecord> {
        self.slots.iter().filter_map(SlotContent::record).max_by_key(|record| record.generation)
    }

    /// Slot A is written first by generation 2; slot B may hold a torn generation 1.
    fn is_leftover(&self) -> bool {
        matches!(&self.slots, [SlotContent::Blank, SlotContent::Blank | SlotContent::Flawed])
    }
}

impl PoolSummary {
    /// Extents of all members, and those that volumes own.
    #[must_use]
    pub fn extents(&self) -> (u64, u64) {
        let all = self.record.members.iter().map(|member| u64::from(member.extents)).sum();
        (all, self.record.volumes.iter().map(|volume| u64::from(volume.extents)).sum())
    }
}

/// Checks drives of the served format. Those that are something else are named in [`ServedReport::kinds`].
#[must_use]
pub fn check_served(media: &[&dyn Medium]) -> ServedReport {
    let mut report = ServedReport::default();
    let mut pools: BTreeMap<Uuid, Vec<Claim>> = BTreeMap::new();
    for (drive, medium) in media.iter().enumerate() {
        let kind = report.drive(drive, *medium, &mut pools);
        if kind == Kind::Member {
            report.strays(drive, *medium);
        }
        report.kinds.push(kind);
    }
    for claims in pools.values() {
        report.pool(claims);
    }
    report
}

fn read(medium: &dyn Medium, first: Lba, bytes: usize) -> Result<Vec<u8>, Fault> {
    let mut found = Vec::with_capacity(bytes);
    for lba in (first.0..).take(bytes.div_ceil(BLOCK_SIZE)) {
        found.extend_from_slice(&fetch(medium, Lba(lba))?);
    }
    Ok(found)
}

fn read_slot(medium: &dyn Medium, slot: Slot) -> Result<(PoolRecord, Uuid, u16), Fault> {
    let len = claimed_len(&read(medium, slot.lba(), BLOCK_SIZE)?)?;
    let bytes = read(medium, slot.lba(), len.min(limits::RECORD_BYTES_MAX))?;
    let (record, place) = PoolRecord::decode(&bytes, slot)?;
    Ok((record, place.drive, place.member))
}

fn kind_of(medium: &dyn Medium) -> Kind {
    let capacity = medium.capacity().0;
    let blocks = |bytes: usize| capacity.min((bytes / BLOCK_SIZE) as u64);
    let part = |first: u64, blocks: u64| {
        read(medium, Lba(first), usize::try_from(blocks).unwrap_or(0).saturating_mul(BLOCK_SIZE))
    };
    let tail = blocks(TAIL_BYTES);
    match (part(0, blocks(HEAD_BYTES)), part(capacity.saturating_sub(tail), tail)) {
        (Ok(head), Ok(tail)) => match recognise(&head, &tail) {
            Content::Blank => Kind::Blank,
            Content::Foreign(signature) => Kind::Foreign(signature),
        },
        (Err(fault), _) | (_, Err(fault)) => Kind::Unreadable(fault),
    }
}

impl ServedReport {
    fn found(&mut self, drive: usize, problem: ServedProblem) {
        self.findings.push(ServedFinding { drive: Some(drive), problem });
    }

    /// Looks at a drive alone.
    fn drive(&mut self, drive: usize, medium: &dyn Medium, pools: &mut BTreeMap<Uuid, Vec<Claim>>) -> Kind {
        let label = read(medium, LABEL_LBA, BLOCK_SIZE).and_then(|bytes| Ok(DriveLabel::decode(&bytes)?));
        let slots = Slot::ALL.map(|slot| (slot, read_slot(medium, slot)));
        let newest = slots.iter().filter_map(|(_, found)| found.as_ref().ok());
        let newest = newest.max_by_key(|(record, ..)| record.generation);
        let by_record = newest.map(|(record, uuid, _)| (record.pool, *uuid, None));
        let (pool, uuid, member) = match (label, by_record) {
            (Ok(label), _) => (label.pool, label.drive, Some(label.member)),
            (Err(Fault::Load(LoadError::Blank | LoadError::NotOurs)), of_record) => {
                let is_torn = |fault: &Fault| {
                    !matches!(fault, Fault::Media(_) | Fault::Load(LoadError::Blank | LoadError::NotOurs))
                };
                if of_record.is_none() && !slots.iter().any(|(_, found)| found.as_ref().is_err_and(is_torn)) {
                    return kind_of(medium);
                }
                self.found(drive, ServedProblem::LabelErased);
                return Kind::Member;
            }
            (Err(Fault::Media(error)), None) => return Kind::Unreadable(Fault::Media(error)),
            (Err(fault), None) => {
                self.found(drive, ServedProblem::Unknown(fault));
                return Kind::Member;
            }
            (Err(fault), Some(found)) => {
                self.found(drive, ServedProblem::LabelDamaged(fault));
                found
            }
        };
        let has_good = slots
            .iter()
            .any(|(_, found)| found.as_ref().is_ok_and(|(record, of, _)| (record.pool, *of) == (pool, uuid)));
        let slots = slots.map(|(slot, found)| self.slot(drive, slot, found, (pool, uuid), has_good));
        if let [SlotContent::Record(a), SlotContent::Record(b)] = &slots
            && a.generation.abs_diff(b.generation) != 1
        {
            let (older, newer) = (a.generation.min(b.generation), a.generation.max(b.generation));
            self.found(drive, ServedProblem::RecordsApart { older, newer });
        }
        pools.entry(pool).or_default().push(Claim {
            drive,
            uuid,
            member,
            capacity: medium.capacity(),
            slots,
        });
        Kind::Member
    }

    fn slot(
        &mut self,
        drive: usize,
        slot: Slot,
        found: Result<(PoolRecord, Uuid, u16), Fault>,
        identity: (Uuid, Uuid),
        has_good: bool,
    ) -> SlotContent {
        let problem = match found {
            Ok((record, uuid, _)) if (record.pool, uuid) == identity => {
                return SlotContent::Record(Box::new(record));
            }
            Err(Fault::Load(LoadError::Blank)) => return SlotContent::Blank,
            Ok((record, uuid, _)) => ServedProblem::RecordOfOther { slot, drive: uuid, pool: record.pool },
            Err(fault) if has_good => ServedProblem::RecordCutOff { slot, fault },
            Err(fault) => ServedProblem::RecordDamaged { slot, fault },
        };
        self.found(drive, problem);
        SlotContent::Flawed
    }

    /// What is kept free is zero. The rest of a slot may hold what is left of a longer record.
    fn strays(&mut self, drive: usize, medium: &dyn Medium) {
        let slot_blocks = (limits::SLOT_BYTES / BLOCK_SIZE) as u64;
        let [a, b] = Slot::ALL.map(|slot| slot.lba().0);
        let capacity = medium.capacity().0;
        let areas = [
            1..a,
            a.saturating_add(slot_blocks)..b,
            b.saturating_add(slot_blocks)..DATA_LBA.0,
            capacity.saturating_sub(TAIL_BLOCKS.0)..capacity,
        ];
        for area in areas {
            let is_stray =
                |lba: &u64| fetch(medium, Lba(*lba)).is_ok_and(|bytes| bytes.iter().any(|b| *b != 0));
            if let Some(lba) = area.clone().find(is_stray) {
                self.found(drive, ServedProblem::Stray(lba));
            }
        }
    }

    /// Compares the drives of a pool.
    fn pool(&mut self, claims: &[Claim]) {
        let newest = claims.iter().filter_map(Claim::newest).max_by_key(|record| record.generation);
        let Some(record) = newest else {
            let is_leftover = claims.iter().all(Claim::is_leftover);
            for claim in claims {
                let problem = if is_leftover { ServedProblem::Leftover } else { ServedProblem::NoRecords };
                self.found(claim.drive, problem);
            }
            return;
        };
        let mut drives = vec![None; record.members.len()];
        for claim in claims {
            let listed = record.members.iter().zip(drives.iter_mut()).zip(0_u16..);
            let Some(((member, place), number)) =
                listed.into_iter().find(|((m, _), _)| m.drive == claim.uuid)
            else {
                self.found(claim.drive, ServedProblem::NotListed);
                continue;
            };
            if place.is_some() {
                self.found(claim.drive, ServedProblem::Twin);
                continue;
            }
            *place = Some(claim.drive);
            if let Some(label) = claim.member.filter(|label| *label != number) {
                self.found(claim.drive, ServedProblem::MemberNumber { label, record: number });
            }
            if !has_extents(claim.capacity, member.extents) {
                let (capacity, extents) = (claim.capacity.0, member.extents);
                self.found(claim.drive, ServedProblem::Shrank { capacity, extents });
            }
            self.compare(record, claim);
        }
        for (member, _) in drives.iter().enumerate().filter(|(_, drive)| drive.is_none()) {
            let serial = record.members.get(member).map(|m| m.serial.to_string()).unwrap_or_default();
            let problem = ServedProblem::Missing { pool: record.name.to_string(), member, serial };
            self.findings.push(ServedFinding { drive: None, problem });
        }
        self.pools.push(PoolSummary { record: record.clone(), drives });
    }

    /// Whether a member is up to date.
    fn compare(&mut self, record: &PoolRecord, claim: &Claim) {
        let newest = record.generation;
        let problem = match claim.newest() {
            None => ServedProblem::NoRecord(newest),
            Some(own) if own == record => return,
            Some(own) if own.generation == newest => ServedProblem::Differs(newest),
            Some(own) if own.generation.saturating_add(1) == newest => {
                ServedProblem::Behind { own: own.generation, newest }
            }
            Some(own) => {
                let [a, b] = &claim.slots;
                let between = match Slot::of_generation(newest).other() {
                    Slot::A => a,
                    Slot::B => b,
                };
                // Damage of the record between explains it.
                match between {
                    SlotContent::Flawed => ServedProblem::Behind { own: own.generation, newest },
                    SlotContent::Blank | SlotContent::Record(_) => {
                        ServedProblem::FarBehind { own: own.generation, newest }
                    }
                }
            }
        };
        self.found(claim.drive, problem);
    }
}

/// Bytes of so many extents.
#[must_use]
pub fn extents_in_bytes(extents: u64) -> u64 {
    extents.saturating_mul(EXTENT_BLOCKS.0).saturating_mul(BLOCK_SIZE as u64)
}
