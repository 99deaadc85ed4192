//! Every kind of connection that does not do its part, a few of each, beside a good host.

use super::host::{Host, pattern, transfer};
use super::known_bugs::{common, ic_req};
use super::{Bench, NO_DIGESTS};
use crate::command::State;
use crate::connection::Connection;
use crate::limits::{CHUNK_BYTES, RESERVE_BUFFERS, STRANGER_SLOTS_MAX, STRANGER_STAGING_BYTES, TIMER_PERIOD};
use dma::Arena;
use net::limits::ZERO_COPY_BYTES_MAX;
use nvme_spec::entry::{DataPointer, FLAGS_SGL, Sgl};
use nvme_spec::fabrics::{Connect, ConnectData, DISCOVERY_NQN, Nqns, Property};
use nvme_spec::log::LogPage;
use nvme_spec::register::{Cc, offset};
use nvme_spec::tcp::{CapsuleCmd, PduType};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_subsystem::limits::{DISCOVERY_TRANSFER_MAX, MQES_Z};
use nvme_tcp::host::Data;
use nvme_tcp::limits::SLOTS_PER_ENTRY;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use zerocopy::IntoBytes;

/// Strangers of each kind.
const EACH: usize = 4;
/// Hosts that hold memory. They wait in the same line as the good one, so each may have its turn before it.
const HOSTS: usize = 4;

/// A socket with these bytes sent, kept open.
fn stream(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(bytes).expect("sent");
    stream
}

/// Initialization, and a Connect whose capsule carries `carried` of its 1024 bytes.
fn half_connect(carried: usize) -> Vec<u8> {
    let connect = Connect { recfmt: 0, qid: 0, sqsize_z: 31, cattr: 0, kato_ms: 0 };
    let mut sqe = connect.to_sqe();
    sqe.dptr = DataPointer::sgl(Sgl::in_capsule(1024));
    let capsule = CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 72 + 1024), sqe };
    [ic_req().as_bytes(), capsule.as_bytes(), &vec![0; carried]].concat()
}

/// Bytes of the memory for IO that somebody has.
fn used(arena: &Arena) -> usize {
    arena.usage().iter().map(|class| (class.slots - class.free) as usize * class.slot_bytes).sum()
}

/// So many looks at the clock pass.
fn pass(bench: &mut Bench, looks: usize) {
    for _ in 0..looks {
        bench.now = bench.now.after(TIMER_PERIOD);
        bench.target.on_time(&mut bench.net, bench.now);
        bench.turn();
    }
}

/// A stranger that has connected to the discovery subsystem with the longest queue that there is, asks for `count` pages of the
/// longest length, and takes none of them.
fn hoarder(address: SocketAddr, count: u16) -> TcpStream {
    let (longest, many) = (DISCOVERY_TRANSFER_MAX, MQES_Z);
    let capsule = |sqe: Sqe, cid: u16, sgl: Sgl, data: &[u8]| {
        let len = u32::try_from(data.len()).expect("short");
        let mut sqe = Sqe { cid: cid.into(), dptr: DataPointer::sgl(sgl), ..sqe };
        sqe.flags |= FLAGS_SGL;
        [CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 72 + len), sqe }.as_bytes(), data].concat()
    };
    let connect = Connect { recfmt: 0, qid: 0, sqsize_z: many, cattr: 0, kato_ms: 0 };
    let nqns = Nqns { host: "nqn.test:a", subsystem: DISCOVERY_NQN };
    let data = ConnectData::new([7; 16], 0xffff, nqns).expect("short names");
    let connect = capsule(connect.to_sqe(), 0, Sgl::in_capsule(1024), data.as_bytes());
    let mut stream = stream(address, &[ic_req().as_bytes(), &connect].concat());
    let mut answers = [0; 128 + 24];
    stream.read_exact(&mut answers).expect("it is connected");
    let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
    let enable = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
    let mut bytes = capsule(enable, 1, Sgl::in_capsule(0), &[]);
    let mut page = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
    page.cdw10 = (u32::from(LogPage::DISCOVERY.0) | (longest / 4 - 1) << 16).into();
    for cid in 2..count + 2 {
        bytes.extend(capsule(page, cid, Sgl::transport(longest), &[]));
    }
    stream.write_all(&bytes).expect("sent");
    stream
}

/// Goal: anybody may use the discovery subsystem. Who asks it for much and takes nothing has little of the memory whatever size of
/// queue it wanted, and none of the memory for IO: a good host's commands complete at once.
#[test]
fn readers_of_the_discovery_log_that_take_nothing() {
    let mut bench = Bench::new();
    let free = bench.target.arena().usage();
    let address = bench.address;
    let hoarders = thread::spawn(move || (0..EACH).map(|_| hoarder(address, 1020)).collect::<Vec<_>>());
    let hoarders = bench.join(hoarders);
    // Their sockets take some of it.
    let strangers = |bench: &Bench| bench.target.connections.iter().flatten().all(|c| c.page.is_some());
    bench.until(|bench| bench.target.line.is_empty() && strangers(bench));
    for connection in bench.target.connections.iter().flatten() {
        let (slots, unread) = (connection.commands.len(), connection.input.unread().len());
        assert!(
            slots == usize::from(STRANGER_SLOTS_MAX) && unread <= STRANGER_STAGING_BYTES,
            "{slots} {unread}"
        );
        let pages = connection.commands.iter().filter_map(|command| command.rest());
        assert_eq!(pages.filter(|rest| !rest.bytes.is_empty()).count(), 1, "one page at a time");
    }
    assert_eq!(bench.net.sockets(), EACH);
    assert_eq!(bench.target.arena().usage(), free);
    let good = bench.host(|mut host| host.read(1, 0, 1 << 20).expect("read").len());
    assert_eq!(bench.join(good), 1 << 20);
    drop(hoarders);
}

