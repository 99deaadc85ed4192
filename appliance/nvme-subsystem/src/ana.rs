//! Asymmetric namespace access (Base 2.1 §8.1.1): which groups of namespaces this node serves well, and the log of that.
//!
//! There are always [`ANA_GROUPS`] groups. A namespace is in the same group for life, so that what moves between nodes is a
//! group, and hosts never see a namespace change its group.
//!
//! Invariants
//! - A host is told of a change when the log has it already: it reads the log at once.
//! - The log is always whole, with groups that are empty: Linux refuses a controller whose log is cut, and a host knows the
//!   state of a group before the first namespace is in it.

use crate::config::ConfigError;
use crate::controller::{Kind, Notice};
use crate::limits::{ANA_GROUPS, NSID_MAX};
use crate::target::Target;
use crate::view::{View, path_status};
use nvme_spec::Status;
use nvme_spec::log::{AnaGroup, AnaHeader, AnaState};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

/// The group of a namespace.
pub(crate) fn group_of(nsid: u32) -> u32 {
    nsid.saturating_sub(1).checked_rem(ANA_GROUPS).unwrap_or(0).saturating_add(1)
}

/// The groups of a subsystem.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    /// Grows whenever the log changes.
    changes: u64,
    groups: [Group; ANA_GROUPS as usize],
}

#[derive(Clone, Copy, Debug)]
struct Group {
    state: AnaState,
    /// Value of `changes` after the last change of this group.
    changed: u64,
}

impl Groups {
    /// All optimized: a node alone serves everything.
    pub(crate) fn new() -> Self {
        let group = Group { state: AnaState::OPTIMIZED, changed: 0 };
        Self { changes: 0, groups: [group; ANA_GROUPS as usize] }
    }

    fn get(&self, group: u32) -> Option<&Group> {
        self.groups.get(usize::try_from(group.checked_sub(1)?).ok()?)
    }

    fn get_mut(&mut self, group: u32) -> Option<&mut Group> {
        self.groups.get_mut(usize::try_from(group.checked_sub(1)?).ok()?)
    }

    /// State of the group of a namespace.
    pub(crate) fn state(&self, nsid: u32) -> AnaState {
        self.get(group_of(nsid)).map_or(AnaState::INACCESSIBLE, |group| group.state)
    }

    /// Whether commands to a namespace may be executed here.
    pub(crate) fn check(&self, nsid: u32) -> Result<(), Status> {
        path_status(self.state(nsid))
    }

    /// A namespace came, went or changed.
    pub(crate) fn on_namespace(&mut self, nsid: u32) {
        self.touch(group_of(nsid), |_| {});
    }

    fn touch(&mut self, group: u32, change: impl FnOnce(&mut Group)) {
        self.changes = self.changes.saturating_add(1);
        let changes = self.changes;
        if let Some(group) = self.get_mut(group) {
            group.changed = changes;
            change(group);
        }
    }
}

impl Target {
    /// Says how this node serves a group of a subsystem's namespaces, 1 to [`ANA_GROUPS`]. New commands are refused in states
    /// that do not serve; those in flight are the owner's to drain. Connected hosts are told.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`], [`ConfigError::AnaRefused`].
    pub fn set_ana_state(&mut self, nqn: &str, group: u32, state: AnaState) -> Result<(), ConfigError> {
        let is_known = matches!(
            state,
            AnaState::OPTIMIZED
                | AnaState::NON_OPTIMIZED
                | AnaState::INACCESSIBLE
                | AnaState::PERSISTENT_LOSS
                | AnaState::CHANGE
        );
        let key = self.find(nqn).ok_or(ConfigError::SubsystemNotFound)?;
        let subsystem = self.subsystems.get_mut(key).ok_or(ConfigError::SubsystemNotFound)?;
        let now = subsystem.ana.get(group).filter(|_| is_known).ok_or(ConfigError::AnaRefused)?;
        if now.state == state {
            return Ok(());
        }
        subsystem.ana.touch(group, |group| group.state = state);
        for (_, controller) in self.controllers.iter_mut().filter(|(_, c)| c.kind == Kind::Io(key)) {
            controller.raise(Notice::Ana, &mut self.actions);
        }
        Ok(())
    }
}

/// The longest log, as hosts compute it from Identify. Some read all of it in parts of fixed length, so it always has this
/// length, with zeroes behind what is used.
const LOG_LEN: usize = size_of::<AnaHeader>()
    .saturating_add(size_of::<AnaGroup>().saturating_mul(ANA_GROUPS as usize))
    .saturating_add(4usize.saturating_mul(NSID_MAX as usize));

/// The log, with the namespaces that the host may use, ascending; or only the groups.
pub(crate) fn log(view: View<'_>, groups_only: bool) -> Vec<u8> {
    let ana = &view.subsystem.ana;
    let mut header = AnaHeader::new_zeroed();
    header.chgcnt = U64::new(ana.changes);
    header.ngrps = U16::new(u16::try_from(ANA_GROUPS).unwrap_or(u16::MAX));
    let mut page = header.as_bytes().to_vec();
    for (grpid, group) in (1..).zip(&ana.groups) {
        let members: Vec<u32> = view
            .namespaces(1)
            .map(|n| n.nsid)
            .filter(|nsid| !groups_only && group_of(*nsid) == grpid)
            .collect();
        let mut descriptor = AnaGroup::new_zeroed();
        descriptor.grpid = U32::new(grpid);
        descriptor.nnsids = U32::new(u32::try_from(members.len()).unwrap_or(u32::MAX));
        descriptor.chgcnt = U64::new(group.changed);
        descriptor.state = group.state.0;
        page.extend_from_slice(descriptor.as_bytes());
        page.extend(members.into_iter().flat_map(u32::to_le_bytes));
    }
    page.resize(page.len().max(LOG_LEN), 0);
    page
}
