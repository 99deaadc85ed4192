//! Device commands as futures.
//!
//! Each command in flight has a slot, and its number is the tag. There are as many slots as the devices can have
//! commands in flight together, so whoever finds no slot finds no room at its device, either, and waits for it in the
//! order in which it came.

use crate::{Core, TaskId, WaitQueue};
use block::{BlockDevice, Completion, Op, Tag};
use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::rc::Rc;

/// The devices of one core.
#[derive(Debug)]
pub struct Devices<D: BlockDevice> {
    core: Rc<Core>,
    inner: RefCell<Inner<D>>,
    /// Per device: who waits for room.
    room: Vec<WaitQueue>,
}

#[derive(Debug)]
struct Inner<D: BlockDevice> {
    devices: Vec<D>,
    slots: Vec<Slot<D::Buf>>,
    free: Vec<usize>,
}

#[derive(Debug)]
enum Slot<B> {
    Free,
    InFlight { task: TaskId },
    Done(Completion<B>),
}

impl<D: BlockDevice> Devices<D> {
    /// Takes over devices; a device is named by its place in the list.
    #[must_use]
    pub fn new(core: &Rc<Core>, devices: Vec<D>) -> Self {
        let depth = |d: &D| usize::try_from(d.geometry().depth_max).unwrap_or(usize::MAX);
        let slots: usize = devices.iter().map(depth).sum();
        let room = devices.iter().map(|d| WaitQueue::new(core, depth(d))).collect();
        let inner = Inner {
            devices,
            slots: (0..slots).map(|_| Slot::Free).collect(),
            // The lowest number first.
            free: (0..slots).rev().collect(),
        };
        Self { core: core.clone(), inner: RefCell::new(inner), room }
    }

    /// Does one command, and waits until it has ended. Waits before that while the device has no room.
    ///
    /// # Panics
    /// If there is no such device.
    pub async fn run(&self, device: usize, op: Op<D::Buf>) -> Completion<D::Buf> {
        let mut op = op;
        let mut has_waited = false;
        loop {
            // Who comes while others wait stands behind them; who was called does not go back to the end.
            if has_waited || self.room[device].is_empty() {
                match self.try_submit(device, op) {
                    Ok(slot) => return InFlight { devices: self, device, slot, is_done: false }.await,
                    Err(back) => op = back,
                }
            }
            self.room[device].wait().await;
            has_waited = true;
        }
    }

    fn try_submit(&self, device: usize, op: Op<D::Buf>) -> Result<usize, Op<D::Buf>> {
        let inner = &mut *self.inner.borrow_mut();
        let Some(slot) = inner.free.last().copied() else { return Err(op) };
        inner.devices[device].submit(Tag(slot as u64), op)?;
        inner.free.pop();
        inner.slots[slot] = Slot::InFlight { task: self.core.current() };
        Ok(slot)
    }

    /// Rings the doorbells: once per round of the loop.
    pub fn kick(&self) {
        self.inner.borrow_mut().devices.iter_mut().for_each(BlockDevice::kick);
    }

    /// Takes what has completed, and wakes the tasks that waited for it. Says whether there was anything.
    ///
    /// # Panics
    /// If a device completes what it never got.
    pub fn poll(&self) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        let mut has_any = false;
        for device in &mut inner.devices {
            while let Some(completion) = device.poll() {
                let tag = completion.tag.0;
                let slot = usize::try_from(tag).ok().and_then(|slot| inner.slots.get_mut(slot));
                let Some(slot @ Slot::InFlight { .. }) = slot else {
                    panic!("a device completed tag {tag}, which is not in flight");
                };
                let done = core::mem::replace(slot, Slot::Done(completion));
                if let Slot::InFlight { task } = done {
                    self.core.wake(task);
                }
                has_any = true;
            }
        }
        has_any
    }

    /// Does something with a device itself: its geometry, or what a test wants of a simulated one.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn with<R>(&self, device: usize, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self.inner.borrow_mut().devices[device])
    }

    /// How many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.is_empty()
    }

    /// Gives the devices back; what is in flight is lost, as it is when the process ends.
    #[must_use]
    pub fn into_devices(self) -> Vec<D> {
        self.inner.into_inner().devices
    }
}

struct InFlight<'a, D: BlockDevice> {
    devices: &'a Devices<D>,
    device: usize,
    slot: usize,
    is_done: bool,
}

impl<D: BlockDevice> Future for InFlight<'_, D> {
    type Output = Completion<D::Buf>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = &mut *self.devices.inner.borrow_mut();
        match core::mem::replace(&mut inner.slots[self.slot], Slot::Free) {
            Slot::Done(completion) => {
                inner.free.push(self.slot);
                // Only now: there is room at the device and a slot.
                self.devices.room[self.device].wake_one();
                self.is_done = true;
                Poll::Ready(completion)
            }
            waiting @ (Slot::InFlight { .. } | Slot::Free) => {
                inner.slots[self.slot] = waiting;
                Poll::Pending
            }
        }
    }
}

impl<D: BlockDevice> Drop for InFlight<'_, D> {
    fn drop(&mut self) {
        if !self.is_done {
            self.devices.core.assert_torn_down("a device command");
        }
    }
}
