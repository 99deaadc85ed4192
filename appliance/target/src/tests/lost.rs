//! What a lost connection leaves behind: writes at the drives, which must not undo newer ones, and a queue identifier.

use super::host::{Host, Queue, Which, enable, pattern, transfer};
use super::{Bench, NO_DIGESTS};
use block::Tick;
use nvme_spec::entry::DatasetFlags;
use nvme_spec::{DatasetRange, NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use zerocopy::IntoBytes;

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:host-a";
const LEN: u32 = 4096;

/// Something that changes blocks 0 and 1.
type Old = fn(&mut Host);

fn write(host: &mut Host) {
    host.io.submit(transfer(NvmOpcode::WRITE, 1, 0, 8192), Data::Write(8192), pattern(8192, 1));
}

fn zeroes(host: &mut Host) {
    host.io.submit(transfer(NvmOpcode::WRITE_ZEROES, 1, 0, 8192), Data::None, Vec::new());
}

fn deallocate(host: &mut Host) {
    let mut sqe = Sqe::new(NvmOpcode::DATASET_MANAGEMENT.0, 1);
    sqe.cdw11 = DatasetFlags::new().with_deallocate(true).into_bits().into();
    let range = DatasetRange { cattr: 0.into(), nlb: 2.into(), slba: 0.into() };
    host.io.submit(sqe, Data::Write(16), range.as_bytes().to_vec());
}

/// A host that is connected, and goes on when it is told to.
fn waiting_host<T: Send + 'static>(
    bench: &mut Bench,
    work: impl FnOnce(Host) -> T + Send + 'static,
) -> (JoinHandle<T>, Sender<()>) {
    let (told, is_told) = channel();
    let (go_on, may_go_on) = channel();
    let host = bench.host(move |host| {
        told.send(()).expect("the test waits");
        may_go_on.recv().expect("the test goes on");
        work(host)
    });
    bench.until(|_| is_told.try_recv().is_ok());
    (host, go_on)
}

/// Goal: a host loses one of its two controllers while the drive has a write of it. What it then writes to the same blocks by
/// the other one waits for the old write, which would undo it otherwise; what it reads, or writes elsewhere, does not.
#[test]
fn old_write_does_not_undo_a_newer_one() {
    for old in [write as Old, zeroes, deallocate] {
        let mut bench = Bench::new();
        let (survivor, go_on) = waiting_host(&mut bench, |mut host| {
            let newer = transfer(NvmOpcode::WRITE, 1, 1, 4096);
            let newer = host.io.submit(newer, Data::Write(LEN), pattern(4096, 2));
            let elsewhere = transfer(NvmOpcode::WRITE, 1, 100, 4096);
            let elsewhere = host.io.submit(elsewhere, Data::Write(LEN), pattern(4096, 3));
            let look = host.io.submit(transfer(NvmOpcode::READ, 1, 0, 4096), Data::Read(LEN), Vec::new());
            let statuses =
                [look, elsewhere, newer].map(|slot| host.io.finish(slot).expect("answered").status());
            (statuses, host.read(1, 1, 4096).expect("read"))
        });
        bench.orders(true, None);
        let lost = bench.host(move |mut host| {
            old(&mut host);
            host.io.send().expect("sent");
            host.admin.read(super::host::identify(0, 1), 4096).expect("answered by the other queue");
        });
        bench.join(lost);
        bench.until(|bench| bench.net.sockets() == 2 && bench.operations() == 1);
        go_on.send(()).expect("the host waits");
        bench.until(|bench| bench.operations() >= 3);
        (0..20).for_each(|_| bench.turn());
        assert_eq!(bench.operations(), 3, "the newer write is not at the drive");
        bench.orders(false, None);
        let (statuses, data) = bench.join(survivor);
        assert_eq!(statuses, [Status::SUCCESS; 3]);
        assert!(data == pattern(4096, 2), "the newer write is there");
        bench.until(|bench| bench.target.is_idle());
        assert!(bench.target.ranges.is_empty());
    }
}

/// Goal: while something of lost connections is at the drives, each write of anybody looks for it: at what is there, and not at
/// all the commands that these connections have had.
#[test]
fn only_what_is_at_the_drives_is_looked_at() {
    const LOST: u64 = 3;
    let mut bench = Bench::new();
    let (survivor, go_on) =
        waiting_host(&mut bench, |mut host| host.write(1, 100, pattern(4096, 3)).expect("answered"));
    bench.orders(true, None);
    for number in 0..LOST {
        let (address, nqn) = (bench.address, bench.nqn.clone());
        let lost = thread::spawn(move || {
            let name = format!("nqn.2014-08.org.nvmexpress:uuid:lost-{number}");
            let mut host = Host::connect_as(address, &nqn, &name, NO_DIGESTS).expect("connected");
            host.io.set_in_capsule_max(0);
            // They wait for their data; what is behind them goes to the drive.
            (0..20).for_each(|_| write(&mut host));
            let zeroes = transfer(NvmOpcode::WRITE_ZEROES, 1, 10 + number, 4096);
            host.io.submit(zeroes, Data::None, Vec::new());
            host.io.send().expect("sent");
            host.admin.read(super::host::identify(0, 1), 4096).expect("answered by the other queue");
        });
        bench.join(lost);
    }
    bench.until(|bench| bench.net.sockets() == 2 && bench.operations() == 3);
    let looks = |bench: &Bench| -> usize {
        bench.target.connections.iter().flatten().map(|connection| connection.looks.get()).sum()
    };
    let before = looks(&bench);
    go_on.send(()).expect("the host waits");
    bench.until(|bench| bench.operations() == 4);
    assert_eq!(looks(&bench) - before, 3, "one of each");
    bench.orders(false, None);
    assert_eq!(bench.join(survivor), Status::SUCCESS);
}

/// Goal: a Connect whose queue identifier is in use is answered when its millisecond is over, not when timers are looked at
/// the next time.
#[test]
fn held_connect_is_answered_in_time() {
    let mut bench = Bench::new();
    bench.target.on_time(&mut bench.net, bench.now);
    let (address, nqn) = (bench.address, bench.nqn.clone());
    let host = thread::spawn(move || {
        let which = Which { subsystem: &nqn, host: HOST, qid: 0, cntlid: 0xffff };
        let (mut admin, cntlid) = Queue::connect(address, which, NO_DIGESTS).expect("connected");
        enable(&mut admin).expect("enabled");
        let which = Which { qid: 1, cntlid, ..which };
        let first = Queue::connect(address, which, NO_DIGESTS).expect("connected");
        let second = Queue::connect(address, which, NO_DIGESTS).map(drop).expect_err("it is in use");
        drop(first);
        second.to_string()
    });
    let due = Tick(1_000_000);
    bench.until(|bench| bench.target.deadline() == Some(due));
    bench.now = due;
    bench.target.on_time(&mut bench.net, bench.now);
    assert_eq!(bench.join(host), Status::INVALID_QUEUE_ID.to_string());
}
