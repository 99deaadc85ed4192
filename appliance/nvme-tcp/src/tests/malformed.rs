//! What a peer can get wrong, and the answer the standard wants (the table of TCP 1.1 §3.5.2.2 in our words).

use super::pair::{NOW, Options, Pair};
use crate::controller::{Config, Connection, Event, Queue, Reply};
use crate::limits::{H2C_DATA_MAX, REFUSALS_MAX};
use crate::wire::{ConnectionError, Digests, Fault, Waiting, Want};
use crate::{data_digest, host};
use nvme_spec::entry::{DataPointer, FLAGS_SGL};
use nvme_spec::tcp::{
    CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, Fes, IcReq, PduType, R2t, TermReq, flag,
};
use nvme_spec::{NvmOpcode, Sgl, SglKind, Sqe, Status};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

fn common(kind: PduType, hlen: u8, pdo: u8, plen: u32) -> CommonHeader {
    CommonHeader { kind, flags: 0, hlen, pdo, plen: plen.into() }
}

fn ic_req() -> IcReq {
    let mut request = IcReq::new_zeroed();
    request.ch = common(PduType::IC_REQ, 128, 0, 128);
    request
}

fn fault(fes: Fes, fei: u32) -> Fault {
    Fault { fes, fei }
}

/// Feeds bytes, throwing payload away; returns the fault that ends the connection.
fn feed(connection: &mut Connection, mut bytes: &[u8]) -> Option<Fault> {
    while !bytes.is_empty() {
        let used = match connection.want() {
            Want::Header { .. } => match connection.on_header(bytes, NOW) {
                Ok(used) => used,
                Err(ConnectionError::Protocol(fault)) => return Some(fault),
                Err(other) => panic!("{other}"),
            },
            Want::Payload { len, .. } | Want::Discard { len } => {
                let len = bytes.len().min(len as usize);
                connection.on_payload(&bytes[..len], NOW).expect("payload is never wrong");
                len
            }
            Want::Nothing => return None,
        };
        bytes = &bytes[used..];
        while let Some(event) = connection.poll_event() {
            if let Event::Command { slot, data: crate::controller::Data::Transport(len), .. } = event {
                connection.request_data(slot, len);
            }
        }
    }
    None
}

/// A connection behind Connect, with a write of 8 KiB that was asked for (slot 0, tag 1, CID 5).
fn ready(digests: Digests) -> Connection {
    let mut connection = Connection::new(Config::default(), NOW);
    let mut request = ic_req();
    request.dgst = digests.to_bits();
    assert_eq!(feed(&mut connection, request.as_bytes()), None);
    connection.set_queue(Queue {
        entries: 4,
        slots_max: u16::MAX,
        is_admin: false,
        is_flow_control_disabled: false,
    });
    if digests == Digests::default() {
        assert_eq!(feed(&mut connection, capsule(5, Sgl::transport(8192)).as_bytes()), None);
        assert_eq!(connection.in_flight(), 1);
        while connection.poll_transmit().is_some() {}
    }
    connection
}

fn capsule(cid: u16, sgl: Sgl) -> CapsuleCmd {
    let mut sqe = Sqe::new(NvmOpcode::WRITE.0, 1);
    sqe.cid = cid.into();
    sqe.flags = FLAGS_SGL;
    sqe.dptr = DataPointer::sgl(sgl);
    CapsuleCmd { ch: common(PduType::CAPSULE_CMD, 72, 0, 72), sqe }
}

fn h2c(datao: u32, datal: u32) -> DataPdu {
    let mut header = DataPdu::new_zeroed();
    header.ch = common(PduType::H2C_DATA, 24, 24, 24 + datal);
    (header.cccid, header.ttag) = (5.into(), 1.into());
    (header.datao, header.datal) = (datao.into(), datal.into());
    header
}

