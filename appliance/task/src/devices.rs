//! Device commands as futures.
//!
//! Each command in flight has a slot, and its number is the tag. A device has as many slots of its own as it can have commands
//! in flight, so whoever finds none waits for that device only, in the order in which it came.
//!
//! A slot is free again when its completion was collected. If somebody waits, the slot is kept for him from then on: who comes
//! before he runs does not take it.

use crate::{Core, TaskId, WaitQueue};
use block::{BlockDevice, Completion, Op, Tag};
use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::rc::Rc;

/// The devices of one core.
#[derive(Debug)]
pub struct Devices<D: BlockDevice> {
    core: Rc<Core>,
    ports: Vec<Port<D>>,
}

/// A device with its line.
#[derive(Debug)]
struct Port<D: BlockDevice> {
    inner: RefCell<Inner<D>>,
    /// Who waits for a slot.
    room: WaitQueue,
    /// Free slots that are kept for those who were called and did not run yet.
    kept: Cell<usize>,
}

#[derive(Debug)]
struct Inner<D: BlockDevice> {
    device: D,
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
        let ports = devices.into_iter().map(|device| Port::new(core, device)).collect();
        Self { core: core.clone(), ports }
    }

    /// Does one command, and waits until it has ended. Waits before that while the device has no room.
    ///
    /// # Panics
    /// If there is no such device.
    pub async fn run(&self, device: usize, op: Op<D::Buf>) -> Completion<D::Buf> {
        let port = &self.ports[device];
        let mut op = op;
        let mut is_called = false;
        loop {
            // Who was called has a slot that is kept for him.
            let is_free = is_called || port.has_room();
            port.kept.set(port.kept.get() - usize::from(is_called));
            if is_free {
                match port.try_submit(op, self.core.current()) {
                    Ok(slot) => return InFlight { core: &self.core, port, slot, is_done: false }.await,
                    Err(back) => op = back,
                }
            }
            port.room.wait().await;
            is_called = true;
        }
    }

    /// Rings the doorbells: once per round of the loop.
    pub fn kick(&self) {
        self.ports.iter().for_each(|port| port.inner.borrow_mut().device.kick());
    }

    /// Takes what has completed, and wakes the tasks that waited for it. Says whether there was anything.
    ///
    /// # Panics
    /// If a device completes what it never got.
    pub fn poll(&self) -> bool {
        let mut has_any = false;
        for port in &self.ports {
            has_any |= port.poll(&self.core);
        }
        has_any
    }

    /// Does something with a device itself: its geometry, or what a test wants of a simulated one.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn with<R>(&self, device: usize, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self.ports[device].inner.borrow_mut().device)
    }

    /// How many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Gives the devices back; what is in flight is lost, as it is when the process ends.
    #[must_use]
    pub fn into_devices(self) -> Vec<D> {
        self.ports.into_iter().map(|port| port.inner.into_inner().device).collect()
    }
}

impl<D: BlockDevice> Port<D> {
    fn new(core: &Rc<Core>, device: D) -> Self {
        let depth = usize::try_from(device.geometry().depth_max).unwrap_or(usize::MAX);
        let inner = Inner {
            device,
            slots: (0..depth).map(|_| Slot::Free).collect(),
            // The lowest number first.
            free: (0..depth).rev().collect(),
        };
        Self { inner: RefCell::new(inner), room: WaitQueue::new(core, depth), kept: Cell::new(0) }
    }

    /// Whether somebody who comes now may submit: nobody waits, and not all free slots are kept.
    fn has_room(&self) -> bool {
        self.room.is_empty() && self.inner.borrow().free.len() > self.kept.get()
    }

    fn try_submit(&self, op: Op<D::Buf>, task: TaskId) -> Result<usize, Op<D::Buf>> {
        let inner = &mut *self.inner.borrow_mut();
        let Some(slot) = inner.free.last().copied() else { return Err(op) };
        inner.device.submit(Tag(slot as u64), op)?;
        inner.free.pop();
        inner.slots[slot] = Slot::InFlight { task };
        Ok(slot)
    }

    fn poll(&self, core: &Core) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        let mut has_any = false;
        while let Some(completion) = inner.device.poll() {
            let tag = completion.tag.0;
            let slot = usize::try_from(tag).ok().and_then(|slot| inner.slots.get_mut(slot));
            let Some(slot @ Slot::InFlight { .. }) = slot else {
                panic!("a device completed tag {tag}, which is not in flight");
            };
            let done = core::mem::replace(slot, Slot::Done(completion));
            if let Slot::InFlight { task } = done {
                core.wake(task);
            }
            has_any = true;
        }
        has_any
    }

    /// A completion was collected: there is room at the device, and a slot.
    fn give(&self, slot: usize) {
        self.inner.borrow_mut().free.push(slot);
        if !self.room.is_empty() {
            self.kept.set(self.kept.get() + 1);
            self.room.wake_one();
        }
    }

    fn collect(&self, slot: usize) -> Option<Completion<D::Buf>> {
        let inner = &mut *self.inner.borrow_mut();
        match core::mem::replace(&mut inner.slots[slot], Slot::Free) {
            Slot::Done(completion) => Some(completion),
            waiting @ (Slot::InFlight { .. } | Slot::Free) => {
                inner.slots[slot] = waiting;
                None
            }
        }
    }
}

struct InFlight<'a, D: BlockDevice> {
    core: &'a Core,
    port: &'a Port<D>,
    slot: usize,
    is_done: bool,
}

impl<D: BlockDevice> Future for InFlight<'_, D> {
    type Output = Completion<D::Buf>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(completion) = self.port.collect(self.slot) else { return Poll::Pending };
        self.port.give(self.slot);
        self.is_done = true;
        Poll::Ready(completion)
    }
}

impl<D: BlockDevice> Drop for InFlight<'_, D> {
    fn drop(&mut self) {
        if !self.is_done {
            self.core.assert_torn_down("a device command");
        }
    }
}
