//! Pools as subsystems, volumes as namespaces.
//!
//! Invariants
//! - A volume is exported only while its pool says that it is served.
//! - Before the extents of a volume may go to another one, no command of a host reaches them: [`Target::withdraw`] refuses
//!   new commands and those that have not started, [`Target::is_withdrawn`] says when the last one has come back.

use crate::Target;
use crate::command::{Failure, State};
use crate::guards::durable_of;
use block::{Blocks, Lba};
use control::SessionStatus;
use nvme_spec::Status;
use nvme_subsystem::{ConfigError, Hosts, NamespaceConfig, Session, SubsystemConfig};
use ondisk::Access;
use pool::Pool;
use uuid::Uuid;

/// A pool that this core serves.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) pool: Pool,
    /// Its place among the pools of the thin engine, if it is one of them.
    pub(crate) thin: Option<usize>,
    pub(crate) nqn: String,
}

/// The NQN of the subsystem that exports a pool (Base 2.1 §4.7, the UUID form).
#[must_use]
pub fn nqn_of(pool: Uuid) -> String {
    format!("nqn.2014-08.org.nvmexpress:uuid:{}", pool.hyphenated())
}

/// The name that subsystems use for a volume: number of the export above, namespace identifier below.
fn volume_name(export: usize, nsid: u32) -> u64 {
    ((export as u64) << 32) | u64::from(nsid)
}

impl Target {
    /// Adds a pool; its volumes are served if the pool is settled.
    ///
    /// # Errors
    /// If there are too many subsystems, or this pool is there already.
    pub fn add_pool(&mut self, pool: Pool) -> Result<(), ConfigError> {
        let nqn = nqn_of(pool.uuid());
        let devices = &self.devices;
        let is_volatile =
            pool.drives().iter().any(|drive| devices.geometry(drive.id).is_none_or(|g| g.is_volatile));
        let config = SubsystemConfig {
            nqn: nqn.clone(),
            serial: pool.uuid().simple().to_string().chars().take(20).collect(),
            model: "Ironbay".to_owned(),
            is_volatile,
            is_open: self.is_open,
        };
        self.subsystems.add_subsystem(config)?;
        let index = self.exports.iter().position(Option::is_none).unwrap_or_else(|| {
            self.exports.push(None);
            self.exports.len() - 1
        });
        let volumes: Vec<Uuid> = pool.volumes().iter().map(|volume| volume.uuid).collect();
        let uuid = pool.uuid();
        let is_settled = pool.is_settled();
        let thin = if pool.is_thin() { self.thin_place(uuid) } else { None };
        assert_eq!(
            thin.is_some(),
            pool.is_thin(),
            "a pool of the thin engine is there before it is exported"
        );
        self.exports[index] = Some(Export { pool, thin, nqn });
        for volume in volumes.into_iter().filter(|_| is_settled) {
            self.publish(uuid, volume);
        }
        Ok(())
    }

    /// Removes a pool; its hosts are disconnected.
    pub fn remove_pool(&mut self, uuid: Uuid) -> Option<Pool> {
        let index = self.export_index(uuid)?;
        let export = self.exports[index].take()?;
        // It was added with the export, so it is there.
        let _ = self.subsystems.remove_subsystem(&export.nqn);
        self.remove_thin(uuid);
        Some(export.pool)
    }

    /// A pool.
    #[must_use]
    pub fn pool(&self, uuid: Uuid) -> Option<&Pool> {
        self.pools().find(|pool| pool.uuid() == uuid)
    }

