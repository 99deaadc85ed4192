//! The target: all subsystems, controllers and connections of a node, and the way of a command through them.

use crate::access::Change;
use crate::ana::Groups;
use crate::config::{
    ConfigError, Endpoints, NamespaceConfig, Referral, Session, SubsystemConfig, TargetConfig,
};
use crate::connect::HeldConnect;
use crate::controller::{Controller, Kind, Notice};
use crate::fused::{self, First};
use crate::guard::{self, Guards};
use crate::identify::{LBA_SHIFT, LBA_SHIFT_SMALL};
use crate::limits::{
    ADMIN_DATA_MAX, CONNECTIONS_MAX, CONTROLLERS_MAX, NODES_MAX, NSID_MAX, REFERRALS_MAX, SUBSYSTEMS_MAX,
};
use crate::outcome::{Action, Answer, Command, ConnectionId, Io, IoKind, Outcome, Refusal, media_status};
use crate::slab::{Key, Slab};
use crate::view::View;
use crate::{admin, connect, property};
use block::{Blocks, MediaError, Tick};
use nvme_spec::entry::Fuse;
use nvme_spec::fabrics::CONNECT_DATA_LEN;
use nvme_spec::{AdminOpcode, Cqe, FabricsType, Sqe, Status};
use std::collections::{BTreeMap, VecDeque};

/// A subsystem and its namespaces.
#[derive(Debug)]
pub(crate) struct Subsystem {
    pub(crate) config: SubsystemConfig,
    pub(crate) namespaces: BTreeMap<u32, NamespaceConfig>,
    pub(crate) guards: Guards,
    pub(crate) ana: Groups,
    pub(crate) last_cntlid: u16,
}

/// A queue: what a connection became with Connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueOf {
    pub(crate) controller: Key,
    pub(crate) qid: u16,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) endpoints: Endpoints,
    pub(crate) queue: Option<QueueOf>,
    /// The last command was the first half of a fused operation.
    first: Option<First>,
}

/// A connection that is closed, with commands that the storage still works on.
#[derive(Debug)]
struct Draining {
    connection: ConnectionId,
    kind: Kind,
    host_nqn: String,
}

/// All subsystems of a node. See the crate header for how it is used.
#[derive(Debug)]
pub struct Target {
    pub(crate) config: TargetConfig,
    pub(crate) subsystems: Slab<Subsystem>,
    pub(crate) controllers: Slab<Controller>,
    pub(crate) connections: Slab<Connection>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) discovery_changes: u64,
    pub(crate) last_discovery_cntlid: u16,
    pub(crate) held_connects: Vec<HeldConnect>,
    pub(crate) referrals: Vec<Referral>,
    draining: Vec<Draining>,
    /// What becomes of the first half that the connection of the last command had.
    abort: Option<Status>,
    deadline: Option<Tick>,
}

impl Target {
    /// A target without subsystems.
    ///
    /// # Panics
    /// If the number of the node is not below [`NODES_MAX`].
    #[must_use]
    pub fn new(config: TargetConfig) -> Self {
        assert!(config.node < NODES_MAX, "each node has controller identifiers of its own");
        Self {
            config,
            subsystems: Slab::new(SUBSYSTEMS_MAX),
            controllers: Slab::new(CONTROLLERS_MAX),
            connections: Slab::new(CONNECTIONS_MAX),
            actions: VecDeque::new(),
            discovery_changes: 1,
            last_discovery_cntlid: 0,
            held_connects: Vec::new(),
            referrals: Vec::new(),
            draining: Vec::new(),
            abort: None,
            deadline: None,
        }
    }

    /// The address of the portals is known now (port 0 was asked for).
    pub fn set_io_port(&mut self, port: u16) {
        self.config.io_port = port;
        self.discovery_changed();
    }

    /// Other discovery subsystems that hosts are sent to, instead of those named before.
    ///
    /// # Errors
    /// [`ConfigError::ReferralRefused`].
    pub fn set_referrals(&mut self, referrals: Vec<Referral>) -> Result<(), ConfigError> {
        let is_valid =
            |referral: &Referral| !referral.nqn.is_empty() && nvme_spec::nqn_field(&referral.nqn).is_some();
        if referrals.len() > REFERRALS_MAX || !referrals.iter().all(is_valid) {
            return Err(ConfigError::ReferralRefused);
        }
        if self.referrals != referrals {
            self.referrals = referrals;
            self.discovery_changed();
        }
        Ok(())
    }

