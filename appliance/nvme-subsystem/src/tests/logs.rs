//! Log pages: complete, consistent, and no byte from behind their end.

use super::host::{Ask, Host, NODE_NQN, NQN, closed, data, get_log, namespace, target};
use crate::{Command, Outcome};
use nvme_spec::identify::Cns;
use nvme_spec::log::{
    AnaGroup, AnaHeader, DiscoveryEntry, DiscoveryHeader, EffectsLog, ErrorEntry, FirmwareSlotLog, LogPage,
    SmartLog,
};
use nvme_spec::register::Cc;
use nvme_spec::{AdminOpcode, NSID_ALL, NvmOpcode, Sqe, Status, ascii_text, nqn_text};
use zerocopy::FromBytes;

/// Goal: pages that are supported are listed; others, and offsets and lengths out of bounds, are refused.
#[test]
fn bounds() {
    let mut host = Host::ready();
    let supported = host.log(LogPage::SUPPORTED, 0, 1024).expect("it exists");
    for page in 0..=255 {
        let result = host.log(LogPage(page), 0, 16);
        let expected = supported[usize::from(page) * 4] == 1;
        assert_eq!(result.is_ok(), expected, "page {page:#x}");
        if !expected {
            assert_eq!(result, Err(Status::INVALID_LOG_PAGE.dnr()));
        }
    }
    // Behind the end there are zeroes; further on nothing.
    let slot = host.log(LogPage::FIRMWARE_SLOT, 508, 8).expect("it overlaps the end");
    assert_eq!(slot, [0; 8]);
    assert_eq!(host.log(LogPage::FIRMWARE_SLOT, 512, 4), Ok(vec![0; 4]));
    for (from, len) in [(516, 4), (2, 4), (u64::MAX - 3, 4), (0, 2 << 20)] {
        assert_eq!(host.log(LogPage::FIRMWARE_SLOT, from, len), Err(Status::INVALID_FIELD.dnr()), "{from}");
    }
    let sqe = get_log(LogPage::FIRMWARE_SLOT, 0, 512);
    assert_eq!(data(host.admin(sqe, 256)), Err(Status::INVALID_SGL_LENGTH.dnr()));
}

/// Goal: a page waits for room. It is made then, so it tells of what came meanwhile; and of a controller that was reset meanwhile
/// there is none.
#[test]
fn pages_are_made_when_there_is_room() {
    let mut host = Host::ready();
    let sqe = get_log(LogPage::CHANGED_NAMESPACES, 0, 4096);
    let command = Command { tag: 7, sqe: &sqe, data_len: 4096 };
    let ask = |host: &mut Host| {
        let outcome = host.target.on_command(host.admin, &command, host.now);
        assert!(matches!(outcome, Outcome::Page { len: 4096 }));
    };
    ask(&mut host);
    host.target.add_namespace(NQN, namespace(9, 8)).expect("new");
    assert_eq!(data(host.page(host.admin, &command, 4096)).expect("it exists")[..5], [9, 0, 0, 0, 0]);
    host.target.remove_namespace(NQN, 9).expect("there");
    ask(&mut host);
    host.set_cc(Cc::new());
    assert_eq!(data(host.page(host.admin, &command, 4096)), Err(Status::ABORTED_SQ_DELETION));
}

/// Goal: the effects log lists exactly the commands that are not refused as unknown, and none with effects that make Linux
/// stop all IO.
#[test]
fn effects_are_true() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    let page = host.log(LogPage::COMMAND_EFFECTS, 0, 4096).expect("it exists");
    let log = EffectsLog::read_from_bytes(&page).expect("a page");
    for opcode in 0..=255u8 {
        if opcode == AdminOpcode::FABRICS.0 {
            continue;
        }
        let is_known = |outcome: Outcome| match outcome {
            Outcome::Done(answer) => !answer.cqe.status().is(Status::INVALID_OPCODE),
            _ => true,
        };
        let admin = host.outcome(host.admin, Sqe::new(opcode, 1), 0);
        assert_eq!(is_known(admin), log.admin[usize::from(opcode)].get() == 1, "admin {opcode:#x}");
        let io = host.outcome(queue, Sqe::new(opcode, 1), 0);
        assert_eq!(is_known(io), log.io[usize::from(opcode)].get() & 1 == 1, "io {opcode:#x}");
        assert!(log.io[usize::from(opcode)].get() & !3 == 0);
    }
}

