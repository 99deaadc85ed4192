//! Nothing is allocated on the path of reads and writes: counted by the allocator of this process, on the core's thread.
//!
//! UNSAFETY: an allocator is an unsafe trait; this one counts and passes everything on.
#![expect(unsafe_code, reason = "an allocator that counts")]

#[path = "../../target/src/tests/host.rs"]
mod host;

use control::{CreatePool, CreateVolume, Reply, Request};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use engine::{Affinity, Cores, DriveSpec, Engine, EngineConfig, Mode, start};
use host::{Host, Queue, Which, enable, expect, transfer};
use nvme_spec::NvmOpcode;
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use uuid::Uuid;

struct Counting;

thread_local! {
    /// This thread is the core.
    static IS_CORE: Cell<bool> = const { Cell::new(false) };
    /// This thread is the host.
    static IS_HOST: Cell<bool> = const { Cell::new(false) };
}

/// Allocations of the core.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Allocations of threads that are neither the core nor the host: while there is nothing else, of socket cores.
static OTHERS: AtomicU64 = AtomicU64::new(0);

/// Whether they are counted.
static ARE_OTHERS_COUNTED: AtomicBool = AtomicBool::new(false);

fn count() {
    // A thread that is ending has no such variable any more; it is not the core at work.
    if IS_CORE.try_with(Cell::get).unwrap_or(false) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    } else if ARE_OTHERS_COUNTED.load(Ordering::Relaxed) && !IS_HOST.try_with(Cell::get).unwrap_or(true) {
        OTHERS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with its arguments unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const POOL: Uuid = Uuid::from_u128(1);

/// An engine over a memory drive with a volume; its core's thread is marked.
fn engine(mode: Mode, cores: usize) -> (Engine, String) {
    let any = || "127.0.0.1:0".parse().expect("an address");
    let config = EngineConfig {
        drives: vec!["ram:96MiB,serial=R0".parse::<DriveSpec>().expect("a drive")],
        listen: vec![any()],
        discovery: vec![any()],
        arena_bytes: 32 << 20,
        mode,
        cores: Cores::On(vec![Affinity::Anywhere; cores]),
        // Called on the core's thread: when the pool is created, at the latest.
        events: Some(Box::new(|_| IS_CORE.set(true))),
        is_insecure: true,
        ..EngineConfig::default()
    };
    let engine = start(config).expect("an engine");
    let call = |request| {
        let (answer, answered) = channel();
        engine.call(request, move |result| answer.send(result).expect("somebody waits"));
        answered.recv().expect("each request is answered").expect("it works")
    };
    let request = CreatePool {
        uuid: POOL,
        name: "tank".into(),
        drive_serials: vec!["R0".into()],
        overwrite_foreign_data: false,
    };
    let Reply::Pools(pools) = call(Request::CreatePool(request)) else { panic!("a pool") };
    let nqn = pools.first().expect("the pool").subsystem_nqn.clone();
    let request = CreateVolume {
        uuid: Uuid::from_u128(2),
        pool: POOL,
        name: "vol".into(),
        size_bytes: 32 << 20,
        block_size: 4096,
        allowed_hosts: control::AllowedHosts::default(),
    };
    call(Request::CreateVolume(request));
    (engine, nqn)
}

/// Reads and writes of one length, so many in flight together, each over the whole depth several times.
fn work(host: &mut Host, opcode: NvmOpcode, len: usize, depth: u64) {
    let data = || if opcode == NvmOpcode::WRITE { vec![0x5a; len] } else { Vec::new() };
    let bytes = u32::try_from(len).expect("short");
    let kind = if opcode == NvmOpcode::WRITE { Data::Write(bytes) } else { Data::Read(bytes) };
    for _ in 0..4 {
        let begin = |number| {
            let lba = number * (len as u64 / 4096);
            host.io.submit(transfer(opcode, 1, lba, len), kind, data())
        };
        let slots: Vec<_> = (0..depth).map(begin).collect();
        for slot in slots {
            expect(host.io.finish(slot).expect("answered")).expect("success");
        }
    }
}

fn all_work(host: &mut Host) {
    for len in [4096, 16 << 10, 128 << 10] {
        for opcode in [NvmOpcode::READ, NvmOpcode::WRITE] {
            for depth in [1, 8, 32] {
                work(host, opcode, len, depth);
            }
        }
    }
}

/// More connections than there are spare sends.
const CROWD: u16 = 24;

/// A controller with so many IO queues.
fn crowd(portal: SocketAddr, nqn: &str, digests: Digests) -> (Queue, Vec<Queue>) {
    let which =
        Which { subsystem: nqn, host: "nqn.2014-08.org.nvmexpress:uuid:crowd", qid: 0, cntlid: 0xffff };
    let (mut admin, cntlid) = Queue::connect(portal, which, digests).expect("connected");
    enable(&mut admin).expect("enabled");
    let open = |qid| Queue::connect(portal, Which { qid, cntlid, ..which }, digests).expect("one more").0;
    (admin, (1..=CROWD).map(open).collect())
}

/// Each queue reads more than its socket takes while nobody receives, all together; then each receives.
fn read_together(queues: &mut [Queue]) {
    const LEN: usize = 128 << 10;
    const DEPTH: u64 = 6;
    for _ in 0..2 {
        let begin = |queue: &mut Queue| {
            let read = |number| transfer(NvmOpcode::READ, 1, number * (LEN as u64 / 4096), LEN);
            let slots: Vec<_> = (0..DEPTH)
                .map(|number| queue.submit(read(number), Data::Read(128 << 10), Vec::new()))
                .collect();
            queue.send().expect("sent");
            slots
        };
        let slots: Vec<_> = queues.iter_mut().map(begin).collect();
        for (queue, slots) in queues.iter_mut().zip(slots) {
            for slot in slots {
                expect(queue.finish(slot).expect("answered")).expect("success");
            }
        }
    }
}

/// Goal: cores that have served a load once serve it again without a single allocation: reads and writes of 4, 16 and
/// 128 KiB, one to 32 in flight, with and without digests, and by many queues at the same time; while they poll and while they sleep; with sockets of the home core, and of
/// two others. Method: the process's allocator counts what their threads ask for. (One test in this process: what the runner does
/// beside it would be counted.)
#[test]
fn reads_and_writes_allocate_nothing() {
    IS_HOST.set(true);
    for (mode, is_digested, cores) in [(Mode::Latency, false, 1), (Mode::Eco, true, 1), (Mode::Eco, false, 3)]
    {
        let (engine, nqn) = engine(mode, cores);
        let portal = engine.portals()[0];
        let digests = Digests { header: is_digested, data: is_digested };
        let mut host = Host::connect(portal, &nqn, digests).expect("connected");
        assert!(COUNT.load(Ordering::Relaxed) > 0, "the counter counts");
        let (_admin, mut queues) = crowd(portal, &nqn, digests);
        all_work(&mut host);
        read_together(&mut queues);
        let before = COUNT.load(Ordering::Relaxed);
        ARE_OTHERS_COUNTED.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            all_work(&mut host);
            read_together(&mut queues);
        }
        ARE_OTHERS_COUNTED.store(false, Ordering::Relaxed);
        let counts = (COUNT.load(Ordering::Relaxed) - before, OTHERS.load(Ordering::Relaxed));
        assert_eq!(counts, (0, 0), "allocations, {mode} with digests: {is_digested}, {cores} cores");
        engine.stop();
    }
}
