//! Compare and Write over the wire: two commands that are one, against everything that may come between its two operations.

use super::host::{Host, Queue, pattern, transfer};
use super::known_bugs::common;
use super::{Bench, each_operation_fails};
use block::MediaError;
use nvme_spec::entry::DatasetFlags;
use nvme_spec::tcp::{CapsuleCmd, PduType};
use nvme_spec::{AdminOpcode, DatasetRange, NvmOpcode, Sqe, Status};
use nvme_tcp::Slot;
use nvme_tcp::host::Data;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use zerocopy::IntoBytes;

const LEN: u32 = 4096;
const FAILED: Status = Status::ABORTED_FAILED_FUSED.dnr();

fn half(fuse: u8, opcode: NvmOpcode, lba: u64) -> Sqe {
    let mut sqe = transfer(opcode, 1, lba, LEN as usize);
    sqe.flags |= fuse;
    sqe
}

fn first(queue: &mut Queue, lba: u64, seed: u64) -> Slot {
    queue.submit(half(1, NvmOpcode::COMPARE, lba), Data::Write(LEN), block(seed))
}

fn second(queue: &mut Queue, lba: u64, seed: u64) -> Slot {
    queue.submit(half(2, NvmOpcode::WRITE, lba), Data::Write(LEN), block(seed))
}

fn block(seed: u64) -> Vec<u8> {
    if seed == 0 { vec![0; LEN as usize] } else { pattern(LEN as usize, seed) }
}

fn status(queue: &mut Queue, slot: Slot) -> Status {
    queue.finish(slot).expect("answered").status()
}

/// If the block holds `old`, it holds `new` afterwards.
fn swap(queue: &mut Queue, lba: u64, old: u64, new: u64) -> (Status, Status) {
    let (one, two) = (first(queue, lba, old), second(queue, lba, new));
    (status(queue, one), status(queue, two))
}

/// Goal: the block changes if it holds what was expected, else it does not and the host learns which of the two it was; with
/// the data in the capsules and without.
#[test]
fn writes_only_what_was_expected() {
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    for in_capsule_max in [16 << 10, 0] {
        let host = bench.host(move |mut host| {
            host.io.set_in_capsule_max(in_capsule_max);
            for lba in [0, 31, 32, 255, 8191] {
                assert_eq!(host.write(1, lba, block(0)).expect("answered"), Status::SUCCESS);
                assert_eq!(swap(&mut host.io, lba, 0, 1), (Status::SUCCESS, Status::SUCCESS));
                assert_eq!(swap(&mut host.io, lba, 0, 2), (Status::COMPARE_FAILURE.dnr(), FAILED));
                assert!(host.read(1, lba, LEN as usize).expect("read") == block(1));
                assert_eq!(swap(&mut host.io, lba, 1, 3), (Status::SUCCESS, Status::SUCCESS));
                assert!(host.read(1, lba, LEN as usize).expect("read") == block(3));
            }
        });
        bench.join(host);
    }
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
    assert!(bench.target.ranges.is_empty());
}

/// Goal: a first half whose second does not come is aborted and does nothing, wherever its data is at that moment; what came
/// instead is done.
#[test]
fn halves_without_partner() {
    let mut bench = Bench::new();
    for in_capsule_max in [16 << 10, 0] {
        let host = bench.host(move |mut host| {
            host.io.set_in_capsule_max(in_capsule_max);
            let missing = Status::ABORTED_MISSING_FUSED.dnr();
            let one = first(&mut host.io, 0, 0);
            let read = host.io.submit(transfer(NvmOpcode::READ, 1, 0, 4096), Data::Read(LEN), Vec::new());
            assert_eq!((status(&mut host.io, one), status(&mut host.io, read)), (missing, Status::SUCCESS));
            let alone = second(&mut host.io, 0, 1);
            assert_eq!(status(&mut host.io, alone), missing);
            let (one, other, two) =
                (first(&mut host.io, 0, 0), first(&mut host.io, 0, 0), second(&mut host.io, 0, 0));
            let statuses = [one, other, two].map(|slot| status(&mut host.io, slot));
            assert_eq!(statuses, [missing, Status::SUCCESS, Status::SUCCESS]);
            let (one, two) = (first(&mut host.io, 0, 0), second(&mut host.io, 1, 1));
            let statuses = [one, two].map(|slot| status(&mut host.io, slot));
            assert_eq!(statuses, [FAILED, Status::INVALID_FIELD.dnr()]);
            assert!(host.read(1, 0, 8192).expect("read").iter().all(|byte| *byte == 0));
        });
        bench.join(host);
    }
    bench.until(|bench| bench.target.is_idle());
}

