//! What stands between hosts and a namespace: its reservation and its write protection.
//!
//! ```text
//!  command ─▶ idle? ── no ─▶ waits its turn
//!               │ yes: the next state
//!               ▼
//!          Persisting ── durable ──▶ applied, Quiescing ── refused commands have ended ──▶ answered ─▶ next in turn
//!           (Action::Persist)           (Action::Quiesce)
//! ```
//!
//! Invariants
//! - A change that must survive a loss of power is applied, and told to anybody, only after it is durable.
//! - A change is answered when no command that it forbids is on its way to the medium any more: a host that took the
//!   reservation over never sees a late write of the one before.
//! - One change of a namespace at a time, in the order of arrival; those that wait are bounded.
//! - A namespace without reservation and protection costs a read or write one bit that is looked at.
//!
//! Not here: what a reservation command means (`reservation`), where the durable state is kept (the owner).

use crate::admin::Context;
use crate::controller::{Kind, Notice};
use crate::limits::GUARD_WAITING_MAX;
use crate::outcome::{Action, Answer, Command, ConnectionId, Outcome, Refusal};
use crate::reservation::{self, Change, Class, HostId, Notification, Request, Reservation};
use crate::slab::Key;
use crate::target::{Subsystem, Target};
use crate::view::{NsidSet, View};
use crate::{ConfigError, inbox};
use nvme_spec::feature::FeatureId;
use nvme_spec::reservation::{ReservationCdw10, ReservationKeys, WriteProtection};
use nvme_spec::{Cqe, NSID_ALL, NvmOpcode, Sqe, Status};
use std::collections::{BTreeMap, VecDeque};
use zerocopy::{FromZeros, IntoBytes};

/// What of a guard survives a loss of power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// If it is persistent.
    pub reservation: Option<Reservation>,
    /// Off, on or permanent.
    pub protection: WriteProtection,
}

/// Who waits for the end of a change.
#[derive(Clone, Copy, Debug)]
struct Origin {
    connection: ConnectionId,
    tag: u32,
    cid: u16,
}

/// What a host asks for.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Reservation(HostId, Request),
    /// Feature 83h.
    Persistence(bool),
    /// Feature 84h.
    Protection(WriteProtection),
}

/// A state to come.
#[derive(Debug)]
struct Step {
    change: Change,
    protection: WriteProtection,
    origin: Origin,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Persisting(Step),
    Quiescing(Origin),
}

#[derive(Debug)]
pub(crate) struct Guard {
    reservation: Reservation,
    protection: WriteProtection,
    phase: Phase,
    waiting: VecDeque<(Origin, Ask)>,
    /// Hosts whose commands end now, whatever they do.
    aborted: Vec<HostId>,
}

impl Guard {
    fn new() -> Self {
        Self {
            reservation: Reservation::default(),
            protection: WriteProtection::OFF,
            phase: Phase::Idle,
            waiting: VecDeque::new(),
            aborted: Vec::new(),
        }
    }

    fn check(&self, host: &HostId, opcode: NvmOpcode) -> Result<(), Status> {
        let class = Class::of(opcode);
        // What is in the cache of a drive was accepted before: Flush goes on (Base 2.1 §8.1.16).
        let writes = class == Class::Write && opcode != NvmOpcode::FLUSH;
        if writes && self.protection != WriteProtection::OFF {
            return Err(Status::WRITE_PROTECTED.dnr());
        }
        let rtype = self.reservation.rtype();
        if reservation::matrix::allows(rtype, self.reservation.role(host), class) {
            Ok(())
        } else {
            Err(Status::RESERVATION_CONFLICT.dnr())
        }
    }

    /// What a command leads to; `None` if it is so already.
    fn ask(&self, ask: Ask) -> Result<Option<(Change, WriteProtection)>, Status> {
        let mut change = Change { next: self.reservation.clone(), told: Vec::new(), aborted: Vec::new() };
        let mut protection = self.protection;
        match ask {
            Ask::Reservation(host, request) => {
                change = reservation::rules::apply(&self.reservation, host, request)?;
            }
            Ask::Persistence(is_persistent) => change.next.is_persistent = is_persistent,
            Ask::Protection(wanted) => {
                // These two only a power cycle ends, or nothing does (Base 2.1 §8.1.16).
                let is_final =
                    matches!(protection, WriteProtection::UNTIL_POWER_CYCLE | WriteProtection::PERMANENT);
                if is_final && wanted != protection {
                    return Err(Status::FEATURE_NOT_CHANGEABLE.dnr());
                }
                protection = wanted;
            }
        }
        let is_same =
            change.next == self.reservation && protection == self.protection && change.aborted.is_empty();
        Ok((!is_same).then_some((change, protection)))
    }
}