/// Goal: the ANA log is whole for as many namespaces as there may be: each in its group, ascending.
#[test]
fn ana_log_is_whole() {
    let mut host = Host::ready();
    for nsid in (2..=1024).filter(|nsid| *nsid != 3) {
        host.target.add_namespace(NQN, namespace(nsid, 8)).expect("new");
    }
    let len = 16 + 64 * 32 + 1024 * 4;
    let page = host.log(LogPage::ANA, 0, len).expect("it exists");
    let (header, mut rest) = AnaHeader::read_from_prefix(&page).expect("a header");
    assert_eq!((header.ngrps.get(), header.chgcnt.get()), (64, 1024));
    for grpid in 1..=64 {
        let (group, list) = AnaGroup::read_from_prefix(rest).expect("a group");
        assert_eq!((group.grpid.get(), group.nnsids.get(), group.state), (grpid, 16, 1));
        let expected: Vec<u8> = (0..16u32).flat_map(|i| (grpid + i * 64).to_le_bytes()).collect();
        assert_eq!(list[..64], expected[..]);
        rest = &list[64..];
    }
    assert_eq!(rest, []);
    // Groups only, and in parts.
    let mut sqe = get_log(LogPage::ANA, 0, 16 + 64 * 32);
    sqe.cdw10 = (sqe.cdw10.get() | 1 << 8).into();
    let groups = data(host.admin(sqe, 16 + 64 * 32)).expect("it exists");
    assert_eq!(groups[16 + 32 + 4], 0);
    assert_eq!(host.log(LogPage::ANA, 4096, 64).expect("a part"), page[4096..4160]);
}

/// Goal: failed commands are in the error log, newest first, and counted; the storage's failures reach the SMART log.
#[test]
fn errors_and_counters() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    let mut read = Sqe::new(NvmOpcode::READ.0, 1);
    read.cid = 0x77.into();
    read.set_slba(5);
    let Outcome::Io(io) = host.outcome(queue, read, 4096) else { panic!("a good read") };
    let cqe = host.target.on_io_done(queue, &read, &io, Err(block::MediaError::Unreadable));
    assert_eq!((cqe.cid.get(), cqe.status()), (0x77, Status::UNRECOVERED_READ_ERROR.dnr()));
    let number = |field: [u8; 16]| u128::from_le_bytes(field);
    let smart = |host: &mut Host| {
        let page = host.log(LogPage::SMART, 0, 512).expect("it exists");
        SmartLog::read_from_bytes(&page).expect("a page")
    };
    let failed = smart(&mut host);
    assert_eq!((number(failed.host_reads), number(failed.data_units_read)), (1, 0), "no data came");
    host.target.on_io_done(queue, &read, &io, Ok(()));
    host.outcome(queue, Sqe::new(0xee, 1), 0);
    let page = host.log(LogPage::ERROR, 0, 192).expect("it exists");
    let entries: Vec<_> = page
        .chunks_exact(64)
        .map(|entry| ErrorEntry::read_from_bytes(entry).expect("an entry"))
        .map(|e| (e.error_count.get(), e.sqid.get(), e.cid.get(), e.lba.get(), e.status.get()))
        .collect();
    let unreadable = Status::UNRECOVERED_READ_ERROR.dnr().to_field();
    let unknown = Status::INVALID_OPCODE.dnr().to_field();
    assert_eq!(entries, [(2, 1, 0, 0, unknown), (1, 1, 0x77, 5, unreadable), (0, 0, 0, 0, 0)]);
    let smart = smart(&mut host);
    assert_eq!((number(smart.media_errors), number(smart.error_entries)), (1, 2));
    assert_eq!((number(smart.host_reads), number(smart.data_units_read)), (2, 1));
    // It is the controller's: there is none of a namespace.
    let mut of_namespace = get_log(LogPage::SMART, 0, 512);
    of_namespace.nsid = 1.into();
    assert_eq!(data(host.admin(of_namespace, 512)), Err(Status::INVALID_FIELD.dnr()));
    of_namespace.nsid = NSID_ALL.into();
    assert!(data(host.admin(of_namespace, 512)).is_ok());
    let page = host.log(LogPage::FIRMWARE_SLOT, 0, 512).expect("it exists");
    let slot = FirmwareSlotLog::read_from_bytes(&page).expect("a page");
    assert_eq!((slot.afi, ascii_text(&slot.frs[0])), (1, "0.1.0".into()));
}

