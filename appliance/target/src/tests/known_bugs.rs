//! What broke other targets, sent to ours. Each test says in a sentence what kind of bug it was; afterwards a good host
//! works and nothing is kept.

use super::Bench;
use super::host::{self, Host, Queue, Which, pattern, transfer};
use nvme_spec::fabrics::{Connect, ConnectData, DISCOVERY_NQN, Nqns};
use nvme_spec::log::LogPage;
use nvme_spec::tcp::{CapsuleCmd, CommonHeader, DataPdu, Fes, IcReq, PduType, TermReq};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

pub(super) fn common(kind: PduType, hlen: u8, plen: u32) -> CommonHeader {
    let pdo = if u32::from(hlen) < plen { hlen } else { 0 };
    CommonHeader { kind, flags: 0, hlen, pdo, plen: plen.into() }
}

pub(super) fn ic_req() -> IcReq {
    let mut request = IcReq::new_zeroed();
    request.ch = common(PduType::IC_REQ, 128, 128);
    request
}

/// Data of a command, with `carried` bytes behind it.
pub(super) fn h2c(cid: u16, tag: u16, (offset, len): (u32, u32), carried: u32) -> Vec<u8> {
    let mut header = DataPdu::new_zeroed();
    header.ch = common(PduType::H2C_DATA, 24, 24 + carried);
    (header.cccid, header.ttag) = (cid.into(), tag.into());
    (header.datao, header.datal) = (offset.into(), len.into());
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(24 + carried as usize, 0xbb);
    bytes
}

/// Reads to the end of the stream; what the termination request says, if there is one, and that nothing follows it.
fn last_words(stream: &mut TcpStream) -> Option<Fes> {
    let mut found = None;
    let mut head = [0; 8];
    while stream.read_exact(&mut head).is_ok() {
        assert!(found.is_none(), "a termination request is the last PDU");
        let common = CommonHeader::read_from_bytes(&head).expect("8 bytes");
        let mut pdu = head.to_vec();
        pdu.resize(common.plen.get() as usize, 0);
        stream.read_exact(&mut pdu[8..]).expect("PDUs are whole");
        if common.kind == PduType::C2H_TERM_REQ {
            found = Some(Fes(TermReq::read_from_prefix(&pdu).expect("a request").0.fes.get()));
        }
    }
    found
}

/// Nothing of anybody is left, and a host works.
fn works(bench: &mut Bench) {
    bench.until(|bench| bench.target.is_idle() && bench.net.sockets() == 0);
    let free = bench.target.arena().usage();
    let host = bench.host(|mut host| {
        let status = host.write(1, 0, pattern(8192, 3)).expect("answered");
        (status, host.io.read(transfer(NvmOpcode::READ, 1, 0, 8192), 8192).expect("answered").1)
    });
    assert_eq!(bench.join(host), (Status::SUCCESS, pattern(8192, 3)));
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), free);
}

/// Goal: CVE-2023-5178 (Linux nvmet): a connection whose initialization failed was freed by two parties. Refused ICReqs of
/// every kind, with more bytes behind them or not, by peers who wait for the end or leave at once.
#[test]
fn initialization_that_fails_is_cleaned_up_once() {
    let mut bench = Bench::new();
    let changes: [fn(&mut IcReq); 6] = [
        |request| request.pfv = 1.into(),
        |request| request.hpda_z = 255,
        |request| request.ch.flags = 3,
        |request| request.ch.hlen = 24,
        |request| request.ch.plen = 24.into(),
        |request| request.ch.kind = PduType::H2C_DATA,
    ];
    let address = bench.address;
    let peer = thread::spawn(move || {
        for change in changes {
            for (more, waits) in [(0, true), (200, true), (0, false), (200, false)] {
                let mut request = ic_req();
                request.dgst = 3;
                change(&mut request);
                let mut bytes = request.as_bytes().to_vec();
                bytes.resize(128 + more, 0);
                let mut stream = TcpStream::connect(address).expect("connected");
                stream.write_all(&bytes).expect("sent");
                if waits {
                    stream.shutdown(Shutdown::Write).expect("no more");
                    last_words(&mut stream);
                }
            }
        }
        // Initialized twice.
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.write_all(&[ic_req().as_bytes(), ic_req().as_bytes()].concat()).expect("sent");
        last_words(&mut stream)
    });
    assert_eq!(bench.join(peer), Some(Fes::SEQUENCE_ERROR));
    works(&mut bench);
}

