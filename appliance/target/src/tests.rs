//! The target over a drive that obeys the test: it fails, or holds its completions, when told. The loop turns in the test's
//! thread with the test's clock; hosts run in threads of their own.

mod abort;
mod access;
mod ana;
mod commands;
mod fused;
pub(crate) mod host;
mod hostile;
mod known_bugs;
mod lost;
mod small_blocks;
mod spread;
mod strangers;
mod thin;

use crate::command::{Command, Purpose, State};
use crate::{Devices, JOB_TAG, Target, limits};
use block::{BlockDevice, Blocks, Bytes, Completion, Geometry, MediaError, Op, Tag, Tick};
use control::{CreatePool, CreateVolume};
use core::cell::RefCell;
use core::time::Duration;
use dma::{Arena, ArenaConfig, DmaBuf};
use host::{Host, pattern, transfer};
use net::{Net, Waker};
use nvme_spec::{AdminOpcode, FabricsType, NvmOpcode, Sqe, Status};
use nvme_subsystem::{Hosts, NamespaceConfig, TargetConfig};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use pool::{Begun, Drive, DriveId, Job, KnownDrive, Pool, Role};
use reactor::{Device, RamDevice, Sleep};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use uuid::Uuid;

const NO_DIGESTS: Digests = Digests { header: false, data: false };
const POOL: Uuid = Uuid::from_u128(1);
const VOLUME: Uuid = Uuid::from_u128(2);

/// Rounds before a test gives up; a round without news waits for a millisecond at most.
const ROUNDS_MAX: usize = 60_000;

/// What the drive shall do.
#[derive(Debug, Default)]
struct Orders {
    is_holding: bool,
    fault: Option<MediaError>,
    /// The operation after so many others fails, and does nothing.
    fault_after: Option<(usize, MediaError)>,
    /// Operations so far.
    count: usize,
    /// Operations that are done although it holds them: the first so many, or the last one.
    released: usize,
    release_last: bool,
}

impl Orders {
    /// Counts an operation; says whether it fails.
    fn next_fault(&mut self) -> Option<MediaError> {
        let number = self.count;
        self.count += 1;
        let is_next = |(at, _): &(usize, MediaError)| *at == number;
        self.fault.or_else(|| self.fault_after.filter(is_next).map(|(_, fault)| fault))
    }

    /// The operation that is done next.
    fn choose<T>(&mut self, held: &mut VecDeque<T>) -> Option<T> {
        if core::mem::take(&mut self.release_last) {
            return held.pop_back();
        }
        if !self.is_holding {
            return held.pop_front();
        }
        let chosen = if self.released > 0 { held.pop_front() } else { None };
        self.released -= usize::from(chosen.is_some());
        chosen
    }
}

/// A memory drive that obeys. What it holds it has not done yet.
struct Obedient {
    ram: RamDevice,
    held: VecDeque<(Tag, Op<DmaBuf>, Option<MediaError>)>,
    orders: Rc<RefCell<Orders>>,
}

impl BlockDevice for Obedient {
    type Buf = DmaBuf;

    fn geometry(&self) -> Geometry {
        // Shallow, so that operations have to wait for room.
        Geometry { depth_max: 4, ..self.ram.geometry() }
    }
    fn submit(&mut self, tag: Tag, op: Op<DmaBuf>) -> Result<(), Op<DmaBuf>> {
        if self.held.len() >= 4 {
            return Err(op);
        }
        let fault = self.orders.borrow_mut().next_fault();
        self.held.push_back((tag, op, fault));
        Ok(())
    }
    fn kick(&mut self) {}
    fn poll(&mut self) -> Option<Completion<DmaBuf>> {
        let (tag, op, fault) = self.orders.borrow_mut().choose(&mut self.held)?;
        if let Some(fault) = fault {
            return Some(Completion { tag, buf: op.into_buf(), result: Err(fault) });
        }
        self.ram.submit(tag, op).expect("memory has room");
        self.ram.poll()
    }
}

impl Device for Obedient {
    fn prepare_sleep(&mut self) -> Sleep {
        Sleep::Poll
    }
}

struct Bench {
    target: Target,
    net: Net,
    orders: Rc<RefCell<Orders>>,
    address: SocketAddr,
    nqn: String,
    now: Tick,
}

