//! Register, Acquire and Release: what each makes of a state, for whom, and who is told (Base 2.1 §8.1.22).
//!
//! Invariant: a refused command changes nothing; a command that changes something names the whole next state.

use super::matrix::{concerns_registrants, is_held_by_all, is_known};
use super::{HostId, Notification, Registrant, Reservation};
use crate::limits::REGISTRANTS_MAX;
use nvme_spec::reservation::{
    ReservationCdw10, ReservationEvent, ReservationKeys, ReservationType, cptpl, racqa, rrega, rrela,
};
use nvme_spec::{NvmOpcode, Status};

/// A command with its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) opcode: NvmOpcode,
    pub(crate) cdw10: ReservationCdw10,
    pub(crate) keys: ReservationKeys,
}

/// What a command leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) next: Reservation,
    pub(crate) told: Vec<Notification>,
    /// Hosts whose commands are aborted.
    pub(crate) aborted: Vec<HostId>,
}

impl Change {
    fn to(next: Reservation) -> Self {
        Self { next, told: Vec::new(), aborted: Vec::new() }
    }
}

/// What a command of a host makes of a state; the same state if there is nothing to do.
pub(crate) fn apply(now: &Reservation, host: HostId, request: Request) -> Result<Change, Status> {
    match request.opcode {
        NvmOpcode::RESERVATION_REGISTER => register(now, host, request),
        NvmOpcode::RESERVATION_ACQUIRE => acquire(now, host, request),
        NvmOpcode::RESERVATION_RELEASE => release(now, host, request),
        _ => Err(Status::INVALID_OPCODE.dnr()),
    }
}

/// The place of a host that is registered with this key.
fn registered(now: &Reservation, host: HostId, key: Option<u64>) -> Result<usize, Status> {
    let found = now.registrants.iter().position(|r| r.host == host && key.is_none_or(|key| key == r.key));
    found.ok_or(Status::RESERVATION_CONFLICT.dnr())
}

fn register(now: &Reservation, host: HostId, request: Request) -> Result<Change, Status> {
    let (cdw10, new) = (request.cdw10, request.keys.other.get());
    let current = (!cdw10.iekey()).then_some(request.keys.crkey.get());
    let mut change = Change::to(now.clone());
    change.next.is_persistent = match cdw10.cptpl() {
        cptpl::NO_CHANGE => now.is_persistent,
        cptpl::CLEAR => false,
        cptpl::PERSIST => true,
        _ => return Err(Status::INVALID_FIELD.dnr()),
    };
    // Linux takes a key of zero for "none"; and a host that does not say who it is cannot be told from others.
    if (cdw10.action() != rrega::UNREGISTER && new == 0) || host == [0; 16] {
        return Err(Status::INVALID_FIELD.dnr());
    }
    match cdw10.action() {
        rrega::REGISTER => match now.place(&host) {
            Some(place) => {
                registered(now, host, Some(new)).map(|same| debug_assert!(same == place))?;
                return Ok(change);
            }
            // Not "capacity exceeded", which Linux takes for a full disk.
            None if now.registrants.len() >= REGISTRANTS_MAX => return Err(Status::INTERNAL_ERROR.dnr()),
            None => change.next.registrants.push(Registrant { host, key: new }),
        },
        rrega::REPLACE => {
            let place = registered(now, host, current)?;
            if let Some(own) = change.next.registrants.get_mut(place) {
                own.key = new;
            }
        }
        rrega::UNREGISTER => {
            registered(now, host, current)?;
            unregister(&mut change, |registrant| registrant.host == host, host);
        }
        _ => return Err(Status::INVALID_FIELD.dnr()),
    }
    count(&mut change);
    Ok(change)
}

fn acquire(now: &Reservation, host: HostId, request: Request) -> Result<Change, Status> {
    let (cdw10, rtype) = (request.cdw10, ReservationType(request.cdw10.rtype()));
    // A key is always checked (Base 2.1 §7.5: IEKEY is obsolete here and must be zero).
    if cdw10.iekey() || !is_known(rtype) {
        return Err(Status::INVALID_FIELD.dnr());
    }
    let own = registered(now, host, Some(request.keys.crkey.get()))?;
    match cdw10.action() {
        racqa::ACQUIRE => match now.held {
            None => {
                let mut change = Change::to(now.clone());
                change.next.held = Some(held(rtype, own));
                Ok(change)
            }
            Some((held, holder)) if held == rtype && holder.is_none_or(|holder| holder == own) => {
                Ok(Change::to(now.clone()))
            }
            Some(_) => Err(Status::RESERVATION_CONFLICT.dnr()),
        },
        action @ (racqa::PREEMPT | racqa::PREEMPT_AND_ABORT) => {
            let mut change = preempt(now, host, rtype, request.keys.other.get())?;
            if action == racqa::PREEMPT_AND_ABORT {
                let is_out = |r: &&Registrant| change.next.place(&r.host).is_none();
                change.aborted = now.registrants.iter().filter(is_out).map(|r| r.host).collect();
            }
            Ok(change)
        }
        _ => Err(Status::INVALID_FIELD.dnr()),
    }
}