/// Goal: CVE-2023-6121 (Linux nvmet): an offset behind the end of the discovery log was not noticed, and what lay behind it
/// in memory was sent to the host.
#[test]
fn discovery_log_has_nothing_behind_its_end() {
    let mut bench = Bench::new();
    let address = bench.address;
    let peer = thread::spawn(move || {
        let which = Which { subsystem: DISCOVERY_NQN, host: "nqn.test:a", qid: 0, cntlid: 0xffff };
        let digests = Digests { header: true, data: true };
        let (mut admin, _) = Queue::connect(address, which, digests).expect("connected");
        host::enable(&mut admin).expect("enabled");
        let mut log = |offset: u64, len: u32| {
            let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
            let dwords_z = len / 4 - 1;
            sqe.cdw10 = (u32::from(LogPage::DISCOVERY.0) | dwords_z << 16).into();
            sqe.cdw11 = (dwords_z >> 16).into();
            let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
            sqe.cdw12 = u32::from_le_bytes([a, b, c, d]).into();
            sqe.cdw13 = u32::from_le_bytes([e, f, g, h]).into();
            let (cqe, data) = admin.read(sqe, len).expect("answered");
            (cqe.status(), data)
        };
        // A header, the discovery subsystem itself, and the pool.
        let (status, whole) = log(0, 16384);
        assert!(status.is_success() && whole[8] == 2 && whole[3 * 1024..].iter().all(|byte| *byte == 0));
        for offset in [3 * 1024 + 4, 1 << 20, 1 << 32, u64::MAX - 3] {
            let (status, data) = log(offset, 4096);
            assert_eq!(status, Status::INVALID_FIELD.dnr(), "offset {offset:#x}");
            assert!(data.iter().all(|byte| *byte == 0));
        }
        let (status, data) = log(3 * 1024 - 4, 8192);
        assert!(status.is_success() && data.iter().all(|byte| *byte == 0));
    });
    bench.join(peer);
    works(&mut bench);
}

/// A host with a write of 64 KiB for which it has the R2T; sends `bytes` instead of the data, made for its identifier and
/// tag. What it is told.
fn instead_of_data(bench: &mut Bench, bytes: fn(u16, u16) -> Vec<u8>) -> Option<Fes> {
    let peer = bench.host(move |mut host| {
        host.io.submit(transfer(NvmOpcode::WRITE, 1, 0, 65536), Data::Write(65536), pattern(65536, 1));
        host.io.send().expect("the capsule is sent");
        let mut stream = host.io.stream();
        let mut request = [0; 24];
        stream.read_exact(&mut request).expect("the R2T comes");
        let tag = u16::from_le_bytes([request[10], request[11]]);
        stream.write_all(&bytes(host.io.last_cid, tag)).expect("sent");
        last_words(&mut stream)
    });
    bench.join(peer)
}

/// Goal: CVE-2023-6356 (Linux nvmet): the length and the offset of a data PDU were believed, and its payload went past the
/// buffers of the command.
#[test]
fn data_stays_inside_its_command() {
    let mut bench = Bench::new();
    bench.orders(false, None);
    let far = Some(Fes::DATA_OUT_OF_RANGE);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (0, 65540), 65540)), far);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (65532, 8), 8)), far);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (u32::MAX - 3, 8), 8)), far);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (0, 4096), 8192)), far);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (0, 8192), 4096)), far);
    let long = Some(Fes::LIMIT_EXCEEDED);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (0, 1 << 20), 1 << 20)), long);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag, (0, u32::MAX), 8)), long);
    assert_eq!(bench.operations(), 0, "nothing of it reached a drive");
    works(&mut bench);
}

