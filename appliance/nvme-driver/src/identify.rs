//! What a drive says about itself: foreign bytes, parsed once.

use crate::error::BringUpError;
use crate::limits::{PAGE, ZEROES_BYTES_MAX};
use block::{BLOCK_SIZE, Blocks};
use core::time::Duration;
use nvme_spec::ascii_text;
use nvme_spec::identify::{IDENTIFY_LEN, IdentifyController, IdentifyNamespace, IdentifyNvmController};
use zerocopy::{FromBytes, transmute};

/// NSFEAT bit 1: the atomicity fields of the namespace count (NVM 1.1 §4.1.5.1, NSABP).
const NSFEAT_NSABP: u8 = 1 << 1;
/// Write Zeroes counts blocks in 16 bits, 0's based (NVM 1.1 §3.3.8).
const WRITE_ZEROES_LBAS_MAX: u64 = 1 << 16;

/// A drive as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveInfo {
    /// Serial number. Foreign text, printable ASCII.
    pub serial: String,
    /// Model. Foreign text, printable ASCII.
    pub model: String,
    /// Firmware revision. Foreign text, printable ASCII.
    pub firmware: String,
    /// The namespace in use: the first active one.
    pub nsid: u32,
    /// Active namespaces; those behind the first are not used.
    pub namespaces: usize,
    /// Its capacity in blocks of 4 KiB.
    pub blocks: Blocks,
    /// Bytes of a logical block of the drive: 512 or 4096.
    pub lba_bytes: u32,
    /// A volatile write cache is present.
    pub has_volatile_cache: bool,
    /// Blocks of the drive that a power cut never tears, in bytes: AWUPF or NAWUPF.
    pub atomic_bytes: u64,
    /// A power cut never tears 4 KiB.
    pub is_block_atomic: bool,
    /// Write Zeroes is a command of the drive; otherwise zeroes are written.
    pub has_write_zeroes: bool,
    /// The longest transfer, as the drive says (MDTS); `None` for no limit.
    pub transfer_bytes_max: Option<u64>,
}

/// What the driver needs beside that.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) info: DriveInfo,
    /// Logical blocks of the drive in a block, as a power of two.
    pub(crate) lba_shift: u32,
    /// The most that one Write Zeroes command clears.
    pub(crate) zeroes_max: Blocks,
    /// How long the drive may take to shut down (RTD3E).
    pub(crate) shutdown_time: Duration,
}

/// The identify pages of a drive.
pub(crate) struct Pages {
    pub(crate) controller: [u8; IDENTIFY_LEN],
    pub(crate) namespaces: [u8; IDENTIFY_LEN],
    pub(crate) namespace: [u8; IDENTIFY_LEN],
    /// CNS 06h; zeroes where the controller does not know it.
    pub(crate) nvm: [u8; IDENTIFY_LEN],
}

/// The first active namespace and how many there are, from CNS 02h: ascending identifiers, ended by a zero.
pub(crate) fn active_namespaces(page: &[u8; IDENTIFY_LEN]) -> Result<(u32, usize), BringUpError> {
    let ids = || page.as_chunks::<4>().0.iter().map(|id| u32::from_le_bytes(*id)).take_while(|id| *id != 0);
    let first = ids().next().ok_or(BringUpError::NoNamespace)?;
    Ok((first, ids().count()))
}

impl Pages {
    pub(crate) fn parse(&self) -> Result<Identity, BringUpError> {
        let controller: IdentifyController = transmute!(self.controller);
        let namespace: IdentifyNamespace = transmute!(self.namespace);
        let (nsid, namespaces) = active_namespaces(&self.namespaces)?;
        let lba_shift = lba_shift(&namespace)?;
        let blocks = Blocks(namespace.nsze.get() >> lba_shift);
        if blocks.0 == 0 {
            return Err(BringUpError::Empty { nsid });
        }
        let lba_bytes = BLOCK_SIZE as u64 >> lba_shift;
        let atomic_lbas = atomic_lbas(&controller, &namespace);
        let info = DriveInfo {
            serial: ascii_text(&controller.sn),
            model: ascii_text(&controller.mn),
            firmware: ascii_text(&controller.fr),
            nsid,
            namespaces,
            blocks,
            lba_bytes: 1 << (BLOCK_SIZE.trailing_zeros() - lba_shift),
            has_volatile_cache: controller.vwc & IdentifyController::VWC_PRESENT != 0,
            atomic_bytes: atomic_lbas * lba_bytes,
            is_block_atomic: is_block_atomic(&namespace, lba_shift, atomic_lbas),
            has_write_zeroes: controller.oncs.get() & IdentifyController::ONCS_WRITE_ZEROES != 0,
            transfer_bytes_max: pages_limit(controller.mdts),
        };
        let shutdown_time = Duration::from_micros(u64::from(controller.rtd3e.get()));
        Ok(Identity { info, lba_shift, zeroes_max: self.zeroes_max(lba_bytes), shutdown_time })
    }

