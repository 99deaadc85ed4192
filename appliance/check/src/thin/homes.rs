//! Superblocks and roots: which one counts, and what the other copies say.
//!
//! A power cut may leave the newest root in some homes only. The slot of the other generations then holds the root before: it
//! was durable in every home before the newest one was written.

use super::{Check, is_blank};
use crate::finding::{HomeProblem, Place};
use crate::medium::{Fault, Medium, fetch};
use crate::report::Report;
use block::Lba;
use ondisk::LoadError;
use ondisk::thin::{AU_BLOCKS, Address, HOMES, HomeSlot, Member, Root, Superblock, ThinLayout};

fn read(medium: &dyn Medium, home: u8, lba: Lba) -> Result<Superblock, Fault> {
    let bytes = fetch(medium, lba)?;
    Ok(Superblock::decode(&bytes, home, lba)?)
}

/// Where a home is, as far as the capacity tells.
fn guess(medium: &dyn Medium, home: u8) -> Lba {
    let aus = medium.capacity().0.checked_div(AU_BLOCKS).unwrap_or(0);
    let au = if home < 2 { u64::from(home) } else { aus.saturating_sub(4_u64.saturating_sub(home.into())) };
    Lba(au.saturating_mul(AU_BLOCKS))
}

/// The superblock that counts, and the layout; the outer `None` if this is no drive of the thin engine.
pub(super) fn superblock(
    medium: &dyn Medium,
    report: &mut Report,
) -> Option<Option<(Superblock, ThinLayout)>> {
    let copies = |place: &dyn Fn(u8) -> Lba| -> Vec<(u8, Lba, Result<Superblock, Fault>)> {
        (0..HOMES).map(|home| (home, place(home), read(medium, home, place(home)))).collect()
    };
    let guessed = copies(&|home| guess(medium, home));
    let newest = |copies: &[(u8, Lba, Result<Superblock, Fault>)]| {
        copies.iter().filter_map(|(_, _, copy)| copy.as_ref().ok()).max_by_key(|s| s.generation).cloned()
    };
    let is_ours = |fault: &Fault| matches!(fault, Fault::Load(error) if !matches!(error, LoadError::Blank | LoadError::NotOurs));
    let Some(layout) = newest(&guessed).and_then(|found| found.layout()) else {
        let is_damaged = guessed.iter().any(|(_, _, copy)| copy.as_ref().is_err_and(is_ours));
        return is_damaged.then(|| {
            report.add(HomeProblem::NoSuperblock, Place::default());
            None
        });
    };
    // Now the layout says where the homes are.
    let copies = copies(&|home| layout.home_lba(home));
    let found = newest(&copies).or_else(|| newest(&guessed))?;
    let blocks = found.blocks.0;
    if medium.capacity().0 < blocks {
        report.add(HomeProblem::Shrank { capacity: medium.capacity().0, blocks }, Place::default());
        return Some(None);
    }
    for (home, lba, copy) in copies {
        let problem = match copy {
            Err(fault) => HomeProblem::SuperblockDamaged { home, fault },
            Ok(copy) if copy == found => continue,
            Ok(Superblock { generation, .. }) if generation < found.generation => {
                HomeProblem::SuperblockOlder { home, generation, newest: found.generation }
            }
            Ok(_) => HomeProblem::SuperblocksDiffer { home },
        };
        report.add(problem, Place::block(Address { member: Member::FIRST, lba }));
    }
    Some(found.layout().map(|layout| (found, layout)))
}

impl Check<'_> {
    /// The newest root.
    pub(super) fn root(&mut self) -> Option<Root> {
        let mut copies = Vec::new();
        for (member, layout) in self.layout.members() {
            for slot in (0..HOMES).flat_map(|home| [0, 1].map(|parity| HomeSlot { home, parity })) {
                let at = Address { member, lba: layout.root_lba(slot) };
                let copy = self
                    .fetch(at)
                    .and_then(|bytes| Ok(Root::decode(&bytes, slot, at.lba, self.owner(member))?));
                copies.push((slot, at, copy));
            }
        }
        for (HomeSlot { home, parity }, at, copy) in &copies {
            if let Err(fault) = copy.as_ref()
                && !is_blank(fault)
            {
                let fault = fault.clone();
                self.found(
                    HomeProblem::RootDamaged { home: *home, parity: *parity, fault },
                    Place::block(*at),
                );
            }
        }
        let good = copies.iter().filter_map(|(_, _, copy)| copy.as_ref().ok());
        let Some(newest) = good.clone().max_by_key(|root| root.generation) else {
            self.found(HomeProblem::NoRoot, Place::default());
            return None;
        };
        let slot_of = Root::slot(newest.generation, 0).parity;
        for (HomeSlot { home, parity }, at, copy) in &copies {
            if *parity == slot_of && !matches!(copy, Err(fault) if !is_blank(fault)) {
                self.compare(newest, *home, *at, copy.as_ref().ok());
            }
        }
        let others: Vec<_> = copies.iter().filter(|(slot, ..)| slot.parity != slot_of).collect();
        if others.iter().all(|(_, _, copy)| copy.as_ref().is_err_and(|fault| !is_blank(fault))) {
            self.found(HomeProblem::RootLost { generation: newest.generation }, Place::default());
        }
        let generation = newest.generation.saturating_sub(1);
        let before = good.clone().find(|root| root.generation == generation);
        for (HomeSlot { home, .. }, at, copy) in others.iter().filter(|_| before.is_some()) {
            let (home, is_damaged) = (*home, matches!(copy, Err(fault) if !is_blank(fault)));
            if !is_damaged && copy.as_ref().ok() != before {
                self.found(HomeProblem::RootBeforeLags { home, generation }, Place::block(*at));
            }
        }
        match before {
            Some(before) => self.went_back(before, newest),
            None if generation > 0 => {
                self.found(HomeProblem::RootBeforeMissing { generation }, Place::default());
            }
            None => {}
        }
        Some(newest.clone())
    }

    /// A copy in the slot of the newest root that is not damaged.
    fn compare(&mut self, newest: &Root, home: u8, at: Address, copy: Option<&Root>) {
        let generation = newest.generation;
        let problem = match copy {
            Some(root) if root == newest => return,
            Some(root) if root.generation == generation => HomeProblem::RootsDiffer { home, generation },
            Some(_) | None => HomeProblem::RootLags { home, newest: generation },
        };
        self.found(problem, Place::block(at));
    }

    fn went_back(&mut self, before: &Root, newest: &Root) {
        let numbers = [
            ("the epoch", before.epoch, newest.epoch),
            ("the first journal block", before.journal_sequence, newest.journal_sequence),
            ("the number of the next volume", before.next_volume.into(), newest.next_volume.into()),
        ];
        for (what, before, now) in numbers {
            if now < before {
                self.found(HomeProblem::RootWentBack { what }, Place::default());
            }
        }
    }
}
