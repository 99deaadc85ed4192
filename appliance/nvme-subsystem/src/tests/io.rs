//! I/O commands: what is valid goes to the storage, everything else is refused with the status that Linux understands.

use super::host::{Host, NQN, accept, namespace, subsystem, target};
use crate::{Io, IoKind, Outcome, Span};
use block::{Blocks, Bytes, Lba, MediaError};
use nvme_spec::entry::{CopyFlags, DatasetFlags, RwFlags};
use nvme_spec::{CopyRange, DatasetRange, NSID_ALL, NvmOpcode, Sqe, Status};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

fn command(opcode: NvmOpcode, slba: u64, blocks: u16) -> Sqe {
    let mut sqe = Sqe::new(opcode.0, 1);
    sqe.set_slba(slba);
    sqe.cdw12 = RwFlags::new().with_nlb_z(blocks - 1).into_bits().into();
    sqe
}

fn ask(sqe: Sqe, data_len: u32) -> Result<Io, Status> {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    match host.outcome(queue, sqe, data_len) {
        Outcome::Io(io) => Ok(io),
        Outcome::Done(answer) => Err(answer.cqe.status()),
        other => panic!("{other:?}"),
    }
}

/// Goal: valid commands arrive with their range, flags and volume.
#[test]
fn valid_commands() {
    let io = |kind| Ok(Io { volume: 100, kind });
    let blocks = |lba, count| Span::of_blocks(Lba(lba), Blocks(count)).expect("small numbers");
    let span = blocks(8, 2);
    let with = |mut sqe: Sqe, flags: RwFlags| {
        sqe.cdw12 = (sqe.cdw12.get() | flags.into_bits()).into();
        sqe
    };
    let fua = RwFlags::new().with_fua(true);
    assert_eq!(ask(command(NvmOpcode::READ, 8, 2), 8192), io(IoKind::Read { span }));
    let write = command(NvmOpcode::WRITE, 8, 2);
    assert_eq!(ask(write, 8192), io(IoKind::Write { span, fua: false }));
    assert_eq!(ask(with(write, fua), 8192), io(IoKind::Write { span, fua: true }));
    let zeroes = with(command(NvmOpcode::WRITE_ZEROES, 8, 2), RwFlags::new().with_deac(true));
    let kind = IoKind::WriteZeroes { span, fua: false, deallocate: true };
    assert_eq!(ask(zeroes, 0), io(kind));
    assert_eq!(ask(command(NvmOpcode::COMPARE, 8, 2), 8192), io(IoKind::Compare { span }));
    assert_eq!(ask(command(NvmOpcode::VERIFY, 8, 2), 0), io(IoKind::Verify { span }));
    assert_eq!(ask(Sqe::new(NvmOpcode::FLUSH.0, 1), 0), io(IoKind::Flush));
    // The last block, and the longest transfer.
    let last = IoKind::Read { span: blocks(255, 1) };
    assert_eq!(ask(command(NvmOpcode::READ, 255, 1), 4096), io(last));
    let longest = IoKind::Read { span: blocks(0, 256) };
    assert_eq!(ask(command(NvmOpcode::READ, 0, 256), 1 << 20), io(longest));
}

