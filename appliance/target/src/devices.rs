//! The drives of a core: operations that find their drive full wait here; completions come out one by one.
//!
//! Invariants
//! - Reads, writes and flushes reach a drive in the order in which they were submitted. Write Zeroes wait by themselves:
//!   a drive takes few at a time, and a host that clears a volume must not hold up the reads of all others. (Nobody relies
//!   on an order: operations that are in flight together may end in any.)
//! - `in_flight` counts what completes later, waiting ones included; so a drive with none is quiet.

use crate::limits::COMPLETIONS_PER_ROUND_MAX;
use block::{Completion, Geometry, MediaError, Op, Tag};
use dma::DmaBuf;
use pool::DriveId;
use reactor::{Device, Sleep};
use std::collections::VecDeque;

/// A drive that this core may use.
pub type BoxedDevice = Box<dyn Device<Buf = DmaBuf>>;

struct Entry {
    device: BoxedDevice,
    waiting: VecDeque<(Tag, Op<DmaBuf>)>,
    waiting_zeroes: VecDeque<(Tag, Op<DmaBuf>)>,
    in_flight: usize,
    errors: u64,
    must_kick: bool,
    taken_this_round: usize,
}

/// The drives, by number.
#[derive(Default)]
pub struct Devices {
    entries: Vec<Option<Entry>>,
    /// The drive that is polled next.
    turn: usize,
    /// An operation ended as it does when a drive fails.
    has_news: bool,
}

impl core::fmt::Debug for Devices {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Devices").field("count", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Devices {
    /// Adds a drive under its number.
    ///
    /// # Panics
    /// If the number is taken.
    pub fn add(&mut self, id: DriveId, device: BoxedDevice) {
        let index = id.0 as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        let entry = Entry {
            device,
            waiting: VecDeque::new(),
            waiting_zeroes: VecDeque::new(),
            in_flight: 0,
            errors: 0,
            must_kick: false,
            taken_this_round: 0,
        };
        assert!(self.entries[index].replace(entry).is_none(), "each drive has its own number");
    }

    /// What a drive is like; `None` for a drive that did not open.
    #[must_use]
    pub fn geometry(&self, id: DriveId) -> Option<Geometry> {
        Some(self.entry(id)?.device.geometry())
    }

    /// Operations that failed since the start.
    #[must_use]
    pub fn errors(&self, id: DriveId) -> u64 {
        self.entry(id).map_or(0, |entry| entry.errors)
    }

    /// Why a drive does not work any more.
    #[must_use]
    pub fn failure(&self, id: DriveId) -> Option<String> {
        self.entry(id)?.device.failure()
    }

    /// A drive may have failed since this was asked last.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.has_news)
    }

    /// Submits an operation, or lets it wait for room.
    ///
    /// # Panics
    /// If there is no such drive: pools with missing drives are not served.
    pub fn submit(&mut self, id: DriveId, tag: Tag, op: Op<DmaBuf>) {
        let entry =
            self.entries.get_mut(id.0 as usize).and_then(Option::as_mut).expect("a drive of this core");
        entry.in_flight += 1;
        entry.must_kick = true;
        let Entry { device, waiting, waiting_zeroes, .. } = entry;
        let queue = if matches!(op, Op::WriteZeroes { .. }) { waiting_zeroes } else { waiting };
        // Nobody overtakes.
        let refused = if queue.is_empty() { device.submit(tag, op).err() } else { Some(op) };
        queue.extend(refused.map(|op| (tag, op)));
    }

    /// A new round begins: each drive may give its share of completions.
    pub fn begin_round(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.taken_this_round = 0;
        }
    }

    /// The next completion of any drive.
    pub fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        for _ in 0..self.entries.len() {
            let index = if self.turn < self.entries.len() { self.turn } else { 0 };
            let completion = self.entries[index].as_mut().and_then(Entry::poll);
            if let Some(completion) = &completion {
                self.has_news |= matches!(completion.result, Err(MediaError::Gone | MediaError::TimedOut));
            }
            if completion.is_some() {
                return completion;
            }
            self.turn = index + 1; // past the last one: the first
        }
        None
    }

    /// Hands everything to the drives that have news, and waiting operations as far as there is room.
    pub fn kick(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            let Entry { device, waiting, waiting_zeroes, .. } = entry;
            // One first, so that a drive that is never idle gets to them, too.
            let mut count = submit_waiting(device, waiting_zeroes, 1);
            count += submit_waiting(device, waiting, usize::MAX);
            count += submit_waiting(device, waiting_zeroes, usize::MAX);
            entry.must_kick |= count > 0;
            if core::mem::take(&mut entry.must_kick) {
                entry.device.kick();
            }
        }
    }

    /// Nothing is in flight on any drive.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.entries.iter().flatten().all(|entry| entry.in_flight == 0)
    }

    /// The core wants to sleep.
    pub fn prepare_sleep(&mut self) -> Sleep {
        let mut sleep = Sleep::Fine;
        for entry in self.entries.iter_mut().flatten().filter(|entry| entry.in_flight > 0) {
            if entry.device.prepare_sleep() == Sleep::Poll {
                sleep = Sleep::Poll;
            }
        }
        sleep
    }

    /// The core is awake.
    pub fn on_awake(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.device.on_awake();
        }
    }

    /// Flushes and shuts down every drive; says which failed. Afterwards there are none. A drive that has not given
    /// everything back is only dropped, which waits for it as long as its driver finds right.
    pub fn shut_down(&mut self) -> Vec<(DriveId, String)> {
        let mut failures = Vec::new();
        for (id, place) in (0u32..).map(DriveId).zip(&mut self.entries) {
            let Some(mut entry) = place.take() else { continue };
            if entry.in_flight > 0 {
                failures.push((id, format!("{} operations did not come back in time", entry.in_flight)));
            } else if let Err(problem) = entry.device.shut_down() {
                failures.push((id, problem));
            }
        }
        failures
    }

    fn entry(&self, id: DriveId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.as_ref()
    }
}

