//! I/O commands (NVM 1.1 §3.3): checked here completely, so that the storage sees only ranges that exist. What cannot be checked
//! yet, the range lists of some commands, checks itself when it has arrived (`range_list`).

use crate::config::NamespaceConfig;
use crate::limits::{COPY_RANGES_MAX, TRANSFER_MAX};
use crate::outcome::{Answer, Command, Io, IoKind, Outcome};
use crate::range_list::{self, Copying, Dataset};
use crate::span::Span;
use crate::view::View;
use block::Bytes;
use nvme_spec::entry::{CopyFlags, DatasetFlags};
use nvme_spec::{CopyRange, DATASET_RANGES_MAX, DatasetRange, NvmOpcode, Sqe, Status};

pub(crate) fn command(view: View<'_>, command: &Command<'_>) -> Result<Outcome, Status> {
    let sqe = command.sqe;
    let opcode = NvmOpcode(sqe.opc);
    if !SUPPORTED.iter().any(|(supported, _)| *supported == opcode) {
        return Err(Status::INVALID_OPCODE.dnr());
    }
    // Also refuses the broadcast Flush, which VWC says we do not support.
    let namespace = view.reachable(sqe.nsid.get())?;
    let kind = match opcode {
        NvmOpcode::FLUSH if !view.subsystem.config.is_volatile => {
            return Ok(Outcome::Done(Answer::success(sqe)));
        }
        NvmOpcode::FLUSH => IoKind::Flush,
        NvmOpcode::DATASET_MANAGEMENT => dataset(namespace, command)?,
        NvmOpcode::COPY => copy(namespace, command)?,
        _ => transfer(namespace, command, opcode)?,
    };
    Ok(Outcome::Io(Io { volume: namespace.volume, kind }))
}

/// What there is, and whether it changes data.
pub(crate) const SUPPORTED: [(NvmOpcode, Changes); 8] = [
    (NvmOpcode::FLUSH, Changes::Nothing),
    (NvmOpcode::READ, Changes::Nothing),
    (NvmOpcode::WRITE, Changes::Data),
    (NvmOpcode::COMPARE, Changes::Nothing),
    (NvmOpcode::VERIFY, Changes::Nothing),
    (NvmOpcode::WRITE_ZEROES, Changes::Data),
    (NvmOpcode::DATASET_MANAGEMENT, Changes::Data),
    (NvmOpcode::COPY, Changes::Data),
];

/// What a command does to what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    Nothing,
    Data,
}

/// The commands that name one range in dwords 10 to 12.
fn transfer(namespace: &NamespaceConfig, command: &Command<'_>, opcode: NvmOpcode) -> Result<IoKind, Status> {
    let span = range(namespace, command.sqe)?;
    let flags = command.sqe.rw_flags();
    // No format has protection information, so there is nothing to check or to insert (NVM 1.1 §5.3).
    if flags.prinfo() != 0 {
        return Err(Status::INVALID_PROTECTION_INFORMATION.dnr());
    }
    let kind = match opcode {
        NvmOpcode::READ => IoKind::Read { span },
        NvmOpcode::WRITE => IoKind::Write { span, fua: flags.fua() },
        NvmOpcode::COMPARE => IoKind::Compare { span },
        NvmOpcode::VERIFY => IoKind::Verify { span },
        _ => IoKind::WriteZeroes { span, fua: flags.fua(), deallocate: flags.deac() },
    };
    // MDTS for commands with data, VSL for Verify; Write Zeroes is limited by its field (NVM 1.1 §4.1.5.4: a command beyond
    // WZSL may still be executed).
    let is_limited = !matches!(kind, IoKind::WriteZeroes { .. });
    if is_limited && span.len().0 > u64::from(TRANSFER_MAX) {
        return Err(Status::INVALID_FIELD.dnr());
    }
    if kind.data_len() != command.data_len {
        return Err(Status::INVALID_SGL_LENGTH.dnr());
    }
    Ok(kind)
}

fn range(namespace: &NamespaceConfig, sqe: &Sqe) -> Result<Span, Status> {
    let span = range_list::span(sqe.slba(), u64::from(sqe.nlb()), namespace.lba_shift);
    span.filter(|span| span.end() <= size(namespace)).ok_or(Status::LBA_OUT_OF_RANGE.dnr())
}

fn size(namespace: &NamespaceConfig) -> Bytes {
    namespace.blocks.bytes().unwrap_or_default()
}

/// Dataset Management (NVM 1.1 §3.3.3). Linux always sends room for 256 ranges, however many there are.
fn dataset(namespace: &NamespaceConfig, command: &Command<'_>) -> Result<IoKind, Status> {
    let [count_z, ..] = command.sqe.cdw10.to_bytes();
    let count = u16::from(count_z).saturating_add(1);
    check_list::<DatasetRange>(command, u32::from(count), DATASET_RANGES_MAX)?;
    Ok(IoKind::Dataset(Dataset {
        count,
        data_len: command.data_len,
        is_deallocate: DatasetFlags::from_bits(command.sqe.cdw11.get()).deallocate(),
        lba_shift: namespace.lba_shift,
        size: size(namespace),
    }))
}

/// Copy (NVM 1.1 §3.3.2), format 0: within a namespace.
fn copy(namespace: &NamespaceConfig, command: &Command<'_>) -> Result<IoKind, Status> {
    let sqe = command.sqe;
    let flags = CopyFlags::from_bits(sqe.cdw12.get());
    if flags.format() != 0 {
        return Err(Status::INVALID_FIELD.dnr());
    }
    if flags.prinfo_read() != 0 || flags.prinfo_write() != 0 {
        return Err(Status::INVALID_PROTECTION_INFORMATION.dnr());
    }
    let count = u16::from(flags.count_z()).saturating_add(1);
    if count > COPY_RANGES_MAX {
        return Err(Status::SIZE_LIMIT_EXCEEDED.dnr());
    }
    check_list::<CopyRange>(command, u32::from(count), u32::from(COPY_RANGES_MAX))?;
    let to = range_list::span(sqe.slba(), 1, namespace.lba_shift).ok_or(Status::LBA_OUT_OF_RANGE.dnr())?;
    Ok(IoKind::Copy(Copying {
        count,
        data_len: command.data_len,
        to: to.start(),
        fua: flags.fua(),
        lba_shift: namespace.lba_shift,
        size: size(namespace),
    }))
}

/// The data is long enough for its ranges, and not longer than for as many as there can be.
fn check_list<T>(command: &Command<'_>, count: u32, count_max: u32) -> Result<(), Status> {
    let entry = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    let lengths = count.saturating_mul(entry)..=count_max.saturating_mul(entry);
    if lengths.contains(&command.data_len) { Ok(()) } else { Err(Status::INVALID_SGL_LENGTH.dnr()) }
}
