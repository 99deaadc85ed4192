//! Reading the journal: where it ends, and whether it may end there.
//!
//! The ring was blank when the pool was made, so a place is blank, or has a journal block, perhaps of an earlier lap or epoch.
//! Only blocks of the root's epoch count. Where the next block is not, anything else than that is damage (a power cut leaves
//! blocks whole, old or new); and a later block may say that it was durable, or settle its records, which is done only then.

use super::volumes::Volumes;
use super::{Check, is_blank};
use crate::finding::{JournalProblem, Place};
use crate::medium::Fault;
use crate::report::JournalUse;
use ondisk::thin::{Address, JournalBlock, JournalHead, JournalRecord, Lsn, Root};
use std::collections::BTreeMap;

/// The blocks of the root's epoch that are not in the checkpoint.
type Heads = BTreeMap<u64, JournalHead>;

impl Check<'_> {
    /// Reads and replays the journal.
    pub(super) fn journal(&mut self, root: &Root, volumes: &mut Volumes) -> JournalUse {
        let heads = self.ring(root);
        let mut end = root.journal_sequence;
        while heads.contains_key(&end) {
            end = end.saturating_add(1);
        }
        self.end(root, end, &heads);
        let settled = self.marks(root, end, &heads);
        let mut found = JournalUse {
            blocks: self.layout.journal_blocks(),
            used: end.saturating_sub(root.journal_sequence),
            ..JournalUse::default()
        };
        (found.records, found.dropped) = self.replay(root.journal_sequence..end, settled, volumes);
        found
    }

    fn block(&self, at: Address) -> Result<(JournalHead, Vec<JournalRecord>), Fault> {
        let bytes = self.fetch(at)?;
        Ok(JournalBlock::decode(&bytes, at.lba, self.owner(at.member))?)
    }

    /// The records of a block of the journal, with their numbers.
    pub(super) fn records(&self, sequence: u64) -> Vec<(Lsn, JournalRecord)> {
        let found = self.block(self.layout.journal_at(sequence)).map(|(_, records)| records);
        let number = |(index, record)| (Lsn::new(sequence, index), record);
        (0..=u8::MAX).zip(found.unwrap_or_default()).map(number).collect()
    }

    /// Looks at every place of the ring.
    fn ring(&mut self, root: &Root) -> Heads {
        let mut heads = Heads::new();
        let blocks = self.layout.journal_blocks();
        for at in 0..blocks {
            let here = self.layout.journal_at(at);
            let Ok((head, _)) = self.block(here) else { continue };
            let JournalHead { sequence, epoch, .. } = head;
            let place = Place::block(here);
            if epoch > root.epoch {
                self.found(JournalProblem::OtherEpoch { sequence, epoch }, place);
            } else if self.layout.journal_at(sequence) != here {
                self.found(JournalProblem::Elsewhere { sequence }, place);
            } else if epoch == root.epoch && sequence >= root.journal_sequence.saturating_add(blocks) {
                self.found(JournalProblem::Ahead { sequence }, place);
            } else if epoch == root.epoch && sequence >= root.journal_sequence {
                heads.insert(sequence, head);
            }
        }
        heads
    }

    /// Whether the journal may end before the block `end`.
    fn end(&mut self, root: &Root, end: u64, heads: &Heads) {
        if end.saturating_sub(root.journal_sequence) >= self.layout.journal_blocks() {
            return;
        }
        let at = self.layout.journal_at(end);
        let later = heads.range(end..).next().map(|(sequence, _)| *sequence);
        let proves = |head: &JournalHead| head.durable > end || head.settled >= Lsn::new(end, 0);
        let proof = heads.range(end..).find(|(_, head)| proves(head)).map(|(sequence, _)| *sequence);
        let fault = self.block(at).err().filter(|fault| !is_blank(fault));
        let problem = match (fault, proof, later) {
            (Some(fault), _, _) => JournalProblem::Damaged { sequence: end, fault },
            (None, Some(later), _) => JournalProblem::Missing { sequence: end, later },
            (None, None, Some(later)) => JournalProblem::Gap { sequence: end, later },
            (None, None, None) => return,
        };
        self.found(problem, Place::block(at));
    }

    /// The rules of the marks; gives the last settle mark of the journal.
    fn marks(&mut self, root: &Root, end: u64, heads: &Heads) -> Lsn {
        let (mut settled, mut durable) = (Lsn(0), 0);
        for (sequence, head) in heads.range(root.journal_sequence..end) {
            let (sequence, place) = (*sequence, Place::block(self.layout.journal_at(*sequence)));
            // 0 stands for nothing, too: the very first record creates a volume, and has no data.
            if head.settled >= Lsn::new(sequence, 0) && head.settled > Lsn(0) {
                self.found(JournalProblem::SettledAhead { sequence }, place);
            }
            if head.settled < settled {
                self.found(JournalProblem::SettledBack { sequence }, place);
            }
            if head.durable < durable {
                self.found(JournalProblem::DurableBack { sequence }, place);
            }
            settled = settled.max(head.settled);
            durable = durable.max(head.durable);
        }
        settled
    }
}
