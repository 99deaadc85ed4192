//! What one host sees of a subsystem: the namespaces that it may use, and whether this path to them works.
//!
//! Invariants
//! - Whoever looks for a namespace on behalf of a host looks here: one that the host may not use is as absent for it as one
//!   that does not exist, in lists, logs, events and commands. That other hosts have volumes here is not its business.
//! - What a host may use is worked out when it connects and when the configuration changes, never for a command.

use crate::config::NamespaceConfig;
use crate::limits::NSID_MAX;
use crate::target::Subsystem;
use nvme_spec::Status;
use nvme_spec::log::AnaState;

const WORDS: usize = (NSID_MAX as usize / 64).saturating_add(1);

/// A set of namespace identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NsidSet([u64; WORDS]);

impl NsidSet {
    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    pub(crate) fn contains(&self, nsid: u32) -> bool {
        let (index, bit) = Self::place(nsid);
        self.0.get(index).is_some_and(|word| word & bit != 0)
    }

    /// Adds or removes an identifier; ones that are too large are never in.
    pub(crate) fn set(&mut self, nsid: u32, is_in: bool) {
        let (index, bit) = Self::place(nsid);
        if let Some(word) = self.0.get_mut(index) {
            *word = if is_in { *word | bit } else { *word & !bit };
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    fn place(nsid: u32) -> (usize, u64) {
        (usize::try_from(nsid >> 6).unwrap_or(usize::MAX), 1 << (nsid & 63))
    }
}

/// A subsystem with the eyes of one host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) subsystem: &'a Subsystem,
    pub(crate) visible: &'a NsidSet,
}

impl<'a> View<'a> {
    /// A namespace, if the host may use it.
    pub(crate) fn namespace(self, nsid: u32) -> Option<&'a NamespaceConfig> {
        self.subsystem.namespaces.get(&nsid).filter(|_| self.visible.contains(nsid))
    }

    /// The namespaces that the host may use, ascending from `first`.
    pub(crate) fn namespaces(self, first: u32) -> impl Iterator<Item = &'a NamespaceConfig> {
        let visible = *self.visible;
        let all = self.subsystem.namespaces.range(first..);
        all.filter(move |(nsid, _)| visible.contains(**nsid)).map(|(_, namespace)| namespace)
    }

    /// A namespace for a command that works on it: it must be reachable by this path, too.
    ///
    /// # Errors
    /// Invalid Namespace for good; the path errors of ANA without "do not retry", so that the host takes another path.
    pub(crate) fn reachable(self, nsid: u32) -> Result<&'a NamespaceConfig, Status> {
        let namespace = self.namespace(nsid).ok_or(Status::INVALID_NAMESPACE.dnr())?;
        self.subsystem.ana.check(nsid)?;
        Ok(namespace)
    }
}

/// What a command to a namespace in such a group is told (Base 2.1 §8.1.1.4 to §8.1.1.8).
pub(crate) fn path_status(state: AnaState) -> Result<(), Status> {
    match state {
        AnaState::OPTIMIZED | AnaState::NON_OPTIMIZED => Ok(()),
        AnaState::PERSISTENT_LOSS => Err(Status::ANA_PERSISTENT_LOSS),
        AnaState::CHANGE => Err(Status::ANA_TRANSITION),
        _ => Err(Status::ANA_INACCESSIBLE),
    }
}
