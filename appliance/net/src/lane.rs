//! A lane: messages from one thread to one other, in order, without a lock.
//!
//! ```text
//!  writer: slot[tail] := message; tail := tail + 1 (release)      reader: tail (acquire) ≠ head? take slot[head]; head := head + 1
//! ```
//! A lane does not wake anybody; a thread that may sleep has a [`Waker`](crate::Waker) beside it.
//!
//! Invariants
//! - Slots from `head` to `tail` hold messages and are the reader's; all others are empty and the writer's. Only the writer
//!   stores `tail`, only the reader stores `head`.
//! - No message is lost or overtaken: what finds no slot waits with the writer.

use crate::limits::LANE_SLOTS;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

/// A value that shares its cache line, and the one that is fetched with it, with no other.
#[repr(align(128))]
struct Apart<T>(T);

/// A place for a message, on a line of its own.
#[repr(align(64))]
struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

struct Shared<T> {
    slots: Box<[Slot<T>]>,
    /// Messages taken so far; the slot of a number is its remainder.
    head: Apart<AtomicUsize>,
    /// Messages put so far.
    tail: Apart<AtomicUsize>,
}

// SAFETY: two threads use it, the writer and the reader, who exist once each and need `&mut` for every operation. They never
// touch the same slot at the same time (first invariant), and hand slots over by release and acquire.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The end that puts messages in.
pub(crate) struct Writer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// The reader's number when it was last looked at.
    head: usize,
    backlog: VecDeque<T>,
}

/// The end that takes them out.
pub(crate) struct Reader<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The writer's number when it was last looked at.
    tail: usize,
}

/// A lane of [`LANE_SLOTS`] slots.
pub(crate) fn lane<T: Send>() -> (Writer<T>, Reader<T>) {
    lane_of(LANE_SLOTS)
}

fn lane_of<T: Send>(slots: usize) -> (Writer<T>, Reader<T>) {
    assert!(slots.is_power_of_two(), "numbers wrap around without a seam");
    let shared = Arc::new(Shared {
        slots: (0..slots).map(|_| Slot(UnsafeCell::new(MaybeUninit::uninit()))).collect(),
        head: Apart(AtomicUsize::new(0)),
        tail: Apart(AtomicUsize::new(0)),
    });
    let writer =
        Writer { shared: Arc::clone(&shared), tail: 0, head: 0, backlog: VecDeque::with_capacity(slots) };
    (writer, Reader { shared, head: 0, tail: 0 })
}

impl<T> Shared<T> {
    fn slot(&self, number: usize) -> *mut MaybeUninit<T> {
        self.slots[number & (self.slots.len() - 1)].0.get()
    }
}

impl<T> Writer<T> {
    /// Puts a message in, behind all others.
    pub(crate) fn push(&mut self, message: T) {
        if !self.backlog.is_empty() || !self.has_room() {
            self.backlog.push_back(message);
            return;
        }
        self.put(message);
    }

    /// Moves what waits into slots that are empty by now; says whether nothing waits any more.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.backlog.is_empty() && self.has_room() {
            if let Some(message) = self.backlog.pop_front() {
                self.put(message);
            }
        }
        self.backlog.is_empty()
    }

    /// The other end is gone: nobody will take anything.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    fn has_room(&mut self) -> bool {
        let slots = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head) < slots {
            return true;
        }
        self.head = self.shared.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head) < slots
    }

    fn put(&mut self, message: T) {
        let slot = self.shared.slot(self.tail);
        // SAFETY: `has_room` has seen that the slot is empty, so it is ours until `tail` passes it.
        unsafe { slot.write(MaybeUninit::new(message)) };
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
    }
}

