//! Reservations: two and three hosts share a namespace.

use super::cluster::{Cluster, NSID, VOLUME, reserve};
use crate::limits::{GUARD_WAITING_MAX, REGISTRANTS_MAX, RESERVATION_EVENTS_MAX};
use crate::reservation::matrix::allows;
use crate::reservation::{Class, Role};
use crate::{Durable, Registrant, Reservation};
use expect_test::expect;
use nvme_spec::reservation::{ReservationType, WriteProtection};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};

const REGISTER: NvmOpcode = NvmOpcode::RESERVATION_REGISTER;
const ACQUIRE: NvmOpcode = NvmOpcode::RESERVATION_ACQUIRE;
const RELEASE: NvmOpcode = NvmOpcode::RESERVATION_RELEASE;
const REPORT: NvmOpcode = NvmOpcode::RESERVATION_REPORT;
const CONFLICT: Status = Status::RESERVATION_CONFLICT.dnr();
const INVALID: Status = Status::INVALID_FIELD.dnr();
const OK: Status = Status::SUCCESS;

const COMMANDS: [NvmOpcode; 9] = [
    NvmOpcode::READ,
    NvmOpcode::COMPARE,
    NvmOpcode::VERIFY,
    NvmOpcode::FLUSH,
    NvmOpcode::WRITE,
    NvmOpcode::WRITE_ZEROES,
    NvmOpcode::DATASET_MANAGEMENT,
    NvmOpcode::WRITE_UNCORRECTABLE,
    NvmOpcode::COPY,
];