    // ---- configuration -------------------------------------------------------------------------------------------

    /// Adds a subsystem without namespaces.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemRefused`], [`ConfigError::TooManySubsystems`].
    pub fn add_subsystem(&mut self, config: SubsystemConfig) -> Result<(), ConfigError> {
        let is_valid = !config.nqn.is_empty() && nvme_spec::nqn_field(&config.nqn).is_some();
        if !is_valid
            || connect::is_discovery_nqn(&self.config, &config.nqn)
            || self.find(&config.nqn).is_some()
        {
            return Err(ConfigError::SubsystemRefused);
        }
        let subsystem = Subsystem {
            config,
            namespaces: BTreeMap::new(),
            guards: Guards::new(),
            ana: Groups::new(),
            last_cntlid: 0,
        };
        self.subsystems.insert(subsystem).ok_or(ConfigError::TooManySubsystems)?;
        self.discovery_changed();
        Ok(())
    }

    /// Removes a subsystem and closes all its connections. IO in flight is the owner's to drain.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`].
    pub fn remove_subsystem(&mut self, nqn: &str) -> Result<(), ConfigError> {
        let key = self.find(nqn).ok_or(ConfigError::SubsystemNotFound)?;
        self.subsystems.remove(key);
        for (_, controller) in self.controllers.iter_mut() {
            if controller.kind == Kind::Io(key) {
                controller.die(&mut self.actions);
            }
        }
        self.discovery_changed();
        Ok(())
    }

    /// Adds a namespace; connected hosts are told.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`], [`ConfigError::NamespaceRefused`].
    pub fn add_namespace(&mut self, nqn: &str, namespace: NamespaceConfig) -> Result<(), ConfigError> {
        let nsid = namespace.nsid;
        self.change_namespace(nqn, nsid, Change::Content, |namespaces| {
            let has_format = namespace.lba_shift == LBA_SHIFT || namespace.lba_shift == LBA_SHIFT_SMALL;
            if !(1..=NSID_MAX).contains(&nsid) || namespaces.contains_key(&nsid) || !has_format {
                return Err(ConfigError::NamespaceRefused);
            }
            namespaces.insert(nsid, namespace);
            Ok(())
        })
    }

    /// Changes the size of a namespace; connected hosts are told. The engine only ever grows them.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`], [`ConfigError::NamespaceNotFound`].
    pub fn resize_namespace(&mut self, nqn: &str, nsid: u32, blocks: Blocks) -> Result<(), ConfigError> {
        self.change_namespace(nqn, nsid, Change::Content, |namespaces| {
            namespaces.get_mut(&nsid).ok_or(ConfigError::NamespaceNotFound)?.blocks = blocks;
            Ok(())
        })
    }

    /// Removes a namespace; connected hosts are told, new commands to it are refused. IO in flight is the owner's to drain.
    ///
    /// # Errors
    /// [`ConfigError::SubsystemNotFound`], [`ConfigError::NamespaceNotFound`].
    pub fn remove_namespace(&mut self, nqn: &str, nsid: u32) -> Result<(), ConfigError> {
        let key = self.find(nqn).ok_or(ConfigError::SubsystemNotFound)?;
        self.drop_guard(key, nsid);
        self.change_namespace(nqn, nsid, Change::Content, |namespaces| {
            namespaces.remove(&nsid).map(|_| ()).ok_or(ConfigError::NamespaceNotFound)
        })
    }

    pub(crate) fn discovery_changed(&mut self) {
        self.discovery_changes = self.discovery_changes.saturating_add(1);
        for (_, controller) in self.controllers.iter_mut() {
            if controller.is_discovery() {
                controller.raise(Notice::Discovery, &mut self.actions);
            }
        }
    }

    pub(crate) fn find(&self, nqn: &str) -> Option<Key> {
        self.subsystems.iter().find(|(_, subsystem)| subsystem.config.nqn == nqn).map(|(key, _)| key)
    }