/// Takes registrations, and the reservation if it is theirs, away from others (Base 2.1 §8.1.22.7).
fn preempt(now: &Reservation, host: HostId, rtype: ReservationType, key: u64) -> Result<Change, Status> {
    let mut change = Change::to(now.clone());
    let holder_key = match now.held {
        Some((_, Some(holder))) => now.registrants.get(holder).map(|r| r.key),
        Some((_, None)) | None => None,
    };
    let is_held_by_all = now.held.is_some_and(|(_, holder)| holder.is_none());
    // Zero stands for everybody where all hold the reservation; elsewhere it is no key.
    let takes_over = if key == 0 && is_held_by_all { true } else { holder_key == Some(key) };
    if key == 0 && holder_key.is_some() {
        return Err(Status::INVALID_FIELD.dnr());
    }
    if takes_over {
        let is_preempted = |r: &Registrant| r.host != host && (key == 0 || r.key == key);
        let before = now.rtype();
        change.next.held = None;
        unregister(&mut change, is_preempted, host);
        let own = change.next.place(&host).ok_or(Status::RESERVATION_CONFLICT.dnr())?;
        change.next.held = Some(held(rtype, own));
        if before != rtype && concerns_registrants(before) {
            tell_others(&mut change, host, ReservationEvent::RESERVATION_RELEASED);
        }
    } else {
        if !now.registrants.iter().any(|r| r.key == key) {
            return Err(Status::RESERVATION_CONFLICT.dnr());
        }
        unregister(&mut change, |r| r.key == key, host);
    }
    let gone = now.registrants.iter().filter(|r| r.host != host && change.next.place(&r.host).is_none());
    let preempted =
        gone.map(|r| Notification { host: r.host, event: ReservationEvent::REGISTRATION_PREEMPTED });
    change.told.extend(preempted);
    count(&mut change);
    Ok(change)
}

fn release(now: &Reservation, host: HostId, request: Request) -> Result<Change, Status> {
    let (cdw10, rtype) = (request.cdw10, ReservationType(request.cdw10.rtype()));
    if cdw10.iekey() {
        return Err(Status::INVALID_FIELD.dnr());
    }
    let own = registered(now, host, Some(request.keys.crkey.get()))?;
    let mut change = Change::to(now.clone());
    match cdw10.action() {
        rrela::RELEASE => {
            let is_own = |(_, holder): &(ReservationType, Option<usize>)| holder.is_none_or(|h| h == own);
            let Some((held, _)) = now.held.filter(is_own) else { return Ok(change) };
            if held != rtype {
                return Err(Status::INVALID_FIELD.dnr());
            }
            change.next.held = None;
            if concerns_registrants(held) {
                tell_others(&mut change, host, ReservationEvent::RESERVATION_RELEASED);
            }
        }
        rrela::CLEAR => {
            tell_others(&mut change, host, ReservationEvent::RESERVATION_PREEMPTED);
            change.next.registrants.clear();
            change.next.held = None;
            count(&mut change);
        }
        _ => return Err(Status::INVALID_FIELD.dnr()),
    }
    Ok(change)
}

fn held(rtype: ReservationType, own: usize) -> (ReservationType, Option<usize>) {
    (rtype, (!is_held_by_all(rtype)).then_some(own))
}

fn count(change: &mut Change) {
    change.next.generation = change.next.generation.wrapping_add(1);
}

/// Takes registrants out. A reservation whose holder goes, or the last of whose holders goes, is released.
fn unregister(change: &mut Change, is_gone: impl Fn(&Registrant) -> bool, by: HostId) {
    let next = &mut change.next;
    let holder =
        next.held.and_then(|(_, holder)| holder).and_then(|place| next.registrants.get(place)).copied();
    next.registrants.retain(|registrant| !is_gone(registrant));
    let Some((rtype, place)) = next.held else { return };
    let remains = match (place, holder) {
        (None, _) => !next.registrants.is_empty(),
        (Some(_), holder) => holder.is_some_and(|holder| next.place(&holder.host).is_some()),
    };
    if remains {
        next.held = Some((rtype, holder.and_then(|holder| next.place(&holder.host))));
    } else {
        next.held = None;
        if concerns_registrants(rtype) {
            tell_others(change, by, ReservationEvent::RESERVATION_RELEASED);
        }
    }
}

/// All registrants that remain, but for the host that caused it.
fn tell_others(change: &mut Change, host: HostId, event: ReservationEvent) {
    let others = change.next.registrants.iter().filter(|r| r.host != host);
    change.told.extend(others.map(|r| Notification { host: r.host, event }));
}