    /// A pool, to begin and finish changes.
    pub fn pool_mut(&mut self, uuid: Uuid) -> Option<&mut Pool> {
        self.exports.iter_mut().flatten().map(|export| &mut export.pool).find(|pool| pool.uuid() == uuid)
    }

    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.exports.iter().flatten().map(|export| &export.pool)
    }

    /// Serves a volume, or its new size; connected hosts are told. Does nothing if the pool has no such volume.
    pub fn publish(&mut self, pool: Uuid, volume: Uuid) {
        let Some(index) = self.export_index(pool) else { return };
        let Some(export) = &self.exports[index] else { return };
        let Some(record) = export.pool.volume(volume) else { return };
        let blocks = Blocks(u64::from(record.extents) * ondisk::EXTENT_BLOCKS.0);
        let (nsid, uuid) = (record.nsid, record.uuid);
        let namespace = NamespaceConfig {
            nsid,
            uuid,
            blocks,
            lba_shift: record.settings.lba_size.shift(),
            volume: volume_name(index, nsid),
            hosts: self.hosts_for(&record.settings.access),
        };
        let result = match self.subsystems.resize_namespace(&export.nqn, nsid, blocks) {
            Err(ConfigError::NamespaceNotFound) => {
                let durable = durable_of(&record.settings);
                let added = self.subsystems.add_namespace(&export.nqn, namespace);
                added.and_then(|()| self.subsystems.restore_guard(&export.nqn, nsid, durable))
            }
            other => other,
        };
        assert!(result.is_ok(), "the pool and the subsystem agree about namespace {nsid}");
        debug_assert!(export.pool.map(nsid, Lba(0), blocks).is_ok(), "all of a published volume has a place");
    }

    /// Stops serving a volume: hosts are told, commands that have not reached a drive are refused.
    pub fn withdraw(&mut self, pool: Uuid, nsid: u32) {
        let Some(index) = self.export_index(pool) else { return };
        let Some(export) = &self.exports[index] else { return };
        // A volume that was never published has no namespace; then there are no commands either.
        let _ = self.subsystems.remove_namespace(&export.nqn, nsid);
        let volume = volume_name(index, nsid);
        for command in self.connections.iter_mut().flatten().flat_map(|c| c.commands.iter_mut()) {
            let is_at_devices = matches!(command.state, State::AtDevices(..));
            if !is_at_devices && command.io().is_some_and(|io| io.volume == volume) {
                command.failure.get_or_insert(Failure::Status(Status::INVALID_NAMESPACE.dnr()));
            }
        }
    }

    /// Lets those use a volume whom its pool names now. Hosts that gain or lose it are told; commands of those that lose it
    /// are refused unless they are at a drive.
    pub fn apply_hosts(&mut self, pool: Uuid, volume: Uuid) {
        let Some(index) = self.export_index(pool) else { return };
        let Some(export) = &self.exports[index] else { return };
        let Some(record) = export.pool.volume(volume) else { return };
        let (nsid, hosts) = (record.nsid, self.hosts_for(&record.settings.access));
        // A volume that is not published gets its hosts when it is.
        if self.subsystems.set_namespace_hosts(&export.nqn, nsid, hosts).is_err() {
            return;
        }
        let volume = volume_name(index, nsid);
        for connection in self.connections.iter_mut().flatten() {
            if connection.id.is_some_and(|id| self.subsystems.may_use(id, nsid)) {
                continue;
            }
            for command in &mut connection.commands {
                let is_at_devices = matches!(command.state, State::AtDevices(..));
                if !is_at_devices && command.io().is_some_and(|io| io.volume == volume) {
                    command.failure.get_or_insert(Failure::Status(Status::INVALID_NAMESPACE.dnr()));
                }
            }
        }
    }

    /// Who may use a volume on this node. One without a list is everybody's only on a node in insecure mode.
    fn hosts_for(&self, access: &Access) -> Hosts {
        match access {
            Access::Everybody if self.is_open => Hosts::Any,
            Access::Everybody => Hosts::Listed(Vec::new()),
            Access::Hosts(hosts) => {
                Hosts::Listed(hosts.iter().map(|host| host.as_str().to_owned()).collect())
            }
        }
    }

    /// No command for this volume is at a drive.
    #[must_use]
    pub fn is_withdrawn(&self, pool: Uuid, nsid: u32) -> bool {
        let Some(index) = self.export_index(pool) else { return true };
        let volume = volume_name(index, nsid);
        let is_at_devices = |command: &crate::command::Command| match command.state {
            State::AtDevices(io, ..) => io.volume == volume,
            State::Idle
            | State::AwaitMemory(..)
            | State::AwaitData(_)
            | State::AwaitPartner(..)
            | State::AwaitTurn(..)
            | State::Held(_)
            | State::Answered => false,
        };
        !self.connections.iter().flatten().any(|connection| connection.commands.iter().any(is_at_devices))
    }

    /// Connected controllers, those of the discovery subsystem left out.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.subsystems.sessions().into_iter().filter(|session| !session.is_discovery).collect()
    }

    /// Grows whenever a host connects or leaves.
    #[must_use]
    pub fn session_changes(&self) -> u64 {
        self.session_changes
    }

    /// Hosts that are connected and may use a volume, each once.
    #[must_use]
    pub fn hosts_of(&self, nqn: &str, nsid: u32) -> Vec<String> {
        self.subsystems.hosts_of(nqn, nsid)
    }

    /// Connected controllers for people.
    #[must_use]
    pub fn session_statuses(&self, now: block::Tick) -> Vec<SessionStatus> {
        let status = |session: Session| SessionStatus {
            host_nqn: session.host_nqn,
            subsystem_nqn: session.subsystem_nqn,
            cntlid: session.cntlid,
            peer: session.peer.to_string(),
            io_queues: session.io_queues,
            commands: session.commands,
            age_ms: u64::try_from(now.since(session.since).as_millis()).unwrap_or(u64::MAX),
        };
        self.sessions().into_iter().map(status).collect()
    }

    /// The pool and namespace behind a volume's name.
    pub(crate) fn exported(&self, volume: u64) -> Option<(&Export, u32)> {
        let index = usize::try_from(volume >> 32).ok()?;
        let nsid = u32::try_from(volume & u64::from(u32::MAX)).ok()?;
        Some((self.exports.get(index)?.as_ref()?, nsid))
    }

    fn export_index(&self, pool: Uuid) -> Option<usize> {
        self.exports.iter().position(|e| e.as_ref().is_some_and(|export| export.pool.uuid() == pool))
    }
}
