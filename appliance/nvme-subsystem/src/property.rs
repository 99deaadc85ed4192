//! Fabrics commands of a connected queue: properties (Base 2.1 §3.1.4, §6.6, §6.7) and Disconnect (§6.4).

use crate::limits::{MQES_Z, READY_TIMEOUT};
use crate::outcome::{Action, Answer, Outcome, Refusal};
use crate::target::{QueueOf, Target};
use block::Tick;
use nvme_spec::fabrics::Property;
use nvme_spec::register::{Cap, Cc, Crto, Vs, offset};
use nvme_spec::{FabricsType, Sqe, Status};
use zerocopy::little_endian::U32;

/// The version of the base specification that we claim.
pub(crate) const VERSION: Vs = Vs::new().with_mjr(2);

/// What every controller of ours can do. IOCS support stays clear: hosts would then demand descriptors of command sets.
/// CRIMS stays clear: Linux would then ignore namespaces without a ready bit.
pub(crate) const CAP: Cap =
    Cap::new().with_mqes_z(MQES_Z).with_cqr(true).with_to(READY_TIMEOUT).with_css(1).with_crwms(true);

/// Upper halves of properties of 8 bytes.
const CAP_HIGH: u32 = offset::CAP.saturating_add(4);
const ASQ_HIGH: u32 = offset::ASQ.saturating_add(4);
const ACQ_HIGH: u32 = offset::ACQ.saturating_add(4);
const HIGH_HALF: u64 = 0xffff_ffff_0000_0000;

pub(crate) fn fabrics(target: &mut Target, queue: QueueOf, sqe: &Sqe, now: Tick) -> Result<Outcome, Refusal> {
    match (sqe.fctype(), queue.qid) {
        (FabricsType::PROPERTY_GET, 0) => get(target, queue, sqe),
        (FabricsType::PROPERTY_SET, 0) => set(target, queue, sqe, now),
        (FabricsType::DISCONNECT, 0) => Err(Status::INVALID_QUEUE_TYPE.dnr().into()),
        (FabricsType::DISCONNECT, _) => disconnect(target, queue, sqe),
        (FabricsType::CONNECT, _) => Err(Status::COMMAND_SEQUENCE_ERROR.dnr().into()),
        (FabricsType::PROPERTY_GET | FabricsType::PROPERTY_SET, _) | (_, _) => {
            Err(Status::INVALID_OPCODE.dnr().into())
        }
    }
}

fn get(target: &Target, queue: QueueOf, sqe: &Sqe) -> Result<Outcome, Refusal> {
    let controller = target.controllers.get(queue.controller).ok_or(Status::ABORTED_SQ_DELETION)?;
    let property = Property::of(sqe).ok_or(Status::CONNECT_INVALID_PARAMETERS.dnr())?;
    let [aqa, asq, acq] = controller.admin_queue;
    let (base, value, is_wide) = match property.offset {
        offset::AQA => (offset::AQA, aqa, false),
        offset::ASQ | ASQ_HIGH => (offset::ASQ, asq, true),
        offset::ACQ | ACQ_HIGH => (offset::ACQ, acq, true),
        offset::CAP | CAP_HIGH => (offset::CAP, CAP.into_bits(), true),
        offset::VS => (offset::VS, u64::from(VERSION.into_bits()), false),
        offset::CC => (offset::CC, u64::from(controller.cc.into_bits()), false),
        offset::CSTS => (offset::CSTS, u64::from(controller.csts.into_bits()), false),
        offset::NSSR => (offset::NSSR, 0, false),
        offset::CRTO => {
            let crto = Crto::new().with_crwmt(u16::from(READY_TIMEOUT));
            (offset::CRTO, u64::from(crto.into_bits()), false)
        }
        _ => return Err(Status::CONNECT_INVALID_PARAMETERS.dnr().into()),
    };
    // Either half of a wide property may be read with four bytes; nothing else may be cut or widened.
    let (low, high) = halves(value);
    let (dw0, dw1) = match (property.is_wide, property.offset == base, is_wide) {
        (true, true, true) => (low, high),
        (false, true, _) => (low, 0),
        (false, false, _) => (high, 0),
        (true, ..) => return Err(Status::CONNECT_INVALID_PARAMETERS.dnr().into()),
    };
    let mut answer = Answer::with_result(sqe, dw0);
    answer.cqe.dw1 = U32::new(dw1);
    Ok(Outcome::Done(answer))
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn set(target: &mut Target, queue: QueueOf, sqe: &Sqe, now: Tick) -> Result<Outcome, Refusal> {
    let controller = target.controllers.get_mut(queue.controller).ok_or(Status::ABORTED_SQ_DELETION)?;
    let property = Property::of(sqe).ok_or(Status::CONNECT_INVALID_PARAMETERS.dnr())?;
    let value = Property::value(sqe);
    let (low, _) = halves(value);
    let [aqa, asq, acq] = &mut controller.admin_queue;
    match (property.offset, property.is_wide) {
        (offset::CC, false) => controller.set_cc(Cc::from_bits(low), now, &mut target.actions)?,
        (offset::AQA, false) => *aqa = u64::from(low),
        (offset::ASQ, true) => *asq = value,
        (offset::ACQ, true) => *acq = value,
        (offset::ASQ, false) => *asq = *asq & HIGH_HALF | u64::from(low),
        (offset::ACQ, false) => *acq = *acq & HIGH_HALF | u64::from(low),
        (ASQ_HIGH, false) => *asq = *asq & !HIGH_HALF | u64::from(low) << 32,
        (ACQ_HIGH, false) => *acq = *acq & !HIGH_HALF | u64::from(low) << 32,
        // A subsystem reset is not supported (CAP.NSSRS), and writes to NSSR are then ignored.
        (offset::NSSR, false) => {}
        _ => return Err(Status::CONNECT_INVALID_PARAMETERS.dnr().into()),
    }
    target.update_deadline();
    Ok(Outcome::Done(Answer::success(sqe)))
}

/// The response is the last thing on that queue; then it is closed.
fn disconnect(target: &mut Target, queue: QueueOf, sqe: &Sqe) -> Result<Outcome, Refusal> {
    let controller = target.controllers.get(queue.controller).ok_or(Status::ABORTED_SQ_DELETION)?;
    if let Some(connection) = controller.io_queues.get(&queue.qid) {
        target.actions.push_back(Action::Close { connection: *connection });
    }
    Ok(Outcome::Done(Answer::success(sqe)))
}