/// Goal: each kind of nonsense gets its status, never a range outside the namespace.
#[test]
fn invalid_commands() {
    let out_of_range = Err(Status::LBA_OUT_OF_RANGE.dnr());
    let without_data = [NvmOpcode::WRITE_ZEROES, NvmOpcode::VERIFY];
    for opcode in [NvmOpcode::READ, NvmOpcode::WRITE, NvmOpcode::COMPARE].into_iter().chain(without_data) {
        let len = |blocks: u32| if without_data.contains(&opcode) { 0 } else { blocks * 4096 };
        assert_eq!(ask(command(opcode, 256, 1), len(1)), out_of_range);
        assert_eq!(ask(command(opcode, 255, 2), len(2)), out_of_range);
        assert_eq!(ask(command(opcode, u64::MAX, 2), len(2)), out_of_range);
        let mut other = command(opcode, 0, 1);
        for nsid in [0, 2, 1025, NSID_ALL] {
            other.nsid = nsid.into();
            assert_eq!(ask(other, len(1)), Err(Status::INVALID_NAMESPACE.dnr()));
        }
        let mut protected = command(opcode, 0, 1);
        protected.cdw12 = RwFlags::new().with_prinfo(8).into_bits().into();
        assert_eq!(ask(protected, len(1)), Err(Status::INVALID_PROTECTION_INFORMATION.dnr()));
    }
    let length = Err(Status::INVALID_SGL_LENGTH.dnr());
    assert_eq!(ask(command(NvmOpcode::WRITE, 0, 2), 4096), length);
    assert_eq!(ask(command(NvmOpcode::READ, 0, 2), 8196), length);
    assert_eq!(ask(command(NvmOpcode::WRITE_ZEROES, 0, 2), 8192), length);
    let mut long = command(NvmOpcode::READ, 0, 257);
    long.nsid = 3.into();
    for (opcode, len) in
        [(NvmOpcode::READ, 257 * 4096), (NvmOpcode::COMPARE, 257 * 4096), (NvmOpcode::VERIFY, 0)]
    {
        long.opc = opcode.0;
        assert_eq!(ask(long, len), Err(Status::INVALID_FIELD.dnr()));
    }
    let mut broadcast = Sqe::new(NvmOpcode::FLUSH.0, NSID_ALL);
    assert_eq!(ask(broadcast, 0), Err(Status::INVALID_NAMESPACE.dnr()));
    broadcast.opc = NvmOpcode::WRITE_UNCORRECTABLE.0;
    assert_eq!(ask(broadcast, 0), Err(Status::INVALID_OPCODE.dnr()));
}

/// Dataset Management with these ranges (first block, blocks), and its data.
fn dataset(ranges: &[(u64, u32)], flags: DatasetFlags) -> (Sqe, Vec<u8>) {
    let mut sqe = Sqe::new(NvmOpcode::DATASET_MANAGEMENT.0, 1);
    sqe.cdw10 = (ranges.len() as u32 - 1).into();
    sqe.cdw11 = flags.into_bits().into();
    let entry =
        |&(slba, nlb): &(u64, u32)| DatasetRange { cattr: 0.into(), nlb: nlb.into(), slba: slba.into() };
    (sqe, ranges.iter().flat_map(|range| entry(range).as_bytes().to_vec()).collect())
}

/// Goal: the ranges of Dataset Management are all checked before any of them can be used; empty ones are fine, and a host
/// may send more data than they need.
#[test]
fn dataset_ranges() {
    let deallocate = DatasetFlags::new().with_deallocate(true);
    let spans = |ranges: &[(u64, u32)], data_len: u32| -> Result<Vec<(u64, u64)>, Status> {
        let (sqe, mut data) = dataset(ranges, deallocate);
        let IoKind::Dataset(dataset) = ask(sqe, data_len)?.kind else { panic!("another command") };
        assert!(dataset.is_deallocate());
        data.resize(data_len as usize, 0xff);
        let list = dataset.ranges(&data)?;
        let spans = (0..list.len()).map(|index| list.get(index).expect("a checked range"));
        assert_eq!(list.get(list.len()), None);
        Ok(spans.map(|span| (span.start().0 / 4096, span.len().0 / 4096)).collect())
    };
    assert_eq!(
        spans(&[(0, 1), (255, 1), (256, 0), (3, 100)], 4096),
        Ok(vec![(0, 1), (255, 1), (256, 0), (3, 100)])
    );
    assert_eq!(spans(&[(1, 1); 256], 4096).map(|spans| spans.len()), Ok(256));
    let out_of_range = Err(Status::LBA_OUT_OF_RANGE.dnr());
    for bad in [(255, 2), (256, 1), (257, 0), (u64::MAX, 1), (1, u32::MAX), (u64::MAX / 4096, 1)] {
        assert_eq!(spans(&[(0, 1), bad], 32), out_of_range, "{bad:?}");
    }
    for data_len in [0, 16, 31, 4097, 8192] {
        assert_eq!(spans(&[(0, 1), (1, 1)], data_len), Err(Status::INVALID_SGL_LENGTH.dnr()), "{data_len}");
    }
    let (hint, _) =
        dataset(&[(0, 1)], DatasetFlags::new().with_integral_read(true).with_integral_write(true));
    let Ok(IoKind::Dataset(hint)) = ask(hint, 16).map(|io| io.kind) else { panic!("a good command") };
    assert!(!hint.is_deallocate());
}

