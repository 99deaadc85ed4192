//! The drive as `check` sees it, which reads it in its own way: after each power cut only what a cut may leave, after each import
//! nothing at all.

use block::{BLOCK_SIZE, Blocks, Lba, MediaError};
use check::{Depth, Medium, Report, Severity, check_thin};
use sim::Drive;

/// A simulated drive, which is only read.
struct Seen<'a>(&'a Drive);

impl Medium for Seen<'_> {
    fn capacity(&self) -> Blocks {
        self.0.geometry.blocks
    }

    fn read(&self, lba: Lba, to: &mut [u8]) -> Result<(), MediaError> {
        match self.0.block(lba.0) {
            Some(block) => to.copy_from_slice(&block),
            None => to.copy_from_slice(&[0; BLOCK_SIZE]),
        }
        Ok(())
    }
}

fn judge(drive: &Drive) -> Report {
    let report = check_thin(&Seen(drive), Depth::Data).expect("it is a drive of the thin engine");
    assert!(report.summary.as_ref().is_some_and(|summary| summary.is_complete), "{:?}", report.findings);
    report
}

/// What is on a drive whose power failed: it may miss what was under way.
pub(super) fn after_cut(drive: &Drive) {
    let worst = judge(drive).findings.into_iter().max_by_key(|finding| finding.problem.facts().severity);
    let is_explained =
        worst.as_ref().is_none_or(|finding| finding.problem.facts().severity == Severity::Note);
    assert!(
        is_explained,
        "a power cut cannot leave this: {}",
        worst.map(|w| w.to_string()).unwrap_or_default()
    );
}

/// What is on a drive that was imported.
pub(super) fn after_import(drive: &Drive) {
    let found: Vec<String> = judge(drive).findings.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "an import settles everything: {found:?}");
}
