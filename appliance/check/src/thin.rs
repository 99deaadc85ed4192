//! The check of a drive of the thin engine: `docs/ondisk.md`, second part.
//!
//! 1. Homes: which superblock, which root.
//! 2. The volume table, every node that it reaches, each once, and the bitmap of dirty regions.
//! 3. The journal: read to its end, then replayed over the maps, which stay on the drive.
//! 4. What every volume reaches after that: its attributes, and who uses each unit.
//!
//! Replaying is idempotent: a record whose effect is in the checkpoint already changes nothing, and is no finding.

use crate::finding::{HomeProblem, Place, Problem};
use crate::medium::{Fault, Medium, fetch};
use crate::report::{Report, Summary, Units};
use ondisk::LoadError;
use ondisk::thin::{Address, MapNode, Member, Pointer, PoolLayout, Root, Superblock, ThinIdentity};

mod attributes;
mod dirty;
mod homes;
mod journal;
mod maps;
mod replay;
mod sums;
mod tables;
mod units;
mod volumes;

use dirty::Dirty;
use volumes::Volumes;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything but what hosts stored.
    Metadata,
    /// All blocks that a map reaches as well: each against its checksum, where that may not lag behind.
    Data,
}

/// The drive that is checked, and what was found so far.
pub(crate) struct Check<'a> {
    medium: &'a dyn Medium,
    identity: ThinIdentity,
    layout: PoolLayout,
    report: Report,
    /// Whether everything that the root reaches could be read.
    is_complete: bool,
    depth: Depth,
    dirty: Dirty,
}

/// Checks a drive of the thin engine; `None` if it is not one.
///
/// It is one if any of its homes begins with a superblock, good or not.
#[must_use]
pub fn check_thin(medium: &dyn Medium, depth: Depth) -> Option<Report> {
    let mut report = Report::default();
    let superblock = homes::superblock(medium, &mut report)?;
    let Some((superblock, layout)) = superblock else { return Some(report) };
    let identity = superblock.identity;
    let dirty = Dirty::default();
    let Some(layout) = PoolLayout::new([layout]) else { return Some(report) };
    let mut check = Check { medium, identity, layout, report, is_complete: true, depth, dirty };
    check.superblock(&superblock);
    if let Some(root) = check.root() {
        check.pool(&root);
    }
    Some(check.report)
}

impl Check<'_> {
    /// A block of the pool.
    fn fetch(&self, at: Address) -> Result<Box<[u8]>, Fault> {
        fetch(self.medium, at.lba)
    }

    /// Whose blocks lie on a drive.
    fn owner(&self, _: Member) -> ThinIdentity {
        self.identity
    }

    fn found(&mut self, problem: impl Into<Problem>, place: Place) {
        self.report.add(problem, place);
    }

    fn superblock(&mut self, superblock: &Superblock) {
        let Superblock { member, member_count, .. } = *superblock;
        if member_count > 1 {
            self.found(HomeProblem::OtherMembers { member, member_count }, Place::default());
        }
        let (capacity, blocks) = (self.medium.capacity().0, superblock.blocks.0);
        if capacity > blocks {
            self.found(HomeProblem::Grew { capacity, blocks }, Place::default());
        }
    }

    fn pool(&mut self, root: &Root) {
        let mut volumes = Volumes { next: root.next_volume, ..Volumes::default() };
        let mut nodes = maps::Nodes::default();
        for (entry, table) in self.tables(root, &mut nodes) {
            let reached = entry.root.map(|pointer| self.map(&entry, &pointer, &table, &mut nodes));
            volumes.add(&entry, reached.unwrap_or_default());
        }
        self.bitmap(root, &mut nodes);
        let journal = self.journal(root, &mut volumes);
        self.attributes(root, &mut volumes, &mut nodes);
        let used = self.units(&volumes, &nodes);
        let units = Units { usable: self.usable(), ..used };
        self.report.summary = Some(Summary {
            identity: self.identity,
            generation: root.generation,
            epoch: root.epoch,
            is_complete: self.is_complete,
            volumes: volumes.summary(),
            units,
            journal,
        });
    }

    fn usable(&self) -> u64 {
        self.layout.usable().fold(0, |sum, _| sum.saturating_add(1))
    }

    /// A node of a map.
    fn node(&self, pointer: &Pointer, level: u8, first_unit: u64) -> Result<MapNode, Fault> {
        let bytes = self.fetch(pointer.at)?;
        Ok(MapNode::decode(&bytes, pointer, (level, first_unit), self.owner(pointer.at.member))?)
    }
}

/// Whether nothing was ever written where this was read.
fn is_blank(fault: &Fault) -> bool {
    matches!(fault, Fault::Load(LoadError::Blank))
}

/// The units that the child of a node of this level covers.
fn child_span(level: u8) -> u64 {
    MapNode::span(level.saturating_sub(1)).unwrap_or(u64::MAX)
}