/// Copy of these ranges (first block, blocks) to block `to`, and its data.
fn copy(to: u64, ranges: &[(u64, u16)]) -> (Sqe, Vec<u8>) {
    let mut sqe = Sqe::new(NvmOpcode::COPY.0, 3);
    sqe.set_slba(to);
    sqe.cdw12 = CopyFlags::new().with_count_z((ranges.len() - 1) as u8).into_bits().into();
    let entry = |&(slba, blocks): &(u64, u16)| CopyRange {
        slba: slba.into(),
        nlb_z: blocks.wrapping_sub(1).into(),
        ..CopyRange::new_zeroed()
    };
    (sqe, ranges.iter().flat_map(|range| entry(range).as_bytes().to_vec()).collect())
}

/// Goal: the ranges of Copy and where they go are all checked before any of them can be used: inside the namespace, within the
/// limits that Identify tells, and apart from the destination.
#[test]
fn copy_ranges() {
    let spans = |to: u64, ranges: &[(u64, u16)], data_len: u32| -> Result<Vec<(u64, u64)>, Status> {
        let (sqe, mut data) = copy(to, ranges);
        let IoKind::Copy(copying) = ask(sqe, data_len)?.kind else { panic!("another command") };
        data.resize(data_len as usize, 0xff);
        let list = copying.ranges(&data)?;
        let spans = (0..).map_while(|index| list.get(index)).chain([list.to()]);
        Ok(spans.map(|span| (span.start().0 / 4096, span.len().0 / 4096)).collect())
    };
    assert_eq!(spans(8, &[(0, 2), (16, 3)], 64), Ok(vec![(0, 2), (16, 3), (8, 5)]));
    assert_eq!(spans(0, &[(512, 512)], 4096), Ok(vec![(512, 512), (0, 512)]));
    let out_of_range = Err(Status::LBA_OUT_OF_RANGE.dnr());
    for (to, bad) in [(0, (1024, 1)), (0, (1023, 2)), (0, (u64::MAX, 1)), (1023, (0, 2)), (u64::MAX, (0, 1))]
    {
        assert_eq!(spans(to, &[(600, 1), bad], 64), out_of_range, "{bad:?} to {to}");
    }
    let too_much = Err(Status::SIZE_LIMIT_EXCEEDED.dnr());
    assert_eq!(spans(0, &[(0, 1025)], 32), too_much);
    assert_eq!(spans(0, &[(0, 0)], 32), too_much, "65536 blocks");
    assert_eq!(spans(0, &[(0, 1024); 17], 4096), too_much);
    assert_eq!(spans(0, &[(512, 1); 129], 4096), too_much);
    assert_eq!(spans(0, &[(512, 1); 128], 4096).map(|spans| spans.len()), Ok(129));
    let overlap = Err(Status::OVERLAPPING_RANGE.dnr());
    assert_eq!(spans(8, &[(0, 2), (9, 1)], 64), overlap);
    assert_eq!(spans(8, &[(7, 2)], 32), overlap);
    assert_eq!(spans(8, &[(0, 8), (9, 1)], 64), overlap, "with what the first range fills");
    for data_len in [0, 32, 63, 4097] {
        assert_eq!(
            spans(8, &[(0, 2), (16, 3)], data_len),
            Err(Status::INVALID_SGL_LENGTH.dnr()),
            "{data_len}"
        );
    }
    let refused = |flags: CopyFlags| {
        let (mut sqe, _) = copy(8, &[(0, 1)]);
        sqe.cdw12 = flags.into_bits().into();
        ask(sqe, 32).map(drop)
    };
    let protection = Err(Status::INVALID_PROTECTION_INFORMATION.dnr());
    assert_eq!(refused(CopyFlags::new().with_format(1)), Err(Status::INVALID_FIELD.dnr()));
    assert_eq!(refused(CopyFlags::new().with_prinfo_read(1)), protection);
    assert_eq!(refused(CopyFlags::new().with_prinfo_write(8)), protection);
}

