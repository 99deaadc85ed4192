//! Identify (Base 2.1 §5.1.13): what a host learns about controller and namespaces. Linux checks many of these fields and
//! refuses a controller that gets one wrong; the reasons stand at the lines.

use crate::admin::Context;
use crate::ana;
use crate::config::NamespaceConfig;
use crate::limits::{
    ABORT_MAX, AER_MAX, ANA_GROUPS, COPY_BLOCKS_MAX, COPY_RANGE_BLOCKS_MAX, COPY_RANGES_MAX,
    DATASET_BLOCKS_LIMIT, DISCOVERY_MDTS, ERRORS_MAX, IN_CAPSULE_MAX, KEEP_ALIVE_GRANULARITY_MS, MDTS,
    MQES_Z, NSID_MAX, SHUTDOWN_US, WRITE_ZEROES_LIMIT,
};
use crate::property::VERSION;
use nvme_spec::feature::notice;
use nvme_spec::identify::{
    Cns, ControllerType, IDENTIFY_LEN, IdentifyController, IdentifyIndependentNamespace, IdentifyNamespace,
    IdentifyNvmController, NamespaceDescriptor, nidt,
};
use nvme_spec::reservation::{NWPC_ALL, RESCAP_ALL, WriteProtection};
use nvme_spec::{NSID_ALL, Sqe, Status, ascii_field, nqn_field};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

/// Logical blocks are those of the drives, 4 KiB (LBADS).
pub(crate) const LBA_SHIFT: u8 = 12;
const _: () = assert!(block::BLOCK_SIZE == 1 << LBA_SHIFT);
/// Or an eighth of them.
pub(crate) const LBA_SHIFT_SMALL: u8 = 9;
/// Logical blocks in a block of the drives less one, for small ones.
const BLOCK_Z: u16 = (1 << (LBA_SHIFT - LBA_SHIFT_SMALL)) - 1;

pub(crate) fn page(context: &Context<'_>, sqe: &Sqe) -> Result<Vec<u8>, Status> {
    let [cns, ..] = sqe.cdw10.to_bytes();
    let [_, _, _, csi] = sqe.cdw11.to_bytes();
    let (cns, nsid) = (Cns(cns), sqe.nsid.get());
    if context.subsystem.is_none() {
        return match cns {
            Cns::CONTROLLER => Ok(discovery_controller(context).as_bytes().to_vec()),
            _ => Err(Status::INVALID_FIELD.dnr()),
        };
    }
    // The NVM command set is the only one, and its identifier is 0.
    let is_csi_known = csi == 0;
    match cns {
        Cns::CONTROLLER => Ok(controller(context).as_bytes().to_vec()),
        Cns::NAMESPACE => {
            let found = namespace_or_none(context, nsid)?;
            Ok(found.map_or_else(zeroes, |n| {
                let is_served = context.subsystem.is_some_and(|subsystem| subsystem.ana.check(nsid).is_ok());
                namespace(n, is_served, nsattr(context, n)).as_bytes().to_vec()
            }))
        }
        Cns::ACTIVE_NAMESPACES => active(context, nsid),
        Cns::IO_ACTIVE_NAMESPACES if is_csi_known => active(context, nsid),
        Cns::NAMESPACE_DESCRIPTORS => descriptors(context, nsid),
        // No storage tags, no protection information: everything is zero (NVM 1.1 §4.1.5.3).
        Cns::IO_NAMESPACE if is_csi_known => namespace_or_none(context, nsid).map(|_| zeroes()),
        Cns::IO_CONTROLLER if is_csi_known => Ok(nvm_controller().as_bytes().to_vec()),
        Cns::INDEPENDENT_NAMESPACE => {
            let found = namespace_or_none(context, nsid)?;
            Ok(found.map_or_else(zeroes, |n| independent(n, nsattr(context, n)).as_bytes().to_vec()))
        }
        Cns::IO_COMMAND_SETS => {
            // One combination: the NVM command set alone.
            let mut page = zeroes();
            if let Some(first) = page.first_mut() {
                *first = 1;
            }
            Ok(page)
        }
        _ => Err(Status::INVALID_FIELD.dnr()),
    }
}

fn zeroes() -> Vec<u8> {
    vec![0; IDENTIFY_LEN]
}

/// An inactive namespace is no error, its page is zero (Base 2.1 §5.1.13.1); a number that can be none is one.
fn namespace_or_none<'a>(context: &Context<'a>, nsid: u32) -> Result<Option<&'a NamespaceConfig>, Status> {
    if nsid == 0 || nsid == NSID_ALL || nsid > NSID_MAX {
        return Err(Status::INVALID_NAMESPACE.dnr());
    }
    Ok(context.view().and_then(|view| view.namespace(nsid)))
}