impl Bench {
    /// A target over an obedient drive, and what the drive is like.
    fn parts() -> (Target, Rc<RefCell<Orders>>, Geometry) {
        let arena = Arena::new(ArenaConfig { bytes: 16 << 20, hugepages: false }).expect("memory");
        let orders = Rc::new(RefCell::new(Orders::default()));
        let ram = RamDevice::new(Bytes(96 << 20));
        let geometry = ram.geometry();
        let mut devices = Devices::default();
        devices
            .add(DriveId(0), Box::new(Obedient { ram, held: VecDeque::new(), orders: Rc::clone(&orders) }));
        let config = TargetConfig {
            discovery_nqn: "nqn.test".into(),
            node: 0,
            io_port: 4420,
            firmware: "test".into(),
        };
        let mut target = Target::new(config, arena, devices);
        target.open_to_everybody();
        (target, orders, geometry)
    }

    /// A pool of one drive with one volume of 32 MiB, and a portal.
    fn new() -> Self {
        let (mut target, orders, geometry) = Self::parts();
        let known =
            KnownDrive { drive: Drive { id: DriveId(0), serial: "S0".into(), geometry }, role: Role::Blank };
        let request = CreatePool {
            uuid: POOL,
            name: "tank".into(),
            drive_serials: vec!["S0".into()],
            overwrite_foreign_data: false,
        };
        let (mut pool, job) =
            pool::begin_create_pool(&request, &[known], &[], || Uuid::from_u128(3)).expect("a pool");
        finish(&mut target, &mut pool, job);
        let request = CreateVolume {
            uuid: VOLUME,
            pool: POOL,
            name: "vol".into(),
            size_bytes: 32 << 20,
            block_size: 4096,
            allowed_hosts: control::AllowedHosts::default(),
        };
        let Ok(Begun::Job(job)) = pool.begin_create_volume(&request) else { panic!("a volume") };
        finish(&mut target, &mut pool, job);
        target.add_pool(pool).expect("room");
        Self::open(target, orders)
    }

    /// A portal to what is exported.
    fn open(target: Target, orders: Rc<RefCell<Orders>>) -> Self {
        let mut net = Net::new(Waker::new().expect("an eventfd")).expect("an io_uring");
        let (_, address) = net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
        net.flush();
        Self { target, net, orders, address, nqn: crate::nqn_of(POOL), now: Tick(0) }
    }

    /// One round of the loop.
    fn turn(&mut self) {
        let mut work = self.target.poll_devices();
        while let Some(event) = self.net.poll() {
            work += usize::from(self.target.on_event(&mut self.net, event, self.now));
        }
        work += self.target.start_requests(&mut self.net, self.now);
        work += self.target.kick(&mut self.net, self.now);
        self.net.flush();
        if work == 0 {
            self.net.wait(Duration::from_millis(1));
        }
    }

    /// Turns until something is so.
    fn until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..ROUNDS_MAX {
            if is_so(self) {
                return;
            }
            self.turn();
        }
        panic!("it did not come to pass");
    }

    /// Turns until a host is done.
    fn join<T>(&mut self, host: JoinHandle<T>) -> T {
        self.until(|_| host.is_finished());
        host.join().expect("the host ends well")
    }

    /// A host in a thread of its own.
    fn host<T: Send + 'static>(&self, work: impl FnOnce(Host) -> T + Send + 'static) -> JoinHandle<T> {
        let (address, nqn) = (self.address, self.nqn.clone());
        thread::spawn(move || work(Host::connect(address, &nqn, NO_DIGESTS).expect("connected")))
    }

    fn orders(&self, is_holding: bool, fault: Option<MediaError>) {
        *self.orders.borrow_mut() = Orders { is_holding, fault, ..Orders::default() };
    }

    /// The operation after `count` others fails.
    fn fail_after(&self, count: usize, fault: MediaError) {
        *self.orders.borrow_mut() = Orders { fault_after: Some((count, fault)), ..Orders::default() };
    }

    /// The youngest operation that the drive has overtakes the others.
    fn release_last(&self) {
        self.orders.borrow_mut().release_last = true;
    }

    /// So many operations are done in spite of the order to hold them.
    fn release(&self, count: usize) {
        self.orders.borrow_mut().released = count;
    }

    /// Ends the connection that has the claim of this number, as the network would: without a word.
    fn lose(&mut self, claim: usize) {
        let place = self.target.ranges.place_of(claim);
        let mut connection = self.target.take(place).expect("it has a claim");
        self.target.close(&mut connection, &mut self.net);
        self.target.put(place, connection);
    }

    /// The volume gets logical blocks of 512 bytes.
    fn with_small_blocks(self) -> Self {
        self.with_small_blocks_up_to(65_536)
    }

    /// The volume gets so many logical blocks of 512 bytes.
    fn with_small_blocks_up_to(mut self, count: usize) -> Self {
        let nqn = self.nqn.clone();
        let subsystems = &mut self.target.subsystems;
        subsystems.remove_namespace(&nqn, 1).expect("the volume");
        let namespace = NamespaceConfig {
            nsid: 1,
            uuid: VOLUME,
            blocks: Blocks(count as u64 / 8),
            lba_shift: 9,
            volume: 1,
            hosts: Hosts::Any,
        };
        subsystems.add_namespace(&nqn, namespace).expect("there is room");
        self
    }

    /// Operations since the last order.
    fn operations(&self) -> usize {
        self.orders.borrow().count
    }
}

