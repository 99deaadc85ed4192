//! Admin commands (Base 2.1 §5.1).

use crate::controller::{Controller, Kind};
use crate::outcome::{Answer, Command, Outcome, Refusal};
use crate::slab::Key;
use crate::target::{Subsystem, Target};
use crate::view::View;
use crate::{feature, identify, page};
use nvme_spec::identify::IDENTIFY_LEN;
use nvme_spec::{AdminOpcode, Status};

/// Admin commands of a controller with namespaces; the effects log lists them.
pub(crate) const SUPPORTED: [AdminOpcode; 7] = [
    AdminOpcode::GET_LOG_PAGE,
    AdminOpcode::IDENTIFY,
    AdminOpcode::ABORT,
    AdminOpcode::SET_FEATURES,
    AdminOpcode::GET_FEATURES,
    AdminOpcode::ASYNC_EVENT_REQUEST,
    AdminOpcode::KEEP_ALIVE,
];

/// Longest page of Identify and of a feature.
const IDENTIFY_BYTES: u32 = 4096;
const _: () = assert!(IDENTIFY_LEN == IDENTIFY_BYTES as usize);

/// What the handlers of one command look at.
pub(crate) struct Context<'a> {
    pub(crate) target: &'a Target,
    pub(crate) controller: &'a Controller,
    /// The subsystem, unless it is the discovery subsystem.
    pub(crate) subsystem: Option<&'a Subsystem>,
}

impl<'a> Context<'a> {
    fn new(target: &'a Target, key: Key) -> Result<Self, Status> {
        let controller = target.controllers.get(key).ok_or(Status::ABORTED_SQ_DELETION)?;
        let subsystem = match controller.kind {
            Kind::Io(key) => Some(target.subsystems.get(key).ok_or(Status::ABORTED_SQ_DELETION)?),
            Kind::Discovery => None,
        };
        Ok(Self { target, controller, subsystem })
    }

    /// What the host sees of the subsystem.
    pub(crate) fn view(&self) -> Option<View<'a>> {
        let visible = &self.controller.visible;
        self.subsystem.map(|subsystem| View { subsystem, visible })
    }
}

pub(crate) fn command(target: &mut Target, key: Key, command: &Command<'_>) -> Result<Outcome, Refusal> {
    let sqe = command.sqe;
    if let Some(len) = page_len(target, key, command) {
        return Ok(Outcome::Page { len });
    }
    match AdminOpcode(sqe.opc) {
        AdminOpcode::IDENTIFY | AdminOpcode::GET_LOG_PAGE | AdminOpcode::GET_FEATURES => {
            page(target, key, command).map(Outcome::Done)
        }
        AdminOpcode::SET_FEATURES => feature::set(target, key, command),
        AdminOpcode::ASYNC_EVENT_REQUEST => {
            let controller = target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?;
            controller.hold(command.tag, sqe.cid.get(), &mut target.actions)?;
            Ok(Outcome::Held)
        }
        AdminOpcode::KEEP_ALIVE => Ok(Outcome::Done(Answer::success(sqe))),
        AdminOpcode::ABORT => abort(target, key, command),
        _ => Err(Status::INVALID_OPCODE.dnr().into()),
    }
}

/// How much a command may be answered with; `None` if it brings no data to its host, or is refused.
fn page_len(target: &Target, key: Key, command: &Command<'_>) -> Option<u32> {
    let controller = target.controllers.get(key)?;
    let len = command.data_len;
    match AdminOpcode(command.sqe.opc) {
        AdminOpcode::IDENTIFY | AdminOpcode::GET_FEATURES => Some(len.min(IDENTIFY_BYTES)),
        AdminOpcode::GET_LOG_PAGE => Some(len).filter(|len| *len <= controller.transfer_max()),
        _ => None,
    }
    .filter(|len| *len > 0)
}

/// Identify, Get Log Page, Get Features.
pub(crate) fn page(target: &mut Target, key: Key, command: &Command<'_>) -> Result<Answer, Refusal> {
    let sqe = command.sqe;
    match AdminOpcode(sqe.opc) {
        AdminOpcode::IDENTIFY => {
            let page = identify::page(&Context::new(target, key)?, sqe)?;
            if command.data_len == 0 {
                return Err(Status::INVALID_SGL_LENGTH.dnr().into());
            }
            Ok(Answer::with_data(sqe, page, command.data_len))
        }
        AdminOpcode::GET_LOG_PAGE => page::get(target, key, command),
        _ => {
            let (dw0, data) = feature::get(&Context::new(target, key)?, sqe)?;
            if !data.is_empty() && command.data_len == 0 {
                return Err(Status::INVALID_SGL_LENGTH.dnr().into());
            }
            let answer = Answer::with_data(sqe, data, command.data_len);
            Ok(Answer { cqe: Answer::with_result(sqe, dw0).cqe, ..answer })
        }
    }
}

/// Event requests are aborted here; whether another command still waits for something is known to the owner.
fn abort(target: &mut Target, key: Key, command: &Command<'_>) -> Result<Outcome, Refusal> {
    let controller = target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    if controller.is_discovery() {
        return Err(Status::INVALID_OPCODE.dnr().into());
    }
    let [q0, q1, c0, c1] = command.sqe.cdw10.to_bytes();
    let (qid, cid) = (u16::from_le_bytes([q0, q1]), u16::from_le_bytes([c0, c1]));
    if qid == 0 && controller.abort_held(cid, &mut target.actions) {
        return Ok(Outcome::Done(Answer::success(command.sqe)));
    }
    let queue = if qid == 0 { Some(controller.admin) } else { controller.io_queues.get(&qid).copied() };
    match queue {
        Some(connection) => Ok(Outcome::Abort { connection, cid }),
        None => Ok(Outcome::Done(Answer::with_result(command.sqe, 1))),
    }
}
