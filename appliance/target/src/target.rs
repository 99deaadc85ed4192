//! The target of one core: connections, exports and drives in one place, and the life of a connection.
//!
//! Files beside this one continue it: `receive`, `send`, `io`, `memory`, `protocol`, `exports`.

use crate::bits::Bits;
use crate::command::State;
use crate::connection::{Connection, Life};
use crate::devices::Devices;
use crate::exports::Export;
use crate::io::{JOB_TAG, Way};
use crate::limits::{
    ARENA_BYTES_MIN, CHUNKS_MAX, ENDING_LOOKS_MAX, HOST_CONNECTIONS_MAX, SEND_SOON_BYTES, STAGING_BYTES,
    TIMER_PERIOD, WAITING_ROOM,
};
use crate::ranges::{Owner, Ranges};
use crate::strangers::Strangers;
use crate::thin::Thin;
use block::{Completion, Op, Tag, Tick};
use dma::{Arena, DmaBuf};
use net::limits::SOCKETS_MAX;
use net::{Event, ListenerId, Net, SocketId};
use nvme_subsystem::{ConnectionId, Endpoints, Target as Subsystems, TargetConfig};
use nvme_tcp::Slot;
use pool::DriveId;
use std::collections::{BTreeMap, VecDeque};

/// Figures since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commands that drives worked on and that were answered.
    pub commands: u64,
    /// Commands that had to wait for memory.
    pub memory_waits: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections ended because the host broke the protocol.
    pub protocol_errors: u64,
    /// Connections of strangers ended because newer ones came.
    pub strangers_ended: u64,
}

/// Everything that serves hosts on one core.
pub struct Target {
    pub(crate) arena: Arena,
    pub(crate) devices: Devices,
    pub(crate) subsystems: Subsystems,
    pub(crate) by_id: BTreeMap<ConnectionId, usize>,
    pub(crate) session_changes: u64,
    pub(crate) exports: Vec<Option<Export>>,
    /// Pools of the thin engine, exported or not.
    pub(crate) thin: Vec<Option<Thin>>,
    /// Memory that is set aside for pools, by their drives.
    pub(crate) reserves: Vec<(DriveId, Arena)>,
    pub(crate) counters: Counters,
    pub(crate) connections: Vec<Option<Box<Connection>>>,
    free_places: Vec<usize>,
    pub(crate) strangers: Strangers,
    /// Connections of hosts of a subsystem.
    pub(crate) host_connections: usize,
    /// Places of those that want a turn.
    pub(crate) line: VecDeque<usize>,
    by_socket: Vec<Option<usize>>,
    /// Connections that may have something to send.
    pub(crate) listed: Vec<usize>,
    /// Connections that have become IO queues, and of which the network has not been told.
    pub(crate) begun: Vec<SocketId>,
    /// Where received bytes land; empty while it is lent to a connection.
    pub(crate) staging: Box<[u8]>,
    /// Kept between commands, so that starting one allocates nothing.
    pub(crate) batch: Vec<(Way, Tag, Op<DmaBuf>)>,
    /// Connections whose next bytes have no place.
    pub(crate) blocked: VecDeque<usize>,
    /// Commands without memory.
    pub(crate) waiting: VecDeque<(usize, Slot)>,
    /// Who waits for whom.
    pub(crate) ranges: Ranges,
    /// Places of connections that have something at the drives.
    pub(crate) busy: Bits,
    job_completions: VecDeque<Completion<DmaBuf>>,
    discovery_listeners: Vec<ListenerId>,
    pub(crate) is_open: bool,
    /// Volumes whose reservation or protection is to be stored.
    pub(crate) to_persist: VecDeque<u64>,
    /// Volumes for which some commands at the drives are to end first.
    pub(crate) quiescing: Vec<u64>,
    next_timer: Tick,
    pub(crate) is_stopping: bool,
}

impl core::fmt::Debug for Target {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Target").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Target {
    /// A target without exports, over drives that were opened.
    ///
    /// # Panics
    /// If the arena is smaller than [`ARENA_BYTES_MIN`].
    #[must_use]
    pub fn new(config: TargetConfig, arena: Arena, devices: Devices) -> Self {
        assert!(arena.len() >= ARENA_BYTES_MIN, "the arena has room for the longest commands");
        // Connections that are gone wait for their drives beside the new ones.
        let places = 2 * SOCKETS_MAX;
        let mut busy = Bits::default();
        busy.grow(places);
        Self {
            arena,
            devices,
            subsystems: Subsystems::new(config),
            by_id: BTreeMap::new(),
            session_changes: 0,
            exports: Vec::new(),
            thin: Vec::new(),
            reserves: Vec::new(),
            counters: Counters::default(),
            connections: (0..places).map(|_| None).collect(),
            free_places: (0..places).rev().collect(),
            strangers: Strangers::new(),
            host_connections: 0,
            line: VecDeque::with_capacity(places),
            by_socket: vec![None; SOCKETS_MAX],
            listed: Vec::with_capacity(places),
            begun: Vec::new(),
            staging: vec![0; STAGING_BYTES].into(),
            batch: Vec::with_capacity(CHUNKS_MAX),
            blocked: VecDeque::with_capacity(places),
            waiting: VecDeque::with_capacity(WAITING_ROOM),
            ranges: Ranges::new(),
            busy,
            job_completions: VecDeque::new(),
            discovery_listeners: Vec::new(),
            is_open: false,
            to_persist: VecDeque::new(),
            quiescing: Vec::new(),
            next_timer: Tick(0),
            is_stopping: false,
        }
    }