/// Goal: without a volatile cache Flush is done at once, and Identify says that there is none.
#[test]
fn durable_subsystem_needs_no_flush() {
    let mut target = target();
    let nqn = "nqn.2014-08.org:durable";
    let config = crate::SubsystemConfig { is_volatile: false, ..subsystem(nqn) };
    target.add_subsystem(config).expect("new");
    target.add_namespace(nqn, namespace(1, 8)).expect("new");
    let mut host = Host::enabled(target, nqn);
    let queue = accept(&mut host.target);
    let asked = super::host::Ask { nqn, ..super::host::Ask::io(host.cntlid, 1) };
    host.connect(queue, &asked).expect("the queue connects");
    let Outcome::Done(answer) = host.outcome(queue, Sqe::new(NvmOpcode::FLUSH.0, 1), 0) else {
        panic!("the storage is not asked");
    };
    assert!(answer.cqe.status().is_success());
    let page = host.identify(nvme_spec::identify::Cns::CONTROLLER, 0).expect("it exists");
    assert_eq!(page[525] & 1, 0);
    assert_eq!(host.get_feature(6), Err(Status::INVALID_FIELD.dnr()));
}

/// Goal: every failure of the storage has its status, and only what may work later asks the host to retry.
#[test]
fn media_errors() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    let sqe = command(NvmOpcode::WRITE, 0, 1);
    let Outcome::Io(io) = host.outcome(queue, sqe, 4096) else { panic!("a good write") };
    let mut status = |error| host.target.on_io_done(queue, &sqe, &io, Err(error)).status();
    assert_eq!(status(MediaError::WriteFault), Status::WRITE_FAULT.dnr());
    assert_eq!(status(MediaError::ReadOnly), Status::WRITE_PROTECTED.dnr());
    assert_eq!(status(MediaError::OutOfRange), Status::INTERNAL_ERROR.dnr());
    assert_eq!(status(MediaError::TimedOut), Status::COMMAND_INTERRUPTED);
    assert_eq!(status(MediaError::Gone), Status::INTERNAL_ERROR.dnr());
    // A completion that comes after its connection was closed is harmless.
    host.target.on_close(queue);
    assert!(host.target.on_io_done(queue, &sqe, &io, Ok(())).status().is_success());
}

/// Goal: a removed namespace is refused at once, a grown one accepted up to its new end.
#[test]
fn namespaces_change_under_a_host() {
    let mut host = Host::ready();
    let queue = host.io_queue(1);
    host.target.resize_namespace(NQN, 1, Blocks(512)).expect("there");
    assert!(matches!(host.outcome(queue, command(NvmOpcode::READ, 511, 1), 4096), Outcome::Io(_)));
    host.target.remove_namespace(NQN, 1).expect("there");
    let Outcome::Done(answer) = host.outcome(queue, command(NvmOpcode::READ, 0, 1), 4096) else {
        panic!("it is gone");
    };
    assert_eq!(answer.cqe.status(), Status::INVALID_NAMESPACE.dnr());
}

