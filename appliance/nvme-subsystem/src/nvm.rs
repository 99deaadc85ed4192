//! I/O commands (NVM 1.1 §3.3): checked here completely, so that the storage sees only ranges that exist.

use crate::config::NamespaceConfig;
use crate::limits::TRANSFER_MAX;
use crate::outcome::{Answer, Command, Io, IoKind, Outcome};
use crate::target::Subsystem;
use block::{Blocks, Lba};
use nvme_spec::{NvmOpcode, Sqe, Status};

pub(crate) fn command(subsystem: &Subsystem, command: &Command<'_>) -> Result<Outcome, Status> {
    let sqe = command.sqe;
    let opcode = NvmOpcode(sqe.opc);
    match opcode {
        NvmOpcode::READ | NvmOpcode::WRITE | NvmOpcode::WRITE_ZEROES | NvmOpcode::FLUSH => {}
        _ => return Err(Status::INVALID_OPCODE.dnr()),
    }
    // Also refuses the broadcast Flush, which VWC says we do not support.
    let namespace = subsystem.namespaces.get(&sqe.nsid.get()).ok_or(Status::INVALID_NAMESPACE.dnr())?;
    if opcode == NvmOpcode::FLUSH {
        if !subsystem.config.is_volatile {
            return Ok(Outcome::Done(Answer::success(sqe)));
        }
        return Ok(Outcome::Io(Io { volume: namespace.volume, kind: IoKind::Flush }));
    }
    let (lba, blocks) = range(namespace, sqe)?;
    let flags = sqe.rw_flags();
    if flags.prinfo() != 0 {
        return Err(Status::INVALID_PROTECTION_INFORMATION.dnr());
    }
    let kind = match opcode {
        NvmOpcode::READ => IoKind::Read { lba, blocks },
        NvmOpcode::WRITE => IoKind::Write { lba, blocks, fua: flags.fua() },
        _ => IoKind::WriteZeroes { lba, blocks, fua: flags.fua(), deallocate: flags.deac() },
    };
    check_length(kind, blocks, command.data_len)?;
    Ok(Outcome::Io(Io { volume: namespace.volume, kind }))
}

fn range(namespace: &NamespaceConfig, sqe: &Sqe) -> Result<(Lba, Blocks), Status> {
    let (lba, blocks) = (Lba(sqe.slba()), Blocks(u64::from(sqe.nlb())));
    let end = lba.checked_add(blocks).ok_or(Status::LBA_OUT_OF_RANGE.dnr())?;
    if end.0 > namespace.blocks.0 {
        return Err(Status::LBA_OUT_OF_RANGE.dnr());
    }
    Ok((lba, blocks))
}

/// The data is as long as the command says, and not longer than MDTS allows. Write Zeroes has none and is not limited.
fn check_length(kind: IoKind, blocks: Blocks, data_len: u32) -> Result<(), Status> {
    let has_data = !matches!(kind, IoKind::WriteZeroes { .. });
    if has_data && blocks.bytes().is_none_or(|bytes| bytes.0 > u64::from(TRANSFER_MAX)) {
        return Err(Status::INVALID_FIELD.dnr());
    }
    if kind.data_len() != data_len {
        return Err(Status::INVALID_SGL_LENGTH.dnr());
    }
    Ok(())
}