/// Does a job of the pool by hand.
fn finish(target: &mut Target, pool: &mut Pool, mut job: Job) {
    run(target, &mut job);
    if job.is_preparing() {
        let commit = pool.begin_commit(job).expect("nothing came between");
        return finish(target, pool, commit);
    }
    pool.finish(job).expect("it worked");
}

/// Works a job of the bench's one drive to its end.
fn run(target: &mut Target, job: &mut Job) {
    while job.result().is_none() {
        let arena = target.arena().clone();
        while let Some((member, tag, op)) = job.poll_op(|len| arena.alloc(len)) {
            assert_eq!(member.index(), 0, "a pool of one drive");
            target.devices_mut().submit(DriveId(0), Tag(tag.0 | JOB_TAG), op);
        }
        target.devices_mut().kick();
        target.poll_devices();
        while let Some(completion) = target.poll_job() {
            let tag = Tag(completion.tag.0 & !JOB_TAG);
            job.on_completion(Completion { tag, ..completion });
        }
    }
}

/// Lets `work` succeed, which takes `count` operations; then lets each of these operations fail: the host gets `status`.
fn each_operation_fails<W: Fn(Host) -> Status + Clone + Send + 'static>(
    bench: &mut Bench,
    count: usize,
    fault: MediaError,
    work: &W,
    status: Status,
) {
    bench.orders(false, None);
    let host = bench.host(work.clone());
    assert_eq!(bench.join(host), Status::SUCCESS);
    assert_eq!(bench.operations(), count);
    for number in 0..count {
        bench.fail_after(number, fault);
        let host = bench.host(work.clone());
        assert_eq!(bench.join(host), status, "operation {number} of {count} fails");
    }
    bench.orders(false, None);
}

/// Goal: what a drive says reaches the host as the right status, for that command only; nothing is sent as data.
#[test]
fn media_errors_are_told() {
    let mut bench = Bench::new();
    for (fault, status) in [
        (MediaError::Unreadable, Status::UNRECOVERED_READ_ERROR.dnr()),
        (MediaError::TimedOut, Status::COMMAND_INTERRUPTED),
        (MediaError::Gone, Status::INTERNAL_ERROR.dnr()),
    ] {
        bench.orders(false, Some(fault));
        let host = bench.host(|mut host| {
            let sqe = transfer(NvmOpcode::READ, 1, 0, 300 * 4096 / 2);
            let (cqe, data) = host.io.read(sqe, 300 * 4096 / 2).expect("answered");
            assert!(data.iter().all(|byte| *byte == 0), "no data came");
            cqe.status()
        });
        assert_eq!(bench.join(host), status);
    }
    bench.orders(false, None);
    let host = bench.host(|mut host| host.write(1, 0, pattern(8192, 1)).expect("answered"));
    assert_eq!(bench.join(host), Status::SUCCESS);
}

