//! Thousands of hostile connections against an engine with one good host: what the host notices, and what they cost.
//!
//! ```text
//!  hostile [CONNECTIONS] [SECONDS]     measure: engine and good host here, the strangers in a process of their own
//!  hostile attack ADDRESS CONNECTIONS  that process: opens as many, and each again whenever it was closed
//! ```
//! Strangers are silent, send half an ICReq, garbage, an ICReq and nothing more, or a Connect without its data; they come
//! from 200 addresses of 127/8. `make hostile` runs this in a network namespace of its own.
#[path = "../../target/src/tests/host.rs"]
mod host;

use control::{AllowedHosts, CreatePool, CreateVolume, Reply, Request};
use engine::{DriveSpec, Engine, EngineConfig, Mode, start};
use host::{Host, pattern, transfer};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, recv, send, socket,
};
use nvme_spec::NvmOpcode;
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Commands that the good host sends together.
const DEPTH: usize = 16;

/// Addresses that strangers come from.
const SOURCES: usize = 200;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a higher limit");
    match arguments.as_slice() {
        [mode, address, count] if mode == "attack" => {
            attack(address.parse().expect("an address"), count.parse().expect("a number"));
        }
        rest => {
            let number = |index: usize, default| {
                rest.get(index).map_or(default, |text: &String| text.parse().expect("a number"))
            };
            measure(number(0, 10_000), number(1, 10));
        }
    }
}

