//! The rules for I/O commands, written down a second time from the standard: why a command must be refused, and what it does
//! to blocks if it is not. Nothing here looks at the code under test.

use crate::requests::Made;
use crate::reservations::Report;
use crate::storage::{SECTOR, Sectors};
use crate::world::{Known, Pending, Who};
use core::ops::Range;
use nvme_spec::{NvmOpcode, Sqe, Status};

/// Bytes of the longest transfer (MDTS, VSL).
const TRANSFER_MAX: u64 = 1 << 20;
/// Longest fused Compare and Write, in bytes.
const FUSED_MAX: u64 = 4096;
/// Copy: MSRC, MSSRL, MCL.
const COPY_MAX: (u64, u64, u64) = (128, 1024, 16384);

/// What the command before on the same queue was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// Nothing that concerns this one.
    Nothing,
    /// The first half of a fused operation.
    First(Sqe),
    /// One that was refused.
    Refused,
}

/// A namespace with the eyes of a host.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) who: Who,
    /// `None` if the host may not know of it.
    pub(crate) known: Option<Known>,
    pub(crate) report: Report,
    pub(crate) is_protected: bool,
}

fn bytes(known: Known) -> u64 {
    known.blocks << 12
}

/// Bytes of a range of logical blocks, without regard to the end of the namespace.
fn range(slba: u64, count: u64, shift: u8) -> Range<u128> {
    u128::from(slba) << shift..(u128::from(slba) + u128::from(count)) << shift
}

fn is_inside(range: &Range<u128>, known: Known) -> bool {
    range.end <= u128::from(bytes(known))
}

const SUPPORTED: [NvmOpcode; 12] = [
    NvmOpcode::FLUSH,
    NvmOpcode::WRITE,
    NvmOpcode::READ,
    NvmOpcode::COMPARE,
    NvmOpcode::WRITE_ZEROES,
    NvmOpcode::DATASET_MANAGEMENT,
    NvmOpcode::VERIFY,
    NvmOpcode::RESERVATION_REGISTER,
    NvmOpcode::RESERVATION_REPORT,
    NvmOpcode::RESERVATION_ACQUIRE,
    NvmOpcode::RESERVATION_RELEASE,
    NvmOpcode::COPY,
];

const WRITES: [NvmOpcode; 6] = [
    NvmOpcode::WRITE,
    NvmOpcode::WRITE_ZEROES,
    NvmOpcode::WRITE_UNCORRECTABLE,
    NvmOpcode::DATASET_MANAGEMENT,
    NvmOpcode::COPY,
    NvmOpcode::FLUSH,
];

const READS: [NvmOpcode; 3] = [NvmOpcode::READ, NvmOpcode::COMPARE, NvmOpcode::VERIFY];