/// Goal: a host disappears while drives hold its buffers. The buffers are not given to anybody before the drives return
/// them; then nothing of the host is left.
#[test]
fn dead_connection_waits_for_its_drives() {
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    bench.orders(true, None);
    let host = bench.host(|mut host| {
        for number in 0..4 {
            let sqe = transfer(NvmOpcode::READ, 1, number * 256, 1 << 20);
            host.io.submit(sqe, Data::Read(1 << 20), Vec::new());
        }
        host.io.send().expect("sent");
        // A write that is answered after the reads were received: never, since the drive holds everything.
        host.admin.read(host::identify(0, 1), 4096).expect("answered by the other queue");
    });
    bench.join(host);
    bench.until(|bench| bench.net.sockets() == 0);
    assert!(!bench.target.is_idle(), "the drives hold operations");
    assert_ne!(bench.target.arena().usage(), before);
    bench.orders(false, None);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
}

/// Goal: a host loses its connection while a drive holds its write. It cannot connect again before the drive is done, or the
/// old write could undo a newer one that was answered; other hosts can.
#[test]
fn host_comes_back_after_its_old_commands() {
    let mut bench = Bench::new();
    bench.orders(true, None);
    let host = bench.host(|mut host| {
        host.io.submit(transfer(NvmOpcode::WRITE, 1, 0, 8192), Data::Write(8192), pattern(8192, 1));
        host.io.send().expect("sent");
        host.admin.read(host::identify(0, 1), 4096).expect("answered by the other queue");
        host
    });
    bench.until(|bench| !bench.target.devices().is_quiet());
    drop(bench.join(host));
    bench.until(|bench| bench.net.sockets() == 0);
    let connect = |bench: &Bench, name: &'static str| {
        let (address, nqn) = (bench.address, bench.nqn.clone());
        thread::spawn(move || Host::connect_as(address, &nqn, name, NO_DIGESTS).map(|_| ()))
    };
    let (same, other) = ("nqn.2014-08.org.nvmexpress:uuid:host-a", "nqn.2014-08.org.nvmexpress:uuid:host-b");
    let again = connect(&bench, same);
    let refusal = bench.join(again).expect_err("its old write is at the drive").to_string();
    assert_eq!(refusal, Status::CONNECT_CONTROLLER_BUSY.to_string());
    let beside = connect(&bench, other);
    assert!(bench.join(beside).is_ok());
    bench.orders(false, None);
    bench.until(|bench| bench.target.devices().is_quiet());
    let again = connect(&bench, same);
    assert!(bench.join(again).is_ok());
}

/// Goal: a volume that is withdrawn takes nothing new, and is free only when the last command has come back, which ends
/// well for the host.
#[test]
fn withdrawal_waits_for_commands_at_drives() {
    let mut bench = Bench::new();
    bench.orders(true, None);
    let host = bench.host(|mut host| {
        let first = host.write(1, 0, pattern(8192, 1)).expect("answered");
        (first, host.write(1, 0, pattern(8192, 1)).expect("answered"))
    });
    bench.until(|bench| !bench.target.devices().is_quiet());
    bench.target.withdraw(POOL, 1);
    assert!(!bench.target.is_withdrawn(POOL, 1));
    bench.orders(false, None);
    bench.until(|bench| bench.target.is_withdrawn(POOL, 1));
    assert_eq!(bench.join(host), (Status::SUCCESS, Status::INVALID_NAMESPACE.dnr()));
}