/// Goal: everything that may be wrong in the first PDU.
#[test]
fn first_pdu() {
    let change = |change: fn(&mut IcReq)| {
        let mut request = ic_req();
        change(&mut request);
        feed(&mut Connection::new(Config::default(), NOW), request.as_bytes())
    };
    assert_eq!(change(|_| {}), None);
    assert_eq!(change(|r| r.ch.kind = PduType(0x0a)), Some(fault(Fes::INVALID_HEADER_FIELD, 0)));
    assert_eq!(change(|r| r.ch.kind = PduType::CAPSULE_CMD), Some(fault(Fes::SEQUENCE_ERROR, 0)));
    assert_eq!(change(|r| r.ch.flags = flag::HDGST), Some(fault(Fes::INVALID_HEADER_FIELD, 1)));
    assert_eq!(change(|r| r.ch.hlen = 127), Some(fault(Fes::INVALID_HEADER_FIELD, 2)));
    assert_eq!(change(|r| r.ch.plen = 132.into()), Some(fault(Fes::INVALID_HEADER_FIELD, 4)));
    assert_eq!(change(|r| r.pfv = 1.into()), Some(fault(Fes::UNSUPPORTED_PARAMETER, 8)));
    assert_eq!(change(|r| r.hpda_z = 32), Some(fault(Fes::INVALID_HEADER_FIELD, 10)));
}

/// Goal: headers of later PDUs.
#[test]
fn headers() {
    let send = |header: CommonHeader| {
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(300, 0);
        feed(&mut ready(Digests::default()), &bytes)
    };
    let field = |fei| Some(fault(Fes::INVALID_HEADER_FIELD, fei));
    assert_eq!(send(common(PduType::IC_REQ, 128, 0, 128)), Some(fault(Fes::SEQUENCE_ERROR, 0)));
    assert_eq!(send(common(PduType(0x08), 24, 0, 24)), field(0));
    assert_eq!(send(common(PduType::R2T, 24, 0, 24)), field(0));
    assert_eq!(send(common(PduType::CAPSULE_CMD, 71, 0, 72)), field(2));
    assert_eq!(send(common(PduType::CAPSULE_CMD, 72, 0, 71)), field(4));
    assert_eq!(send(common(PduType::CAPSULE_CMD, 72, 71, 100)), field(3));
    assert_eq!(send(common(PduType::CAPSULE_CMD, 72, 74, 100)), field(3));
    assert_eq!(send(common(PduType::CAPSULE_CMD, 72, 100, 100)), field(4));
    assert_eq!(send(common(PduType::CAPSULE_CMD, 72, 252, 100)), field(4));
    let digested = CommonHeader { flags: flag::HDGST, ..common(PduType::CAPSULE_CMD, 72, 0, 76) };
    assert_eq!(send(digested), field(1));
    let digested = CommonHeader { flags: flag::DDGST, ..common(PduType::CAPSULE_CMD, 72, 72, 100) };
    assert_eq!(send(digested), field(1));
    // No limit is exceeded by a length that is only claimed: nothing is kept for it.
    assert_eq!(send(common(PduType::CAPSULE_CMD, 72, 72, u32::MAX)), Some(fault(Fes::LIMIT_EXCEEDED, 0)));
}

/// Goal: data that nobody asked for, or not there, or not so much.
#[test]
fn host_data() {
    let change = |change: fn(&mut DataPdu)| {
        let mut header = h2c(0, 4096);
        change(&mut header);
        feed(&mut ready(Digests::default()), header.as_bytes())
    };
    let range = Some(fault(Fes::DATA_OUT_OF_RANGE, 0));
    let sequence = Some(fault(Fes::SEQUENCE_ERROR, 0));
    assert_eq!(change(|_| {}), None);
    for ttag in [0, 2, 8, 9, 0xffff] {
        let mut header = h2c(0, 4096);
        header.ttag = ttag.into();
        assert_eq!(feed(&mut ready(Digests::default()), header.as_bytes()), sequence, "tag {ttag}");
    }
    assert_eq!(change(|h| h.cccid = 6.into()), sequence);
    assert_eq!(change(|h| h.datao = 4.into()), range);
    assert_eq!(change(|h| h.datao = u32::MAX.into()), range);
    assert_eq!(change(|h| h.datal = 4092.into()), range);
    assert_eq!(change(|h| (h.datal, h.ch.plen) = (8196.into(), (8196 + 24).into())), range);
    assert_eq!(change(|h| (h.datal, h.ch.plen) = (0.into(), 24.into())), range);
    let limit = Some(fault(Fes::LIMIT_EXCEEDED, 0));
    let mut long = h2c(0, H2C_DATA_MAX + 4);
    assert_eq!(feed(&mut ready(Digests::default()), long.as_bytes()), limit);
    long.ch.plen = 28.into();
    assert_eq!(feed(&mut ready(Digests::default()), long.as_bytes()), limit);
    // Data again, after all of it came: the tag is no longer valid.
    let mut connection = ready(Digests::default());
    let mut bytes = h2c(0, 8192).as_bytes().to_vec();
    bytes.resize(24 + 8192, 0);
    assert_eq!(feed(&mut connection, &bytes), None);
    assert_eq!(feed(&mut connection, &bytes), sequence);
}

