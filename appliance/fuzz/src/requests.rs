//! I/O commands as hosts send them: mostly right, wrong in any one place, sometimes anything.

use crate::choices::Choices;
use crate::reservations::Request;
use crate::world::{Known, any_sqe};
use nvme_spec::{NvmOpcode, Sqe};

/// A command, the length that its data is said to have, and the data (zeroes behind its end).
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) sqe: Sqe,
    pub(crate) data_len: u32,
    pub(crate) data: Vec<u8>,
}

/// Opcodes that are looked at more often than the others.
const OPCODES: [NvmOpcode; 16] = [
    NvmOpcode::READ,
    NvmOpcode::WRITE,
    NvmOpcode::COPY,
    NvmOpcode::DATASET_MANAGEMENT,
    NvmOpcode::WRITE_ZEROES,
    NvmOpcode::COMPARE,
    NvmOpcode::VERIFY,
    NvmOpcode::RESERVATION_REGISTER,
    NvmOpcode::RESERVATION_ACQUIRE,
    NvmOpcode::RESERVATION_RELEASE,
    NvmOpcode::RESERVATION_REPORT,
    NvmOpcode::FLUSH,
    NvmOpcode::COPY,
    NvmOpcode::WRITE,
    NvmOpcode::WRITE_UNCORRECTABLE,
    NvmOpcode::FABRICS,
];

const KEYS: [u64; 4] = [0, 0xa1, 0xb2, u64::MAX];

/// A logical block: near the start, near the end, or anywhere.
fn lba(choices: &mut Choices<'_>, end: u64) -> u64 {
    match choices.u8() {
        255 => choices.u64(),
        254 => end.wrapping_sub(u64::from(choices.u8())),
        253 => u64::from(choices.u32()),
        // At the end of the number range, also in bytes.
        252 => (u64::MAX >> choices.below(16)).wrapping_sub(u64::from(choices.u8())),
        near => u64::from(near % 64),
    }
}

/// Blocks less one: few, a boundary, or any.
fn nlb_z(choices: &mut Choices<'_>) -> u16 {
    match choices.u8() {
        255 => choices.u16(),
        254 => 255,
        253 => 256,
        252 => 2047,
        251 => 2048,
        250 => 0xffff,
        249 => 1023,
        248 => 1024,
        few => u16::from(few % 12),
    }
}

/// A command for one of the namespaces.
pub(crate) fn make(choices: &mut Choices<'_>, known: impl Fn(u32) -> Option<Known>) -> Made {
    let how = choices.u8();
    if how >= 250 {
        let sqe = any_sqe(choices, &OPCODES.map(|opcode| opcode.0));
        let len = choices.below(64);
        return Made { sqe, data_len: choices.len(), data: choices.bytes(len).to_vec() };
    }
    let opcode = OPCODES[usize::from(how) % OPCODES.len()];
    let nsid = match choices.u8() {
        255 => choices.u32(),
        small => [1, 3, 4, 5, 1, 4, 2, 0][usize::from(small) % 8],
    };
    let known = known(nsid);
    let (shift, end) = known.map_or((12, 256), |k| (k.lba_shift, (k.blocks << 12) >> k.lba_shift));
    let mut sqe = Sqe::new(opcode.0, nsid);
    let (data_len, data) = match opcode {
        NvmOpcode::COPY => copy(choices, &mut sqe, end),
        NvmOpcode::DATASET_MANAGEMENT => dataset(choices, &mut sqe, end),
        NvmOpcode::RESERVATION_REGISTER | NvmOpcode::RESERVATION_ACQUIRE | NvmOpcode::RESERVATION_RELEASE => {
            reservation(choices, &mut sqe)
        }
        NvmOpcode::RESERVATION_REPORT => {
            let dwords_z = u32::from(choices.u8());
            sqe.cdw10 = dwords_z.into();
            sqe.cdw11 = u32::from(choices.u8() != 1).into();
            ((dwords_z + 1) * 4, Vec::new())
        }
        _ => {
            sqe.set_slba(lba(choices, end));
            let flags = match choices.u8() {
                255 => choices.u16(),
                // FUA, LR, and DEAC; nothing else that means anything.
                few => u16::from(few & 3) << 14 | u16::from(few >> 2 & 1) << 9,
            };
            sqe.cdw12 = (u32::from(nlb_z(choices)) | u32::from(flags) << 16).into();
            let has_data = matches!(opcode, NvmOpcode::READ | NvmOpcode::WRITE | NvmOpcode::COMPARE);
            (if has_data { sqe.nlb().saturating_mul(1 << shift) } else { 0 }, Vec::new())
        }
    };
    let data_len = if choices.u8() == 255 { choices.len() } else { data_len };
    Made { sqe, data_len, data }
}

