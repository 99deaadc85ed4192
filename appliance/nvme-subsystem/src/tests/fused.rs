//! Fused operations: which commands become one, and what becomes of halves without partner.

use super::host::Host;
use crate::{ConnectionId, Io, IoKind, Outcome, Span};
use block::{Blocks, Lba};
use nvme_spec::entry::RwFlags;
use nvme_spec::{NSID_ALL, NvmOpcode, Sqe, Status};

const FIRST: u8 = 1;
const SECOND: u8 = 2;

const MISSING: Status = Status::ABORTED_MISSING_FUSED.dnr();
const FAILED: Status = Status::ABORTED_FAILED_FUSED.dnr();

fn half(fuse: u8, opcode: NvmOpcode, slba: u64, blocks: u16) -> Sqe {
    let mut sqe = Sqe::new(opcode.0, 1);
    sqe.flags |= fuse;
    sqe.set_slba(slba);
    sqe.cdw12 = RwFlags::new().with_nlb_z(blocks - 1).into_bits().into();
    sqe
}

/// What is told about a queue's commands, in order: an answer, a half, or what becomes of the first half before.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    First(IoKind),
    Second(IoKind),
    Io(IoKind),
    Refused(Status),
    Aborted(Status),
}

fn submit(host: &mut Host, queue: ConnectionId, sqe: Sqe, told: &mut Vec<Told>) {
    let data_len = match NvmOpcode(sqe.opc) {
        NvmOpcode::FLUSH | NvmOpcode::WRITE_ZEROES => 0,
        _ => sqe.nlb() * 4096,
    };
    let outcome = host.outcome(queue, sqe, data_len);
    told.extend(host.target.poll_abort().map(Told::Aborted));
    told.push(match outcome {
        Outcome::First(io) => Told::First(io.kind),
        Outcome::Second(io) => Told::Second(io.kind),
        Outcome::Io(Io { kind, .. }) => Told::Io(kind),
        Outcome::Done(answer) => Told::Refused(answer.cqe.status()),
        other => panic!("{other:?}"),
    });
}

