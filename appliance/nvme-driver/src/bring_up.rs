//! From a controller in any state to an I/O queue pair (Base 2.1 §3.5.1).
//!
//! | step | what | bounded by |
//! |---|---|---|
//! | 1 | CC.EN = 0, wait for CSTS.RDY = 0 | CAP.TO, CRTO |
//! | 2 | admin queues, CC.EN = 1, wait for CSTS.RDY = 1; once more after a fatal status | CAP.TO, CRTO |
//! | 3 | Identify: controller, active namespaces, the first of them, limits | 10 s each |
//! | 4 | Number of Queues, Create I/O Completion Queue, Create I/O Submission Queue | 10 s each |
//!
//! If a step fails, the controller is stopped again: it may still hold addresses of ours.

use crate::admin::Admin;
use crate::controller::{Controller, Wait};
use crate::drive::DriveConfig;
use crate::error::BringUpError;
use crate::identify::{Identity, Pages, active_namespaces};
use crate::limits::{CQE_BYTES, IO_ENTRIES_MAX, IO_ENTRIES_MIN, PAGE, SQE_BYTES, TRANSFER_BYTES_MAX};
use crate::platform::Platform;
use crate::prp::PrpLists;
use crate::queue::QueuePair;
use block::{BLOCK_SIZE, Blocks};
use nvme_spec::feature::{FeatureCdw10, FeatureId, NumberOfQueues};
use nvme_spec::identify::{Cns, IDENTIFY_LEN};
use nvme_spec::register::{Cc, CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11};
use nvme_spec::{AdminOpcode, DataPointer, Sqe};
use zerocopy::little_endian::U32;

/// The queue pair for I/O.
pub(crate) const IO_QID: u16 = 1;

/// A controller that answers, and everything allocated for it.
#[derive(Debug)]
pub(crate) struct Ready<P: Platform> {
    pub(crate) controller: Controller<P>,
    pub(crate) parts: Parts<P>,
}

/// What bring-up makes beside the controller.
#[derive(Debug)]
pub(crate) struct Parts<P: Platform> {
    pub(crate) admin: Admin<P::Queue>,
    pub(crate) io: QueuePair<P::Queue>,
    pub(crate) prps: PrpLists<P::Queue>,
    /// A page of zeroes, for drives without Write Zeroes.
    pub(crate) zero_page: P::Queue,
    pub(crate) identity: Identity,
    pub(crate) transfer_max: Blocks,
}

/// Brings the controller up.
pub(crate) fn bring_up<P: Platform>(platform: P, config: DriveConfig) -> Result<Ready<P>, BringUpError> {
    let controller = Controller::new(platform)?;
    match make_parts(&controller, config) {
        Ok(parts) => Ok(Ready { controller, parts }),
        Err(error) => {
            // Queue memory is never used again, so a controller that neither stops nor can be cut off does no harm.
            if controller.stop() != Wait::Reached {
                let _cut_off = controller.platform.isolate();
            }
            Err(error)
        }
    }
}

fn make_parts<P: Platform>(
    controller: &Controller<P>,
    config: DriveConfig,
) -> Result<Parts<P>, BringUpError> {
    let entries = entries(controller, config)?;
    let mut admin = start(controller)?;
    let identity = identify(controller, &mut admin)?;
    let transfer_max = transfer_max(config, identity.info.transfer_bytes_max)?;
    let io = create_io_queues(controller, &mut admin, entries)?;
    let platform = &controller.platform;
    let transfer_bytes = transfer_max.buffer_len().ok_or(BringUpError::NoMemory)?;
    let prps = PrpLists::new(platform, entries - 1, transfer_bytes).ok_or(BringUpError::NoMemory)?;
    let zero_page = platform.alloc_queue(PAGE).ok_or(BringUpError::NoMemory)?;
    Ok(Parts { admin, io, prps, zero_page, identity, transfer_max })
}

/// Entries of the I/O rings: what was asked for, within our bounds and the controller's.
fn entries<P: Platform>(controller: &Controller<P>, config: DriveConfig) -> Result<u16, BringUpError> {
    let allowed = controller.cap.mqes_z().saturating_add(1).min(IO_ENTRIES_MAX);
    if allowed < IO_ENTRIES_MIN {
        return Err(BringUpError::Unsupported { what: "its queues are too short" });
    }
    Ok(config.entries.clamp(IO_ENTRIES_MIN, allowed))
}

/// The longest transfer: what was asked for, within our bounds and the controller's.
fn transfer_max(config: DriveConfig, mdts: Option<u64>) -> Result<Blocks, BringUpError> {
    let ours = config.transfer_bytes_max.min(TRANSFER_BYTES_MAX) as u64;
    let blocks = Blocks(mdts.map_or(ours, |mdts| mdts.min(ours)) / BLOCK_SIZE as u64);
    if blocks.0 == 0 {
        return Err(BringUpError::Unsupported { what: "its transfers are shorter than 4 KiB" });
    }
    Ok(blocks)
}