/// A list of source ranges: of any format, as many as the command says or not.
fn copy(choices: &mut Choices<'_>, sqe: &mut Sqe, end: u64) -> (u32, Vec<u8>) {
    let count = 1 + choices.below(6);
    let mut data = Vec::new();
    for _ in 0..count {
        let (slba, nlb_z) = (lba(choices, end), nlb_z(choices));
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(&slba.to_le_bytes());
        data.extend_from_slice(&nlb_z.to_le_bytes());
        data.extend_from_slice(&[0; 14]);
    }
    sqe.set_slba(lba(choices, end));
    let count_z = match choices.u8() {
        255 => choices.u8(),
        _ => u8::try_from(count - 1).expect("few"),
    };
    let flags = match choices.u8() {
        255 => choices.u32() & !0xff,
        // A format, or FUA.
        few @ 240..255 => u32::from(few & 15) << 8,
        few => u32::from(few & 1) << 30,
    };
    sqe.cdw12 = (flags | u32::from(count_z)).into();
    let entries = u32::from(count_z) + 1;
    // Hosts may send room for more; entries of format 1 and 3 have another length.
    let len = match choices.u8() {
        255 => 4096,
        254 => entries * 40,
        253 => entries * 32 - 4,
        _ => entries * 32,
    };
    if choices.u8() == 255 {
        let at = choices.below(data.len());
        data[at] = choices.u8();
    }
    (len, data)
}

fn dataset(choices: &mut Choices<'_>, sqe: &mut Sqe, end: u64) -> (u32, Vec<u8>) {
    let count = 1 + choices.below(6);
    let mut data = Vec::new();
    for _ in 0..count {
        let slba = lba(choices, end);
        let nlb = match choices.u8() {
            255 => choices.u32(),
            few => u32::from(few % 24),
        };
        data.extend_from_slice(&choices.u8().to_le_bytes());
        data.extend_from_slice(&[0; 3]);
        data.extend_from_slice(&nlb.to_le_bytes());
        data.extend_from_slice(&slba.to_le_bytes());
    }
    let count_z = match choices.u8() {
        255 => choices.u8(),
        _ => u8::try_from(count - 1).expect("few"),
    };
    sqe.cdw10 = u32::from(count_z).into();
    sqe.cdw11 = u32::from(if choices.u8() < 16 { choices.u8() } else { 4 }).into();
    let entries = u32::from(count_z) + 1;
    let len = match choices.u8() {
        255 => 4096,
        254 => entries * 16 - 4,
        _ => entries * 16,
    };
    (len, data)
}

fn reservation(choices: &mut Choices<'_>, sqe: &mut Sqe) -> (u32, Vec<u8>) {
    let is_register = sqe.opc == NvmOpcode::RESERVATION_REGISTER.0;
    let (action, how) = (choices.u8(), choices.u8());
    let mut cdw10 = u32::from(if action >= 240 { action & 7 } else { action % 3 });
    cdw10 |= u32::from(how & 3 == 3 && is_register) << 3 | u32::from(how == 255) << 3;
    cdw10 |= u32::from(if how >= 250 { choices.u8() } else { (how >> 2) % 7 }) << 8;
    if is_register {
        cdw10 |= u32::from(choices.u8() & 3) << 30;
    }
    sqe.cdw10 = cdw10.into();
    let mut data = choices.one_of(&KEYS).to_le_bytes().to_vec();
    data.extend_from_slice(&choices.one_of(&KEYS).to_le_bytes());
    let len = match choices.u8() {
        255 => 8,
        254 => 12,
        253 => 0,
        _ => 16,
    };
    (len, data)
}

impl Request {
    /// What a reservation command says.
    pub(crate) fn of(made: &Made) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            let bytes = made.data.get(at..made.data.len().min(made.data_len as usize)).unwrap_or_default();
            let len = bytes.len().min(8);
            word[..len].copy_from_slice(&bytes[..len]);
            u64::from_le_bytes(word)
        };
        Self { opcode: NvmOpcode(made.sqe.opc), cdw10: made.sqe.cdw10.get(), crkey: word(0), other: word(8) }
    }
}
