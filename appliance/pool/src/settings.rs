//! Changes of the settings of a volume: who may use it, who reserved it, whether it may be written.
//!
//! ```text
//!  write record, generation + 1, to all ─▶ flush all ─▶ finish
//! ```
//!
//! Invariants
//! - A setting that a host is told about is durable on every member before: a reservation that is forgotten after a power
//!   cut would let two hosts write, a protection that is forgotten would let one.
//! - The revision of a volume counts what operators change; reservations and write protection are the hosts' business.

use crate::pool::{Begun, Pool};
use control::{AllowedHosts, ControlError, ErrorKind};
use ondisk::limits::{HOSTS_MAX, REGISTRANTS_MAX, REGISTRANTS_PER_VOLUME_MAX};
use ondisk::{Access, HostNqn, Inconsistency, PoolRecord, Reservation, Settings, WriteProtect};
use uuid::Uuid;

/// The hosts of a request, as they are stored.
///
/// # Errors
/// If one is no NQN.
pub fn access_of(allowed: &AllowedHosts) -> Result<Access, ControlError> {
    if !allowed.is_listed {
        return Ok(Access::Everybody);
    }
    let host = |(index, nqn): (usize, &String)| {
        HostNqn::new(nqn).map_err(|error| {
            ControlError::new(ErrorKind::InvalidArgument, format!("an allowed host is no NQN: {error}"))
                .field(format!("allowed_hosts[{index}]"))
                .remedy("use the host's NQN as its /etc/nvme/hostnqn has it")
        })
    };
    let mut hosts: Vec<HostNqn> = allowed.nqns.iter().enumerate().map(host).collect::<Result<_, _>>()?;
    hosts.sort_unstable();
    hosts.dedup();
    Ok(Access::Hosts(hosts))
}

/// The hosts that are stored, as they are told.
pub(crate) fn allowed_hosts(access: &Access) -> AllowedHosts {
    match access {
        Access::Everybody => AllowedHosts::default(),
        Access::Hosts(hosts) => {
            let nqns = hosts.iter().map(|host| host.as_str().to_owned()).collect();
            AllowedHosts { is_listed: true, nqns }
        }
    }
}

impl Pool {
    /// Begins to change which hosts may use a volume. Order and repetitions in a list do not matter.
    ///
    /// # Errors
    /// If there is no such volume, the pool's volumes would name more than 256 different hosts, or the pool accepts no
    /// change.
    pub fn begin_set_access(&mut self, volume: Uuid, access: Access) -> Result<Begun, ControlError> {
        let access = match access {
            Access::Everybody => Access::Everybody,
            Access::Hosts(mut hosts) => {
                hosts.sort_unstable();
                hosts.dedup();
                Access::Hosts(hosts)
            }
        };
        let settings = self.existing(volume)?.settings.clone();
        self.begin_set(volume, &Settings { access, ..settings }, true)
    }

    /// Begins to change what hosts decide about a volume: the registrants and the reservation that persist through power
    /// loss (`None` if nothing does), and whether it may be written.
    ///
    /// # Errors
    /// If there is no such volume, more registrants than a volume or pool has room for, the volume is protected for ever,
    /// or the pool accepts no change.
    pub fn begin_set_guard(
        &mut self,
        volume: Uuid,
        reservation: Option<Reservation>,
        write_protect: WriteProtect,
    ) -> Result<Begun, ControlError> {
        let existing = self.existing(volume)?;
        let settings = existing.settings.clone();
        if settings.write_protect == WriteProtect::Permanent && write_protect != WriteProtect::Permanent {
            let message = format!("volume \"{}\" is write protected for ever", existing.name);
            return Err(ControlError::new(ErrorKind::FailedPrecondition, message)
                .object(format!("volume/{}", existing.name))
                .remedy("copy what it holds to another volume"));
        }
        let reservation = reservation.map(Box::new);
        self.begin_set(volume, &Settings { reservation, write_protect, ..settings }, false)
    }

    fn begin_set(
        &mut self,
        uuid: Uuid,
        settings: &Settings,
        is_operators: bool,
    ) -> Result<Begun, ControlError> {
        if self.existing(uuid)?.settings == *settings {
            return Ok(Begun::Unchanged);
        }
        self.accept_setting()?;
        let mut next = self.next_record()?;
        let generation = next.generation;
        for volume in next.volumes.iter_mut().filter(|v| v.uuid == uuid) {
            volume.settings.clone_from(settings);
            if is_operators {
                volume.revision = generation;
            }
        }
        self.accept_settings(&next, uuid)?;
        Ok(Begun::Job(self.begin_change(next)))
    }

    /// Checks that the record has room for the new settings of a volume.
    pub(crate) fn accept_settings(&self, next: &PoolRecord, volume: Uuid) -> Result<(), ControlError> {
        let Err(why) = next.check() else { return Ok(()) };
        let name = next.volumes.iter().find(|v| v.uuid == volume).map(|v| v.name.to_string());
        let object = format!("volume/{}", name.unwrap_or_default());
        let pool = self.name();
        let Inconsistency::TooMany { what, count, .. } = why else {
            unreachable!("the rest of the record was checked before: {why}")
        };
        let (message, field, remedy) = match what {
            "hosts" => (
                format!("the volumes of pool \"{pool}\" would name {count} hosts, at most {HOSTS_MAX} fit"),
                "allowed_hosts",
                "name fewer hosts, or use another pool",
            ),
            "registrants" => (
                format!(
                    "the volumes of pool \"{pool}\" would have {count} registrants, at most {REGISTRANTS_MAX} fit"
                ),
                "",
                "unregister hosts that do not need their registration",
            ),
            _ => (
                format!("{count} registrants, at most {REGISTRANTS_PER_VOLUME_MAX} fit"),
                "",
                "unregister hosts that do not need their registration",
            ),
        };
        let error = ControlError::new(ErrorKind::ResourceExhausted, message);
        Err(error.object(object).field(field).remedy(remedy))
    }
}