/// Every rule that a command breaks, as the status that says so. It must end with one of them; with none it must be done.
pub(crate) fn refusals(made: &Made, place: &Place, before: Before) -> Vec<Status> {
    let sqe = &made.sqe;
    let opcode = NvmOpcode(sqe.opc);
    let mut reasons = fused(sqe, place, before);
    if !SUPPORTED.contains(&opcode) {
        reasons.push(Status::INVALID_OPCODE);
    }
    let Some(known) = place.known else {
        reasons.push(Status::INVALID_NAMESPACE);
        return reasons;
    };
    let is_write = WRITES.contains(&opcode);
    if is_write && opcode != NvmOpcode::FLUSH && place.is_protected {
        reasons.push(Status::WRITE_PROTECTED);
    }
    if (is_write || READS.contains(&opcode)) && !place.report.allows(place.who, is_write) {
        reasons.push(Status::RESERVATION_CONFLICT);
    }
    match opcode {
        NvmOpcode::READ
        | NvmOpcode::WRITE
        | NvmOpcode::COMPARE
        | NvmOpcode::VERIFY
        | NvmOpcode::WRITE_ZEROES => {
            transfer(made, known, &mut reasons);
        }
        NvmOpcode::DATASET_MANAGEMENT => {
            let count = u64::from(sqe.cdw10.get() & 0xff) + 1;
            if !(count * 16..=4096).contains(&u64::from(made.data_len)) {
                reasons.push(Status::INVALID_SGL_LENGTH);
            }
        }
        NvmOpcode::COPY => copy(made, known, &mut reasons),
        NvmOpcode::RESERVATION_REGISTER | NvmOpcode::RESERVATION_ACQUIRE if made.data_len != 16 => {
            reasons.push(Status::INVALID_SGL_LENGTH);
        }
        NvmOpcode::RESERVATION_RELEASE if !(8..=16).contains(&made.data_len) => {
            reasons.push(Status::INVALID_SGL_LENGTH);
        }
        NvmOpcode::RESERVATION_REPORT => {
            let len = (u64::from(sqe.cdw10.get()) + 1) * 4;
            if sqe.cdw11.get() & 1 == 0 {
                reasons.push(Status::HOST_ID_INCONSISTENT);
            }
            if len > TRANSFER_MAX {
                reasons.push(Status::INVALID_FIELD);
            }
            if len != u64::from(made.data_len) {
                reasons.push(Status::INVALID_SGL_LENGTH);
            }
        }
        _ => {}
    }
    reasons
}

fn fused(sqe: &Sqe, place: &Place, before: Before) -> Vec<Status> {
    let mut reasons = Vec::new();
    let bytes = u64::from(sqe.nlb()) << place.known.map_or(12, |known| known.lba_shift);
    match sqe.flags & 3 {
        0 => {}
        1 => {
            if sqe.opc != NvmOpcode::COMPARE.0 || bytes > FUSED_MAX {
                reasons.push(Status::INVALID_FIELD);
            }
        }
        2 => match before {
            Before::Nothing => reasons.push(Status::ABORTED_MISSING_FUSED),
            Before::Refused => reasons.push(Status::ABORTED_FAILED_FUSED),
            Before::First(first) => {
                let is_same = (first.nsid, first.slba(), first.nlb()) == (sqe.nsid, sqe.slba(), sqe.nlb());
                if !is_same || sqe.opc != NvmOpcode::WRITE.0 {
                    reasons.push(Status::INVALID_FIELD);
                }
            }
        },
        _ => reasons.push(Status::INVALID_FIELD),
    }
    reasons
}

fn transfer(made: &Made, known: Known, reasons: &mut Vec<Status>) {
    let sqe = &made.sqe;
    let opcode = NvmOpcode(sqe.opc);
    if !is_inside(&range(sqe.slba(), u64::from(sqe.nlb()), known.lba_shift), known) {
        reasons.push(Status::LBA_OUT_OF_RANGE);
    }
    if sqe.cdw12.get() >> 26 & 15 != 0 {
        reasons.push(Status::INVALID_PROTECTION_INFORMATION);
    }
    let len = u64::from(sqe.nlb()) << known.lba_shift;
    let has_data = !matches!(opcode, NvmOpcode::VERIFY | NvmOpcode::WRITE_ZEROES);
    if opcode != NvmOpcode::WRITE_ZEROES && len > TRANSFER_MAX {
        reasons.push(Status::INVALID_FIELD);
    }
    if u64::from(made.data_len) != if has_data { len } else { 0 } {
        reasons.push(Status::INVALID_SGL_LENGTH);
    }
}

fn copy(made: &Made, known: Known, reasons: &mut Vec<Status>) {
    let (sqe, cdw12) = (&made.sqe, made.sqe.cdw12.get());
    let count = u64::from(cdw12 & 0xff) + 1;
    if cdw12 >> 8 & 15 != 0 {
        reasons.push(Status::INVALID_FIELD);
    }
    if cdw12 >> 12 & 15 != 0 || cdw12 >> 26 & 15 != 0 {
        reasons.push(Status::INVALID_PROTECTION_INFORMATION);
    }
    if count > COPY_MAX.0 {
        reasons.push(Status::SIZE_LIMIT_EXCEEDED);
    }
    if !(count * 32..=COPY_MAX.0 * 32).contains(&u64::from(made.data_len)) {
        reasons.push(Status::INVALID_SGL_LENGTH);
    }
    if range(sqe.slba(), 1, known.lba_shift).end > u128::from(u64::MAX - 4095) {
        reasons.push(Status::LBA_OUT_OF_RANGE);
    }
}

fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// In sectors; of a range that lies inside.
fn sectors(range: &Range<u128>) -> Range<u64> {
    let of = |byte: u128| u64::try_from(byte).expect("inside a namespace") / SECTOR;
    of(range.start)..of(range.end)
}

/// Does what an accepted command says, and says what is read; `compared` is what the first half of a fused operation brought.
pub(crate) fn mean(
    blocks: &mut Sectors,
    pending: &Pending,
    known: Known,
    (stamp, compared): (u32, Option<u32>),
) -> Result<Vec<(u64, u32)>, Status> {
    let sqe = &pending.sqe;
    let (volume, shift) = (known.volume, known.lba_shift);
    let one = || sectors(&range(sqe.slba(), u64::from(sqe.nlb()), shift));
    match NvmOpcode(sqe.opc) {
        NvmOpcode::READ => return Ok(blocks.read(volume, one())),
        NvmOpcode::WRITE => {
            if compared.is_some_and(|compared| !blocks.is_filled(volume, one(), compared)) {
                return Err(Status::COMPARE_FAILURE);
            }
            blocks.fill(volume, one(), stamp);
        }
        NvmOpcode::COMPARE if !blocks.is_filled(volume, one(), stamp) => return Err(Status::COMPARE_FAILURE),
        NvmOpcode::WRITE_ZEROES => blocks.zero(volume, one()),
        NvmOpcode::DATASET_MANAGEMENT => {
            let count = (sqe.cdw10.get() & 0xff) as usize + 1;
            let entries = pending.data.chunks_exact(16).take(count);
            let ranges: Vec<_> =
                entries.map(|entry| range(le(&entry[8..16]), le(&entry[4..8]), shift)).collect();
            assert_eq!(ranges.len(), count);
            if !ranges.iter().all(|range| is_inside(range, known)) {
                return Err(Status::LBA_OUT_OF_RANGE);
            }
            if sqe.cdw11.get() & 4 != 0 {
                ranges.iter().for_each(|range| blocks.zero(volume, sectors(range)));
            }
        }
        NvmOpcode::COPY => return copy_blocks(blocks, pending, known),
        _ => {}
    }
    Ok(Vec::new())
}

fn copy_blocks(blocks: &mut Sectors, pending: &Pending, known: Known) -> Result<Vec<(u64, u32)>, Status> {
    let sqe = &pending.sqe;
    let count = (sqe.cdw12.get() & 0xff) as usize + 1;
    let entries = pending.data.chunks_exact(32).take(count);
    let list: Vec<(u64, u64)> = entries.map(|entry| (le(&entry[8..16]), le(&entry[16..18]) + 1)).collect();
    assert_eq!(list.len(), count);
    let total: u64 = list.iter().map(|(_, count)| count).sum();
    if list.iter().any(|(_, count)| *count > COPY_MAX.1) || total > COPY_MAX.2 {
        return Err(Status::SIZE_LIMIT_EXCEEDED);
    }
    let of = |slba: u64, count: u64| range(slba, count, known.lba_shift);
    let to = of(sqe.slba(), total);
    for (slba, count) in &list {
        let from = of(*slba, *count);
        if !is_inside(&from, known) || !is_inside(&to, known) {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        if from.start.max(to.start) < from.end.min(to.end) {
            return Err(Status::OVERLAPPING_RANGE);
        }
    }
    let mut at = sectors(&to).start;
    for (slba, count) in list {
        let from = sectors(&of(slba, count));
        let len = from.end - from.start;
        blocks.copy(known.volume, from, at);
        at += len;
    }
    Ok(Vec::new())
}