/// Goal: a host that takes nothing disconnects its queue and goes on sending. What it sends behind the Disconnect belongs to
/// nobody: it is not looked at, and does no harm.
#[test]
fn data_behind_a_disconnect_is_left_alone() {
    let mut bench = Bench::new();
    let (sent, is_sent) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let host = bench.host(move |mut host| {
        let step = |host: &mut Host| {
            host.io.send().expect("sent");
            sent.send(()).expect("the test waits");
            may_go_on.recv().expect("the test goes on");
        };
        for _ in 0..24 {
            host.io.submit(transfer(NvmOpcode::READ, 1, 0, 1 << 20), Data::Read(1 << 20), Vec::new());
        }
        step(&mut host);
        let disconnect = Sqe::new(AdminOpcode::FABRICS.0, u32::from(FabricsType::DISCONNECT.0));
        host.io.submit(disconnect, Data::None, Vec::new());
        step(&mut host);
        host.io.submit(transfer(NvmOpcode::WRITE, 1, 0, 8192), Data::Write(8192), pattern(8192, 1));
        step(&mut host);
        while host.io.turn().is_ok() {}
    });
    bench.until(|_| is_sent.try_recv().is_ok());
    // The socket takes some of the data, and then no more.
    (0..100).for_each(|_| bench.turn());
    go_on.send(()).expect("the host waits");
    bench.until(|bench| bench.target.sessions().first().is_some_and(|session| session.io_queues == 0));
    assert_eq!((bench.net.sockets(), is_sent.recv()), (2, Ok(())));
    go_on.send(()).expect("the host waits");
    bench.until(|_| is_sent.try_recv().is_ok());
    (0..100).for_each(|_| bench.turn());
    go_on.send(()).expect("the host waits");
    bench.join(host);
    bench.until(|bench| bench.net.sockets() == 0);
    assert!(bench.target.is_idle());
}

/// Goal: a host that makes us keep memory for data which it never sends loses its connection when others need that memory;
/// they get what they asked for.
#[test]
fn memory_comes_back_from_who_does_not_use_it() {
    let mut bench = Bench::new();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let victim = bench.host(move |mut host| {
        may_go_on.recv().expect("the test goes on");
        host.read(1, 0, 1 << 20).is_ok()
    });
    bench.until(|bench| bench.target.sessions().iter().any(|session| session.io_queues == 1));
    let (release, is_released) = std::sync::mpsc::channel::<()>();
    let hoarder = bench.host(move |mut host| {
        for number in 0..24 {
            let write = transfer(NvmOpcode::WRITE, 1, number * 256, 1 << 20);
            host.io.submit(write, Data::Write(1 << 20), pattern(1 << 20, number));
        }
        host.io.send().expect("sent");
        is_released.recv().expect("the test goes on");
    });
    bench.until(|bench| bench.target.counters().memory_waits > 0);
    go_on.send(()).expect("the host waits");
    for _ in 0..=limits::IDLE_MEMORY_LOOKS_MAX {
        assert!(!victim.is_finished(), "nobody has memory for it");
        bench.now = bench.now.after(limits::TIMER_PERIOD);
        bench.target.on_time(&mut bench.net, bench.now);
        bench.turn();
    }
    assert!(bench.join(victim));
    release.send(()).expect("the host waits");
    bench.join(hoarder);
}

/// Goal: a host that asks for many long pages while there is no memory makes us keep none of them: they are made when there is some.
/// So one that is aborted before has not been read, and says next time what it would have said. The pages that the host gets are
/// zero behind their end, whatever was in that memory before.
#[test]
fn pages_are_made_when_there_is_memory() {
    let mut bench = Bench::new();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let host = bench.host(move |mut host| {
        let data = pattern(1 << 20, 5);
        let write = |number: u64| transfer(NvmOpcode::WRITE, 1, number * 256, 1 << 20);
        let writes: Vec<_> =
            (0..24).map(|n| host.io.submit(write(n), Data::Write(1 << 20), data.clone())).collect();
        host.io.send().expect("sent");
        may_go_on.recv().expect("the test goes on");
        let mut smart = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
        (smart.cdw10, smart.cdw11) = (0xffff_0002.into(), 3.into());
        let pages: Vec<_> =
            (0..28).map(|_| host.admin.submit(smart, Data::Read(1 << 20), Vec::new())).collect();
        let mut changed = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
        changed.cdw10 = 0x3ff_0004.into();
        let aborted = host.admin.submit(changed, Data::Read(4096), Vec::new());
        host.admin.send().expect("sent");
        let mut abort = Sqe::new(AdminOpcode::ABORT.0, 0);
        abort.cdw10 = (u32::from(host.admin.last_cid) << 16).into();
        let is_aborted = host.admin.command(abort).expect("answered").dw0.get() & 1 == 0;
        assert!(
            is_aborted && host.admin.finish(aborted).expect("answered").status().is(Status::ABORT_REQUESTED)
        );
        may_go_on.recv().expect("the test goes on");
        let are_written =
            writes.into_iter().all(|slot| host.io.finish(slot).expect("answered").status().is_success());
        let statuses: Vec<Status> =
            pages.into_iter().map(|slot| host.admin.finish(slot).expect("answered").status()).collect();
        let (_, page) = host.admin.read(smart, 1 << 20).expect("answered");
        assert!(page[3] == 100 && page[512..].iter().all(|byte| *byte == 0));
        let (_, changed) = host.admin.read(changed, 4096).expect("answered");
        (are_written, statuses, changed[0])
    });
    bench.until(|bench| bench.target.counters().memory_waits > 0);
    let nqn = bench.nqn.clone();
    bench.target.subsystems.resize_namespace(&nqn, 1, Blocks(8191)).expect("it is there");
    go_on.send(()).expect("the host waits");
    let pages = |bench: &Bench| {
        let commands = bench.target.connections.iter().flatten().flat_map(|c| &c.commands);
        let is_page = |command: &&Command| matches!(command.state, State::AwaitMemory(Purpose::Page(_), _));
        commands.filter(is_page).map(|command| command.rest().is_none()).collect::<Vec<bool>>()
    };
    bench.until(|bench| pages(bench).len() == 28);
    assert!(!pages(&bench).contains(&false), "nothing is kept");
    go_on.send(()).expect("the host waits");
    let (are_written, statuses, changed) = bench.join(host);
    assert!(are_written && statuses.iter().all(|status| status.is_success()));
    assert_eq!(changed, 1, "the namespace is named when the page is read");
}

