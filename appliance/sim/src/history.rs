//! What may be read: every write to a block is remembered with the time between its beginning and its end, and from that
//! follows which versions a read may show now, and which after a power cut.
//!
//! ```text
//!  v1 ├────┤                       v1 cannot be read after v2 ended: v2 began after v1 had ended
//!  v2         ├────┤               after a power cut it can, unless a flush began after v2 had ended, and ended
//!  v3              ├─────────      in flight: may be read or not, now and after a cut
//! ```
//!
//! Time is a count of events. A trim is a write of version 0: zeroes. A write that failed may have happened or not.

use std::collections::BTreeMap;

/// Whose block it is: a volume, or a snapshot.
pub type Owner = u64;

/// What was written; 0 stands for zeroes, which every block holds at first.
pub type Version = u64;

/// Why what was read is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This must not be read here.
    Wrong {
        /// Whose block.
        owner: Owner,
        /// Which.
        lba: u64,
        /// What was read.
        found: Version,
        /// What may be.
        allowed: Vec<Version>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Write {
    version: Version,
    begin: u64,
    /// `None` while it is in flight.
    end: Option<u64>,
    /// It happened; others only may have.
    is_certain: bool,
}

/// The histories of all blocks.
#[derive(Clone, Debug, Default)]
pub struct History {
    now: u64,
    /// Writes that ended by then are durable.
    durable_until: u64,
    blocks: BTreeMap<(Owner, u64), Vec<Write>>,
}

const BLANK: Write = Write { version: 0, begin: 0, end: Some(0), is_certain: true };

impl History {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn writes(&mut self, owner: Owner, lba: u64) -> &mut Vec<Write> {
        self.blocks.entry((owner, lba)).or_insert_with(|| vec![BLANK])
    }

    /// A write was sent.
    pub fn begin(&mut self, owner: Owner, lba: u64, version: Version) {
        let begin = self.tick();
        self.writes(owner, lba).push(Write { version, begin, end: None, is_certain: false });
    }

    /// A write was confirmed.
    pub fn end(&mut self, owner: Owner, lba: u64, version: Version) {
        self.end_as(owner, lba, version, true);
    }

    /// A write failed: nobody knows what it did.
    pub fn fail(&mut self, owner: Owner, lba: u64, version: Version) {
        self.end_as(owner, lba, version, false);
    }

    fn end_as(&mut self, owner: Owner, lba: u64, version: Version, is_certain: bool) {
        let end = self.tick();
        let open = self.writes(owner, lba).iter_mut().find(|w| w.version == version && w.end.is_none());
        let write = open.expect("what ends has begun");
        (write.end, write.is_certain) = (Some(end), is_certain);
    }

    /// Something begins, a flush or a read: gives its time.
    pub fn mark(&mut self) -> u64 {
        self.tick()
    }

    /// A flush that began at `mark` was confirmed: what had ended before it is durable.
    pub fn flushed(&mut self, mark: u64) {
        self.durable_until = self.durable_until.max(mark);
    }

    /// All that has ended is durable: called after each end where drives have no volatile cache.
    pub fn all_durable(&mut self) {
        self.durable_until = self.now;
    }

    /// What is left when writes that ended before `until` supersede those that had ended before they began.
    fn left(writes: &[Write], until: u64) -> impl Iterator<Item = &Write> {
        let supersedes = move |w: &&Write| w.is_certain && w.end.is_some_and(|end| end <= until);
        let latest_begin = writes.iter().filter(supersedes).map(|w| w.begin).max().unwrap_or(0);
        writes.iter().filter(move |w| w.end.is_none_or(|end| end >= latest_begin))
    }

    fn allowed(&self, owner: Owner, lba: u64, until: u64) -> Vec<Version> {
        let blank = [BLANK];
        let writes = self.blocks.get(&(owner, lba)).map_or(&blank[..], Vec::as_slice);
        let mut versions: Vec<Version> = Self::left(writes, until).map(|w| w.version).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// Judges a read that began at `mark` and ends now.
    ///
    /// # Errors
    /// If it must not show this.
    pub fn check_read(&self, owner: Owner, lba: u64, mark: u64, found: Version) -> Result<(), Verdict> {
        Self::judge(owner, lba, found, self.allowed(owner, lba, mark))
    }

    /// Judges what a block holds after a power cut and the recovery from it; from now on it holds that.
    ///
    /// # Errors
    /// If it must not hold this.
    pub fn check_after_cut(&mut self, owner: Owner, lba: u64, found: Version) -> Result<(), Verdict> {
        let allowed = self.allowed(owner, lba, self.durable_until);
        Self::judge(owner, lba, found, allowed)?;
        self.pin(owner, lba, found);
        Ok(())
    }

    fn judge(owner: Owner, lba: u64, found: Version, allowed: Vec<Version>) -> Result<(), Verdict> {
        if allowed.contains(&found) { Ok(()) } else { Err(Verdict::Wrong { owner, lba, found, allowed }) }
    }

    fn pin(&mut self, owner: Owner, lba: u64, version: Version) {
        let end = Some(self.now);
        *self.writes(owner, lba) = vec![Write { version, begin: 0, end, is_certain: true }];
    }

    /// A snapshot or clone was taken between `mark` and now: each of its blocks holds what the source could show in this
    /// time, and keeps it.
    pub fn fork(&mut self, source: Owner, target: Owner, mark: u64) {
        self.fork_since(source, target, mark);
    }

    /// The same for one that was asked for, not confirmed, and found after a power cut: each of its blocks holds what the
    /// source's block may hold then.
    pub fn fork_after_cut(&mut self, source: Owner, target: Owner) {
        self.fork_since(source, target, self.durable_until);
    }

    fn fork_since(&mut self, source: Owner, target: Owner, mark: u64) {
        let now = self.tick();
        let of_source: Vec<(u64, Vec<Write>)> = self
            .blocks
            .range((source, 0)..=(source, u64::MAX))
            .map(|((_, lba), writes)| (*lba, Self::left(writes, mark).copied().collect()))
            .collect();
        for (lba, mut writes) in of_source {
            let is_certain = writes.len() == 1;
            for write in &mut writes {
                (write.begin, write.end, write.is_certain) = (0, Some(now), is_certain);
            }
            self.blocks.insert((target, lba), writes);
        }
    }

    /// Judges a read of a snapshot; the first one decides what all later ones must show.
    ///
    /// # Errors
    /// If it must not show this.
    pub fn check_snapshot(&mut self, owner: Owner, lba: u64, found: Version) -> Result<(), Verdict> {
        let blank = [BLANK];
        let writes = self.blocks.get(&(owner, lba)).map_or(&blank[..], Vec::as_slice);
        let allowed = writes.iter().map(|w| w.version).collect();
        Self::judge(owner, lba, found, allowed)?;
        self.pin(owner, lba, found);
        Ok(())
    }

    /// A volume or snapshot is gone.
    pub fn forget(&mut self, owner: Owner) {
        self.blocks.retain(|(of, _), _| *of != owner);
    }

    /// The blocks of an owner that have a history.
    pub fn known(&self, owner: Owner) -> impl Iterator<Item = u64> {
        self.blocks.range((owner, 0)..=(owner, u64::MAX)).map(|((_, lba), _)| *lba)
    }
}
