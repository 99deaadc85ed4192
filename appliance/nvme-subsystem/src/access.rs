//! Which host may use what, and what happens when that changes.
//!
//! ```text
//!  volume with a list ──────▶ the hosts on it
//!  volume without a list ───▶ everybody on a node in insecure mode, nobody on others (the owner's decision: `Hosts`)
//!  subsystem ───────────────▶ hosts that may use one of its namespaces; everybody if it is open
//! ```
//!
//! Invariants
//! - A host that may use nothing of a closed subsystem cannot connect, is not told of it by discovery, and is disconnected
//!   if it was connected.
//! - A change reaches only those whom it concerns: the others see no event and keep their commands in flight.
//!
//! Who a host is, is what it says in Connect. Authentication belongs between Connect and everything else: `connect` would
//! answer that it is required, and `Target::dispatch` would let only its commands through until it has succeeded.

use crate::config::{ConfigError, Hosts, NamespaceConfig};
use crate::controller::{Kind, Notice};
use crate::outcome::ConnectionId;
use crate::slab::Key;
use crate::target::{Subsystem, Target};
use crate::view::NsidSet;
use std::collections::{BTreeMap, BTreeSet};

impl Subsystem {
    /// Whether a host may be connected.
    pub(crate) fn admits(&self, host_nqn: &str) -> bool {
        self.config.is_open || self.namespaces.values().any(|namespace| namespace.hosts.allow(host_nqn))
    }

    /// The namespaces that a host may use.
    pub(crate) fn visible_to(&self, host_nqn: &str) -> NsidSet {
        let mut visible = NsidSet::EMPTY;
        for (nsid, namespace) in &self.namespaces {
            visible.set(*nsid, namespace.hosts.allow(host_nqn));
        }
        visible
    }
}

/// What a change of a namespace means to those who could use it before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It came, went, or is different now.
    Content,
    /// Only who may use it.
    Hosts,
}

impl Target {
    /// Changes who may use a namespace. Hosts that gain or lose it are told; a host that loses the last one of a closed
    /// subsystem is disconnected. Commands in flight of those that lose it are the owner's ([`Target::may_use`]).
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`], [`ConfigError::NamespaceNotFound`].
    pub fn set_namespace_hosts(&mut self, nqn: &str, nsid: u32, hosts: Hosts) -> Result<(), ConfigError> {
        self.change_namespace(nqn, nsid, Change::Hosts, |namespaces| {
            namespaces.get_mut(&nsid).ok_or(ConfigError::NamespaceNotFound)?.hosts = hosts;
            Ok(())
        })
    }

    /// Whether the host of a connection may use a namespace of its subsystem.
    #[must_use]
    pub fn may_use(&self, id: ConnectionId, nsid: u32) -> bool {
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        queue
            .and_then(|queue| self.controllers.get(queue.controller))
            .is_some_and(|controller| controller.visible.contains(nsid))
    }

    /// Hosts that are connected and may use a namespace, each once.
    #[must_use]
    pub fn hosts_of(&self, nqn: &str, nsid: u32) -> Vec<String> {
        let Some(key) = self.find(nqn) else { return Vec::new() };
        let users = self.controllers.iter().map(|(_, controller)| controller);
        let users = users.filter(|c| c.kind == Kind::Io(key) && !c.is_dead && c.visible.contains(nsid));
        let hosts: BTreeSet<String> = users.map(|controller| controller.host_nqn.clone()).collect();
        hosts.into_iter().collect()
    }

    /// Changes one namespace and tells everybody whom it concerns.
    pub(crate) fn change_namespace(
        &mut self,
        nqn: &str,
        nsid: u32,
        kind: Change,
        change: impl FnOnce(&mut BTreeMap<u32, NamespaceConfig>) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let key = self.find(nqn).ok_or(ConfigError::SubsystemNotFound)?;
        let admitted = self.discoverers_of(key);
        let subsystem = self.subsystems.get_mut(key).ok_or(ConfigError::SubsystemNotFound)?;
        change(&mut subsystem.namespaces)?;
        subsystem.ana.on_namespace(nsid);
        for (_, controller) in self.controllers.iter_mut().filter(|(_, c)| c.kind == Kind::Io(key)) {
            let was_visible = controller.visible.contains(nsid);
            let namespace = subsystem.namespaces.get(&nsid);
            let is_visible = namespace.is_some_and(|namespace| namespace.hosts.allow(&controller.host_nqn));
            controller.visible.set(nsid, is_visible);
            if !subsystem.config.is_open && controller.visible.is_empty() {
                controller.die(&mut self.actions);
            } else if was_visible != is_visible || (is_visible && kind == Change::Content) {
                controller.changed_namespaces.insert(nsid);
                controller.raise(Notice::Namespaces, &mut self.actions);
            }
        }
        if !subsystem.config.is_open {
            self.discovery_changes = self.discovery_changes.saturating_add(1);
            let now = self.discoverers_of(key);
            let others = |a: &[Key], b: &[Key]| -> Vec<Key> {
                a.iter().copied().filter(|key| !b.contains(key)).collect()
            };
            for key in others(&admitted, &now).into_iter().chain(others(&now, &admitted)) {
                if let Some(controller) = self.controllers.get_mut(key) {
                    controller.raise(Notice::Discovery, &mut self.actions);
                }
            }
        }
        Ok(())
    }

    /// Discovery controllers of hosts that a subsystem admits.
    fn discoverers_of(&self, subsystem: Key) -> Vec<Key> {
        let Some(subsystem) = self.subsystems.get(subsystem).filter(|s| !s.config.is_open) else {
            return Vec::new();
        };
        let discoverers = self.controllers.iter().filter(|(_, controller)| controller.is_discovery());
        discoverers.filter(|(_, c)| subsystem.admits(&c.host_nqn)).map(|(key, _)| key).collect()
    }
}
