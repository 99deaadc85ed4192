//! Reservations and write protection between the subsystems, which decide, and the pool, which keeps them.
//!
//! Invariants
//! - What a volume's record says is what hosts meet after a restart: it is given to the subsystems before the volume is
//!   served.
//! - During a change, commands that are not allowed any more do not begin; those that have begun are waited for.

use crate::Target;
use crate::command::{Failure, State};
use crate::connection::Connection;
use nvme_spec::reservation::{ReservationType as Rtype, WriteProtection};
use nvme_spec::{NvmOpcode, Sqe};
use nvme_subsystem::{Durable, Io, IoKind, Registrant, Reservation};
use pool::{ReservationType, Reserved, Settings, WriteProtect};
use uuid::Uuid;

// Whatever hosts may register fits the record.
const _: () = assert!(
    nvme_subsystem::limits::REGISTRANTS_MAX <= ondisk::limits::REGISTRANTS_PER_VOLUME_MAX,
    "the record has room"
);

/// What hosts decided about a volume, to be stored.
#[derive(Clone, Debug)]
pub struct HostChange {
    /// The pool.
    pub pool: Uuid,
    /// The volume.
    pub volume: Uuid,
    /// Its name here: for [`Target::on_persisted`].
    pub name: u64,
    /// Registrants and reservation, if they are persistent.
    pub reservation: Option<pool::Reservation>,
    /// Whether it may be written.
    pub write_protect: WriteProtect,
}

impl Target {
    /// The next change that hosts wait for.
    pub fn poll_host_change(&mut self) -> Option<HostChange> {
        while let Some(name) = self.to_persist.pop_front() {
            let Some(Durable { reservation, protection }) = self.subsystems.to_persist(name) else {
                continue;
            };
            let volume = self.exported(name).and_then(|(export, nsid)| {
                let pool = &export.pool;
                Some((pool.uuid(), pool.volumes().iter().find(|v| v.nsid == nsid)?.uuid))
            });
            let Some((pool, volume)) = volume else {
                self.on_persisted(name, false);
                continue;
            };
            let reservation = reservation.as_ref().map(stored);
            return Some(HostChange { pool, volume, name, reservation, write_protect: kept(protection) });
        }
        None
    }

    /// A change that [`Target::poll_host_change`] gave is durable, or could not be stored.
    pub fn on_persisted(&mut self, name: u64, is_durable: bool) {
        self.subsystems.on_persisted(name, is_durable);
    }

    /// Ends commands for a volume that may not begin any more.
    pub(crate) fn quiesce(&mut self, volume: u64) {
        let subsystems = &self.subsystems;
        for connection in self.connections.iter_mut().flatten() {
            let Some(id) = connection.id else { continue };
            for command in &mut connection.commands {
                let is_at_devices = matches!(command.state, State::AtDevices(..));
                let (Some(sqe), false) = (command.sqe, is_at_devices) else { continue };
                if let Some(io) = command.io()
                    && io.volume == volume
                    && let Err(status) = subsystems.recheck(id, &judged(sqe, io))
                {
                    command.failure.get_or_insert(Failure::Status(status));
                }
            }
        }
        self.quiescing.push(volume);
        self.look_for_quiet();
    }

    /// Tells of volumes for which nothing is at the drives any more that should not be there.
    pub(crate) fn look_for_quiet(&mut self) {
        let mut index = 0;
        while let Some(volume) = self.quiescing.get(index).copied() {
            if self.is_quiet(volume) {
                self.quiescing.swap_remove(index);
                self.subsystems.on_quiet(volume);
            } else {
                index += 1;
            }
        }
    }

    fn is_quiet(&self, volume: u64) -> bool {
        let is_refused = |connection: &Connection| {
            connection.commands_at_drives().filter(|(_, io)| io.volume == volume).any(|(command, io)| {
                let sqe = command.sqe.expect("a command at the drives has its entry");
                // Of a host that is gone nobody knows what it may: its commands are waited for.
                connection.id.is_none_or(|id| self.subsystems.recheck(id, &judged(sqe, *io)).is_err())
            })
        };
        !self.busy_others().any(is_refused)
    }
}

/// The entry that decides about a command: a Compare and Write writes, whichever half it is.
fn judged(mut sqe: Sqe, io: Io) -> Sqe {
    if matches!(io.kind, IoKind::CompareAndWrite { .. }) {
        sqe.opc = NvmOpcode::WRITE.0;
    }
    sqe
}

/// What a record says, for the subsystems.
pub(crate) fn durable_of(settings: &Settings) -> Durable {
    let reservation = settings.reservation.as_ref().map(|kept| Reservation {
        generation: kept.generation,
        is_persistent: true,
        registrants: kept
            .registrants
            .iter()
            .map(|r| Registrant { host: *r.host.as_bytes(), key: r.key })
            .collect(),
        held: kept.reserved.map(|r| (Rtype(r.kind.number()), r.holder.map(usize::from))),
    });
    let protection = match settings.write_protect {
        WriteProtect::Off => WriteProtection::OFF,
        WriteProtect::On => WriteProtection::ON,
        WriteProtect::Permanent => WriteProtection::PERMANENT,
    };
    Durable { reservation, protection }
}

fn stored(state: &Reservation) -> pool::Reservation {
    let reserved = state.held.and_then(|(rtype, holder)| {
        let holder = holder.map(|holder| u16::try_from(holder).expect("registrants are few"));
        Some(Reserved { kind: ReservationType::of(rtype.0)?, holder })
    });
    let registrant = |r: &Registrant| pool::Registrant { host: Uuid::from_bytes(r.host), key: r.key };
    pool::Reservation {
        generation: state.generation,
        registrants: state.registrants.iter().map(registrant).collect(),
        reserved,
    }
}

fn kept(protection: WriteProtection) -> WriteProtect {
    match protection {
        WriteProtection::ON => WriteProtect::On,
        WriteProtection::PERMANENT => WriteProtect::Permanent,
        _ => WriteProtect::Off,
    }
}