    /// All controllers, with those of the discovery subsystem.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.controllers.iter().filter(|(_, c)| !c.is_dead).filter_map(|(_, c)| self.session(c)).collect()
    }

    fn session(&self, controller: &Controller) -> Option<Session> {
        let subsystem_nqn = match controller.kind {
            Kind::Io(key) => self.subsystems.get(key)?.config.nqn.clone(),
            Kind::Discovery => self.config.discovery_nqn.clone(),
        };
        Some(Session {
            host_nqn: controller.host_nqn.clone(),
            subsystem_nqn,
            is_discovery: controller.is_discovery(),
            cntlid: controller.cntlid,
            peer: self.connections.get(controller.admin.0)?.endpoints.peer,
            io_queues: u32::try_from(controller.io_queues.len()).unwrap_or(u32::MAX),
            commands: controller.counters.commands,
            since: controller.since,
        })
    }

    // ---- connections ---------------------------------------------------------------------------------------------

    /// A connection was accepted and initialized. `None` if there are too many: close it.
    pub fn on_accept(&mut self, endpoints: Endpoints) -> Option<ConnectionId> {
        self.connections.insert(Connection { endpoints, queue: None, first: None }).map(ConnectionId)
    }

    /// A connection is closed, for whatever reason. Its commands in flight are the owner's to drain; nothing is answered.
    pub fn on_close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id.0) else { return };
        let is_other = |connection: &ConnectionId| *connection != id;
        self.actions.retain(|action| match action {
            Action::Close { connection }
            | Action::Complete { connection, .. }
            | Action::Connected { connection, .. } => is_other(connection),
            Action::Persist { .. } | Action::Quiesce { .. } => true,
        });
        self.forget_asks(id);
        if let Some(queue) = connection.queue {
            self.on_queue_closed(queue);
        }
        connect::on_queue_closed(self, id);
    }

    fn on_queue_closed(&mut self, queue: QueueOf) {
        let Some(controller) = self.controllers.get_mut(queue.controller) else { return };
        if queue.qid == 0 {
            // The association ends with its admin queue (Base 2.1 §3.3.2.3): its other queues go too.
            controller.on_admin_closed(&mut self.actions);
        } else {
            controller.io_queues.remove(&queue.qid);
        }
        let is_gone = controller.io_queues.is_empty() && self.connections.get(controller.admin.0).is_none();
        if is_gone {
            self.controllers.remove(queue.controller);
        }
    }

    /// A connection is about to be closed while the storage works on its commands. Until [`Target::on_drained`] its host
    /// cannot connect to that subsystem: it would repeat a write, get the answer, write something newer, and then the old
    /// command could still reach the medium and undo that.
    pub fn on_draining(&mut self, id: ConnectionId) {
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        if let Some(queue) = queue
            && let Some(controller) = self.controllers.get(queue.controller)
        {
            let host_nqn = controller.host_nqn.clone();
            self.draining.push(Draining { connection: id, kind: controller.kind, host_nqn });
        }
    }

    /// The storage is done with the last command of a connection that was closed.
    pub fn on_drained(&mut self, id: ConnectionId) {
        self.draining.retain(|draining| draining.connection != id);
    }

    pub(crate) fn is_draining(&self, kind: Kind, host_nqn: &str) -> bool {
        self.draining.iter().any(|draining| draining.kind == kind && draining.host_nqn == host_nqn)
    }

    // ---- commands ------------------------------------------------------------------------------------------------

    /// A command arrived.
    ///
    /// # Panics
    /// If the connection was closed: calling rules.
    pub fn on_command(&mut self, id: ConnectionId, command: &Command<'_>, now: Tick) -> Outcome {
        let result = self.dispatch(id, command, now);
        self.settle(id, command.sqe, result)
    }

    /// The transport has refused a command: between two halves of a fused operation it counts as any other.
    pub fn on_refused(&mut self, id: ConnectionId, sqe: &Sqe) {
        if let Some(Connection { queue: Some(_), first, .. }) = self.connections.get_mut(id.0) {
            self.abort = fused::status_of_first(first.take(), sqe);
            *first = (sqe.fuse() == Fuse::FIRST).then_some(First::Refused);
        }
    }

    /// The command that has just arrived ends the wait of its connection's first half ([`Outcome::First`]) for a second: that
    /// is to be answered with this status. To be asked after each [`Target::on_command`] and [`Target::on_refused`].
    pub fn poll_abort(&mut self) -> Option<Status> {
        self.abort.take()
    }

    /// The data of a command that answered [`Outcome::NeedsData`] is there, all of it.
    pub fn on_data(&mut self, id: ConnectionId, command: &Command<'_>, data: &[u8], now: Tick) -> Outcome {
        let sqe = command.sqe;
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        let result = match queue {
            _ if sqe.opc == AdminOpcode::FABRICS.0 => connect::connect(self, id, command, data, now),
            Some(queue) if queue.qid != 0 => guard::on_data(self, (id, queue.controller), command, data),
            Some(_) | None => self.admin_data(id, sqe, data, now),
        };
        self.settle(id, sqe, result)
    }

    /// There is room for the page of a command that answered [`Outcome::Page`]. What reading it changes (that a change was seen)
    /// happens now.
    ///
    /// # Panics
    /// If the connection was closed: calling rules.
    pub fn on_page(&mut self, id: ConnectionId, command: &Command<'_>) -> Answer {
        let connection = self.connections.get(id.0);
        assert!(connection.is_some(), "commands come from open connections");
        let queue = connection.and_then(|connection| connection.queue);
        self.page(queue, command).unwrap_or_else(|refusal| self.refuse(id, command.sqe, refusal))
    }

    /// The storage is done with an [`Outcome::Io`].
    pub fn on_io_done(
        &mut self,
        id: ConnectionId,
        sqe: &Sqe,
        io: &Io,
        result: Result<(), MediaError>,
    ) -> Cqe {
        let status = result.err().map_or(Status::SUCCESS, media_status);
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        if let Some(queue) = queue
            && let Some(controller) = self.controllers.get_mut(queue.controller)
        {
            count(controller, io, result.is_ok());
            if let Err(_error) = result {
                controller.counters.media_errors = controller.counters.media_errors.saturating_add(1);
                controller.record_error(queue.qid, sqe, status);
            }
        }
        Cqe::new(sqe.cid.get(), status)
    }

    /// What the target wants; to be asked after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Target::on_tick`] is to be called; it may turn out that nothing was due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadline
    }

    /// The part of [`Target::next_deadline`] that is not seconds away: a Connect waits for its queue.
    #[must_use]
    pub fn next_hold(&self) -> Option<Tick> {
        self.held_connects.iter().map(HeldConnect::due).min()
    }

    /// Time has passed: silent hosts are dropped.
    pub fn on_tick(&mut self, now: Tick) {
        connect::on_tick(self, now);
        for (_, controller) in self.controllers.iter_mut() {
            if controller.deadline().is_some_and(|at| now >= at) {
                controller.die(&mut self.actions);
            }
        }
        self.update_deadline();
    }

    /// A deadline may have come nearer. (Each command moves one away; that is noticed when it would have been due.)
    pub(crate) fn update_deadline(&mut self) {
        let controllers = self.controllers.iter().filter_map(|(_, controller)| controller.deadline());
        self.deadline = controllers.chain(self.held_connects.iter().map(HeldConnect::due)).min();
    }

    fn settle(&mut self, id: ConnectionId, sqe: &Sqe, result: Result<Outcome, Refusal>) -> Outcome {
        result.unwrap_or_else(|refusal| Outcome::Done(self.refuse(id, sqe, refusal)))
    }

    fn refuse(&mut self, id: ConnectionId, sqe: &Sqe, refusal: Refusal) -> Answer {
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        if let Some(queue) = queue
            && let Some(controller) = self.controllers.get_mut(queue.controller)
        {
            controller.record_error(queue.qid, sqe, refusal.status);
        }
        refusal.answer(sqe)
    }

    fn page(&mut self, queue: Option<QueueOf>, command: &Command<'_>) -> Result<Answer, Refusal> {
        let queue = queue.ok_or(Status::COMMAND_SEQUENCE_ERROR.dnr())?;
        let controller = self.controllers.get(queue.controller).filter(|c| !c.is_dead && c.is_ready());
        // It was reset while the command waited.
        let controller = controller.ok_or(Status::ABORTED_SQ_DELETION)?;
        if queue.qid == 0 {
            return admin::page(self, queue.controller, command);
        }
        let Kind::Io(key) = controller.kind else { return Err(Status::INVALID_OPCODE.dnr().into()) };
        let subsystem = self.subsystems.get(key).ok_or(Status::INVALID_NAMESPACE.dnr())?;
        Ok(guard::report(View { subsystem, visible: &controller.visible }, command)?)
    }

    fn dispatch(&mut self, id: ConnectionId, command: &Command<'_>, now: Tick) -> Result<Outcome, Refusal> {
        let sqe = command.sqe;
        let connection = self.connections.get_mut(id.0);
        assert!(connection.is_some(), "commands come from open connections");
        let Some(Connection { queue: Some(queue), first, .. }) = connection else {
            return before_connect(command);
        };
        let queue = *queue;
        let before = first.take();
        // Unless this turns out to be its second.
        self.abort = fused::status_of_first(before, sqe);
        let Some(controller) = self.controllers.get_mut(queue.controller) else {
            return Err(Status::ABORTED_SQ_DELETION.into());
        };
        // Traffic based keep alive: every command counts (Base 2.1 §3.9.3).
        controller.last_seen = now;
        controller.counters.commands = controller.counters.commands.saturating_add(1);
        let is_fused = sqe.fuse() != Fuse::NONE;
        if is_fused && (queue.qid == 0 || sqe.opc == AdminOpcode::FABRICS.0) {
            return Err(Status::INVALID_FIELD.dnr().into());
        }
        if sqe.opc == AdminOpcode::FABRICS.0 {
            return property::fabrics(self, queue, sqe, now);
        }
        if controller.is_dead || !controller.is_ready() {
            return Err(Status::COMMAND_SEQUENCE_ERROR.dnr().into());
        }
        if queue.qid == 0 {
            return admin::command(self, queue.controller, command);
        }
        let Kind::Io(key) = controller.kind else { return Err(Status::INVALID_OPCODE.dnr().into()) };
        let Some(subsystem) = self.subsystems.get(key) else {
            return Err(Status::INVALID_NAMESPACE.dnr().into());
        };
        let view = View { subsystem, visible: &controller.visible };
        // A second half without its first ends for that reason.
        let is_lost = sqe.fuse() == Fuse::SECOND && !matches!(before, Some(First::Waits(_)));
        if !is_lost && let Err(status) = subsystem.guards.check(view, &controller.host_id, sqe) {
            *first = (sqe.fuse() == Fuse::FIRST).then_some(First::Refused);
            return Err(status.into());
        }
        if !is_fused && let Some(outcome) = guard::command(view, command) {
            return outcome.map_err(Refusal::from);
        }
        let result = fused::command(view, before, first, command);
        if let Ok(Outcome::Second(_)) = result {
            self.abort = None;
        }
        result.map_err(Refusal::from)
    }

    fn admin_data(
        &mut self,
        id: ConnectionId,
        sqe: &Sqe,
        data: &[u8],
        now: Tick,
    ) -> Result<Outcome, Refusal> {
        let queue = self.connections.get(id.0).and_then(|connection| connection.queue);
        let controller = queue.and_then(|queue| self.controllers.get_mut(queue.controller));
        let Some(controller) = controller else { return Err(Status::ABORTED_SQ_DELETION.into()) };
        controller.last_seen = now;
        crate::feature::set_with_data(controller, sqe, data)?;
        Ok(Outcome::Done(Answer::success(sqe)))
    }
}