    /// The smallest of what the command can say, the drive allows (WZSL) and we ask for.
    fn zeroes_max(&self, lba_bytes: u64) -> Blocks {
        let limits = IdentifyNvmController::read_from_bytes(&self.nvm).map_or(0, |nvm| nvm.wzsl);
        let drive = pages_limit(limits).unwrap_or(u64::MAX);
        let bytes = drive.min(WRITE_ZEROES_LBAS_MAX * lba_bytes).min(ZEROES_BYTES_MAX);
        // Whole blocks: every limit is at least a page.
        Blocks(bytes / BLOCK_SIZE as u64)
    }
}

/// A limit given as a power of two of memory pages; 0 is none (Base 2.1 figure 312, MDTS; NVM 1.1 figure 120, WZSL).
fn pages_limit(power: u8) -> Option<u64> {
    if power == 0 {
        return None;
    }
    (PAGE as u64).checked_shl(u32::from(power)).filter(|bytes| *bytes >= PAGE as u64)
}

/// How far a block number is shifted to become a logical block address of the drive.
fn lba_shift(namespace: &IdentifyNamespace) -> Result<u32, BringUpError> {
    let refused = |lba_bytes, metadata_bytes| Err(BringUpError::Format { lba_bytes, metadata_bytes });
    let Some(format) = namespace.format() else { return refused(0, 0) };
    match (format.lbads, format.ms.get()) {
        (12, 0) => Ok(0),
        (9, 0) => Ok(3),
        (lbads, ms) => refused(1u64.checked_shl(u32::from(lbads)).unwrap_or(0), ms),
    }
}

/// Logical blocks that a power cut never tears. The namespace's own value counts if it has one.
fn atomic_lbas(controller: &IdentifyController, namespace: &IdentifyNamespace) -> u64 {
    let own = namespace.nawupf_z.get();
    let value = if namespace.nsfeat & NSFEAT_NSABP != 0 && own != 0 { own } else { controller.awupf_z.get() };
    u64::from(value) + 1
}