/// Goal: the SMART log counts what was read and written in units of 512 bytes, whatever the blocks of host and drives.
#[test]
fn data_units_of_small_blocks() {
    let mut target = target();
    target.remove_namespace(NQN, 1).expect("there");
    target.add_namespace(NQN, crate::NamespaceConfig { lba_shift: 9, ..namespace(1, 256) }).expect("new");
    let mut host = Host::enabled(target, NQN);
    let queue = host.io_queue(1);
    for (opcode, count) in [(NvmOpcode::READ, 1000), (NvmOpcode::WRITE, 1001)] {
        for _ in 0..count {
            let sqe = command(opcode, 9, 1);
            let Outcome::Io(io) = host.outcome(queue, sqe, 512) else { panic!("a good command") };
            host.target.on_io_done(queue, &sqe, &io, Ok(()));
        }
    }
    let page = host.log(nvme_spec::log::LogPage::SMART, 0, 512).expect("it exists");
    let log = nvme_spec::log::SmartLog::read_from_bytes(&page).expect("a page");
    let units = [log.data_units_read, log.data_units_written].map(u128::from_le_bytes);
    assert_eq!(units, [1, 2], "thousands, rounded up");
}

/// Goal: a namespace with 512-byte blocks tells its size and its atomic units in them, and its commands are counted in them,
/// Copy and its limits, too.
#[test]
fn small_blocks() {
    let mut target = target();
    target.remove_namespace(NQN, 1).expect("there");
    let small = crate::NamespaceConfig { lba_shift: 9, ..namespace(1, 256) };
    target.add_namespace(NQN, small).expect("new");
    let odd = crate::NamespaceConfig { lba_shift: 10, ..namespace(2, 256) };
    assert_eq!(target.add_namespace(NQN, odd), Err(crate::ConfigError::NamespaceRefused));
    let mut host = Host::enabled(target, NQN);
    let queue = host.io_queue(1);
    let page = host.identify(nvme_spec::identify::Cns::NAMESPACE, 1).expect("it exists");
    let id = nvme_spec::identify::IdentifyNamespace::read_from_bytes(&page).expect("a page");
    assert_eq!((id.nsze.get(), id.lbaf[0].lbads, id.nsfeat), (2048, 9, 0x12));
    let atomic = [id.nawun_z, id.nawupf_z, id.nacwu_z, id.nabsn, id.nabspf, id.npwg_z, id.npwa_z];
    assert!(atomic.iter().all(|field| field.get() == 7) && id.nabo.get() == 0);
    assert_eq!((id.mssrl.get(), id.mcl.get(), id.msrc_z), (1024, 16 * 1024, 127));
    let Outcome::Io(io) = host.outcome(queue, command(NvmOpcode::WRITE, 2045, 3), 1536) else {
        panic!("inside")
    };
    let span = Span::new(Bytes(2045 * 512), Bytes(1536)).expect("small numbers");
    assert_eq!(io.kind, IoKind::Write { span, fua: false });
    let mut refused = |sqe, len| match host.outcome(queue, sqe, len) {
        Outcome::Done(answer) => answer.cqe.status(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(command(NvmOpcode::WRITE, 2046, 3), 1536), Status::LBA_OUT_OF_RANGE.dnr());
    assert_eq!(refused(command(NvmOpcode::READ, 0, 1), 4096), Status::INVALID_SGL_LENGTH.dnr());
    for (to, range, is_whole) in
        [(16, (0, 8), true), (16, (1, 8), false), (9, (0, 8), false), (16, (0, 7), false)]
    {
        let (mut sqe, data) = copy(to, &[range]);
        sqe.nsid = 1.into();
        let Outcome::Io(io) = host.outcome(queue, sqe, 32) else { panic!("a good command") };
        let IoKind::Copy(copying) = io.kind else { panic!("another command") };
        let ranges = copying.ranges(&data).expect("inside");
        assert_eq!((copying.has_parts(), ranges.is_whole()), (true, is_whole), "{range:?} to {to}");
        assert_eq!(ranges.to().start(), Bytes(to * 512));
    }
    let (mut behind, data) = copy(2047, &[(0, 2)]);
    behind.nsid = 1.into();
    let Outcome::Io(Io { kind: IoKind::Copy(copying), .. }) = host.outcome(queue, behind, 32) else {
        panic!("the list says more")
    };
    assert_eq!(copying.ranges(&data).map(drop), Err(Status::LBA_OUT_OF_RANGE.dnr()));
}