/// Goal: every type, role and command: what the standard's table allows, and nothing else. `r` stands for the commands that
/// read, `w` for those that write; all commands of a kind must agree.
#[test]
fn access_is_that_of_the_standard() {
    let mut table = String::new();
    for rtype in 0..=7 {
        table += &format!("{rtype}:");
        for role in [Role::Holder, Role::Registrant, Role::Other] {
            let may = |opcode: NvmOpcode| allows(ReservationType(rtype), role, Class::of(opcode));
            let (reads, writes) = COMMANDS.split_at(3);
            assert!(reads.iter().all(|c| may(*c) == may(reads[0])), "{rtype} {role:?}");
            assert!(writes.iter().all(|c| may(*c) == may(writes[0])), "{rtype} {role:?}");
            assert!(
                [REGISTER, ACQUIRE, RELEASE, REPORT].into_iter().all(may),
                "they have rules of their own"
            );
            table += &format!(
                " {}{}",
                if may(reads[0]) { 'r' } else { '-' },
                if may(writes[0]) { 'w' } else { '-' }
            );
        }
        table.push('\n');
    }
    expect![[r#"
        0: rw rw rw
        1: rw r- r-
        2: rw -- --
        3: rw rw r-
        4: rw rw --
        5: rw rw r-
        6: rw rw --
        7: rw rw rw
    "#]]
    .assert_eq(&table);
}

/// Goal: the same for commands on queues: each of three hosts, each type, each command that there is.
#[test]
fn commands_meet_the_reservation() {
    for rtype in 1..=6 {
        let mut cluster = Cluster::new(3);
        cluster.register(0);
        cluster.register(1);
        assert_eq!(cluster.acquire(0, rtype), OK);
        let is_for_all = rtype >= 5;
        for (node, role) in [(0, Role::Holder), (1, Role::Registrant), (2, Role::Other)] {
            let role = if is_for_all && node == 1 { Role::Holder } else { role };
            for opcode in COMMANDS.into_iter().take(7) {
                let expected = if allows(ReservationType(rtype), role, Class::of(opcode)) {
                    Ok(())
                } else {
                    Err(CONFLICT)
                };
                assert_eq!(cluster.may(node, opcode), expected, "type {rtype} host {node} {opcode:?}");
            }
        }
        // The other namespace is free.
        let mut read = Sqe::new(NvmOpcode::READ.0, 3);
        read.cdw12 = 0.into();
        assert!(matches!(cluster.host.outcome(cluster.nodes[2].io, read, 4096), crate::Outcome::Io(_)));
    }
}

/// Host, command, action, type, keys, and how it ends.
type Step = (usize, NvmOpcode, u8, u8, (u64, u64), Status);

/// Goal: the life of a reservation of two hosts, as Report shows it after each command.
#[test]
fn two_hosts_share_a_namespace() {
    let mut cluster = Cluster::new(2);
    let mut story = String::new();
    let steps: &[Step] = &[
        (0, ACQUIRE, 0, 1, (10, 0), CONFLICT),
        (0, REGISTER, 0, 0, (0, 10), OK),
        (0, REGISTER, 0, 0, (0, 10), OK),
        (0, REGISTER, 0, 0, (0, 11), CONFLICT),
        (1, REGISTER, 0, 0, (0, 20), OK),
        (0, ACQUIRE, 0, 1, (11, 0), CONFLICT),
        (0, ACQUIRE, 0, 1, (10, 0), OK),
        (0, ACQUIRE, 0, 1, (10, 0), OK),
        (0, ACQUIRE, 0, 2, (10, 0), CONFLICT),
        (1, ACQUIRE, 0, 1, (20, 0), CONFLICT),
        (1, RELEASE, 0, 1, (20, 0), OK),
        (0, RELEASE, 0, 2, (10, 0), INVALID),
        (0, REGISTER, 2, 0, (9, 12), CONFLICT),
        (0, REGISTER, 2, 0, (10, 12), OK),
        (1, ACQUIRE, 1, 3, (20, 0), INVALID),
        (1, ACQUIRE, 1, 3, (20, 99), CONFLICT),
        (1, ACQUIRE, 1, 3, (20, 12), OK),
        (0, RELEASE, 0, 3, (12, 0), CONFLICT),
        (0, REGISTER, 0, 0, (0, 30), OK),
        (0, RELEASE, 0, 3, (30, 0), OK),
        (1, RELEASE, 0, 3, (20, 0), OK),
        (0, ACQUIRE, 0, 6, (30, 0), OK),
        (1, ACQUIRE, 0, 6, (20, 0), OK),
        (1, REGISTER, 1, 0, (20, 0), OK),
        (0, REGISTER, 1, 0, (30, 0), OK),
        (1, REGISTER, 0, 0, (0, 20), OK),
        (1, ACQUIRE, 0, 4, (20, 0), OK),
        (1, RELEASE, 1, 0, (20, 0), OK),
        (1, REGISTER, 1, 0, (20, 0), CONFLICT),
    ];
    for (node, opcode, action, rtype, keys, expected) in steps {
        let status = cluster.reserve(*node, *opcode, *action, *rtype, *keys);
        assert_eq!(status, *expected, "host {node}: {opcode:?} {action} type {rtype} keys {keys:?}");
        if status.is_success() {
            story +=
                &format!("{} {action} by {node} -> {}\n", opcode.name().unwrap_or(""), cluster.report(1));
        }
    }
    expect![[r#"
        RESERVATION_REGISTER 0 by 0 -> gen 1 type 0 ptpl 0: 1=10
        RESERVATION_REGISTER 0 by 0 -> gen 1 type 0 ptpl 0: 1=10
        RESERVATION_REGISTER 0 by 1 -> gen 2 type 0 ptpl 0: 1=10 2=20
        RESERVATION_ACQUIRE 0 by 0 -> gen 2 type 1 ptpl 0: 1=10* 2=20
        RESERVATION_ACQUIRE 0 by 0 -> gen 2 type 1 ptpl 0: 1=10* 2=20
        RESERVATION_RELEASE 0 by 1 -> gen 2 type 1 ptpl 0: 1=10* 2=20
        RESERVATION_REGISTER 2 by 0 -> gen 3 type 1 ptpl 0: 1=12* 2=20
        RESERVATION_ACQUIRE 1 by 1 -> gen 4 type 3 ptpl 0: 2=20*
        RESERVATION_REGISTER 0 by 0 -> gen 5 type 3 ptpl 0: 2=20* 1=30
        RESERVATION_RELEASE 0 by 0 -> gen 5 type 3 ptpl 0: 2=20* 1=30
        RESERVATION_RELEASE 0 by 1 -> gen 5 type 0 ptpl 0: 2=20 1=30
        RESERVATION_ACQUIRE 0 by 0 -> gen 5 type 6 ptpl 0: 2=20* 1=30*
        RESERVATION_ACQUIRE 0 by 1 -> gen 5 type 6 ptpl 0: 2=20* 1=30*
        RESERVATION_REGISTER 1 by 1 -> gen 6 type 6 ptpl 0: 1=30*
        RESERVATION_REGISTER 1 by 0 -> gen 7 type 0 ptpl 0:
        RESERVATION_REGISTER 0 by 1 -> gen 8 type 0 ptpl 0: 2=20
        RESERVATION_ACQUIRE 0 by 1 -> gen 8 type 4 ptpl 0: 2=20*
        RESERVATION_RELEASE 1 by 1 -> gen 9 type 0 ptpl 0:
    "#]]
    .assert_eq(&story);
}

/// Goal: fields that mean nothing are refused, and nothing changes: actions, types, keys of zero, lengths, formats.
#[test]
fn nonsense_is_refused() {
    let mut cluster = Cluster::new(1);
    cluster.register(0);
    let cases: &[(NvmOpcode, u8, u8, (u64, u64))] = &[
        (REGISTER, 3, 0, (10, 11)),
        (REGISTER, 2, 0, (10, 0)),
        (ACQUIRE, 3, 1, (10, 0)),
        (ACQUIRE, 0, 0, (10, 0)),
        (ACQUIRE, 0, 7, (10, 0)),
        (RELEASE, 2, 1, (10, 0)),
    ];
    for (opcode, action, rtype, keys) in cases {
        assert_eq!(
            cluster.reserve(0, *opcode, *action, *rtype, *keys),
            INVALID,
            "{opcode:?} {action} {rtype}"
        );
    }
    let io = cluster.nodes[0].io;
    for (opcode, bits) in [(REGISTER, 1 << 30), (ACQUIRE, 1 << 3 | 1 << 8), (RELEASE, 1 << 3 | 1 << 8)] {
        let (mut sqe, data) = reserve(opcode, 0, 1, (10, 10));
        sqe.cdw10 = bits.into();
        assert_eq!(cluster.run(io, &sqe, &data), INVALID, "{opcode:?}");
    }
    let (sqe, data) = reserve(REGISTER, 0, 0, (0, 10));
    assert_eq!(cluster.run(io, &sqe, &data[..8]), Status::INVALID_SGL_LENGTH.dnr());
    let mut elsewhere = sqe;
    elsewhere.nsid = 2.into();
    assert_eq!(cluster.run(io, &elsewhere, &data), Status::INVALID_NAMESPACE.dnr());
    let mut report = Sqe::new(REPORT.0, NSID);
    report.cdw10 = 15.into();
    assert_eq!(cluster.run(io, &report, &[0; 64]), Status::HOST_ID_INCONSISTENT.dnr(), "64-bit identifiers");
    report.cdw11 = 1.into();
    assert_eq!(cluster.run(io, &report, &[0; 60]), Status::INVALID_SGL_LENGTH.dnr());
    assert_eq!(cluster.report(0), "gen 1 type 0 ptpl 0: 1=10");
    // Linux sends sixteen bytes with a Release, too.
    let (sqe, _) = reserve(RELEASE, 0, 1, (10, 0));
    let long = [10_u64.to_le_bytes(), [0; 8]].concat();
    assert_eq!(cluster.run(io, &sqe, &long), OK);
}

/// Goal: "ignore existing key" replaces and removes a registration without knowing its key, but makes none.
#[test]
fn existing_key_can_be_ignored() {
    let mut cluster = Cluster::new(2);
    cluster.register(0);
    for (node, action, expected) in [(0, 2, OK), (1, 2, CONFLICT), (0, 1, OK), (0, 1, CONFLICT)] {
        let (mut sqe, data) = reserve(REGISTER, action, 0, (77, 30));
        sqe.cdw10 = (sqe.cdw10.get() | 1 << 3).into();
        assert_eq!(cluster.run(cluster.nodes[node].io, &sqe, &data), expected, "host {node} action {action}");
    }
    assert_eq!(cluster.report(0), "gen 3 type 0 ptpl 0:");
}

/// Goal: with types that all hold, preempting with key zero takes everybody else out; with a key, only its owners.
#[test]
fn preempting_all_registrants() {
    for (key, expected) in [(0, "gen 4 type 1 ptpl 0: 1=10*"), (20, "gen 4 type 5 ptpl 0: 1=10* 3=30*")] {
        let mut cluster = Cluster::new(3);
        (0..3).for_each(|node| cluster.register(node));
        assert_eq!(cluster.acquire(2, 5), OK);
        assert_eq!(cluster.reserve(0, ACQUIRE, 1, 1, (10, key)), OK);
        assert_eq!(cluster.report(0), expected);
    }
}

/// Goal: a registration belongs to the host, not to its connection: it is there when the host comes back, and meanwhile.
#[test]
fn reservation_survives_a_disconnect() {
    let mut cluster = Cluster::new(2);
    cluster.register(0);
    assert_eq!(cluster.acquire(0, 2), OK);
    cluster.leave(0);
    assert_eq!(cluster.may(1, NvmOpcode::READ), Err(CONFLICT));
    cluster.join(1);
    assert_eq!(cluster.may(2, NvmOpcode::WRITE), Ok(()), "the same host by a new controller");
    assert_eq!(cluster.report(1), "gen 1 type 2 ptpl 0: 1=10*");
}

/// Registers a host and asks for persistence.
fn persistent(cluster: &mut Cluster, node: usize) -> u32 {
    let (mut sqe, data) = reserve(REGISTER, 0, 0, (0, (node as u64 + 1) * 10));
    sqe.cdw10 = (sqe.cdw10.get() | 3 << 30).into();
    assert!(cluster.send(cluster.nodes[node].io, &sqe, &data).is_none());
    cluster.tag
}

/// Goal: what persists is answered, and shown to others, only when it is durable; without persistence nobody is bothered.
#[test]
fn persistent_change_is_answered_when_durable() {
    let mut cluster = Cluster::new(2);
    cluster.register(1);
    assert!(cluster.kept.is_empty());
    cluster.persists = None;
    let tag = persistent(&mut cluster, 0);
    cluster.pump();
    assert_eq!(cluster.ended(tag), None);
    assert_eq!(cluster.report(1), "gen 1 type 0 ptpl 0: 2=20");
    let expected = Reservation {
        generation: 2,
        is_persistent: true,
        registrants: vec![Registrant { host: [2; 16], key: 20 }, Registrant { host: [1; 16], key: 10 }],
        held: None,
    };
    let durable = Durable { reservation: Some(expected), protection: WriteProtection::OFF };
    assert_eq!(cluster.host.target.to_persist(VOLUME), Some(durable));
    cluster.host.target.on_persisted(VOLUME, true);
    cluster.pump();
    assert_eq!(cluster.ended(tag), Some(OK));
    assert_eq!(cluster.report(1), "gen 2 type 0 ptpl 1: 2=20 1=10");
    cluster.persists = Some(true);
    assert_eq!(cluster.acquire(0, 1), OK);
    let kept = cluster.kept.last().and_then(|durable| durable.reservation.clone()).expect("it persists");
    assert_eq!(kept.held, Some((ReservationType::WRITE_EXCLUSIVE, Some(1))));
    assert_eq!(cluster.feature(0, 0x83, NSID, Some(0)), Ok(0));
    assert_eq!(cluster.kept.last().map(|durable| durable.reservation.is_none()), Some(true));
    assert_eq!(cluster.feature(0, 0x83, NSID, None), Ok(0));
}

/// Goal: a change that cannot be made durable did not happen, and the next one is tried.
#[test]
fn change_that_cannot_be_kept_did_not_happen() {
    let mut cluster = Cluster::new(1);
    cluster.persists = Some(false);
    let tag = persistent(&mut cluster, 0);
    cluster.pump();
    assert_eq!(cluster.ended(tag), Some(Status::INTERNAL_ERROR.dnr()));
    assert_eq!(cluster.report(0), "gen 0 type 0 ptpl 0:");
    cluster.persists = Some(true);
    let tag = persistent(&mut cluster, 0);
    cluster.pump();
    assert_eq!(cluster.ended(tag), Some(OK));
}

/// Goal: what was kept is what hosts meet after a restart.
#[test]
fn kept_reservation_is_restored() {
    let mut before = Cluster::new(2);
    persistent(&mut before, 0);
    before.pump();
    assert_eq!(before.acquire(0, 2), OK);
    let mut after = Cluster::new(2);
    let kept = before.kept.pop().expect("it was kept");
    after.host.target.restore_guard(super::host::NQN, NSID, kept).expect("the namespace is there");
    assert_eq!(after.report(1), "gen 1 type 2 ptpl 1: 1=10*");
    assert_eq!(after.may(1, NvmOpcode::READ), Err(CONFLICT));
    assert_eq!(after.may(0, NvmOpcode::WRITE), Ok(()));
}

/// Goal: commands that come while one is made durable wait their turn, in order, and are bounded; those of a host that
/// goes are forgotten.
#[test]
fn commands_wait_their_turn() {
    let mut cluster = Cluster::new(3);
    cluster.persists = None;
    let first = persistent(&mut cluster, 0);
    cluster.pump();
    let lost = persistent(&mut cluster, 1);
    let second = persistent(&mut cluster, 2);
    let (sqe, data) = reserve(ACQUIRE, 0, 1, (30, 0));
    assert!(cluster.send(cluster.nodes[2].io, &sqe, &data).is_none());
    let third = cluster.tag;
    cluster.leave(1);
    cluster.persists = Some(true);
    cluster.host.target.on_persisted(VOLUME, true);
    cluster.pump();
    let order: Vec<u32> = cluster.completed.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(order, [first, second, third], "and not {lost}");
    assert_eq!(cluster.report(0), "gen 2 type 1 ptpl 1: 1=10 3=30*");

    cluster.persists = None;
    let (sqe, data) = reserve(RELEASE, 0, 1, (30, 0));
    assert!(cluster.send(cluster.nodes[2].io, &sqe, &data).is_none());
    for _ in 0..GUARD_WAITING_MAX {
        assert!(cluster.send(cluster.nodes[2].io, &sqe, &data).is_none());
    }
    let refused = cluster.send(cluster.nodes[2].io, &sqe, &data).expect("no room");
    assert_eq!(refused.cqe.status(), Status::COMMAND_INTERRUPTED);
}

/// Goal: registrants are bounded.
#[test]
fn registrants_are_bounded() {
    let most = u8::try_from(REGISTRANTS_MAX).expect("small");
    let mut cluster = Cluster::new(most + 1);
    (0..REGISTRANTS_MAX).for_each(|node| cluster.register(node));
    let beyond = cluster.reserve(REGISTRANTS_MAX, REGISTER, 0, 0, (0, 1));
    assert_eq!(beyond, Status::INTERNAL_ERROR.dnr());
}

/// Goal: a preemption is answered only when no command that it forbids is on its way; what waits for data is refused, and
/// with "abort" reads of the preempted host, too, end with the status for that.
#[test]
fn preemption_waits_for_late_commands() {
    for (action, read) in [(1, Ok(())), (2, Err(Status::ABORTED_PREEMPT.dnr()))] {
        let mut cluster = Cluster::new(2);
        cluster.register(0);
        cluster.register(1);
        assert_eq!(cluster.acquire(0, 1), OK);
        cluster.is_quiet = false;
        let (sqe, data) = reserve(ACQUIRE, action, 1, (20, 10));
        assert!(cluster.send(cluster.nodes[1].io, &sqe, &data).is_none());
        let tag = cluster.tag;
        cluster.pump();
        assert_eq!(cluster.ended(tag), None, "a write may still be at a drive");
        let target = &cluster.host.target;
        let recheck = |node: usize, opcode: NvmOpcode| {
            target.recheck(cluster.nodes[node].io, &Sqe::new(opcode.0, NSID))
        };
        assert!(recheck(0, NvmOpcode::WRITE).is_err());
        assert_eq!(recheck(0, NvmOpcode::READ), read);
        assert_eq!(recheck(1, NvmOpcode::WRITE), Ok(()));
        cluster.host.target.on_quiet(VOLUME);
        cluster.pump();
        assert_eq!(cluster.ended(tag), Some(OK));
        assert_eq!(cluster.may(0, NvmOpcode::READ), Ok(()), "a new command is judged anew");
        assert_eq!(cluster.may(0, NvmOpcode::WRITE), Err(CONFLICT));
    }
}

/// Goal: hosts are told by an event and log page 80h what others did to their registration or reservation; each reading
/// takes one notification out and leads to the next event; a masked kind is not told.
#[test]
fn hosts_are_notified() {
    let mut cluster = Cluster::new(3);
    (0..3).for_each(|node| cluster.register(node));
    for node in 0..2 {
        let mut event = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
        event.cid = (node as u16).into();
        for _ in 0..2 {
            assert!(cluster.send(cluster.nodes[node].admin, &event, &[]).is_none());
        }
    }
    cluster.completed.clear();
    assert_eq!(cluster.acquire(0, 3), OK);
    assert_eq!(cluster.reserve(0, RELEASE, 0, 3, (10, 0)), OK);
    assert_eq!(cluster.reserve(0, ACQUIRE, 1, 1, (10, 20)), OK);
    cluster.pump();
    let event = 6 | 0x80 << 16;
    let told = |cluster: &mut Cluster| {
        let told: Vec<_> =
            cluster.completed.drain(..).map(|(_, cqe)| (cqe.cid.get(), cqe.dw0.get())).collect();
        told
    };
    assert_eq!(told(&mut cluster), [(1, event)], "host 1 once; host 2 asked for no event; host 0 did it");
    assert_eq!(cluster.notification(1), (1, 2, 1, 1), "released");
    cluster.pump();
    assert_eq!(told(&mut cluster), [(1, event)], "there is another one");
    assert_eq!(cluster.notification(1), (2, 1, 0, 1), "registration preempted");
    cluster.pump();
    assert_eq!(told(&mut cluster), []);
    assert_eq!(cluster.notification(1), (0, 0, 0, 0), "empty");
    assert_eq!(cluster.notification(0), (0, 0, 0, 0), "the host that did it is not told");
    assert_eq!(cluster.notification(2), (1, 2, 0, 1));

    assert_eq!(cluster.feature(2, 0x82, 0xffff_ffff, Some(1 << 3)), Ok(0));
    assert_eq!(cluster.feature(2, 0x82, NSID, None), Ok(1 << 3));
    assert_eq!(cluster.reserve(0, RELEASE, 1, 0, (10, 0)), OK);
    assert_eq!(cluster.notification(2), (0, 0, 0, 0), "host 2 masked preempted reservations");
}

/// Goal: notifications that nobody reads are bounded; the count shows that some are lost.
#[test]
fn notifications_are_bounded() {
    let mut cluster = Cluster::new(2);
    cluster.register(0);
    cluster.register(1);
    let count = u8::try_from(RESERVATION_EVENTS_MAX).expect("small") + 3;
    for _ in 0..count {
        assert_eq!(cluster.acquire(0, 3), OK);
        assert_eq!(cluster.reserve(0, RELEASE, 0, 3, (10, 0)), OK);
    }
    assert_eq!(cluster.notification(1), (4, 2, count - 4, 1));
}

/// Goal: a namespace that goes takes its reservation along, and answers who waits.
#[test]
fn namespace_that_goes_answers_who_waits() {
    let mut cluster = Cluster::new(2);
    cluster.persists = None;
    let first = persistent(&mut cluster, 0);
    let second = persistent(&mut cluster, 1);
    cluster.host.target.remove_namespace(super::host::NQN, NSID).expect("it is there");
    cluster.pump();
    let gone = Some(Status::INVALID_NAMESPACE.dnr());
    assert_eq!((cluster.ended(first), cluster.ended(second)), (gone, gone));
    cluster.host.target.on_persisted(VOLUME, true);
    cluster
        .host
        .target
        .add_namespace(super::host::NQN, super::host::namespace(NSID, 256))
        .expect("a new one");
    assert_eq!(cluster.report(0), "gen 0 type 0 ptpl 0:");
}

/// Goal: a Compare and Write is refused as a whole: where its first half may not read, the second is aborted; where it may, but
/// the second may not write, the first is aborted.
#[test]
fn compare_and_write_meets_the_reservation() {
    for (rtype, is_first_refused) in [(1, false), (2, true)] {
        let mut cluster = Cluster::new(2);
        cluster.register(0);
        assert_eq!(cluster.acquire(0, rtype), OK);
        let io = cluster.nodes[1].io;
        let mut half = |opcode: NvmOpcode, fuse: u8| {
            let mut sqe = Sqe::new(opcode.0, NSID);
            sqe.flags |= fuse;
            cluster.host.outcome(io, sqe, 4096)
        };
        let first = half(NvmOpcode::COMPARE, 1);
        let crate::Outcome::Done(second) = half(NvmOpcode::WRITE, 2) else { panic!("it is refused") };
        let aborted = Status::ABORTED_FAILED_FUSED.dnr();
        if is_first_refused {
            assert!(matches!(first, crate::Outcome::Done(answer) if answer.cqe.status() == CONFLICT));
            assert_eq!(second.cqe.status(), aborted);
        } else {
            assert!(matches!(first, crate::Outcome::First(_)));
            assert_eq!(second.cqe.status(), CONFLICT);
            assert_eq!(cluster.host.target.poll_abort(), Some(aborted));
        }
    }
}