/// Goal: a host finds the subsystems it may use, at the address it came to, and the discovery subsystem's own name.
#[test]
fn discovery_log() {
    let mut target = target();
    target.add_subsystem(closed("nqn.2014-08.org:closed")).expect("new");
    let mut host = Host::enabled(target, NODE_NQN);
    let page = host.log(LogPage::DISCOVERY, 0, 4096).expect("it exists");
    let (header, rest) = DiscoveryHeader::read_from_prefix(&page).expect("a header");
    assert_eq!((header.numrec.get(), header.recfmt.get()), (2, 0));
    let entries: Vec<_> = rest
        .chunks_exact(1024)
        .take(2)
        .map(|entry| DiscoveryEntry::read_from_bytes(entry).expect("an entry"))
        .map(|e| {
            assert_eq!((e.trtype, e.adrfam, e.cntlid.get(), e.treq), (3, 1, 0xffff, 2));
            assert!(e.asqsz.get() >= 32);
            let nqn = nqn_text(&e.subnqn).expect("a name").to_owned();
            let at = format!("{}:{}", ascii_text(&e.traddr), ascii_text(&e.trsvcid));
            (e.subtype, e.eflags.get(), nqn, at)
        })
        .collect();
    assert_eq!(
        entries,
        [
            (3, 3, NODE_NQN.to_owned(), "10.0.0.5:8009".to_owned()),
            (2, 0, NQN.to_owned(), "10.0.0.5:4420".to_owned()),
        ]
    );
    assert_eq!(rest[2048..], [0; 1024]);
    // Anybody may ask for as much as Identify says (MDTS), and no more.
    assert_eq!(host.identify(Cns::CONTROLLER, 0).expect("it exists")[77], 2);
    assert_eq!(host.log(LogPage::DISCOVERY, 0, 16 << 10).map(|page| page.len()), Ok(16 << 10));
    assert_eq!(host.log(LogPage::DISCOVERY, 0, (16 << 10) + 4), Err(Status::INVALID_FIELD.dnr()));
    assert_eq!(host.log(LogPage::SMART, 0, 512), Err(Status::INVALID_LOG_PAGE.dnr()));
    // A controller with namespaces has no discovery log.
    let connection = host.accept();
    host.connect(connection, &Ask::admin(NQN)).expect("it connects");
    assert_eq!(Host::ready().log(LogPage::DISCOVERY, 0, 1024), Err(Status::INVALID_LOG_PAGE.dnr()));
}

/// Goal: the parts of one reading belong together, whatever changes in between; the next reading is new.
#[test]
fn discovery_log_is_consistent_over_parts() {
    let mut host = Host::discovering();
    let first = host.log(LogPage::DISCOVERY, 0, 1024).expect("it exists");
    host.target.remove_subsystem(NQN).expect("there");
    let second = host.log(LogPage::DISCOVERY, 2048, 1024).expect("the entry is still there");
    let entry = DiscoveryEntry::read_from_bytes(&second).expect("an entry");
    assert_eq!(nqn_text(&entry.subnqn), Some(NQN));
    let again = host.log(LogPage::DISCOVERY, 0, 1024).expect("it exists");
    let genctr = |page: &[u8]| u64::from_le_bytes(page[..8].try_into().expect("eight"));
    assert_eq!((genctr(&again) - genctr(&first), again[8]), (1, 1));
    assert_eq!(host.log(LogPage::DISCOVERY, 2052, 4), Err(Status::INVALID_FIELD.dnr()));
}