impl<T> Reader<T> {
    /// The other end is gone: nothing is put in any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if !self.has_message() {
            return None;
        }
        let slot = self.shared.slot(self.head);
        // SAFETY: `has_message` has seen that the slot holds a message, so it is ours until `head` passes it.
        let message = unsafe { slot.read() };
        // SAFETY: the writer has put a message there, and it is taken once: `head` passes it now.
        let message = unsafe { message.assume_init() };
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(message)
    }

    /// Whether there is one.
    pub(crate) fn has_message(&mut self) -> bool {
        if self.head == self.tail {
            self.tail = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head != self.tail
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both ends are gone, and with them everybody who could store these.
        let (head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        for number in 0..tail.wrapping_sub(head) {
            let slot = self.slot(head.wrapping_add(number));
            // SAFETY: slots from `head` to `tail` hold messages, and nobody else is left.
            let message = unsafe { &mut *slot };
            // SAFETY: as above; it is not looked at again.
            unsafe { message.assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Waker;
    use nix::unistd::read;

    /// Goal: whatever the order of putting, taking and moving up, nothing is lost, doubled, overtaken, or dropped twice. Method:
    /// every sequence of ten steps on a lane of two slots, beside two plain queues; each message is counted.
    #[test]
    fn every_short_history_is_that_of_a_queue() {
        const STEPS: u32 = 10;
        for history in 0..3_u32.pow(STEPS) {
            let (counter, mut number, mut rest) = (Arc::new(()), 0, history);
            let (mut slots, mut waiting) = (VecDeque::new(), VecDeque::new());
            let (mut writer, mut reader) = lane_of::<(u32, Arc<()>)>(2);
            for _ in 0..STEPS {
                match rest % 3 {
                    0 => {
                        writer.push((number, Arc::clone(&counter)));
                        let is_full = slots.len() == 2 || !waiting.is_empty();
                        if is_full { &mut waiting } else { &mut slots }.push_back(number);
                        number += 1;
                    }
                    1 => assert_eq!(reader.pop().map(|(number, _)| number), slots.pop_front(), "{history}"),
                    _ => {
                        while slots.len() < 2
                            && let Some(number) = waiting.pop_front()
                        {
                            slots.push_back(number);
                        }
                        assert_eq!(writer.flush(), waiting.is_empty());
                    }
                }
                rest /= 3;
            }
            assert_eq!(Arc::strong_count(&counter), slots.len() + waiting.len() + 1, "each is in one place");
            drop((writer, reader));
            assert_eq!(Arc::strong_count(&counter), 1, "what was not taken is dropped once");
        }
    }

    /// Goal: between two threads that sleep whenever they find nothing, no message is lost, and no sleep is slept through; with few
    /// slots, so that both ends meet at every seam. (A lost wake-up would stop the test for ever.)
    #[test]
    fn threads_that_sleep_miss_nothing() {
        const COUNT: u64 = 200_000;
        let wakers = [Waker::new().expect("an eventfd"), Waker::new().expect("an eventfd")];
        let (mut there, mut their_end) = lane_of::<Box<u64>>(8);
        let (mut back, mut our_end) = lane_of::<Box<u64>>(4);
        let (ours, theirs) = (wakers[0].clone(), wakers[1].clone());
        let thread = std::thread::spawn(move || {
            for expected in 0..COUNT {
                let message = take(&mut their_end, &theirs);
                assert_eq!(*message, expected);
                back.push(message);
                while !back.flush() {
                    std::thread::yield_now();
                }
                ours.wake();
            }
        });
        // Three on the way: the other side now finds one, now sleeps.
        let mut begun = 0;
        for expected in 0..COUNT {
            while begun < COUNT && begun < expected + 3 {
                there.push(Box::new(begun));
                wakers[1].wake();
                begun += 1;
            }
            assert_eq!(*take(&mut our_end, &wakers[0]), expected);
        }
        thread.join().expect("the other end is content");
    }

    /// Takes a message, asleep until there is one.
    fn take<T>(reader: &mut Reader<T>, waker: &Waker) -> T {
        loop {
            if let Some(message) = reader.pop() {
                return message;
            }
            waker.begin_sleep();
            if !reader.has_message() {
                read(waker.as_fd(), &mut [0; 8]).expect("woken");
            }
            waker.end_sleep();
        }
    }

    /// The state of the model below: what is done, what is there.
    #[derive(Clone, Default)]
    struct World {
        /// Steps of the writer: put, wake, put, wake.
        written: u8,
        /// Where the reader is: 0 looks, 1 is about to sleep, 2 looks again, 3 sleeps until the bell rings, 4 awakes.
        reader: u8,
        messages: u32,
        taken: u32,
        is_asleep: bool,
        has_rung: bool,
    }

    impl World {
        /// One step of the writer, if there is one left.
        fn write(&self) -> Option<Self> {
            let mut next = self.clone();
            next.written += 1;
            if self.written.is_multiple_of(2) {
                next.messages += 1;
            } else if core::mem::take(&mut next.is_asleep) {
                next.has_rung = true;
            }
            (self.written < 4).then_some(next)
        }

        /// One step of the reader, unless it sleeps.
        fn read(&self) -> Option<Self> {
            let mut next = self.clone();
            match self.reader {
                0 if self.messages > 0 => (next.messages, next.taken) = (self.messages - 1, self.taken + 1),
                0 => next.reader = 1,
                1 => (next.is_asleep, next.reader) = (true, 2),
                2 => next.reader = if self.messages > 0 { 4 } else { 3 },
                3 => {
                    next.reader = 4;
                    return core::mem::take(&mut next.has_rung).then_some(next);
                }
                _ => (next.is_asleep, next.reader) = (false, 0),
            }
            Some(next)
        }
    }

    /// Follows every order of steps; says how many there are.
    fn explore(world: &World) -> u32 {
        if world.taken == 2 {
            return 1;
        }
        let (written, read) = (world.write(), world.read());
        assert!(written.is_some() || read.is_some(), "asleep for ever over {} messages", world.messages);
        [written, read].iter().flatten().map(explore).sum()
    }

    /// Goal: the rule of sleeping and waking leaves no message behind with the reader asleep. Method: every interleaving of a
    /// writer that puts two messages and a reader that takes two, in a model of the steps.
    #[test]
    fn no_interleaving_sleeps_over_a_message() {
        assert!(explore(&World::default()) > 100, "the model runs");
    }
}