fn durable(reservation: &Reservation, protection: WriteProtection) -> Durable {
    let protection =
        if protection == WriteProtection::UNTIL_POWER_CYCLE { WriteProtection::OFF } else { protection };
    Durable { reservation: reservation.is_persistent.then(|| reservation.clone()), protection }
}

/// The guards of a subsystem's namespaces; one appears with the first command that asks for it.
#[derive(Debug)]
pub(crate) struct Guards {
    by_nsid: BTreeMap<u32, Guard>,
    /// Namespaces of which some command may be refused.
    closed: NsidSet,
}

impl Guards {
    pub(crate) const fn new() -> Self {
        Self { by_nsid: BTreeMap::new(), closed: NsidSet::EMPTY }
    }

    /// Whether a host may send this command now. On the path of reads and writes.
    pub(crate) fn check(&self, view: View<'_>, host: &HostId, sqe: &Sqe) -> Result<(), Status> {
        let nsid = sqe.nsid.get();
        if !self.closed.contains(nsid) {
            return Ok(());
        }
        // A host that may not use it does not learn that it is reserved.
        view.reachable(nsid)?;
        self.by_nsid.get(&nsid).map_or(Ok(()), |guard| guard.check(host, NvmOpcode(sqe.opc)))
    }

    /// Whether a namespace is write protected.
    pub(crate) fn protection(&self, nsid: u32) -> WriteProtection {
        self.by_nsid.get(&nsid).map_or(WriteProtection::OFF, |guard| guard.protection)
    }

    fn close_or_open(&mut self, nsid: u32) {
        let Some(guard) = self.by_nsid.get(&nsid) else { return };
        let is_closed = guard.reservation.held.is_some() || guard.protection != WriteProtection::OFF;
        self.closed.set(nsid, is_closed);
    }

    fn remove(&mut self, nsid: u32) -> Option<Guard> {
        let guard = self.by_nsid.remove(&nsid);
        self.closed.set(nsid, false);
        guard
    }
}

/// Where a guard is.
#[derive(Clone, Copy, Debug)]
struct Place {
    subsystem: Key,
    nsid: u32,
}

/// The reservation commands; the effects log lists them.
pub(crate) const SUPPORTED: [NvmOpcode; 4] = [
    NvmOpcode::RESERVATION_REGISTER,
    NvmOpcode::RESERVATION_REPORT,
    NvmOpcode::RESERVATION_ACQUIRE,
    NvmOpcode::RESERVATION_RELEASE,
];

/// A reservation command of an I/O queue; `None` for all others.
pub(crate) fn command(view: View<'_>, command: &Command<'_>) -> Option<Result<Outcome, Status>> {
    let sqe = command.sqe;
    let opcode = NvmOpcode(sqe.opc);
    let lengths = match opcode {
        NvmOpcode::RESERVATION_REGISTER | NvmOpcode::RESERVATION_ACQUIRE => 16..=16,
        // Half would do, but Linux sends as much as for the others.
        NvmOpcode::RESERVATION_RELEASE => 8..=16,
        NvmOpcode::RESERVATION_REPORT => 0..=u32::MAX,
        _ => return None,
    };
    if let Err(status) = view.reachable(sqe.nsid.get()) {
        return Some(Err(status));
    }
    if !lengths.contains(&command.data_len) {
        return Some(Err(Status::INVALID_SGL_LENGTH.dnr()));
    }
    if opcode != NvmOpcode::RESERVATION_REPORT {
        return Some(Ok(Outcome::NeedsData { len: command.data_len }));
    }
    Some(reservation::report::check(sqe, command.data_len).map(|len| Outcome::Page { len }))
}

/// The page of a Reservation Report.
pub(crate) fn report(view: View<'_>, command: &Command<'_>) -> Result<Answer, Status> {
    let (sqe, nsid) = (command.sqe, command.sqe.nsid.get());
    view.reachable(nsid)?;
    let len = reservation::report::check(sqe, command.data_len)?;
    let empty = Reservation::default();
    let guard = view.subsystem.guards.by_nsid.get(&nsid);
    let state = guard.map_or(&empty, |guard| &guard.reservation);
    Ok(Answer::with_part(sqe, reservation::report::report(state), len))
}