/// Sequences of commands on a queue, and what is told.
type Cases = Vec<(&'static str, Vec<Sqe>, Vec<Told>)>;

fn compare() -> Sqe {
    half(FIRST, NvmOpcode::COMPARE, 8, 1)
}

fn write() -> Sqe {
    half(SECOND, NvmOpcode::WRITE, 8, 1)
}

fn first() -> Told {
    Told::First(IoKind::Compare { span: span() })
}

fn second() -> Told {
    Told::Second(IoKind::CompareAndWrite { span: span(), fua: false })
}

fn span() -> Span {
    Span::of_blocks(Lba(8), Blocks(1)).expect("small numbers")
}

/// Good halves, with and without partner.
fn good() -> Cases {
    let (compare, write, plain) = (compare(), write(), half(0, NvmOpcode::READ, 8, 1));
    let (aborted, read) = (Told::Aborted, || Told::Io(IoKind::Read { span: span() }));
    vec![
        ("a pair", vec![compare, write], vec![first(), second()]),
        ("two pairs", vec![compare, write, compare, write], vec![first(), second(), first(), second()]),
        ("a first alone", vec![compare, plain], vec![first(), aborted(MISSING), read()]),
        ("two firsts", vec![compare, compare, write], vec![first(), aborted(MISSING), first(), second()]),
        ("a second alone", vec![write, plain], vec![Told::Refused(MISSING), read()]),
        ("a second too many", vec![compare, write, write], vec![first(), second(), Told::Refused(MISSING)]),
    ]
}

/// Bad halves.
fn bad() -> Cases {
    let (compare, write) = (compare(), write());
    let (aborted, field) = (Told::Aborted, || Told::Refused(Status::INVALID_FIELD.dnr()));
    let elsewhere = Sqe { nsid: 3.into(), ..write };
    vec![
        (
            "a bad first",
            vec![half(FIRST, NvmOpcode::COMPARE, 256, 1), write, write],
            vec![
                Told::Refused(Status::LBA_OUT_OF_RANGE.dnr()),
                Told::Refused(FAILED),
                Told::Refused(MISSING),
            ],
        ),
        (
            "a first that is no Compare",
            vec![half(FIRST, NvmOpcode::WRITE, 8, 1), write],
            vec![field(), Told::Refused(FAILED)],
        ),
        (
            "a bad second",
            vec![compare, half(SECOND, NvmOpcode::WRITE, 256, 1), write],
            vec![
                first(),
                aborted(FAILED),
                Told::Refused(Status::LBA_OUT_OF_RANGE.dnr()),
                Told::Refused(MISSING),
            ],
        ),
        (
            "other blocks",
            vec![compare, half(SECOND, NvmOpcode::WRITE, 9, 1)],
            vec![first(), aborted(FAILED), field()],
        ),
        (
            "no Write",
            vec![compare, half(SECOND, NvmOpcode::READ, 8, 1)],
            vec![first(), aborted(FAILED), field()],
        ),
        ("another namespace", vec![compare, elsewhere], vec![first(), aborted(FAILED), field()]),
        (
            "too long",
            vec![half(FIRST, NvmOpcode::COMPARE, 8, 2), half(SECOND, NvmOpcode::WRITE, 8, 2)],
            vec![field(), Told::Refused(FAILED)],
        ),
        (
            "both bits",
            vec![compare, half(3, NvmOpcode::WRITE, 8, 1)],
            vec![first(), aborted(MISSING), field()],
        ),
    ]
}

/// Goal: each sequence of halves and other commands: a pair is one, and nothing else is; every first half that went on and
/// gets no second is aborted, once.
#[test]
fn halves_and_others() {
    for (name, sqes, expected) in good().into_iter().chain(bad()) {
        let mut host = Host::ready();
        let queue = host.io_queue(1);
        let mut told = Vec::new();
        sqes.into_iter().for_each(|sqe| submit(&mut host, queue, sqe, &mut told));
        assert_eq!(told, expected, "{name}");
    }
}

/// Goal: a command that the transport refused is between two halves, and may be one of them.
#[test]
fn halves_and_refused_commands() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    let (compare, write, plain) = (compare(), write(), half(0, NvmOpcode::READ, 8, 1));
    for (refused, why, later) in
        [(plain, MISSING, MISSING), (write, FAILED, MISSING), (compare, MISSING, FAILED)]
    {
        let mut told = Vec::new();
        submit(&mut host, queue, compare, &mut told);
        host.target.on_refused(queue, &refused);
        told.extend(host.target.poll_abort().map(Told::Aborted));
        submit(&mut host, queue, write, &mut told);
        assert_eq!(told, [first(), Told::Aborted(why), Told::Refused(later)]);
    }
}

/// Goal: halves on different queues are strangers; on the admin queue there are none; a closed connection takes its half along.
#[test]
fn halves_belong_to_their_queue() {
    let mut host = Host::ready();
    let (one, other) = (host.io_queue(1), host.io_queue(2));
    let compare = half(FIRST, NvmOpcode::COMPARE, 8, 1);
    assert!(matches!(host.outcome(one, compare, 4096), Outcome::First(_)));
    let Outcome::Done(answer) = host.outcome(other, half(SECOND, NvmOpcode::WRITE, 8, 1), 4096) else {
        panic!("no pair")
    };
    assert_eq!(answer.cqe.status(), MISSING);
    let answer = host.admin(Sqe { flags: FIRST, ..Sqe::new(0x18, NSID_ALL) }, 0);
    assert_eq!(answer.cqe.status(), Status::INVALID_FIELD.dnr());
    assert_eq!(host.target.poll_abort(), None);
    assert!(matches!(host.outcome(one, half(0, NvmOpcode::FLUSH, 0, 1), 0), Outcome::Io(_)));
    assert_eq!(host.target.poll_abort(), Some(MISSING));
    assert_eq!(host.target.poll_abort(), None);
    assert!(matches!(host.outcome(one, compare, 4096), Outcome::First(_)));
    host.target.on_close(one);
    assert!(host.actions().is_empty(), "nobody is left to be told");
}
