//! The rules that hold between the parts of a record, checked before storing and after loading.

use super::{PoolRecord, VolumeRecord};
use crate::error::Inconsistency;
use crate::limits;

impl PoolRecord {
    /// Checks every rule.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), Inconsistency> {
        let runs = self.volumes.iter().fold(0_usize, |sum, v| sum.saturating_add(v.runs.len()));
        at_most("members", self.members.len(), limits::MEMBERS_MAX)?;
        at_most("volumes", self.volumes.len(), limits::VOLUMES_MAX)?;
        at_most("runs", runs, limits::RUNS_MAX)?;
        at_most("hosts", self.hosts().len(), limits::HOSTS_MAX)?;
        at_most("registrants", self.registrant_count(), limits::REGISTRANTS_MAX)?;
        if self.members.is_empty() {
            return Err(Inconsistency::NotAMember);
        }
        // Generation 1 creates the pool, and only volumes of later ones exist: a creation that was cut short can
        // therefore be forgotten without losing anything.
        if self.generation == 0 || (self.generation == 1 && !self.volumes.is_empty()) {
            return Err(Inconsistency::Generation(self.generation));
        }
        if self.pool.is_nil() || self.members.iter().any(|m| m.drive.is_nil()) {
            return Err(Inconsistency::NilUuid);
        }
        if self.volumes.iter().any(|v| v.uuid.is_nil()) {
            return Err(Inconsistency::NilUuid);
        }
        unique("members", "UUID", self.members.iter().map(|m| m.drive).collect())?;
        unique("volumes", "UUID", self.volumes.iter().map(|v| v.uuid).collect())?;
        unique("volumes", "name", self.volumes.iter().map(|v| &v.name).collect())?;
        let mut before = 0;
        for volume in &self.volumes {
            if volume.nsid <= before {
                return Err(Inconsistency::VolumeOrder);
            }
            before = volume.nsid;
            volume.settings.check(volume.nsid)?;
            self.check_runs(volume)?;
        }
        self.check_owners()
    }

    /// The runs cover the volume from its first to its last extent and lie on the members.
    fn check_runs(&self, volume: &VolumeRecord) -> Result<(), Inconsistency> {
        let mut position: u32 = 0;
        for run in &volume.runs {
            if run.position != position || run.count == 0 {
                return Err(Inconsistency::Coverage(volume.nsid));
            }
            position = position.checked_add(run.count).ok_or(Inconsistency::Coverage(volume.nsid))?;
            let end = run.first.checked_add(run.count);
            let member = self.members.get(usize::from(run.member));
            if end.zip(member).is_none_or(|(end, member)| end > member.extents) {
                return Err(Inconsistency::OutOfBounds(volume.nsid));
            }
        }
        if position == 0 || position != volume.extents {
            return Err(Inconsistency::Coverage(volume.nsid));
        }
        Ok(())
    }

    /// No extent has two owners.
    fn check_owners(&self) -> Result<(), Inconsistency> {
        let mut pieces: Vec<(u16, u32, u32)> = Vec::new();
        for run in self.volumes.iter().flat_map(|v| &v.runs) {
            pieces.push((run.member, run.first, run.first.saturating_add(run.count)));
        }
        pieces.sort_unstable();
        let mut before: Option<(u16, u32)> = None;
        for (member, first, end) in pieces {
            if before.is_some_and(|(m, e)| m == member && first < e) {
                return Err(Inconsistency::Shared { member, extent: first });
            }
            before = Some((member, end));
        }
        Ok(())
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), Inconsistency> {
    if count > max { Err(Inconsistency::TooMany { what, count, max }) } else { Ok(()) }
}

fn unique<K: Ord>(what: &'static str, key: &'static str, mut keys: Vec<K>) -> Result<(), Inconsistency> {
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() == count { Ok(()) } else { Err(Inconsistency::Duplicate { what, key }) }
}