/// The data of a reservation command has arrived.
pub(crate) fn on_data(
    target: &mut Target,
    (connection, controller): (ConnectionId, Key),
    command: &Command<'_>,
    data: &[u8],
) -> Result<Outcome, Refusal> {
    let sqe = command.sqe;
    let controller = target.controllers.get(controller).ok_or(Status::ABORTED_SQ_DELETION)?;
    let Kind::Io(subsystem) = controller.kind else { return Err(Status::INVALID_OPCODE.dnr().into()) };
    let mut keys = ReservationKeys::new_zeroed();
    for (to, from) in keys.as_mut_bytes().iter_mut().zip(data) {
        *to = *from;
    }
    let request =
        Request { opcode: NvmOpcode(sqe.opc), cdw10: ReservationCdw10::from_bits(sqe.cdw10.get()), keys };
    let ask = Ask::Reservation(controller.host_id, request);
    let origin = Origin { connection, tag: command.tag, cid: sqe.cid.get() };
    let place = Place { subsystem, nsid: sqe.nsid.get() };
    Ok(submit(target, place, origin, ask)?
        .map_or_else(|| Outcome::Done(Answer::success(sqe)), |()| Outcome::Held))
}

/// Value of feature 82h, 83h or 84h of a namespace.
pub(crate) fn get_feature(context: &Context<'_>, feature: FeatureId, nsid: u32) -> Result<u32, Status> {
    let subsystem = context.subsystem.ok_or(Status::INVALID_FIELD.dnr())?;
    if !context.controller.visible.contains(nsid) {
        return Err(Status::INVALID_NAMESPACE.dnr());
    }
    let guard = subsystem.guards.by_nsid.get(&nsid);
    Ok(match feature {
        FeatureId::RESERVATION_NOTIFICATION_MASK => context.controller.inbox.mask(nsid).into(),
        FeatureId::RESERVATION_PERSISTENCE => {
            guard.is_some_and(|guard| guard.reservation.is_persistent).into()
        }
        _ => subsystem.guards.protection(nsid).0.into(),
    })
}

/// Sets one of them.
pub(crate) fn set_feature(
    target: &mut Target,
    key: Key,
    feature: FeatureId,
    command: &Command<'_>,
) -> Result<Outcome, Refusal> {
    let (sqe, [value, ..]) = (command.sqe, command.sqe.cdw11.to_bytes());
    let nsid = sqe.nsid.get();
    let controller = target.controllers.get_mut(key).ok_or(Status::ABORTED_SQ_DELETION)?;
    let Kind::Io(subsystem) = controller.kind else { return Err(Status::INVALID_FIELD.dnr().into()) };
    let found = target.subsystems.get(subsystem).ok_or(Status::ABORTED_SQ_DELETION)?;
    let is_all = nsid == NSID_ALL && feature == FeatureId::RESERVATION_NOTIFICATION_MASK;
    if !is_all && !controller.visible.contains(nsid) {
        return Err(Status::INVALID_NAMESPACE.dnr().into());
    }
    let ask = match feature {
        FeatureId::RESERVATION_NOTIFICATION_MASK => {
            let visible = controller.visible;
            let is_named = |each: &&u32| visible.contains(**each) && (is_all || **each == nsid);
            for nsid in found.namespaces.keys().filter(is_named) {
                controller.inbox.set_mask(*nsid, value & inbox::MASK);
            }
            return Ok(Outcome::Done(Answer::success(sqe)));
        }
        FeatureId::RESERVATION_PERSISTENCE => Ask::Persistence(value & 1 == 1),
        _ => {
            let wanted = WriteProtection(value & 7);
            wanted.name().ok_or(Status::INVALID_FIELD.dnr())?;
            Ask::Protection(wanted)
        }
    };
    let origin = Origin { connection: controller.admin, tag: command.tag, cid: sqe.cid.get() };
    let place = Place { subsystem, nsid };
    Ok(submit(target, place, origin, ask)?
        .map_or_else(|| Outcome::Done(Answer::success(sqe)), |()| Outcome::Held))
}