/// Steps 1 and 2.
fn start<P: Platform>(controller: &Controller<P>) -> Result<Admin<P::Queue>, BringUpError> {
    match try_start(controller) {
        // A fatal status may be left from before; a reset clears it, or it is real.
        Err(BringUpError::Fatal) => try_start(controller),
        other => other,
    }
}

fn try_start<P: Platform>(controller: &Controller<P>) -> Result<Admin<P::Queue>, BringUpError> {
    let csts = controller.csts().ok_or(BringUpError::Gone)?;
    if csts.rdy() || csts.cfs() || controller.cc().en() {
        reached(controller, controller.stop(), "stop")?;
        // After a failed start RDY was never set, so its absence does not say that the reset is over.
        let wait = controller.wait_for(controller.ready_timeout, |csts| !csts.rdy() && !csts.cfs());
        reached(controller, wait, "stop")?;
    }
    let admin = Admin::new(controller)?;
    let sqes = u8::try_from(SQE_BYTES.trailing_zeros()).expect("6");
    let cqes = u8::try_from(CQE_BYTES.trailing_zeros()).expect("4");
    // Memory page size and command set are 0: 4 KiB and NVM (Base 2.1 §3.1.4.5).
    controller.set_cc(Cc::new().with_iosqes(sqes).with_iocqes(cqes).with_en(true));
    let wait = controller.wait_for(controller.ready_timeout, |csts| csts.rdy() && !csts.cfs());
    reached(controller, wait, "start")?;
    Ok(admin)
}

fn reached<P: Platform>(
    controller: &Controller<P>,
    wait: Wait,
    what: &'static str,
) -> Result<(), BringUpError> {
    match wait {
        Wait::Reached => Ok(()),
        Wait::Gone => Err(BringUpError::Gone),
        Wait::Fatal => Err(BringUpError::Fatal),
        Wait::TooLong => Err(BringUpError::NotReady { what, seconds: controller.ready_timeout.as_secs() }),
    }
}

/// Step 3.
fn identify<P: Platform>(
    controller: &Controller<P>,
    admin: &mut Admin<P::Queue>,
) -> Result<Identity, BringUpError> {
    let pages =
        |admin: &mut Admin<P::Queue>, command, cns, nsid| admin.identify(controller, command, cns, nsid);
    let identify_controller = pages(admin, "Identify Controller", Cns::CONTROLLER, 0)?;
    let namespaces = pages(admin, "Identify Active Namespaces", Cns::ACTIVE_NAMESPACES, 0)?;
    let (nsid, _) = active_namespaces(&namespaces)?;
    let namespace = pages(admin, "Identify Namespace", Cns::NAMESPACE, nsid)?;
    // Since 2.0; before, Write Zeroes has no limit of its own.
    let nvm = if controller.version().mjr() < 2 {
        [0; IDENTIFY_LEN]
    } else {
        match pages(admin, "Identify NVM Controller", Cns::IO_CONTROLLER, 0) {
            Err(BringUpError::Command { .. }) => [0; IDENTIFY_LEN],
            other => other?,
        }
    };
    Pages { controller: identify_controller, namespaces, namespace, nvm }.parse()
}

/// Step 4.
fn create_io_queues<P: Platform>(
    controller: &Controller<P>,
    admin: &mut Admin<P::Queue>,
    entries: u16,
) -> Result<QueuePair<P::Queue>, BringUpError> {
    let mut sqe = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
    sqe.cdw10 = U32::new(FeatureCdw10::new().with_fid(FeatureId::NUMBER_OF_QUEUES.0).into_bits());
    // One of each, 0's based. Whatever is granted is at least that.
    sqe.cdw11 = U32::new(NumberOfQueues::new().into_bits());
    admin.execute(controller, "Set Features (Number of Queues)", sqe)?;

    let io = QueuePair::new(&controller.platform, IO_QID, entries, controller.cap.dstrd());
    let io = io.ok_or(BringUpError::NoMemory)?;
    let size = CreateQueueCdw10::new().with_qid(IO_QID).with_qsize_z(entries - 1).into_bits();

    let mut sqe = Sqe::new(AdminOpcode::CREATE_IO_CQ.0, 0);
    sqe.dptr = DataPointer::prp(io.cq_address(), 0);
    sqe.cdw10 = U32::new(size);
    sqe.cdw11 = U32::new(CreateCqCdw11::new().with_pc(true).into_bits());
    admin.execute(controller, "Create I/O Completion Queue", sqe)?;

    let mut sqe = Sqe::new(AdminOpcode::CREATE_IO_SQ.0, 0);
    sqe.dptr = DataPointer::prp(io.sq_address(), 0);
    sqe.cdw10 = U32::new(size);
    sqe.cdw11 = U32::new(CreateSqCdw11::new().with_pc(true).with_cqid(IO_QID).into_bits());
    admin.execute(controller, "Create I/O Submission Queue", sqe)?;
    Ok(io)
}