fn measure(connections: u64, seconds: u64) {
    let engine = engine();
    let nqn = create(&engine);
    let address = engine.portals()[0];
    let mut host = Host::connect(address, &nqn, Digests { header: false, data: false }).expect("connected");
    for number in 0..32 {
        host.write(1, number * 32, pattern(131_072, number)).expect("written");
    }
    let time = Duration::from_secs(seconds);
    read(&mut host, Duration::from_secs(2)); // warm
    let (before, memory) = (read(&mut host, time), resident_kib());
    print("alone", &before);

    let own = env::current_exe().expect("this program");
    let mut child = Command::new(own)
        .args(["attack", &address.to_string(), &connections.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let during_arrival = read_until(&mut host, &mut lines);
    print(&format!("while {connections} arrive"), &during_arrival);
    let during = read(&mut host, time);
    print("while they come back as often as they are closed", &during);
    let more = resident_kib().saturating_sub(memory);
    println!("memory of the engine: {memory} KiB before, {more} KiB more with the strangers");
    let again = Host::connect_as(address, &nqn, "nqn.2026-01.example:late", Digests::default());
    println!("a host that comes now: {}", again.map_or_else(|e| e.to_string(), |_| "connected".into()));
    drop(child.stdin.take());
    let report = lines.next().expect("a report").expect("text");
    child.wait().expect("it ends");
    println!("strangers: {report}");
    print("alone again", &read(&mut host, time));
}

/// Reads, in what time, and the slowest batch.
struct Figures {
    reads: u64,
    time: Duration,
    slowest: Duration,
}

fn print(what: &str, figures: &Figures) {
    let rate = u128::from(figures.reads) * 1_000_000 / figures.time.as_micros().max(1);
    let slowest = figures.slowest.as_micros();
    println!(
        "{what}: {rate} reads of 4 KiB a second, the slowest {DEPTH} together {slowest} µs, in {} ms",
        figures.time.as_millis()
    );
}

fn read(host: &mut Host, time: Duration) -> Figures {
    let end = Instant::now() + time;
    read_while(host, || Instant::now() < end)
}

/// Reads until the strangers say that all of them have arrived.
fn read_until(
    host: &mut Host,
    lines: &mut (impl Iterator<Item = std::io::Result<String>> + Send),
) -> Figures {
    std::thread::scope(|scope| {
        let (done, is_done) = channel();
        let arrival = scope.spawn(move || {
            let line = lines.next();
            let _ = done.send(());
            line
        });
        let figures = read_while(host, || is_done.try_recv().is_err());
        assert!(matches!(arrival.join(), Ok(Some(Ok(_)))), "the strangers report");
        figures
    })
}

/// Reads in batches of [`DEPTH`].
fn read_while(host: &mut Host, mut goes_on: impl FnMut() -> bool) -> Figures {
    let (begin, mut reads, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while goes_on() {
        let since = Instant::now();
        for _ in 0..DEPTH {
            let sqe = transfer(NvmOpcode::READ, 1, reads * 7 % 1024, 4096);
            host.io.submit(sqe, Data::Read(4096), Vec::new());
            reads += 1;
        }
        for _ in 0..DEPTH {
            let cqe = host.io.finish_any().expect("the good host is served");
            assert!(cqe.status().is_success(), "{}", cqe.status());
        }
        slowest = slowest.max(since.elapsed());
    }
    Figures { reads, time: begin.elapsed(), slowest }
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4
}

fn engine() -> Engine {
    let any = || "127.0.0.1:0".parse().expect("an address");
    let drive: DriveSpec = "ram:96MiB,serial=R0".parse().expect("a drive");
    let config = EngineConfig {
        drives: vec![drive],
        listen: vec![any()],
        discovery: vec![any()],
        arena_bytes: 64 << 20,
        mode: Mode::Balanced,
        is_insecure: true,
        ..EngineConfig::default()
    };
    start(config).expect("an engine")
}

fn call(engine: &Engine, request: Request) -> Reply {
    let (answer, answered) = channel();
    engine.call(request, move |result| answer.send(result).expect("somebody waits"));
    answered.recv().expect("each request is answered").expect("it succeeds")
}

/// A pool and a volume of 8 MiB; the subsystem's name.
fn create(engine: &Engine) -> String {
    let pool = Uuid::from_u128(1);
    let request = CreatePool {
        uuid: pool,
        name: "tank".into(),
        drive_serials: vec!["R0".into()],
        overwrite_foreign_data: false,
    };
    let Reply::Pools(pools) = call(engine, Request::CreatePool(request)) else { panic!("a pool") };
    let size_bytes = 8 << 20;
    let request = CreateVolume {
        uuid: Uuid::from_u128(2),
        pool,
        name: "vol".into(),
        size_bytes,
        block_size: 4096,
        allowed_hosts: AllowedHosts::default(),
    };
    call(engine, Request::CreateVolume(request));
    pools[0].subsystem_nqn.clone()
}

/// Opens `count` connections, says so, and opens each again when it was closed, until its input ends.
fn attack(to: SocketAddr, count: usize) {
    let SocketAddr::V4(to) = to else { panic!("an IPv4 address") };
    let mut opened = 0u64;
    let mut strangers: Vec<Option<OwnedFd>> = (0..count).map(|_| None).collect();
    let (ended, has_ended) = channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lines().count();
        let _ = ended.send(());
    });
    let mut is_first = true;
    while has_ended.try_recv().is_err() {
        for (number, place) in strangers.iter_mut().enumerate() {
            if place.as_ref().is_none_or(is_closed) {
                // The old one is closed first, so that descriptors suffice.
                drop(place.take());
                *place = stranger(number, to);
                opened += u64::from(place.is_some());
            }
        }
        if std::mem::take(&mut is_first) {
            println!("all have come");
            std::io::stdout().flush().expect("a pipe");
        }
    }
    let open = strangers.iter().flatten().filter(|fd| !is_closed(fd)).count();
    println!("{opened} connections opened, {open} open at the end");
}

fn is_closed(fd: &OwnedFd) -> bool {
    loop {
        match recv(fd.as_raw_fd(), &mut [0; 256], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(_) => {} // an ICResp, a termination request
            Err(Errno::EAGAIN) => return false,
            Err(_) => return true,
        }
    }
}

/// One stranger; what it sends depends on its number.
fn stranger(number: usize, to: SocketAddrV4) -> Option<OwnedFd> {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).ok()?;
    let last = u8::try_from(number % SOURCES + 1).expect("a few hundred");
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new([127, 0, 1, last].into(), 0))).ok()?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).ok()?;
    let mut hello = [0u8; 128 + 72];
    (hello[2], hello[4]) = (128, 128);
    let capsule: [u8; 16] = [4, 0, 72, 72, 72, 4, 0, 0, 0x7f, 0x40, 1, 0, 1, 0, 0, 0];
    hello[128..144].copy_from_slice(&capsule);
    hello[128 + 8 + 32..128 + 8 + 40].copy_from_slice(&[0, 4, 0, 0, 0, 0, 0, 1]);
    let bytes: &[u8] = match number % 5 {
        0 => &[],
        1 => &hello[..60],
        2 => &[0xaa; 200],
        3 => &hello[..128],
        _ => &hello,
    };
    if !bytes.is_empty() {
        let _ = send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }
    Some(fd)
}