/// Begins what a host asks for, or lets it wait its turn; `None` if it is so already.
fn submit(target: &mut Target, place: Place, origin: Origin, ask: Ask) -> Result<Option<()>, Status> {
    let subsystem = target.subsystems.get_mut(place.subsystem).ok_or(Status::ABORTED_SQ_DELETION)?;
    if !subsystem.namespaces.contains_key(&place.nsid) {
        return Err(Status::INVALID_NAMESPACE.dnr());
    }
    let guard = subsystem.guards.by_nsid.entry(place.nsid).or_insert_with(Guard::new);
    if !matches!(guard.phase, Phase::Idle) {
        if guard.waiting.len() >= GUARD_WAITING_MAX {
            return Err(Status::COMMAND_INTERRUPTED);
        }
        guard.waiting.push_back((origin, ask));
        return Ok(Some(()));
    }
    let Some((change, protection)) = guard.ask(ask)? else { return Ok(None) };
    begin(target, place, Step { change, protection, origin });
    Ok(Some(()))
}

fn begin(target: &mut Target, place: Place, step: Step) {
    let Some((guard, volume)) = find(target, place) else { return };
    let is_durable =
        durable(&step.change.next, step.protection) == durable(&guard.reservation, guard.protection);
    if is_durable {
        return apply(target, place, step);
    }
    guard.phase = Phase::Persisting(step);
    target.actions.push_back(Action::Persist { volume });
}

fn find(target: &mut Target, place: Place) -> Option<(&mut Guard, u64)> {
    let subsystem = target.subsystems.get_mut(place.subsystem)?;
    let volume = subsystem.namespaces.get(&place.nsid)?.volume;
    Some((subsystem.guards.by_nsid.get_mut(&place.nsid)?, volume))
}

/// The state is current from here on.
fn apply(target: &mut Target, place: Place, step: Step) {
    let Some((guard, volume)) = find(target, place) else { return };
    let Step { change: Change { next, told, aborted }, protection, origin } = step;
    let is_protection_new = guard.protection != protection;
    guard.reservation = next;
    guard.protection = protection;
    guard.aborted = aborted;
    guard.phase = Phase::Quiescing(origin);
    target.actions.push_back(Action::Quiesce { volume });
    if let Some(subsystem) = target.subsystems.get_mut(place.subsystem) {
        subsystem.guards.close_or_open(place.nsid);
    }
    for (_, controller) in target.controllers.iter_mut() {
        if controller.kind != Kind::Io(place.subsystem) || !controller.visible.contains(place.nsid) {
            continue;
        }
        let host = controller.host_id;
        for Notification { event, .. } in told.iter().filter(|told| told.host == host) {
            if controller.inbox.push(*event, place.nsid) {
                controller.raise(Notice::Reservation, &mut target.actions);
            }
        }
        // Identify Namespace tells of protection (NSATTR).
        if is_protection_new {
            controller.changed_namespaces.insert(place.nsid);
            controller.raise(Notice::Namespaces, &mut target.actions);
        }
    }
}

/// Answers the change that has ended, and begins the next.
fn end(target: &mut Target, place: Place, origin: Origin, status: Status) {
    let mut answer = Some((origin, status));
    while let Some((origin, status)) = answer.take() {
        let Origin { connection, tag, cid } = origin;
        if target.connections.get(connection.0).is_some() {
            target.actions.push_back(Action::Complete { connection, tag, cqe: Cqe::new(cid, status) });
        }
        let Some((guard, _)) = find(target, place) else { return };
        guard.phase = Phase::Idle;
        guard.aborted.clear();
        let Some((origin, ask)) = guard.waiting.pop_front() else { return };
        match guard.ask(ask) {
            Ok(Some((change, protection))) => begin(target, place, Step { change, protection, origin }),
            Ok(None) => answer = Some((origin, Status::SUCCESS)),
            Err(status) => answer = Some((origin, status)),
        }
    }
}

impl Target {
    /// Gives a namespace the reservation and protection that its owner kept. To be called before hosts use it.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`], [`ConfigError::NamespaceNotFound`].
    pub fn restore_guard(&mut self, nqn: &str, nsid: u32, durable: Durable) -> Result<(), ConfigError> {
        let key = self.find(nqn).ok_or(ConfigError::SubsystemNotFound)?;
        let subsystem = self.subsystems.get_mut(key).ok_or(ConfigError::SubsystemNotFound)?;
        if !subsystem.namespaces.contains_key(&nsid) {
            return Err(ConfigError::NamespaceNotFound);
        }
        let Durable { reservation, protection } = durable;
        let guard = Guard { reservation: reservation.unwrap_or_default(), protection, ..Guard::new() };
        subsystem.guards.by_nsid.insert(nsid, guard);
        subsystem.guards.close_or_open(nsid);
        Ok(())
    }