/// Goal: a command that the transport refuses is between two halves as any other is: they are not done as one.
#[test]
fn halves_around_a_refused_command() {
    let mut bench = Bench::new();
    bench.orders(false, None);
    let host = bench.host(|mut host| {
        first(&mut host.io, 0, 0);
        host.io.send().expect("sent");
        let (mut stream, first) = (host.io.stream(), host.io.last_cid);
        // It has no SGL.
        let mut sqe = transfer(NvmOpcode::READ, 1, 0, 4096);
        sqe.cid = u16::MAX.into();
        let capsule = CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 72), sqe };
        stream.write_all(capsule.as_bytes()).expect("sent");
        second(&mut host.io, 0, 1);
        host.io.send().expect("sent");
        let second = host.io.last_cid;
        let mut told = [[0; 24]; 3];
        told.iter_mut().for_each(|response| stream.read_exact(response).expect("a response"));
        let field = |response: &[u8; 24], at: usize| u16::from_le_bytes([response[at], response[at + 1]]);
        let status = |cid| told.iter().find(|told| field(told, 20) == cid).map(|told| field(told, 22));
        [first, u16::MAX, second].map(|cid| status(cid).map(Status::from_field))
    });
    let missing = Some(Status::ABORTED_MISSING_FUSED.dnr());
    assert_eq!(bench.join(host), [missing, Some(Status::INVALID_FIELD.dnr()), missing]);
    assert_eq!(bench.operations(), 0);
}

/// Goal: more halves than a connection may have on the way are told to try again, both of each pair.
#[test]
fn halves_are_bounded() {
    let mut bench = Bench::new();
    bench.orders(true, None);
    let (sent, is_sent) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let host = bench.host(move |mut host| {
        sent.send(()).expect("the test waits");
        may_go_on.recv().expect("the test goes on");
        let pairs: Vec<_> =
            (0..10).map(|_| (first(&mut host.io, 0, 0), second(&mut host.io, 0, 0))).collect();
        host.io.send().expect("sent");
        pairs
            .into_iter()
            .map(|(one, two)| (status(&mut host.io, one), status(&mut host.io, two)))
            .collect::<Vec<_>>()
    });
    bench.until(|_| is_sent.try_recv().is_ok());
    let before = commands(&bench);
    go_on.send(()).expect("the host waits");
    bench.until(|bench| commands(bench) == before + 20);
    bench.orders(false, None);
    let statuses = bench.join(host);
    let retry = (Status::COMMAND_INTERRUPTED, Status::ABORTED_FAILED_FUSED);
    assert_eq!(statuses[..8], [(Status::SUCCESS, Status::SUCCESS); 8]);
    assert_eq!(statuses[8..], [retry; 2]);
}

/// Goal: whichever of its two operations fails, both halves are told what is true, nothing is lost and nothing stays locked.
#[test]
fn either_operation_may_fail() {
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    let swap_zeroes = |mut host: Host| {
        let (one, two) = swap(&mut host.io, 5, 0, 0);
        assert!(one.is_success() || two == FAILED);
        if one.is_success() { two } else { one }
    };
    each_operation_fails(
        &mut bench,
        2,
        MediaError::Unreadable,
        &swap_zeroes,
        Status::UNRECOVERED_READ_ERROR.dnr(),
    );
    bench.fail_after(0, MediaError::TimedOut);
    let host = bench.host(|mut host| swap(&mut host.io, 5, 0, 0));
    assert_eq!(bench.join(host), (Status::COMMAND_INTERRUPTED, Status::ABORTED_FAILED_FUSED));
    bench.fail_after(1, MediaError::WriteFault);
    let host = bench.host(|mut host| swap(&mut host.io, 5, 0, 0));
    assert_eq!(bench.join(host), (Status::SUCCESS, Status::WRITE_FAULT.dnr()));
    bench.until(|bench| bench.target.is_idle());
    assert!(bench.target.ranges.is_empty());
    assert_eq!(bench.target.arena().usage(), before);
}

/// A host that works when told, until it is dropped.
struct Guided {
    work: Sender<Work>,
    told: Receiver<Vec<Status>>,
    thread: JoinHandle<()>,
}

/// What a guided host submits at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// If the block is zero, make it so.
    Swap(u64),
    Write(u64),
    Zeroes,
    Deallocate,
    Read,
    /// Compare with one seed after the other.
    Look(u64),
}