/// Goal: a host that guesses the tag of an R2T, and sends the data before it was asked, is not served.
#[test]
fn data_before_the_r2t() {
    let mut connection = ready(Digests::default());
    assert_eq!(feed(&mut connection, capsule(6, Sgl::transport(512)).as_bytes()), None);
    let mut header = h2c(0, 512);
    (header.cccid, header.ttag) = (6.into(), 2.into());
    let request = connection.poll_transmit().expect("the R2T");
    let sent = R2t::read_from_bytes(request.head()).expect("the R2T");
    assert_eq!((sent.cccid, sent.ttag), (header.cccid, header.ttag), "the tag is as guessed");
    assert_eq!(feed(&mut connection, header.as_bytes()), None, "after the R2T it is welcome");

    let mut connection = ready(Digests::default());
    assert_eq!(feed(&mut connection, capsule(6, Sgl::transport(512)).as_bytes()), None);
    assert_eq!(feed(&mut connection, header.as_bytes()), Some(fault(Fes::SEQUENCE_ERROR, 0)));
}

/// Goal: a wrong SGL costs the command, and the connection only if data follows that nobody can attribute.
#[test]
fn descriptors() {
    let refusal = |sgl: Sgl| {
        let mut connection = ready(Digests::default());
        while connection.poll_transmit().is_some() {}
        assert_eq!(feed(&mut connection, capsule(9, sgl).as_bytes()), None);
        let transmit = connection.poll_transmit().expect("a refusal");
        let response = CapsuleResp::read_from_bytes(transmit.head()).expect("a response");
        assert_eq!((response.cqe.cid.get(), connection.in_flight()), (9, 1));
        response.cqe.status()
    };
    let odd = |kind| Sgl { kind: SglKind(kind), ..Sgl::transport(512) };
    assert_eq!(refusal(odd(0x40)), Status::INVALID_SGL_TYPE.dnr());
    assert_eq!(refusal(Sgl::in_capsule(512)), Status::INVALID_SGL_LENGTH.dnr());
    let moved = Sgl { address: 8.into(), ..Sgl::in_capsule(0) };
    assert_eq!(refusal(moved), Status::INVALID_SGL_OFFSET.dnr());

    let with_data = |sgl: Sgl, len: usize| {
        let mut capsule = capsule(9, sgl);
        capsule.ch = common(PduType::CAPSULE_CMD, 72, 72, 72 + u32::try_from(len).expect("small"));
        let mut bytes = capsule.as_bytes().to_vec();
        bytes.resize(72 + len, 0);
        let mut connection = ready(Digests::default());
        feed(&mut connection, &bytes)
    };
    assert_eq!(with_data(Sgl::in_capsule(512), 512), None);
    assert_eq!(with_data(Sgl::in_capsule(508), 512), Some(fault(Fes::INVALID_HEADER_FIELD, 4)));
    assert_eq!(with_data(Sgl::transport(512), 512), Some(fault(Fes::UNSUPPORTED_PARAMETER, 47)));
    let moved = Sgl { address: 8.into(), ..Sgl::in_capsule(512) };
    assert_eq!(with_data(moved, 512), Some(fault(Fes::UNSUPPORTED_PARAMETER, 32)));
    assert_eq!(with_data(Sgl::in_capsule(16388), 16388), Some(fault(Fes::LIMIT_EXCEEDED, 0)));
}