/// Goal: CVE-2023-6535 (Linux nvmet): data for a tag whose command did not exist started a command that was never set up.
#[test]
fn data_for_nobody_starts_nothing() {
    let mut bench = Bench::new();
    bench.orders(false, None);
    let nobody = Some(Fes::SEQUENCE_ERROR);
    assert_eq!(instead_of_data(&mut bench, |cid, _| h2c(cid, 0, (0, 4096), 4096)), nobody);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid, tag + 1, (0, 4096), 4096)), nobody);
    assert_eq!(instead_of_data(&mut bench, |cid, _| h2c(cid, 0xffff, (0, 4096), 4096)), nobody);
    assert_eq!(instead_of_data(&mut bench, |cid, tag| h2c(cid ^ 1, tag, (0, 4096), 4096)), nobody);
    assert_eq!(bench.operations(), 0, "nothing of it reached a drive");
    works(&mut bench);
}

/// Goal: CVE-2023-6536 (Linux nvmet): a command that had all of its data was completed once more by data that came again.
/// Here the drive still works on it, or has ended it.
#[test]
fn data_that_comes_again_completes_nothing() {
    let mut bench = Bench::new();
    for is_holding in [true, false] {
        bench.orders(is_holding, None);
        let again = |cid, tag| [h2c(cid, tag, (0, 65536), 65536), h2c(cid, tag, (0, 65536), 65536)].concat();
        assert_eq!(instead_of_data(&mut bench, again), Some(Fes::SEQUENCE_ERROR));
        assert_eq!(bench.operations(), 1, "it was written once");
        bench.orders(false, None);
        bench.until(|bench| bench.target.is_idle());
    }
    works(&mut bench);
}

/// Goal: CVE-2026-22998 (Linux nvmet): data for a command that has no buffer to take it was placed all the same. Here for a
/// read at the drive, a flush, an event request, and a write that was not asked for its data yet.
#[test]
fn data_for_a_command_without_buffer() {
    let mut bench = Bench::new();
    for opcode in [NvmOpcode::READ, NvmOpcode::FLUSH, NvmOpcode::WRITE] {
        bench.orders(true, None);
        let peer = bench.host(move |mut host| {
            let sqe = transfer(opcode, 1, 0, 65536);
            let data = match opcode {
                NvmOpcode::READ => Data::Read(65536),
                NvmOpcode::WRITE => Data::Write(65536),
                _ => Data::None,
            };
            host.io.submit(sqe, data, pattern(65536, 1));
            host.io.send().expect("the capsule is sent");
            let mut stream = host.io.stream();
            // The first tag is 1: a write's R2T has not been seen when this leaves.
            let tag = if opcode == NvmOpcode::WRITE { 2 } else { 1 };
            stream.write_all(&h2c(host.io.last_cid, tag, (0, 4096), 4096)).expect("sent");
            last_words(&mut stream)
        });
        assert_eq!(bench.join(peer), Some(Fes::SEQUENCE_ERROR), "{opcode:?}");
        bench.orders(false, None);
        bench.until(|bench| bench.target.is_idle());
    }
    let peer = bench.host(|mut host| {
        host.admin.submit(Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0), Data::None, Vec::new());
        host.admin.send().expect("sent");
        let mut stream = host.admin.stream();
        stream.write_all(&h2c(host.admin.last_cid, 1, (0, 4096), 4096)).expect("sent");
        last_words(&mut stream)
    });
    assert_eq!(bench.join(peer), Some(Fes::SEQUENCE_ERROR));
    works(&mut bench);
}

/// Sends the first `count` bytes of a good conversation, and leaves.
fn leave_after(address: SocketAddr, conversation: &[u8], count: usize, is_abrupt: bool) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(&conversation[..count]).expect("sent");
    if is_abrupt {
        // Unread bytes and a close: the other side gets a reset.
        return;
    }
    stream.shutdown(Shutdown::Write).expect("no more");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the target closes, too");
}