impl Work {
    fn submit(self, queue: &mut Queue) -> Vec<Slot> {
        match self {
            Self::Swap(seed) => vec![first(queue, 7, 0), second(queue, 7, seed)],
            Self::Write(seed) => {
                vec![queue.submit(transfer(NvmOpcode::WRITE, 1, 7, 4096), Data::Write(LEN), block(seed))]
            }
            Self::Zeroes => {
                vec![queue.submit(transfer(NvmOpcode::WRITE_ZEROES, 1, 6, 12_288), Data::None, Vec::new())]
            }
            Self::Deallocate => {
                let mut sqe = Sqe::new(NvmOpcode::DATASET_MANAGEMENT.0, 1);
                sqe.cdw11 = DatasetFlags::new().with_deallocate(true).into_bits().into();
                let range = DatasetRange { cattr: 0.into(), nlb: 8.into(), slba: 0.into() };
                vec![queue.submit(sqe, Data::Write(16), range.as_bytes().to_vec())]
            }
            Self::Look(seed) => {
                vec![queue.submit(transfer(NvmOpcode::COMPARE, 1, 7, 4096), Data::Write(LEN), block(seed))]
            }
            Self::Read => {
                vec![queue.submit(transfer(NvmOpcode::READ, 1, 0, 32_768), Data::Read(32_768), Vec::new())]
            }
        }
    }

    /// What becomes of the block, and of the commands.
    fn apply(self, stored: &mut u64) -> Vec<Status> {
        match self {
            Self::Swap(seed) if *stored == 0 => *stored = seed,
            Self::Swap(_) => return vec![Status::COMPARE_FAILURE.dnr(), FAILED],
            Self::Write(seed) => *stored = seed,
            Self::Zeroes | Self::Deallocate => *stored = 0,
            Self::Read | Self::Look(_) => return vec![Status::SUCCESS],
        }
        vec![Status::SUCCESS; if matches!(self, Self::Swap(_)) { 2 } else { 1 }]
    }
}

impl Guided {
    /// Connected, and waiting for work.
    fn new(bench: &mut Bench) -> Self {
        let (work, works) = channel::<Work>();
        let (told, is_told) = channel();
        let (connected, is_connected) = channel();
        let thread = bench.host(move |mut host| {
            connected.send(()).expect("the test waits");
            for work in works {
                let slots = work.submit(&mut host.io);
                host.io.send().expect("sent");
                let statuses = slots.into_iter().map(|slot| host.io.finish(slot).map(|cqe| cqe.status()));
                // A host that has lost its connection ends.
                let Ok(statuses) = statuses.collect() else { return };
                told.send(statuses).expect("the test waits");
            }
        });
        bench.until(|_| is_connected.try_recv().is_ok());
        Self { work, told: is_told, thread }
    }

    /// Lets it submit, and turns until all of its commands have arrived and been looked at.
    fn submit(&self, bench: &mut Bench, work: Work) {
        let before = commands(bench);
        self.work.send(work).expect("the host waits");
        let count = if matches!(work, Work::Swap(_)) { 2 } else { 1 };
        bench.until(|bench| commands(bench) == before + count);
        (0..3).for_each(|_| bench.turn());
    }

    /// What the block holds, of what anybody has written.
    fn look(&self, bench: &mut Bench) -> Option<u64> {
        (0..=3).find(|seed| {
            self.submit(bench, Work::Look(*seed));
            self.told(bench) == [Status::SUCCESS]
        })
    }

    /// Turns until its commands are answered.
    fn told(&self, bench: &mut Bench) -> Vec<Status> {
        let mut told = None;
        bench.until(|_| {
            told = self.told.try_recv().ok();
            told.is_some()
        });
        told.expect("it came to pass")
    }
}

fn commands(bench: &Bench) -> u64 {
    bench.target.sessions().iter().map(|session| session.commands).sum()
}

/// Goal: two hosts at the same block, the second arriving at every point between two operations of the first, and with one
/// operation of the drive overtaking the others. Whatever the two do, it is as if they had done it one after the other.
#[test]
fn races_of_two_hosts() {
    let works = [Work::Swap(1), Work::Swap(2), Work::Write(3), Work::Zeroes, Work::Deallocate, Work::Read];
    let mut bench = Bench::new();
    let hosts = [Guided::new(&mut bench), Guided::new(&mut bench)];
    let swaps = |one, other| matches!(one, Work::Swap(_)) || matches!(other, Work::Swap(_));
    let pairs = works.into_iter().flat_map(|one| works.map(|other| (one, other)));
    for (one, other) in pairs.filter(|(one, other)| swaps(*one, *other)) {
        for (back, overtaking) in (0..=2).flat_map(|back| (0..=2).map(move |overtaking| (back, overtaking))) {
            bench.orders(false, None);
            hosts[0].submit(&mut bench, Work::Write(0));
            assert_eq!(hosts[0].told(&mut bench), [Status::SUCCESS]);
            bench.orders(true, None);
            bench.release(back);
            hosts[0].submit(&mut bench, one);
            hosts[1].submit(&mut bench, other);
            for _ in 0..overtaking {
                bench.release_last();
                (0..3).for_each(|_| bench.turn());
            }
            bench.orders(false, None);
            let [a, b] = [&hosts[0], &hosts[1]].map(|host| host.told(&mut bench));
            let stored = hosts[0].look(&mut bench);
            let serial = |order: [Work; 2]| {
                let mut seed = 0;
                let told = order.map(|work| work.apply(&mut seed));
                (told, Some(seed))
            };
            let ([a1, b1], then1) = serial([one, other]);
            let ([b2, a2], then2) = serial([other, one]);
            let is_serial =
                (a == a1 && b == b1 && stored == then1) || (a == a2 && b == b2 && stored == then2);
            assert!(
                is_serial,
                "{one:?}, {other:?}, {back} back, {overtaking} overtaking: {a:?} {b:?} {stored:?}"
            );
            assert!(bench.target.ranges.is_empty());
        }
    }
}