    /// The drives.
    #[must_use]
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The drives, for the control plane's own work; its tags have [`JOB_TAG`].
    pub fn devices_mut(&mut self) -> &mut Devices {
        &mut self.devices
    }

    /// The memory for IO.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Figures since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The port of the portals, for the discovery log.
    pub fn set_io_port(&mut self, port: u16) {
        self.subsystems.set_io_port(port);
    }

    /// Connections to this listener are for discovery only.
    pub fn add_discovery_listener(&mut self, listener: ListenerId) {
        self.discovery_listeners.push(listener);
    }

    /// Lets every host connect, and use the volumes that have no list of hosts: a node in insecure mode. To be called
    /// before pools are added; without it such volumes are nobody's.
    pub fn open_to_everybody(&mut self) {
        assert!(self.exports.is_empty(), "pools are added after it is known who may use them");
        self.is_open = true;
    }

    /// Takes completions from the drives and acts on them; says how many.
    pub fn poll_devices(&mut self) -> usize {
        self.devices.begin_round();
        self.take_completions(usize::MAX)
    }

    /// Takes completions until so many bytes have come.
    fn take_completions(&mut self, bytes_max: usize) -> usize {
        let (mut count, mut bytes) = (0, 0);
        while bytes < bytes_max
            && let Some(completion) = self.next_completion()
        {
            count += 1;
            bytes += completion.buf.as_ref().map_or(0, DmaBuf::len);
            if completion.tag.0 & JOB_TAG == 0 {
                self.on_completion(completion);
            } else {
                self.job_completions.push_back(completion);
            }
        }
        count
    }

    /// The next completion of the control plane's own work.
    pub fn poll_job(&mut self) -> Option<Completion<DmaBuf>> {
        self.job_completions.pop_front()
    }

    /// Serves strangers, and starts commands that waited for memory, or for others; says how many.
    pub fn start_requests(&mut self, net: &mut Net, now: Tick) -> usize {
        self.serve_strangers(net, now) + self.serve_waiting(net, now) + self.start_ready()
    }

    /// Hands this round's operations to the drives and its answers to the sockets; says how many operations have ended
    /// meanwhile. Their answers leave in this round, too: a drive that is as fast as memory costs its host no round.
    pub fn kick(&mut self, net: &mut Net, now: Tick) -> usize {
        self.do_actions();
        self.run_pools();
        self.devices.kick();
        self.devices.begin_round();
        let mut count = 0;
        loop {
            let ended = self.take_completions(SEND_SOON_BYTES);
            self.send_all(net, now);
            count += ended;
            if ended == 0 {
                return count;
            }
        }
    }