/// Hands waiting operations to their drive, at most so many, until it has no room; says how many it took.
fn submit_waiting(
    device: &mut BoxedDevice,
    waiting: &mut VecDeque<(Tag, Op<DmaBuf>)>,
    count_max: usize,
) -> usize {
    let mut count = 0;
    while count < count_max
        && let Some((tag, op)) = waiting.pop_front()
    {
        if let Err(op) = device.submit(tag, op) {
            waiting.push_front((tag, op));
            break;
        }
        count += 1;
    }
    count
}

impl Entry {
    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        if self.in_flight == 0 || self.taken_this_round >= COMPLETIONS_PER_ROUND_MAX {
            return None;
        }
        let completion = self.device.poll()?;
        self.taken_this_round += 1;
        self.in_flight = self.in_flight.checked_sub(1).expect("each operation completes once");
        // A range outside the drive is a fault of ours, not the drive's.
        if completion.result.is_err_and(|error| error != MediaError::OutOfRange) {
            self.errors += 1;
        }
        Some(completion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{BlockDevice, Blocks, Bytes, Lba};
    use reactor::RamDevice;

    /// A drive that clears blocks one operation at a time, and never ends the one that it has.
    struct SlowZeroes {
        ram: RamDevice,
        has_zeroes: bool,
    }

    impl BlockDevice for SlowZeroes {
        type Buf = DmaBuf;

        fn geometry(&self) -> Geometry {
            self.ram.geometry()
        }
        fn submit(&mut self, tag: Tag, op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
            if !matches!(op, Op::WriteZeroes { .. }) {
                return self.ram.submit(tag, op);
            }
            if core::mem::replace(&mut self.has_zeroes, true) { Err(op) } else { Ok(()) }
        }
        fn kick(&mut self) {}
        fn poll(&mut self) -> Option<Completion<DmaBuf>> {
            self.ram.poll()
        }
    }

    impl Device for SlowZeroes {
        fn prepare_sleep(&mut self) -> Sleep {
            Sleep::Poll
        }
    }

    /// Goal: whoever clears much more than a drive can clear at once does not hold up the operations of others.
    #[test]
    fn write_zeroes_hold_up_nobody_else() {
        let mut devices = Devices::default();
        let ram = RamDevice::new(Bytes(1 << 20));
        devices.add(DriveId(0), Box::new(SlowZeroes { ram, has_zeroes: false }));
        for number in 0..100 {
            let op = Op::WriteZeroes { lba: Lba(number), blocks: Blocks(1), fua: false };
            devices.submit(DriveId(0), Tag(number), op);
        }
        devices.submit(DriveId(0), Tag(1000), Op::Flush);
        devices.kick();
        let completion = devices.poll().expect("the flush does not wait");
        assert_eq!((completion.tag, completion.result), (Tag(1000), Ok(())));
        assert!(devices.poll().is_none() && !devices.is_quiet());
    }
}