/// Goal: a Connect whose data does not come holds no memory for IO, in the capsule or asked for.
#[test]
fn connects_without_data_have_no_memory_for_io() {
    let mut bench = Bench::new();
    let free = bench.target.arena().usage();
    let mut sqe = Connect { recfmt: 0, qid: 0, sqsize_z: 31, cattr: 0, kato_ms: 0 }.to_sqe();
    (sqe.flags, sqe.dptr) = (FLAGS_SGL, DataPointer::sgl(Sgl::transport(1024)));
    let capsule = CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 72), sqe };
    let asked = [ic_req().as_bytes(), capsule.as_bytes()].concat();
    let streams = [half_connect(1023), asked].map(|bytes| stream(bench.address, &bytes));
    let is_waiting = |c: &Connection| c.commands.iter().any(|c| matches!(c.state, State::AwaitData(_)));
    bench.until(|bench| bench.target.connections.iter().flatten().filter(|c| is_waiting(c)).count() == 2);
    assert_eq!(bench.target.arena().usage(), free);
    drop(streams);
}

/// Goal: half an ICReq, half a capsule, half a Connect, garbage, data that was asked for and does not come, and reads that
/// nobody takes: they hold a bounded part of the memory, a good host's commands complete beside them, and after a while they
/// are gone, with everything that they held.
#[test]
fn they_cost_themselves_only() {
    let mut bench = Bench::new();
    let free = bench.target.arena().usage();
    let (address, nqn) = (bench.address, bench.nqn.clone());
    let hostile = thread::spawn(move || {
        let (capsule, connect, garbage) = (half_connect(0), half_connect(500), pattern(2000, 3));
        let kinds = [&capsule[..100], &capsule[..128 + 30], &connect, &garbage];
        let streams: Vec<_> =
            kinds.iter().flat_map(|bytes| [*bytes; EACH]).map(|bytes| stream(address, bytes)).collect();
        let hosts: Vec<_> = (0..HOSTS)
            .rev()
            .map(|number| {
                let name = format!("nqn.2014-08.org.nvmexpress:uuid:hostile-{number}");
                let mut host = Host::connect_as(address, &nqn, &name, NO_DIGESTS).expect("connected");
                // Together they want more than there is, one buffer at a time; and one wants data that it does not take.
                let (kind, count, len) = match number {
                    0 => (NvmOpcode::READ, 12, 1 << 20),
                    _ => (NvmOpcode::WRITE, 30, CHUNK_BYTES),
                };
                for _ in 0..count {
                    let bytes = u32::try_from(len).expect("short");
                    let (data, bytes) = match kind {
                        NvmOpcode::READ => (Data::Read(bytes), Vec::new()),
                        _ => (Data::Write(bytes), vec![0xee; len]),
                    };
                    host.io.submit(transfer(kind, 1, 256, len), data, bytes);
                }
                host.io.send().expect("sent");
                host
            })
            .collect();
        (streams, hosts)
    });
    let (streams, hosts) = bench.join(hostile);
    (0..200).for_each(|_| bench.turn());

    let strangers = bench.target.connections.iter().flatten().filter(|connection| !connection.is_host);
    let kept: Vec<_> = strangers.map(|c| (c.commands.len(), c.input.unread().len())).collect();
    assert_eq!(kept.len(), 4 * EACH, "also those that were told why they end");
    assert!(kept.iter().all(|kept| *kept == (usize::from(SLOTS_PER_ENTRY), 0)), "{kept:?}");
    let large = bench.target.arena().usage().last().expect("a class").free as usize;
    assert_eq!(large, RESERVE_BUFFERS, "buffers of {CHUNK_BYTES} bytes are left for capsules");

    // A write with its data in the capsule needs nobody to go; a read waits until those are gone that use nothing of what
    // they hold.
    let (told, is_told) = channel();
    let good = bench.host(move |mut host| {
        let written = host.write(1, 0, pattern(8192, 5)).expect("answered");
        told.send(()).expect("the test waits");
        let read = host.read(1, 0, 8192).expect("read");
        (written, read, host.write(1, 9, pattern(1 << 20, 6)).expect("answered"))
    });
    bench.until(|_| is_told.try_recv().is_ok());
    pass(&mut bench, 400);
    let (written, read, long) = bench.join(good);
    assert_eq!((written, long), (Status::SUCCESS, Status::SUCCESS));
    assert!(read == pattern(8192, 5));

    pass(&mut bench, 700);
    bench.until(|bench| bench.target.is_idle() && bench.net.sockets() == 0);
    // What the network was given without a copy goes with their ends of the sockets; that is bounded by itself.
    assert!(used(bench.target.arena()) <= ZERO_COPY_BYTES_MAX, "{} bytes", used(bench.target.arena()));
    drop((streams, hosts));
    bench.until(|bench| bench.target.arena().usage() == free);
}