/// Goal: SPDK issue 2696: a connection that died while it was set up was still looked after, without its socket. A good
/// conversation (initialization, Connect with its data) that ends after any number of bytes, gracefully or not.
#[test]
fn connections_that_end_while_they_are_set_up() {
    let mut bench = Bench::new();
    let (address, nqn) = (bench.address, bench.nqn.clone());
    let peer = thread::spawn(move || {
        let mut sqe = Connect { recfmt: 0, qid: 0, sqsize_z: 31, cattr: 0, kato_ms: 0 }.to_sqe();
        sqe.flags = 0x40;
        sqe.dptr = nvme_spec::entry::DataPointer::sgl(nvme_spec::Sgl::in_capsule(1024));
        let capsule = CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 72 + 1024), sqe };
        let nqns = Nqns { host: "nqn.test:a", subsystem: &nqn };
        let data = ConnectData::new([7; 16], 0xffff, nqns).expect("short names");
        let conversation = [ic_req().as_bytes(), capsule.as_bytes(), data.as_bytes()].concat();
        let ends = (0..210).chain((210..conversation.len()).step_by(61)).chain([conversation.len()]);
        for (round, count) in ends.enumerate() {
            leave_after(address, &conversation, count, round % 2 == 0);
        }
    });
    bench.join(peer);
    works(&mut bench);
}

/// Goal: SPDK issue 1546 and its fellows (a host that obeys an R2T for data of a fabrics command): Connect may bring its
/// data by R2T as well as in the capsule.
#[test]
fn connect_with_its_data_behind_an_r2t() {
    let mut bench = Bench::new();
    let (address, nqn) = (bench.address, bench.nqn.clone());
    let peer = thread::spawn(move || {
        let mut sqe = Connect { recfmt: 0, qid: 0, sqsize_z: 31, cattr: 0, kato_ms: 0 }.to_sqe();
        (sqe.flags, sqe.cid) = (0x40, 9.into());
        sqe.dptr = nvme_spec::entry::DataPointer::sgl(nvme_spec::Sgl::transport(1024));
        let capsule = CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 72), sqe };
        let nqns = Nqns { host: "nqn.test:a", subsystem: &nqn };
        let data = ConnectData::new([7; 16], 0xffff, nqns).expect("short names");
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.write_all(&[ic_req().as_bytes(), capsule.as_bytes()].concat()).expect("sent");
        let mut answers = [0; 128 + 24];
        stream.read_exact(&mut answers).expect("ICResp and R2T");
        assert_eq!((answers[128], answers[128 + 8]), (PduType::R2T.0, 9));
        let mut pdu = h2c(9, u16::from_le_bytes([answers[138], answers[139]]), (0, 1024), 1024);
        pdu[24..].copy_from_slice(data.as_bytes());
        stream.write_all(&pdu).expect("sent");
        let mut response = [0; 24];
        stream.read_exact(&mut response).expect("the response");
        (response[0], u16::from_le_bytes([response[22], response[23]]) >> 1)
    });
    assert_eq!(bench.join(peer), (PduType::CAPSULE_RESP.0, 0));
    works(&mut bench);
}

/// Goal: a connection of a good host is not touched by any of this beside it.
#[test]
fn a_good_host_beside_them() {
    let mut bench = Bench::new();
    let host = bench.host(|mut host| (host.write(1, 0, pattern(8192, 7)).expect("answered"), host));
    let (status, mut good): (Status, Host) = bench.join(host);
    assert_eq!(status, Status::SUCCESS);
    let told = instead_of_data(&mut bench, |cid, tag| h2c(cid, tag + 5, (0, 4096), 4096));
    assert_eq!(told, Some(Fes::SEQUENCE_ERROR));
    let reader =
        thread::spawn(move || good.io.read(transfer(NvmOpcode::READ, 1, 0, 8192), 8192).expect("answered").1);
    assert_eq!(bench.join(reader), pattern(8192, 7));
}
