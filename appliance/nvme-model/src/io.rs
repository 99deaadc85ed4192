//! NVM commands of the model, and the media behind them.

use crate::controller::Core;
use nvme_spec::{NvmOpcode, Sqe, Status};
use std::collections::BTreeMap;

const PAGE: u64 = 4096;
/// Entries in a page of a PRP list.
const LIST_ENTRIES: u64 = PAGE / 8;
/// PRP Offset Invalid (Base 2.1 figure 102).
const PRP_OFFSET_INVALID: Status = Status::new(0, 0x13);

/// A command that reached the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// What.
    pub opcode: NvmOpcode,
    /// First logical block; 0 for a flush.
    pub slba: u64,
    /// Logical blocks; 0 for a flush.
    pub lbas: u32,
    /// Force unit access.
    pub fua: bool,
}

/// Logical blocks that were written; all others read as zeroes.
#[derive(Debug)]
pub(crate) struct Media {
    lba_bytes: usize,
    lbas: u64,
    written: BTreeMap<u64, Box<[u8]>>,
}

impl Media {
    pub(crate) fn new(lbads: u8, lbas: u64) -> Self {
        Self { lba_bytes: 1 << lbads, lbas, written: BTreeMap::new() }
    }

    pub(crate) fn read(&self, slba: u64, lbas: u32) -> Vec<u8> {
        let zeroes = vec![0; self.lba_bytes];
        (slba..slba + u64::from(lbas))
            .flat_map(|lba| self.written.get(&lba).map_or(&zeroes[..], |block| &block[..]).to_vec())
            .collect()
    }

    pub(crate) fn write(&mut self, slba: u64, bytes: &[u8]) {
        for (lba, block) in (slba..).zip(bytes.chunks(self.lba_bytes)) {
            self.written.insert(lba, block.into());
        }
    }

    fn zero(&mut self, slba: u64, lbas: u32) {
        let end = slba + u64::from(lbas);
        self.written.retain(|lba, _| *lba < slba || *lba >= end);
    }
}

impl Core {
    /// Executes an NVM command.
    pub(crate) fn execute_io(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        if self.config.namespaces.first() != Some(&sqe.nsid.get()) {
            return Err(Status::INVALID_NAMESPACE);
        }
        let opcode = NvmOpcode(sqe.opc);
        let (slba, lbas) = if opcode == NvmOpcode::FLUSH { (0, 0) } else { (sqe.slba(), sqe.nlb()) };
        if slba.checked_add(u64::from(lbas)).is_none_or(|end| end > self.media.lbas) {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        let bytes = lbas as usize * self.media.lba_bytes;
        match opcode {
            NvmOpcode::FLUSH => {}
            NvmOpcode::READ => {
                let mut data = self.media.read(slba, lbas);
                for (address, len) in self.pages(sqe, bytes)? {
                    let rest = data.split_off(len);
                    self.memory.device_write(address, &data);
                    data = rest;
                }
            }
            NvmOpcode::WRITE => {
                let pages = self.pages(sqe, bytes)?;
                let data: Vec<u8> =
                    pages.iter().flat_map(|(at, len)| self.memory.device_read(*at, *len)).collect();
                self.media.write(slba, &data);
            }
            NvmOpcode::WRITE_ZEROES if self.config.has_write_zeroes => {
                if self.config.wzsl != 0 && bytes > 4096 << self.config.wzsl {
                    return Err(Status::INVALID_FIELD);
                }
                self.media.zero(slba, lbas);
            }
            _ => return Err(Status::INVALID_OPCODE),
        }
        self.log.push(Executed { opcode, slba, lbas, fua: sqe.rw_flags().fua() });
        Ok(0)
    }

    /// Address and length of each page of a transfer, from its PRPs (Base 2.1 §4.3.1).
    fn pages(&self, sqe: &Sqe, bytes: usize) -> Result<Vec<(u64, usize)>, Status> {
        if self.config.mdts != 0 && bytes > 4096 << self.config.mdts {
            return Err(Status::INVALID_FIELD);
        }
        let (prp1, prp2) = (sqe.dptr.prp1.get(), sqe.dptr.prp2.get());
        let page = usize::try_from(PAGE).expect("4096");
        let offset = usize::try_from(prp1 % PAGE).expect("less than a page");
        let mut left = bytes;
        let mut pages = Vec::new();
        let mut add = |address: u64, room: usize| {
            let len = room.min(left);
            left -= len;
            pages.push((address, len));
            left
        };
        let left = add(prp1, page - offset);
        let others: Vec<u64> = match left.div_ceil(page) as u64 {
            0 => Vec::new(),
            1 => vec![prp2],
            count if prp2 % PAGE / 8 + count > LIST_ENTRIES => return Err(Status::INVALID_FIELD),
            count => {
                let list = self.memory.device_read(prp2, usize::try_from(count * 8).expect("a page"));
                list.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry)).collect()
            }
        };
        if others.iter().any(|address| !address.is_multiple_of(PAGE)) {
            return Err(PRP_OFFSET_INVALID);
        }
        for address in others {
            add(address, page);
        }
        Ok(pages)
    }
}