/// Identifiers of active namespaces above `nsid`, ascending.
fn active(context: &Context<'_>, nsid: u32) -> Result<Vec<u8>, Status> {
    if nsid >= NSID_ALL.saturating_sub(1) {
        return Err(Status::INVALID_NAMESPACE.dnr());
    }
    let mut page = zeroes();
    let above = context.view().into_iter().flat_map(|view| view.namespaces(nsid.saturating_add(1)));
    for (to, namespace) in page.chunks_exact_mut(4).zip(above) {
        to.copy_from_slice(&namespace.nsid.to_le_bytes());
    }
    Ok(page)
}

fn descriptors(context: &Context<'_>, nsid: u32) -> Result<Vec<u8>, Status> {
    let namespace = namespace_or_none(context, nsid)?.ok_or(Status::INVALID_NAMESPACE.dnr())?;
    let mut page = Vec::with_capacity(IDENTIFY_LEN);
    for nidt in [nidt::UUID, nidt::NGUID] {
        let nid = *namespace.uuid.as_bytes();
        let descriptor = NamespaceDescriptor { nidt, nidl: 16, reserved: [0; 2], nid };
        page.extend_from_slice(descriptor.as_bytes());
    }
    page.resize(IDENTIFY_LEN, 0);
    Ok(page)
}

/// What both kinds of controllers have in common.
fn common(context: &Context<'_>) -> IdentifyController {
    let mut id = IdentifyController::new_zeroed();
    id.fr = ascii_field(&context.target.config.firmware);
    id.mdts = MDTS;
    id.cntlid = U16::new(context.controller.cntlid); // Linux compares it with the answer to Connect
    id.ver = U32::new(VERSION.into_bits());
    id.lpa = 0b110; // effects log; lengths and offsets of 32 bits and more
    id.aerl_z = u8::try_from(AER_MAX).unwrap_or(u8::MAX).saturating_sub(1);
    id.elpe_z = u8::try_from(ERRORS_MAX).unwrap_or(u8::MAX).saturating_sub(1);
    id.rtd3e = U32::new(SHUTDOWN_US);
    id.kas = U16::new(u16::try_from(KEEP_ALIVE_GRANULARITY_MS / 100).unwrap_or(u16::MAX));
    id.maxcmd = U16::new(MQES_Z.saturating_add(1)); // Linux warns of zero
    id.sgls = U32::new(1 | 1 << 20); // SGLs, and offsets for in-capsule data: Linux refuses fabrics without
    id.ioccsz = U32::new(64u32.saturating_add(IN_CAPSULE_MAX) / 16);
    id.iorcsz = U32::new(1);
    id.msdbd = 1;
    id
}

fn controller(context: &Context<'_>) -> IdentifyController {
    let mut id = common(context);
    if let Some(subsystem) = context.subsystem {
        id.sn = ascii_field(&subsystem.config.serial);
        id.mn = ascii_field(&subsystem.config.model);
        id.subnqn = nqn_field(&subsystem.config.nqn).unwrap_or([0; 256]);
        // Flush to all namespaces at once is not supported, cache or not.
        id.vwc = IdentifyController::VWC_NO_BROADCAST
            | if subsystem.config.is_volatile { IdentifyController::VWC_PRESENT } else { 0 };
    }
    id.cmic = 0b1011; // several ports, several controllers, ANA: Linux refuses a second path without
    id.oaes = U32::new(notice::NAMESPACE_ATTRIBUTE | notice::ANA_CHANGE);
    id.ctratt = U32::new(IdentifyController::CTRATT_HIDS | IdentifyController::CTRATT_TBKAS);
    id.cntrltype = ControllerType::IO;
    id.crdt = [U16::new(1), U16::new(10), U16::new(100)];
    id.acl_z = ABORT_MAX.saturating_sub(1);
    id.frmw = 0b11; // one slot, read-only
    id.anatt = 10;
    id.anacap = 0b101_1111; // all five states; a namespace keeps its group
    id.anagrpmax = U32::new(ANA_GROUPS);
    id.nanagrpid = U32::new(ANA_GROUPS);
    id.sqes = 0x66;
    id.cqes = 0x44;
    id.nn = U32::new(NSID_MAX);
    id.mnan = U32::new(NSID_MAX); // Linux refuses ANA unless 0 < MNAN ≤ NN
    id.oncs = U16::new(
        IdentifyController::ONCS_COMPARE
            | IdentifyController::ONCS_DSM
            | IdentifyController::ONCS_WRITE_ZEROES
            | IdentifyController::ONCS_RESERVATIONS
            | IdentifyController::ONCS_VERIFY
            | IdentifyController::ONCS_COPY,
    );
    id.fuses = U16::new(IdentifyController::FUSES_COMPARE_AND_WRITE); // ESXi locks with it
    // One logical block of any format is written atomically, also when the power fails and as a Compare and Write: drives
    // that may tear 4 KiB are refused (decision 0005), and nobody else is at the blocks of a Compare and Write.
    (id.awun_z, id.awupf_z, id.acwu_z) = (U16::new(0), U16::new(0), U16::new(0));
    id.cdfs = U16::new(1); // Copy within a namespace
    id.nwpc = NWPC_ALL;
    id.ofcs = U16::new(1); // Disconnect
    id
}