    /// When [`Target::on_time`] is to be called; `None` while nobody is connected.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let is_anybody = self.free_places.len() < self.connections.len();
        is_anybody.then(|| self.subsystems.next_hold().map_or(self.next_timer, |at| at.min(self.next_timer)))
    }

    /// Ends connections whose time is over.
    pub fn on_time(&mut self, net: &mut Net, now: Tick) {
        if self.subsystems.next_hold().is_some_and(|at| now >= at) {
            self.subsystems.on_tick(now);
        }
        if now < self.next_timer {
            return;
        }
        self.next_timer = now.after(TIMER_PERIOD);
        let is_memory_short = !self.blocked.is_empty() || !self.waiting.is_empty();
        for place in 0..self.connections.len() {
            let Some(mut connection) = self.take(place) else { continue };
            let is_alive = matches!(connection.life, Life::Open | Life::Terminating);
            connection.ending_looks += u32::from(connection.is_ending);
            let is_over = connection.ending_looks > ENDING_LOOKS_MAX
                || (is_alive && is_memory_short && connection.keeps_memory_idle());
            // A host whose bytes have no place here is not late.
            let is_late = connection.blocked.is_none() && connection.tcp.on_deadline(now).is_err();
            if is_alive && (is_over || is_late) {
                self.close(&mut connection, net);
            }
            self.put(place, connection);
        }
        self.subsystems.on_tick(now);
    }

    /// Something happened on the sockets; says whether there was anything to do.
    pub fn on_event(&mut self, net: &mut Net, event: Event, now: Tick) -> bool {
        match event {
            Event::Readable { socket } => {
                let mut is_work = false;
                self.with(socket, |target, place, connection| {
                    if connection.is_host {
                        is_work = target.on_readable(place, connection, net, now);
                    } else {
                        target.line_up(place, connection);
                    }
                });
                return is_work;
            }
            Event::Accepted { socket, peer, local, listener } => {
                let is_discovery_only = self.discovery_listeners.contains(&listener);
                self.on_accepted(net, socket, Endpoints { local, peer, is_discovery_only }, now);
            }
            Event::Sent { socket, result } => {
                self.with(socket, |target, place, connection| {
                    target.on_sent(place, connection, &result, net, now);
                });
            }
            Event::Closed { socket } => {
                self.with(socket, |target, place, connection| target.on_closed(place, connection));
                self.by_socket[socket.index()] = None;
            }
            Event::Woken => {}
        }
        true
    }

    fn on_accepted(&mut self, net: &mut Net, socket: SocketId, endpoints: Endpoints, now: Tick) {
        let is_full = self.is_stopping || self.host_connections >= HOST_CONNECTIONS_MAX;
        let place = if is_full { None } else { self.free_places.pop() };
        let id = place.and_then(|_| self.subsystems.on_accept(endpoints));
        let (Some(place), Some(id)) = (place, id) else {
            self.free_places.extend(place);
            net.close(socket);
            return;
        };
        self.counters.connections += 1;
        if let Some(oldest) = self.strangers.arrive(socket, endpoints.peer.ip()) {
            self.counters.strangers_ended += 1;
            self.with(oldest, |target, _, connection| target.close(connection, net));
        }
        self.by_id.insert(id, place);
        let mut connection = Box::new(Connection::new(socket, id, now));
        self.by_socket[socket.index()] = Some(place);
        self.pump(place, &mut connection, net, now);
        self.put(place, connection);
    }

    /// Calls `work` for the connection of a socket. A socket that was refused has none.
    fn with(&mut self, socket: SocketId, work: impl FnOnce(&mut Self, usize, &mut Connection)) {
        let Some(place) = self.by_socket[socket.index()] else { return };
        let Some(mut connection) = self.take(place) else { return };
        work(self, place, &mut connection);
        self.put(place, connection);
    }

    /// Takes a connection out of its place to work on it.
    pub(crate) fn take(&mut self, place: usize) -> Option<Box<Connection>> {
        self.connections[place].take()
    }

    /// Puts it back, unless it is gone and nothing of it is left at the drives.
    pub(crate) fn put(&mut self, place: usize, connection: Box<Connection>) {
        if connection.life == Life::Gone && connection.at_devices == 0 {
            self.free_places.push(place);
        } else {
            self.connections[place] = Some(connection);
        }
    }

    /// Ends a connection. What is in flight comes back first.
    pub(crate) fn close(&mut self, connection: &mut Connection, net: &mut Net) {
        if matches!(connection.life, Life::Open | Life::Terminating) {
            connection.life = Life::Closing;
            self.strangers.leave(connection.socket);
            self.host_connections -= usize::from(core::mem::take(&mut connection.is_host));
            self.forget_host(connection);
            net.close(connection.socket);
        }
    }

    /// The socket is gone: buffers that drives do not hold go back to the arena.
    fn on_closed(&mut self, place: usize, connection: &mut Connection) {
        self.forget_host(connection);
        connection.life = Life::Gone;
        connection.input.forget();
        for command in &mut connection.commands {
            if let State::AwaitTurn(_, slot) = command.state {
                let area =
                    command.rest().and_then(|rest| rest.area).expect("who waits for a turn has an area");
                self.ranges.leave(Owner { place, index: slot.index() }, &area);
                command.has_claim = false;
            }
            if !matches!(command.state, State::AtDevices(..)) {
                command.reset();
            }
        }
        self.blocked.retain(|blocked| *blocked != place);
        self.line.retain(|waiting| *waiting != place);
        self.waiting.retain(|(waiting, _)| *waiting != place);
    }

    /// Begins an orderly stop: nothing more is received; commands at the drives are answered.
    pub fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Whether every command that was at a drive is answered, and the answers have left.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.devices.is_quiet()
            && self.are_pools_quiet()
            && self.ranges.is_empty()
            && self.listed.is_empty()
            && self.connections.iter().flatten().all(|connection| !connection.output.is_sending)
    }

    /// Ends all connections.
    pub fn close_all(&mut self, net: &mut Net) {
        for place in 0..self.connections.len() {
            let Some(mut connection) = self.take(place) else { continue };
            self.close(&mut connection, net);
            self.put(place, connection);
        }
    }

    /// Nobody is connected and nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.free_places.len() == self.connections.len() && self.devices.is_quiet() && self.are_pools_quiet()
    }
}
