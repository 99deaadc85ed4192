//! Commands in flight, by command identifier.
//!
//! A CID is the number of a slot and, above it, how often the slot was used. A completion that arrives twice, or from
//! before a reset, names a generation that is over and is recognised as stale.

use crate::limits::CID_SLOT_BITS;
use block::Tick;

const SLOT_MASK: u16 = (1 << CID_SLOT_BITS) - 1;

/// All commands of a queue pair that the device has.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u16,
    since: Tick,
    work: Option<T>,
}

/// A slot that is free and will be used next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) slot: u16,
    pub(crate) cid: u16,
}

impl<T> Slots<T> {
    pub(crate) fn new(count: u16) -> Self {
        assert!(count > 0 && count - 1 < SLOT_MASK, "slots fit into a CID, and FFFFh is never one");
        let slot = |_| Slot { generation: 0, since: Tick(0), work: None };
        Self { slots: (0..count).map(slot).collect(), free: (0..count).rev().collect() }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot that [`Slots::fill`] has to be called for, if one is free.
    pub(crate) fn reserve(&self) -> Option<Reserved> {
        let slot = *self.free.last()?;
        let generation = self.slots[usize::from(slot)].generation;
        Some(Reserved { slot, cid: (generation << CID_SLOT_BITS) | slot })
    }

    /// Puts work into the slot reserved last.
    pub(crate) fn fill(&mut self, reserved: Reserved, work: T, now: Tick) {
        assert_eq!(self.free.pop(), Some(reserved.slot), "the slot reserved last is filled");
        let slot = &mut self.slots[usize::from(reserved.slot)];
        assert!(slot.work.is_none(), "a free slot is empty");
        slot.since = now;
        slot.work = Some(work);
    }

    /// Ends a command: the work of the CID, or `None` if no such command is in flight.
    pub(crate) fn finish(&mut self, cid: u16) -> Option<T> {
        let index = cid & SLOT_MASK;
        let slot = self.slots.get_mut(usize::from(index))?;
        if slot.generation != cid >> CID_SLOT_BITS {
            return None;
        }
        let work = slot.work.take()?;
        slot.generation = (slot.generation + 1) & (u16::MAX >> CID_SLOT_BITS);
        self.free.push(index);
        Some(work)
    }

    /// Ends any command in flight, for a device that will not answer.
    pub(crate) fn finish_any(&mut self) -> Option<T> {
        let index = self.slots.iter().position(|slot| slot.work.is_some())?;
        let slot = u16::try_from(index).expect("slots fit into a CID");
        self.finish((self.slots[index].generation << CID_SLOT_BITS) | slot)
    }

    /// When the oldest command in flight was started.
    pub(crate) fn oldest(&self) -> Option<Tick> {
        self.slots.iter().filter(|slot| slot.work.is_some()).map(|slot| slot.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(slots: &mut Slots<u32>, work: u32) -> Option<u16> {
        let reserved = slots.reserve()?;
        slots.fill(reserved, work, Tick(u64::from(work)));
        Some(reserved.cid)
    }

    /// Goal: a CID is good for one completion, and different from the next CID of its slot.
    #[test]
    fn stale_identifiers_are_recognised() {
        let mut slots = Slots::new(2);
        let first = start(&mut slots, 1).expect("free");
        assert_eq!(slots.finish(first), Some(1));
        assert_eq!(slots.finish(first), None);
        let second = start(&mut slots, 2).expect("free");
        assert_ne!(first, second);
        assert_eq!((slots.finish(first), slots.finish(0xffff), slots.finish(7)), (None, None, None));
        assert_eq!(slots.finish(second), Some(2));
    }

    /// Goal: generations wrap without making an identifier invalid.
    #[test]
    fn generations_wrap() {
        let mut slots = Slots::new(1);
        for work in 0..1000 {
            let cid = start(&mut slots, work).expect("free");
            assert_ne!(cid, 0xffff);
            assert_eq!(slots.finish(cid), Some(work));
        }
    }

    /// Goal: full is full, the oldest is known, and draining ends everything.
    #[test]
    fn slots_fill_and_drain() {
        let mut slots = Slots::new(3);
        for work in [5, 3, 4] {
            assert!(start(&mut slots, work).is_some());
        }
        assert_eq!((start(&mut slots, 9), slots.in_flight(), slots.oldest()), (None, 3, Some(Tick(3))));
        let mut drained: Vec<u32> = core::iter::from_fn(|| slots.finish_any()).collect();
        drained.sort_unstable();
        assert_eq!((drained, slots.in_flight(), slots.oldest()), (vec![3, 4, 5], 0, None));
    }
}