/// Goal: a host disappears while its Compare and Write holds a block, and another while it waits for it. The block is not
/// given to anybody before the drive has given back what it has; then it is, and the lost host's write is not done.
#[test]
fn locks_of_lost_hosts() {
    let mut bench = Bench::new();
    let [holder, waiter, third] = [0; 3].map(|_| Guided::new(&mut bench));
    bench.orders(true, None);
    for (host, seed) in [(&holder, 1), (&waiter, 2), (&third, 3)] {
        host.submit(&mut bench, Work::Swap(seed));
    }
    assert_eq!(bench.operations(), 1, "one compares, the others wait");
    bench.lose(0);
    bench.lose(1);
    bench.until(|bench| bench.net.sockets() == 2);
    assert_eq!(bench.operations(), 1, "the block is still held");
    bench.orders.borrow_mut().is_holding = false;
    assert_eq!(third.told(&mut bench), [Status::SUCCESS; 2]);
    assert_eq!(bench.operations(), 3, "the one that compared did not write, the one that waited did nothing");
    drop(third.work);
    let reader = bench.host(|mut host| host.read(1, 7, LEN as usize).expect("read"));
    assert!(bench.join(reader) == block(3));
    for thread in [holder.thread, waiter.thread, third.thread] {
        bench.join(thread);
    }
    bench.until(|bench| bench.target.is_idle());
    assert!(bench.target.ranges.is_empty());
}

/// Aborts the last command of the I/O queue; says whether it was aborted.
fn abort_last(host: &mut Host) -> bool {
    let mut sqe = Sqe::new(AdminOpcode::ABORT.0, 0);
    sqe.cdw10 = (u32::from(host.io.last_cid) << 16 | 1).into();
    let cqe = host.admin.command(sqe).expect("answered");
    cqe.dw0.get() & 1 == 0
}

/// Goal: a half without partner, and a pair that waits for its turn, are aborted at once: nothing of them reaches a drive, and
/// whoever comes behind them goes on.
#[test]
fn what_waits_is_aborted() {
    let mut bench = Bench::new();
    let holder = Guided::new(&mut bench);
    bench.orders(true, None);
    holder.submit(&mut bench, Work::Swap(1));
    let (sent, is_sent) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let host = bench.host(move |mut host| {
        let sent = |host: &mut Host| {
            may_go_on.recv().expect("the test goes on");
            host.io.send().expect("sent");
            sent.send(()).expect("the test waits");
            may_go_on.recv().expect("the test goes on");
        };
        let pair = [first(&mut host.io, 7, 0), second(&mut host.io, 7, 2)];
        sent(&mut host);
        assert!(abort_last(&mut host), "it waits for its turn");
        let pair = pair.map(|slot| status(&mut host.io, slot));
        let alone = first(&mut host.io, 9, 0);
        sent(&mut host);
        assert!(abort_last(&mut host), "it waits for its partner");
        let late = second(&mut host.io, 9, 2);
        (pair, [alone, late].map(|slot| status(&mut host.io, slot)))
    });
    for count in [2, 1] {
        let connected = |bench: &Bench| bench.target.sessions().iter().filter(|s| s.io_queues == 1).count();
        bench.until(|bench| connected(bench) == 2);
        (0..100).for_each(|_| bench.turn());
        let before = commands(&bench);
        go_on.send(()).expect("the host waits");
        bench.until(|_| is_sent.try_recv().is_ok());
        bench.until(|bench| commands(bench) == before + count);
        go_on.send(()).expect("the host waits");
        if count == 2 {
            // Abort is the next command.
            bench.until(|bench| commands(bench) == before + count + 1);
        }
    }
    let (pair, halves) = bench.join(host);
    assert_eq!(pair, [Status::ABORTED_FAILED_FUSED, Status::ABORT_REQUESTED]);
    assert_eq!(halves, [Status::ABORT_REQUESTED, Status::ABORTED_FAILED_FUSED]);
    assert!(!bench.target.ranges.is_empty(), "the holder is at the drive");
    bench.orders.borrow_mut().is_holding = false;
    assert_eq!(holder.told(&mut bench), [Status::SUCCESS; 2]);
    assert_eq!(holder.look(&mut bench), Some(1));
    assert!(bench.target.ranges.is_empty());
}
