//! Device commands: completions in any order, full devices, equal runs.

use super::{bench, note, taken};
use crate::{Devices, Executor, Mailbox, WaitQueue};
use block::{BLOCK_SIZE, BlockDevice, Blocks, Completion, Geometry, Lba, Op, Tag};
use std::collections::VecDeque;
use std::rc::Rc;

/// A device that completes what it is told to.
#[derive(Debug, Default)]
struct Puppet {
    depth_max: u32,
    in_flight: Vec<(Tag, Op<Vec<u8>>)>,
    done: VecDeque<Completion<Vec<u8>>>,
    kicks: usize,
}

impl Puppet {
    fn new(depth_max: u32) -> Self {
        Self { depth_max, ..Self::default() }
    }

    /// Completes the command at a place in the order of submission.
    fn complete(&mut self, place: usize) {
        let (tag, op) = self.in_flight.remove(place);
        self.done.push_back(Completion { tag, buf: op.into_buf(), result: Ok(()) });
    }
}

impl BlockDevice for Puppet {
    type Buf = Vec<u8>;

    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: Blocks(1000),
            transfer_max: Blocks(32),
            depth_max: self.depth_max,
            is_volatile: false,
            is_block_atomic: true,
        }
    }

    fn submit(&mut self, tag: Tag, op: Op<Vec<u8>>) -> Result<(), Op<Vec<u8>>> {
        if self.in_flight.len() >= self.depth_max as usize {
            return Err(op);
        }
        self.in_flight.push((tag, op));
        Ok(())
    }

    fn kick(&mut self) {
        self.kicks += 1;
    }

    fn poll(&mut self) -> Option<Completion<Vec<u8>>> {
        self.done.pop_front()
    }
}

fn write(lba: u64) -> Op<Vec<u8>> {
    Op::Write { lba: Lba(lba), buf: vec![1; BLOCK_SIZE], fua: false }
}

/// Goal: a completion wakes the task of its command, in whatever order they come, and the buffer comes back.
#[test]
fn completions_find_their_tasks() {
    let (core, mut executor, log) = bench();
    let devices = Rc::new(Devices::new(&core, vec![Puppet::new(8), Puppet::new(8)]));
    for number in 0..4 {
        let (devices, log) = (devices.clone(), log.clone());
        executor.spawn(async move {
            let completion = devices.run(number % 2, write(number as u64)).await;
            assert_eq!(completion.buf.map(|b| b.len()), Some(BLOCK_SIZE));
            note(&log, number.to_string());
        });
    }
    executor.run();
    assert!(!devices.poll(), "nothing has completed");
    devices.kick();
    devices.with(1, |d| {
        assert_eq!((d.kicks, d.in_flight.len()), (1, 2));
        d.complete(1);
        d.complete(0);
    });
    assert!(devices.poll());
    executor.run();
    devices.with(0, |d| d.complete(1));
    devices.poll();
    executor.run();
    assert_eq!(taken(&log), "3 1 2");
}

/// Goal: who finds no room waits for it in the order in which he came.
#[test]
fn a_full_device_is_waited_for_in_order() {
    let (core, mut executor, log) = bench();
    let devices = Rc::new(Devices::new(&core, vec![Puppet::new(2)]));
    let door = Rc::new(WaitQueue::new(&core, 1));
    for number in 0..6 {
        let (devices, log, door) = (devices.clone(), log.clone(), door.clone());
        executor.spawn(async move {
            if number == 5 {
                door.wait().await;
            }
            devices.run(0, write(number)).await;
            note(&log, number.to_string());
        });
    }
    executor.run();
    let mut order = Vec::new();
    while devices.with(0, |d| !d.in_flight.is_empty()) {
        order.push(devices.with(0, |d| {
            assert!(d.in_flight.len() <= 2);
            let lba = d.in_flight[0].1.range().expect("a write").0.0;
            d.complete(0);
            lba
        }));
        devices.poll();
        // The newcomer runs after there is room and before the one who has waited for it.
        door.wake_one();
        executor.run();
    }
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    assert_eq!(taken(&log), "0 1 2 3 4 5");
}

