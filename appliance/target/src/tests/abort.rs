//! Abort: what has not begun does not happen, and the host is told the truth about the rest (Base 2.1 §5.1.1).

use super::host::{Host, pattern, transfer};
use super::known_bugs::h2c;
use super::spread::with_cores;
use super::{Bench, NO_DIGESTS};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use std::io::{Read, Write};
use std::thread;

/// Aborts a command of the I/O queue; says whether it was aborted.
fn abort(host: &mut Host, cid: u16) -> bool {
    let mut sqe = Sqe::new(AdminOpcode::ABORT.0, 0);
    sqe.cdw10 = (u32::from(cid) << 16 | 1).into();
    let cqe = host.admin.command(sqe).expect("Abort is answered");
    assert!(cqe.status().is_success());
    cqe.dw0.get() & 1 == 0
}

/// Goal: a write that waits for the data of its R2T is aborted: its data, when it comes, is thrown away and reaches no drive.
#[test]
fn write_that_waits_for_its_data() {
    let mut bench = Bench::new();
    bench.orders(false, None);
    let host = bench.host(|mut host| {
        let slot = host.io.submit(
            transfer(NvmOpcode::WRITE, 1, 0, 100 * 4096),
            Data::Write(100 * 4096),
            pattern(100 * 4096, 1),
        );
        host.io.send().expect("the capsule is sent");
        host.io.receive().expect("the R2T comes");
        let cid = host.io.last_cid;
        assert!(abort(&mut host, cid), "it was only waiting");
        let status = host.io.finish(slot).expect("answered").status();
        assert!(!abort(&mut host, cid), "there is no such command any more");
        // The queue works as before.
        (status, host.write(1, 0, pattern(8192, 2)).expect("answered"))
    });
    assert_eq!(bench.join(host), (Status::ABORT_REQUESTED, Status::SUCCESS));
    assert_eq!(bench.operations(), 1, "the aborted write reached no drive");
}

/// Goal: a write is aborted while a part of its data has arrived and a socket core has its buffer for the rest: that arrives, and
/// reaches no drive.
#[test]
fn write_whose_buffer_is_lent() {
    const LEN: u32 = 65536;
    let mut bench = Bench::new();
    with_cores(&mut bench, 1);
    bench.orders(false, None);
    let host = bench.host(|mut host| {
        host.io.submit(transfer(NvmOpcode::WRITE, 1, 0, 65536), Data::Write(LEN), vec![0; 65536]);
        host.io.send().expect("the capsule is sent");
        let (mut stream, cid) = (host.io.stream(), host.io.last_cid);
        let mut request = [0; 24];
        stream.read_exact(&mut request).expect("the R2T comes");
        let data = h2c(cid, u16::from_le_bytes([request[10], request[11]]), (0, LEN), LEN);
        stream.write_all(&data[..5000]).expect("sent");
        assert!(abort(&mut host, cid), "it was only waiting");
        stream.write_all(&data[5000..]).expect("sent");
        let mut response = [0; 24];
        stream.read_exact(&mut response).expect("the response");
        Status::from_field(u16::from_le_bytes([response[22], response[23]]))
    });
    assert_eq!(bench.join(host), Status::ABORT_REQUESTED);
    assert_eq!(bench.operations(), 0);
}

/// Goal: of many reads that drives hold, those that wait for memory are aborted at once; those at the drives are not, and
/// succeed.
#[test]
fn read_that_waits_for_memory() {
    const READS: u64 = 20;
    let mut bench = Bench::new();
    let before = bench.target.arena().usage();
    bench.orders(true, None);
    let host = bench.host(|mut host| {
        let mut reads = Vec::new();
        for number in 0..READS {
            let sqe = transfer(NvmOpcode::READ, 1, number * 256, 1 << 20);
            let slot = host.io.submit(sqe, Data::Read(1 << 20), Vec::new());
            host.io.send().expect("sent");
            reads.push((slot, host.io.last_cid));
        }
        // When this is answered, all of them have arrived.
        let refused = host.io.command(Sqe::new(0x7e, 1)).expect("answered");
        assert_eq!(refused.status(), Status::INVALID_OPCODE.dnr());
        (host, reads)
    });
    let (mut host, reads) = bench.join(host);
    let (first, last) = (reads[0], reads[reads.len() - 1]);
    let aborter = thread::spawn(move || {
        assert!(abort(&mut host, last.1), "it was only waiting");
        assert_eq!(host.io.finish(last.0).expect("answered").status(), Status::ABORT_REQUESTED);
        assert!(!abort(&mut host, first.1), "it is at the drives");
        host
    });
    let mut host = bench.join(aborter);
    bench.orders(false, None);
    let rest = thread::spawn(move || {
        for (slot, _) in &reads[..reads.len() - 1] {
            assert!(host.io.finish(*slot).expect("answered").status().is_success());
        }
        drop(host);
    });
    bench.join(rest);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before, "nothing is kept");
}

/// Goal: Abort of a queue that is not this host's, or of no queue, aborts nothing.
#[test]
fn only_ones_own_commands() {
    let mut bench = Bench::new();
    let (address, nqn) = (bench.address, bench.nqn.clone());
    let hosts = thread::spawn(move || {
        let mut victim =
            Host::connect_as(address, &nqn, "nqn.2026-01.example:victim", NO_DIGESTS).expect("connected");
        let mut other =
            Host::connect_as(address, &nqn, "nqn.2026-01.example:other", NO_DIGESTS).expect("connected");
        let sqe = transfer(NvmOpcode::WRITE, 1, 0, 65536);
        let slot = victim.io.submit(sqe, Data::Write(65536), pattern(65536, 1));
        victim.io.send().expect("the capsule is sent");
        victim.io.receive().expect("the R2T comes");
        assert!(!abort(&mut other, victim.io.last_cid), "the other host has no such command");
        victim.io.finish(slot).expect("answered").status()
    });
    assert_eq!(bench.join(hosts), Status::SUCCESS);
}