/// Goal: a write whose data is in the capsule waits for memory with its bytes received. When there is some, it is done, and so is
/// what its host asks for next.
#[test]
fn capsules_wait_for_memory() {
    let mut bench = Bench::new();
    let (connected, is_connected) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let host = bench.host(move |mut host| {
        connected.send(()).expect("the test waits");
        may_go_on.recv().expect("the test goes on");
        let status = host.write(1, 0, pattern(8192, 1)).expect("answered");
        (status, host.read(1, 0, 8192).expect("read"))
    });
    bench.until(|_| is_connected.try_recv().is_ok());
    let arena = bench.target.arena().clone();
    let taken: Vec<DmaBuf> = core::iter::from_fn(|| arena.alloc(4096)).collect();
    go_on.send(()).expect("the host waits");
    bench.until(|bench| bench.target.blocked.len() == 1);
    drop(taken);
    assert_eq!(bench.join(host), (Status::SUCCESS, pattern(8192, 1)));
}

/// Goal: a host that is silent for longer than its keep alive timeout loses its connections; one that speaks keeps them.
#[test]
fn silent_host_is_dropped() {
    let mut bench = Bench::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let host = bench.host(move |mut host| {
        ready.send(()).expect("the test waits");
        host.io.finish_any()
    });
    bench.until(|_| is_ready.try_recv().is_ok());
    bench.now = bench.now.after(Duration::from_secs(59));
    bench.target.on_time(&mut bench.net, bench.now);
    bench.turn();
    assert_eq!(bench.net.sockets(), 2);
    bench.now = bench.now.after(Duration::from_secs(3));
    bench.target.on_time(&mut bench.net, bench.now);
    bench.until(|bench| bench.net.sockets() == 0);
    assert!(bench.join(host).is_err(), "the connection ended");
    assert!(bench.target.sessions().is_empty());
}

/// Goal: more operations than the drive takes at once all complete, in a volume that spans many chunks.
#[test]
fn operations_wait_for_room_on_the_drive() {
    let mut bench = Bench::new();
    let host = bench.host(|mut host| {
        let data = pattern(1 << 20, 4);
        let write = |number: u64| transfer(NvmOpcode::WRITE, 1, number * 256 + 3, 1 << 20);
        let slots: Vec<_> =
            (0..16).map(|n| host.io.submit(write(n), Data::Write(1 << 20), data.clone())).collect();
        slots.into_iter().all(|slot| host.io.finish(slot).expect("answered").status().is_success())
            && (0..16).all(|n| host.read(1, n * 256 + 3, 1 << 20).expect("read") == data)
    });
    assert!(bench.join(host));
    assert_eq!(bench.target.devices().geometry(DriveId(0)).map(|g| g.blocks), Some(Blocks(96 << 8)));
}