/// Goal: a second command with a live identifier is refused, and the first one is not disturbed.
#[test]
fn identifier_conflict() {
    let mut connection = ready(Digests::default());
    while connection.poll_transmit().is_some() {}
    assert_eq!(feed(&mut connection, capsule(5, Sgl::transport(512)).as_bytes()), None);
    let transmit = connection.poll_transmit().expect("a refusal");
    let response = CapsuleResp::read_from_bytes(transmit.head()).expect("a response");
    assert_eq!(response.cqe.status(), Status::COMMAND_ID_CONFLICT);
    assert_eq!((transmit.done, connection.in_flight()), (None, 1));
    let slot = connection.find(5).expect("the first is still there");
    connection.respond(slot, Reply::status(Status::SUCCESS));
    assert!(connection.poll_transmit().is_none(), "its data has not come");
}

/// Goal: more commands than the queue has entries end the connection; refusals that nobody reads stop the reception.
#[test]
fn overrun() {
    let mut connection = ready(Digests::default());
    for cid in 10..13 {
        assert_eq!(feed(&mut connection, capsule(cid, Sgl::transport(512)).as_bytes()), None);
    }
    let one_more = capsule(13, Sgl::transport(512));
    assert_eq!(feed(&mut connection, one_more.as_bytes()), Some(fault(Fes::SEQUENCE_ERROR, 0)));

    let mut connection = ready(Digests::default());
    for _ in 0..REFUSALS_MAX {
        assert_ne!(connection.want(), Want::Nothing);
        assert_eq!(feed(&mut connection, capsule(5, Sgl::transport(512)).as_bytes()), None);
    }
    assert_eq!(connection.want(), Want::Nothing);
    while connection.poll_transmit().is_some() {}
    assert_eq!(connection.want(), Want::Header { len: 8 });
}

/// Goal: a damaged header is told with the digest that was received, and quoted.
#[test]
fn damaged_header() {
    let mut connection = ready(Digests { header: true, data: false });
    while connection.poll_transmit().is_some() {}
    let mut command = capsule(5, Sgl::transport(512));
    command.ch = CommonHeader { flags: flag::HDGST, ..common(PduType::CAPSULE_CMD, 72, 0, 76) };
    let mut bytes = command.as_bytes().to_vec();
    let digest = data_digest([bytes.as_slice()]);
    bytes.extend_from_slice(&digest);
    bytes[20] ^= 1;
    let found = feed(&mut connection, &bytes);
    assert_eq!(found, Some(fault(Fes::HEADER_DIGEST_ERROR, u32::from_le_bytes(digest))));
    let transmit = connection.poll_transmit().expect("the termination request");
    let (request, quote) = TermReq::read_from_prefix(transmit.head()).expect("a whole one");
    assert_eq!(request.ch, common(PduType::C2H_TERM_REQ, 24, 0, 96));
    assert_eq!((request.fes.get(), quote), (3, &bytes[..72]));
    assert!(connection.poll_transmit().is_none() && connection.want() == Want::Nothing);
    let late = connection.poll_deadline().expect("the peer has to close");
    assert_eq!(connection.on_deadline(late), Err(ConnectionError::TimedOut(Waiting::Close)));
}

/// Goal: each side understands that the other ends the connection.
#[test]
fn termination_is_understood() {
    let mut pair = Pair::new(&Options::default());
    let mut request = TermReq::new_zeroed();
    request.ch = common(PduType::H2C_TERM_REQ, 24, 0, 24);
    request.fes = 2.into();
    let error = pair.controller.on_header(request.as_bytes(), NOW).expect_err("the connection ends");
    assert_eq!(error, ConnectionError::TerminatedByPeer(fault(Fes::SEQUENCE_ERROR, 0)));
    request.ch.kind = PduType::C2H_TERM_REQ;
    let error = pair.host.on_header(request.as_bytes(), NOW).expect_err("the connection ends");
    assert_eq!(error, ConnectionError::TerminatedByPeer(fault(Fes::SEQUENCE_ERROR, 0)));
}