/// Whether aligned blocks of 4 KiB are never torn. One logical block never is; several are not if they fit into the
/// atomic unit and no atomic boundary (NVM 1.1 §2.1.4.4) cuts through them.
fn is_block_atomic(namespace: &IdentifyNamespace, lba_shift: u32, atomic_lbas: u64) -> bool {
    let lbas = 1u64 << lba_shift;
    let boundary_z = u64::from(namespace.nabspf.get());
    let has_boundary = namespace.nsfeat & NSFEAT_NSABP != 0 && boundary_z != 0;
    let is_cut = has_boundary
        && !((boundary_z + 1).is_multiple_of(lbas) && u64::from(namespace.nabo.get()).is_multiple_of(lbas));
    lba_shift == 0 || (atomic_lbas >= lbas && !is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvme_spec::ascii_field;
    use nvme_spec::identify::LbaFormat;
    use zerocopy::FromZeros;
    use zerocopy::little_endian::{U16, U64};

    fn pages(change: impl Fn(&mut IdentifyController, &mut IdentifyNamespace)) -> Pages {
        let mut controller = IdentifyController::new_zeroed();
        controller.sn = ascii_field("S0");
        controller.mn = ascii_field("Model \u{7}");
        controller.mdts = 5;
        let mut namespace = IdentifyNamespace::new_zeroed();
        namespace.nsze = U64::new(1003);
        namespace.lbaf[0] = LbaFormat { ms: U16::new(0), lbads: 9, rp: 0 };
        namespace.lbaf[17] = LbaFormat { ms: U16::new(8), lbads: 12, rp: 0 };
        namespace.lbaf[2] = LbaFormat { ms: U16::new(0), lbads: 12, rp: 0 };
        change(&mut controller, &mut namespace);
        let mut namespaces = [0; IDENTIFY_LEN];
        namespaces[0] = 3;
        namespaces[4] = 9;
        Pages {
            controller: transmute!(controller),
            namespaces,
            namespace: transmute!(namespace),
            nvm: [0; IDENTIFY_LEN],
        }
    }

    /// Goal: names are cleaned, sizes are in our blocks, limits in bytes.
    #[test]
    fn a_drive_with_512_byte_blocks_is_translated() {
        let identity = pages(|_, _| {}).parse().expect("usable");
        assert_eq!(
            identity.info,
            DriveInfo {
                serial: "S0".to_owned(),
                model: "Model ?".to_owned(),
                firmware: String::new(),
                nsid: 3,
                namespaces: 2,
                blocks: Blocks(125),
                lba_bytes: 512,
                has_volatile_cache: false,
                atomic_bytes: 512,
                is_block_atomic: false,
                has_write_zeroes: false,
                transfer_bytes_max: Some(128 << 10),
            }
        );
        assert_eq!((identity.lba_shift, identity.zeroes_max), (3, Blocks(8192)));
    }

    /// Goal: a format is chosen by both halves of its index, and refused with its numbers if it cannot be used.
    #[test]
    fn formats_are_recognised() {
        let native = pages(|_, ns| ns.flbas = 2).parse().expect("usable");
        assert_eq!(
            (native.info.blocks, native.info.is_block_atomic, native.lba_shift),
            (Blocks(1003), true, 0)
        );
        let refused = |flbas, lbads| {
            pages(|_, ns| {
                ns.flbas = flbas;
                ns.lbaf[5].lbads = lbads;
            })
            .parse()
            .err()
        };
        let format = |lba_bytes, metadata_bytes| Some(BringUpError::Format { lba_bytes, metadata_bytes });
        assert_eq!(refused(0x21, 0), format(4096, 8));
        assert_eq!(refused(5, 10), format(1024, 0));
        assert_eq!(refused(5, 255), format(0, 0));
        assert_eq!(pages(|_, ns| ns.nsze = U64::new(7)).parse().err(), Some(BringUpError::Empty { nsid: 3 }));
    }

    /// Goal: 4 KiB is called atomic on 512-byte drives only where the drive promises it, boundaries included.
    #[test]
    fn atomicity_is_what_the_drive_promises() {
        let atomic = |awupf, nsfeat, nawupf, nabspf, nabo| {
            let identity = pages(|controller, ns| {
                controller.awupf_z = U16::new(awupf);
                ns.nsfeat = nsfeat;
                ns.nawupf_z = U16::new(nawupf);
                ns.nabspf = U16::new(nabspf);
                ns.nabo = U16::new(nabo);
            })
            .parse()
            .expect("usable");
            identity.info.is_block_atomic
        };
        assert!(atomic(7, 0, 0, 0, 0) && atomic(0, 2, 7, 0, 0) && atomic(7, 2, 0, 0, 0));
        assert!(!atomic(6, 0, 0, 0, 0) && !atomic(0, 0, 7, 0, 0) && !atomic(7, 2, 3, 0, 0));
        assert!(atomic(7, 2, 7, 63, 8) && !atomic(7, 2, 7, 63, 4) && !atomic(7, 2, 7, 60, 0));
    }

    /// Goal: nonsense in limits means a limit that cannot be expressed, not a wrong one.
    #[test]
    fn limits_do_not_overflow() {
        assert_eq!([0, 1, 51, 52, 255].map(pages_limit), [None, Some(8192), Some(1 << 63), None, None]);
        assert_eq!(active_namespaces(&[0; IDENTIFY_LEN]), Err(BringUpError::NoNamespace));
        assert_eq!(active_namespaces(&[1; IDENTIFY_LEN]), Ok((0x0101_0101, 1024)));
    }
}