/// The only command of a connection that is no queue yet.
fn before_connect(command: &Command<'_>) -> Result<Outcome, Refusal> {
    let sqe = command.sqe;
    if sqe.opc != AdminOpcode::FABRICS.0 || sqe.fctype() != FabricsType::CONNECT {
        return Err(Status::COMMAND_SEQUENCE_ERROR.dnr().into());
    }
    let len = command.data_len;
    if usize::try_from(len) != Ok(CONNECT_DATA_LEN) {
        return Err(Status::INVALID_SGL_LENGTH.dnr().into());
    }
    debug_assert!(len <= ADMIN_DATA_MAX, "owners have room for it");
    Ok(Outcome::NeedsData { len })
}

/// What the SMART log counts (Base 2.1 §5.1.12.1.3): commands that were completed, and the data units that were read or
/// written for the host, of which a command that failed has none.
fn count(controller: &mut Controller, io: &Io, is_done: bool) {
    let counters = &mut controller.counters;
    let units = io.kind.span().filter(|_| is_done).map_or(0, |span| span.len().0 / 512);
    match io.kind {
        IoKind::Read { .. } | IoKind::Compare { .. } | IoKind::Verify { .. } => {
            counters.reads = counters.reads.saturating_add(1);
            counters.units_read = counters.units_read.saturating_add(units);
        }
        // Of a Compare and Write the other half is counted by itself.
        IoKind::Write { .. } | IoKind::CompareAndWrite { .. } => {
            counters.writes = counters.writes.saturating_add(1);
            counters.units_written = counters.units_written.saturating_add(units);
        }
        IoKind::WriteZeroes { .. } | IoKind::Dataset(_) | IoKind::Copy(_) | IoKind::Flush => {}
    }
}