/// Limits of single commands (NVM 1.1 §4.1.5.4).
fn nvm_controller() -> IdentifyNvmController {
    let mut id = IdentifyNvmController::new_zeroed();
    id.vsl = MDTS; // Verify reads into the same memory as Read
    id.wzsl = WRITE_ZEROES_LIMIT;
    id.dmrl = u8::MAX; // the field has no room for 256
    id.dmrsl = U32::new(DATASET_BLOCKS_LIMIT);
    id.dmsl = U64::new(u64::from(DATASET_BLOCKS_LIMIT));
    id
}

fn discovery_controller(context: &Context<'_>) -> IdentifyController {
    let mut id = common(context);
    id.sn = ascii_field("");
    id.mn = ascii_field("Ironbay discovery");
    // The unique name, also for hosts that came by the well-known one (Base 2.1 §3.1.3.3.1).
    id.subnqn = nqn_field(&context.target.config.discovery_nqn).unwrap_or([0; 256]);
    id.mdts = DISCOVERY_MDTS;
    id.oaes = U32::new(notice::DISCOVERY_CHANGE);
    id.ctratt = U32::new(IdentifyController::CTRATT_TBKAS);
    id.cntrltype = ControllerType::DISCOVERY;
    id.dctype = 1; // direct discovery controller
    id
}

/// Bit 0: the namespace is write protected. Linux makes the disk read-only then.
fn nsattr(context: &Context<'_>, config: &NamespaceConfig) -> u8 {
    let protection = context.subsystem.map(|subsystem| subsystem.guards.protection(config.nsid));
    u8::from(protection.is_some_and(|protection| protection != WriteProtection::OFF))
}

/// 512-byte blocks over drives that write 4 KiB: hosts should write whole blocks of the drives, which is how Linux finds its
/// physical block size (the smaller of NPWG and NAWUPF). What lies within one of them is written at once, also when the power
/// fails; what crosses into the next is not, which is what the boundaries say (NVM 1.1, atomic operations).
fn emulate_small_blocks(id: &mut IdentifyNamespace) {
    let block_z = U16::new(BLOCK_Z);
    id.nsfeat |= IdentifyNamespace::NSFEAT_ATOMICS | IdentifyNamespace::NSFEAT_OPTIMAL;
    (id.nawun_z, id.nawupf_z, id.nacwu_z) = (block_z, block_z, block_z);
    (id.nabsn, id.nabspf) = (block_z, block_z);
    (id.npwg_z, id.npwa_z, id.npdg_z, id.npda_z, id.nows_z) = (block_z, block_z, block_z, block_z, block_z);
}

/// Of a namespace that this path does not serve the host learns no use of space (Base 2.1 §8.1.1.6).
fn namespace(config: &NamespaceConfig, is_served: bool, nsattr: u8) -> IdentifyNamespace {
    let mut id = IdentifyNamespace::new_zeroed();
    let is_small = config.lba_shift == LBA_SHIFT_SMALL;
    let scale = if is_small { u64::from(BLOCK_Z).saturating_add(1) } else { 1 };
    let blocks = U64::new(config.blocks.0.saturating_mul(scale));
    (id.nsze, id.ncap, id.nuse) = (blocks, blocks, blocks);
    id.nmic = 1;
    (id.rescap, id.nsattr) = (RESCAP_ALL, nsattr);
    // Deallocated blocks read as zeroes, because deallocating means writing zeroes as long as a pool is thick; and Write
    // Zeroes may deallocate: Linux then uses it to discard.
    id.dlfeat = 0b1001;
    if is_small {
        emulate_small_blocks(&mut id);
    }
    id.mssrl = U16::new(COPY_RANGE_BLOCKS_MAX);
    id.mcl = U32::new(COPY_BLOCKS_MAX);
    id.msrc_z = u8::try_from(COPY_RANGES_MAX.saturating_sub(1)).unwrap_or(u8::MAX);
    let bytes = config.blocks.bytes().map_or(u64::MAX, |bytes| bytes.0);
    id.nvmcap = u128::from(bytes).to_le_bytes();
    if !is_served {
        (id.nuse, id.nvmcap) = (U64::new(0), [0; 16]);
    }
    id.anagrpid = U32::new(ana::group_of(config.nsid));
    id.nguid = *config.uuid.as_bytes(); // ESXi ignores namespaces without
    if let Some(format) = id.lbaf.first_mut() {
        format.lbads = config.lba_shift;
    }
    id
}

fn independent(config: &NamespaceConfig, nsattr: u8) -> IdentifyIndependentNamespace {
    let mut id = IdentifyIndependentNamespace::new_zeroed();
    id.nmic = 1;
    (id.rescap, id.nsattr) = (RESCAP_ALL, nsattr);
    id.anagrpid = U32::new(ana::group_of(config.nsid));
    id.nstat = 1; // ready
    id
}