/// Starts a task for each of these commands, by its device, and runs until all wait: the first ones at their devices or in
/// line, those from `at_door` on behind the door.
fn commands(
    devices: &[usize],
    at_door: usize,
    depth_max: u32,
) -> (Rc<Devices<Puppet>>, Rc<WaitQueue>, Executor, super::Log) {
    let (core, mut executor, log) = bench();
    let ports = Rc::new(Devices::new(&core, vec![Puppet::new(depth_max), Puppet::new(depth_max)]));
    let door = Rc::new(WaitQueue::new(&core, devices.len()));
    for (number, device) in devices.iter().copied().enumerate() {
        let (ports, log, door) = (ports.clone(), log.clone(), door.clone());
        executor.spawn(async move {
            if number >= at_door {
                door.wait().await;
            }
            ports.run(device, write(number as u64)).await;
            note(&log, number.to_string());
        });
    }
    executor.run();
    (ports, door, executor, log)
}

/// The blocks that are being written, in the order of submission.
fn at(devices: &Devices<Puppet>, device: usize) -> Vec<u64> {
    devices.with(device, |d| d.in_flight.iter().map(|(_, op)| op.range().expect("a write").0.0).collect())
}

/// Goal: a device that is busy takes nothing from another one. Method: a command has ended and is not collected yet, another one
/// comes to the same device; then one comes to the other device, which is idle.
#[test]
fn an_idle_device_is_not_waited_for() {
    let (devices, door, mut executor, log) = commands(&[0, 0, 1], 1, 1);
    door.wake_all();
    devices.with(0, |d| d.complete(0));
    devices.poll();
    executor.run();
    assert_eq!((at(&devices, 0), at(&devices, 1)), (vec![1], vec![2]));
    assert_eq!(taken(&log), "0");
}

/// Goal: who waited alone and was called is not overtaken by somebody who comes before he runs.
#[test]
fn who_was_called_is_not_overtaken() {
    let (devices, door, mut executor, log) = commands(&[0, 0, 0], 2, 1);
    for expected in [[1], [2]] {
        devices.with(0, |d| d.complete(0));
        devices.poll();
        // The newcomer runs after there is room and before the one who has waited for it.
        door.wake_one();
        executor.run();
        assert_eq!(at(&devices, 0), expected);
    }
    assert_eq!(taken(&log), "0 1");
}

/// Serves 400 requests with 64 tasks and completes commands in an order that `seed` gives; what happened, in order.
fn run(seed: u64) -> String {
    let (core, mut executor, log) = bench();
    let devices = Rc::new(Devices::new(&core, vec![Puppet::new(16), Puppet::new(7)]));
    let requests = Rc::new(Mailbox::new(&core, 400));
    for _ in 0..64 {
        let (devices, requests, log) = (devices.clone(), requests.clone(), log.clone());
        executor.spawn(async move {
            loop {
                let number: u64 = requests.take().await;
                let device = usize::try_from(number % 2).expect("small");
                let both =
                    crate::join(devices.run(device, write(number)), devices.run(1 - device, Op::Flush));
                let _ = both.await;
                note(&log, number.to_string());
            }
        });
    }
    for number in 0..400 {
        requests.put(number).expect("room");
    }
    let mut state = seed;
    drain(&mut executor, &devices, |len| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % len as u64).expect("small")
    });
    taken(&log)
}

fn drain(executor: &mut Executor, devices: &Devices<Puppet>, mut choose: impl FnMut(usize) -> usize) {
    loop {
        executor.run();
        let lens = [0, 1].map(|device| devices.with(device, |d| d.in_flight.len()));
        if lens == [0, 0] {
            return;
        }
        let chosen = choose(lens[0] + lens[1]);
        match chosen.checked_sub(lens[0]) {
            None => devices.with(0, |d| d.complete(chosen)),
            Some(place) => devices.with(1, |d| d.complete(place)),
        }
        devices.poll();
    }
}

/// Goal: the run follows from the order of completions alone, all requests are served, and another order gives another
/// run.
#[test]
fn equal_completions_give_equal_runs() {
    let mut runs = Vec::new();
    for seed in 0..20 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "seed {seed}");
        let mut served: Vec<u64> = first.split(' ').map(|n| n.parse().expect("a number")).collect();
        served.sort_unstable();
        assert_eq!(served, (0..400).collect::<Vec<_>>(), "seed {seed}");
        runs.push(first);
    }
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), 20);
}

/// Goal: a device that completes what it never got is noticed at once.
#[test]
#[should_panic(expected = "a device completed tag 3, which is not in flight")]
fn unknown_completions_are_a_fault() {
    let core = crate::Core::new();
    let devices = Devices::new(&core, vec![Puppet::new(8)]);
    devices.with(0, |d| d.done.push_back(Completion { tag: Tag(3), buf: None, result: Ok(()) }));
    devices.poll();
}