    /// What an [`Action::Persist`] is about; `None` if that has been given up.
    #[must_use]
    pub fn to_persist(&self, volume: u64) -> Option<Durable> {
        let place = self.place_of(volume)?;
        let guard = self.subsystems.get(place.subsystem)?.guards.by_nsid.get(&place.nsid)?;
        match &guard.phase {
            Phase::Persisting(step) => Some(durable(&step.change.next, step.protection)),
            Phase::Idle | Phase::Quiescing(_) => None,
        }
    }

    /// What [`Target::to_persist`] gave is durable, or could not be made so.
    pub fn on_persisted(&mut self, volume: u64, is_durable: bool) {
        let Some(place) = self.place_of(volume) else { return };
        let Some((guard, _)) = find(self, place) else { return };
        match core::mem::take(&mut guard.phase) {
            Phase::Persisting(step) if is_durable => apply(self, place, step),
            Phase::Persisting(step) => end(self, place, step.origin, Status::INTERNAL_ERROR.dnr()),
            other @ (Phase::Idle | Phase::Quiescing(_)) => guard.phase = other,
        }
    }

    /// Whether a command that passed before may still begin, or be left at the drives, during [`Action::Quiesce`].
    ///
    /// # Errors
    /// The status with which it ends otherwise.
    pub fn recheck(&self, id: ConnectionId, sqe: &Sqe) -> Result<(), Status> {
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        let Some(controller) = queue.and_then(|queue| self.controllers.get(queue.controller)) else {
            return Ok(());
        };
        let Kind::Io(key) = controller.kind else { return Ok(()) };
        let Some(subsystem) = self.subsystems.get(key) else { return Ok(()) };
        let guard = subsystem.guards.by_nsid.get(&sqe.nsid.get());
        if guard.is_some_and(|guard| guard.aborted.contains(&controller.host_id)) {
            return Err(Status::ABORTED_PREEMPT.dnr());
        }
        let view = View { subsystem, visible: &controller.visible };
        subsystem.guards.check(view, &controller.host_id, sqe)
    }

    /// No command that [`Target::recheck`] refuses is at the drives any more.
    pub fn on_quiet(&mut self, volume: u64) {
        let Some(place) = self.place_of(volume) else { return };
        let Some((guard, _)) = find(self, place) else { return };
        if let Phase::Quiescing(origin) = guard.phase {
            end(self, place, origin, Status::SUCCESS);
        }
    }

    /// A connection is gone: what it asked for and waits its turn is forgotten.
    pub(crate) fn forget_asks(&mut self, id: ConnectionId) {
        for (_, subsystem) in self.subsystems.iter_mut() {
            for guard in subsystem.guards.by_nsid.values_mut() {
                guard.waiting.retain(|(origin, _)| origin.connection != id);
            }
        }
    }

    /// A namespace is gone: nobody waits for its guard any more.
    pub(crate) fn drop_guard(&mut self, key: Key, nsid: u32) {
        let guard = self.subsystems.get_mut(key).and_then(|subsystem| subsystem.guards.remove(nsid));
        let Some(Guard { phase, waiting, .. }) = guard else { return };
        let current = match phase {
            Phase::Idle => None,
            Phase::Persisting(Step { origin, .. }) | Phase::Quiescing(origin) => Some(origin),
        };
        for Origin { connection, tag, cid } in current.into_iter().chain(waiting.into_iter().map(|(o, _)| o))
        {
            // Who asked for the change that is under way may have gone.
            if self.connections.get(connection.0).is_some() {
                let cqe = Cqe::new(cid, Status::INVALID_NAMESPACE.dnr());
                self.actions.push_back(Action::Complete { connection, tag, cqe });
            }
        }
    }

    fn place_of(&self, volume: u64) -> Option<Place> {
        let nsid_in = |subsystem: &Subsystem| {
            subsystem.namespaces.values().find(|namespace| namespace.volume == volume).map(|n| n.nsid)
        };
        self.subsystems
            .iter()
            .find_map(|(key, subsystem)| nsid_in(subsystem).map(|nsid| Place { subsystem: key, nsid }))
    }
}