/// Goal: the host refuses a controller that does not grant its digests, and completions of commands that it does not know.
#[test]
fn host_checks_the_controller() {
    let config = host::Config { digests: Digests { header: true, data: true }, ..host::Config::default() };
    let mut host = host::Connection::new(config, NOW);
    let mut controller = Connection::new(Config { digests: Digests::default(), ..Config::default() }, NOW);
    assert_eq!(feed(&mut controller, host.poll_transmit().expect("ICReq").head()), None);
    let response = controller.poll_transmit().expect("ICResp");
    assert!(matches!(host.on_header(response.head(), NOW), Err(ConnectionError::Unsupported(_))));

    let mut pair = Pair::new(&Options::default());
    let mut response = CapsuleResp::new_zeroed();
    response.ch = common(PduType::CAPSULE_RESP, 24, 0, 24);
    let error = pair.host.on_header(response.as_bytes(), NOW).expect_err("no such command");
    assert_eq!(error, ConnectionError::Protocol(fault(Fes::SEQUENCE_ERROR, 0)));

    // Data that went in the capsule is not sent a second time.
    let mut pair = Pair::new(&Options::default());
    pair.write(vec![1; 512]);
    let capsule = pair.host.poll_transmit().expect("the capsule");
    let mut request = R2t::new_zeroed();
    request.ch = common(PduType::R2T, 24, 0, 24);
    let sent = CapsuleCmd::read_from_prefix(capsule.head()).expect("the capsule").0;
    (request.cccid, request.r2tl) = (sent.sqe.cid, 512.into());
    let error = pair.host.on_header(request.as_bytes(), NOW).expect_err("nothing is left to be asked for");
    assert_eq!(error, ConnectionError::Protocol(fault(Fes::DATA_OUT_OF_RANGE, 0)));
}

/// Goal: a termination request is the last PDU. Found by fuzzing: a command that was answered after the fault was still
/// sent, behind the request.
#[test]
fn nothing_follows_a_termination_request() {
    let mut connection = ready(Digests::default());
    assert_eq!(feed(&mut connection, capsule(6, Sgl::transport(0)).as_bytes()), None);
    let slot = connection.find(6).expect("the command waits for its answer");
    let mut header = h2c(0, 8192);
    header.ttag = 9.into();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(300, 0);
    assert_eq!(feed(&mut connection, &bytes), Some(fault(Fes::SEQUENCE_ERROR, 0)));
    let request = connection.poll_transmit().expect("the termination request");
    assert_eq!(CommonHeader::read_from_prefix(request.head()).expect("a PDU").0.kind, PduType::C2H_TERM_REQ);
    connection.respond(slot, Reply::status(Status::SUCCESS));
    assert!(connection.poll_transmit().is_none());
}

/// Goal: CVE-2025-21927 (Linux host): the header length of a PDU was believed when its digest was computed, which read and
/// wrote behind the header. Both ends refuse a length that is not the type's.
#[test]
fn header_length_is_the_types() {
    let digests = Digests { header: true, data: false };
    for hlen in [0, 7, 23, 25, 128, 252, 255] {
        let mut bytes = common(PduType::CAPSULE_RESP, hlen, 0, 28).as_bytes().to_vec();
        bytes[1] = flag::HDGST;
        bytes.resize(300, 0);
        let mut options = Options::default();
        options.host.digests = digests;
        let mut pair = Pair::new(&options);
        let error = pair.host.on_header(&bytes, NOW).expect_err("it is refused");
        assert_eq!(error, ConnectionError::Protocol(fault(Fes::INVALID_HEADER_FIELD, 2)));
        bytes[0] = PduType::CAPSULE_CMD.0;
        assert_eq!(feed(&mut ready(digests), &bytes), Some(fault(Fes::INVALID_HEADER_FIELD, 2)));
    }
}
