//! One controller: a host's association with a subsystem, and its life cycle.
//!
//! ```text
//!  Connect ─▶ disabled ──CC.EN 0→1──▶ ready ──CC.SHN──▶ shut down
//!                ▲        EN 1→0       │ keep alive expired
//!                └─────────────────────┤
//!              two minutes: dropped    ▼
//!                                   dead (CSTS.CFS): all its connections are closed
//! ```

use crate::discovery;
use crate::inbox::Inbox;
use crate::limits::{
    AER_MAX, DISCOVERY_IDLE, DISCOVERY_TRANSFER_MAX, ERRORS_MAX, IDLE_ASSOCIATION, KEEP_ALIVE_GRANULARITY_MS,
    TRANSFER_MAX,
};
use crate::outcome::{Action, ConnectionId};
use crate::slab::Key;
use crate::view::NsidSet;
use block::Tick;
use core::time::Duration;
use nvme_spec::feature::{AsyncEvent, notice};
use nvme_spec::log::{ErrorEntry, LogPage};
use nvme_spec::register::{Cc, Csts};
use nvme_spec::{Cqe, Sqe, Status};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32, U64};

/// What the host wants to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A subsystem with namespaces.
    Io(Key),
    /// The discovery subsystem.
    Discovery,
}

/// Features that a host can set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    pub(crate) arbitration: u32,
    pub(crate) temperature_threshold: u16,
    pub(crate) error_recovery: u16,
    pub(crate) write_atomicity: u32,
    pub(crate) notices: u32,
    /// Advanced command retry enable.
    pub(crate) acre: bool,
}

impl Features {
    pub(crate) const DEFAULT: Self = Self {
        arbitration: 0,
        temperature_threshold: 0xffff, // never
        error_recovery: 0,
        write_atomicity: 0,
        notices: 0,
        acre: false,
    };
}

/// Counters behind the SMART log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// In units of 512 bytes, also below.
    pub(crate) units_read: u64,
    pub(crate) units_written: u64,
    pub(crate) media_errors: u64,
    pub(crate) errors: u64,
}

/// Kinds of notices; each is reported once, then waits for its log page to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Notice {
    Namespaces = 1,
    Ana = 2,
    Discovery = 4,
    Reservation = 8,
}

impl Notice {
    const ALL: [Self; 4] = [Self::Namespaces, Self::Ana, Self::Discovery, Self::Reservation];

    const fn bit(self) -> u8 {
        self as u8
    }

    /// Its bit in Asynchronous Event Configuration, the event's information, and its log page.
    const fn facts(self) -> (u32, u8, LogPage) {
        match self {
            Self::Namespaces => (
                notice::NAMESPACE_ATTRIBUTE,
                AsyncEvent::NAMESPACE_ATTRIBUTE_CHANGED,
                LogPage::CHANGED_NAMESPACES,
            ),
            Self::Ana => (notice::ANA_CHANGE, AsyncEvent::ANA_CHANGED, LogPage::ANA),
            Self::Discovery => (notice::DISCOVERY_CHANGE, AsyncEvent::DISCOVERY_CHANGED, LogPage::DISCOVERY),
            // Masked by a feature of its own, before it is raised (Base 2.1 §5.1.25.1.29).
            Self::Reservation => (0, AsyncEvent::RESERVATION_LOG_AVAILABLE, LogPage::RESERVATION),
        }
    }

    /// The notice that reading this page re-arms.
    pub(crate) fn of_page(page: LogPage) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.facts().2 == page)
    }
}

/// An Asynchronous Event Request that waits for something to tell.
#[derive(Clone, Copy, Debug)]
struct Held {
    tag: u32,
    cid: u16,
}

#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) kind: Kind,
    pub(crate) cntlid: u16,
    pub(crate) host_id: [u8; 16],
    pub(crate) host_nqn: String,
    pub(crate) admin: ConnectionId,
    pub(crate) io_queues: BTreeMap<u16, ConnectionId>,
    /// I/O queues that the host may connect.
    pub(crate) queues_granted: u16,
    pub(crate) cc: Cc,
    pub(crate) csts: Csts,
    /// AQA, ASQ and ACQ: without meaning over fabrics, but some hosts read them back.
    pub(crate) admin_queue: [u64; 3],
    pub(crate) keep_alive_ms: u32,
    /// The host's last command.
    pub(crate) last_seen: Tick,
    /// Since when it is disabled or shut down.
    idle_since: Tick,
    pub(crate) since: Tick,
    /// All its connections are being closed.
    pub(crate) is_dead: bool,
    pub(crate) features: Features,
    pub(crate) counters: Counters,
    /// The namespaces that its host may use.
    pub(crate) visible: NsidSet,
    pub(crate) changed_namespaces: BTreeSet<u32>,
    pub(crate) errors: VecDeque<ErrorEntry>,
    pub(crate) inbox: Inbox,
    /// The discovery log as the host began to read it.
    pub(crate) discovery_log: Option<discovery::Log>,
    held: VecDeque<Held>,
    pending: u8,
    reported: u8,
}

/// Who connects, and how.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) kind: Kind,
    pub(crate) cntlid: u16,
    pub(crate) host_id: [u8; 16],
    pub(crate) host_nqn: String,
    pub(crate) admin: ConnectionId,
    pub(crate) keep_alive_ms: u32,
    pub(crate) visible: NsidSet,
}

impl Controller {
    pub(crate) fn new(who: Association, now: Tick) -> Self {
        Self {
            kind: who.kind,
            cntlid: who.cntlid,
            host_id: who.host_id,
            host_nqn: who.host_nqn,
            admin: who.admin,
            io_queues: BTreeMap::new(),
            queues_granted: crate::limits::IO_QUEUES_MAX,
            cc: Cc::new(),
            csts: Csts::new(),
            admin_queue: [0; 3],
            keep_alive_ms: round_keep_alive(who.keep_alive_ms),
            last_seen: now,
            idle_since: now,
            since: now,
            is_dead: false,
            features: Features::DEFAULT,
            counters: Counters::default(),
            visible: who.visible,
            changed_namespaces: BTreeSet::new(),
            // Commands fail on the path of reads and writes, too. Discovery controllers have no page of errors.
            errors: VecDeque::with_capacity(if who.kind == Kind::Discovery { 0 } else { ERRORS_MAX }),
            inbox: Inbox::default(),
            discovery_log: None,
            held: VecDeque::with_capacity(AER_MAX),
            pending: 0,
            reported: 0,
        }
    }

    pub(crate) fn is_discovery(&self) -> bool {
        self.kind == Kind::Discovery
    }

    /// Longest data of a command, in bytes; Identify says so (MDTS).
    pub(crate) fn transfer_max(&self) -> u32 {
        if self.is_discovery() { DISCOVERY_TRANSFER_MAX } else { TRANSFER_MAX }
    }

    /// Commands other than fabrics commands are accepted.
    pub(crate) fn is_ready(&self) -> bool {
        self.csts.rdy() && !self.csts.cfs() && self.csts.shst() == 0
    }

    /// When something is due, if the host stays silent (Base 2.1 §3.9, §3.3.2.3).
    pub(crate) fn deadline(&self) -> Option<Tick> {
        if self.is_dead {
            return None;
        }
        if !self.csts.rdy() || self.csts.shst() != 0 {
            return Some(self.idle_since.after(IDLE_ASSOCIATION));
        }
        if self.keep_alive_ms == 0 {
            return self.is_discovery().then(|| self.last_seen.after(DISCOVERY_IDLE));
        }
        // One unit of granularity more than the host asked for, since it counts from its own clock.
        let wait = self.keep_alive_ms.saturating_add(KEEP_ALIVE_GRANULARITY_MS);
        Some(self.last_seen.after(Duration::from_millis(u64::from(wait))))
    }

    /// Everything that is connected, the admin queue last.
    pub(crate) fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.io_queues.values().copied().chain([self.admin])
    }

    /// The host must go: fatal status, all connections are closed.
    pub(crate) fn die(&mut self, actions: &mut VecDeque<Action>) {
        if self.is_dead {
            return;
        }
        self.is_dead = true;
        self.held.clear();
        self.csts.set_cfs(true);
        actions.extend(self.connections().map(|connection| Action::Close { connection }));
    }

    /// The admin queue is closed already: the others follow, and nobody is left to be told anything.
    pub(crate) fn on_admin_closed(&mut self, actions: &mut VecDeque<Action>) {
        self.held.clear();
        if !self.is_dead {
            self.is_dead = true;
            actions.extend(self.io_queues.values().map(|queue| Action::Close { connection: *queue }));
        }
    }

    /// A new value for CC (Base 2.1 §3.1.4.5, §3.6). What CAP excludes is refused and changes nothing.
    pub(crate) fn set_cc(&mut self, cc: Cc, now: Tick, actions: &mut VecDeque<Action>) -> Result<(), Status> {
        let is_possible = cc.css() == 0 && cc.mps() == 0 && cc.ams() == 0 && cc.shn() != 3 && !cc.crime();
        if !is_possible {
            return Err(Status::CONNECT_INVALID_PARAMETERS.dnr());
        }
        let old = core::mem::replace(&mut self.cc, cc);
        if cc.en() && !old.en() {
            self.csts.set_rdy(true);
            self.last_seen = now;
        }
        if !cc.en() && old.en() {
            self.disable(now, actions);
        }
        if cc.shn() != 0 && old.shn() == 0 {
            // Everything that was completed is as durable as it will be; commands still in flight complete as usual.
            self.csts.set_shst(2);
            self.idle_since = now;
        }
        if cc.shn() == 0 && old.shn() != 0 {
            self.csts.set_shst(0);
            self.last_seen = now;
        }
        Ok(())
    }

    fn disable(&mut self, now: Tick, actions: &mut VecDeque<Action>) {
        self.csts = Csts::new();
        self.idle_since = now;
        actions.extend(self.io_queues.values().map(|queue| Action::Close { connection: *queue }));
        self.features = Features::DEFAULT;
        self.queues_granted = crate::limits::IO_QUEUES_MAX;
        self.pending = 0;
        self.reported = 0;
        self.changed_namespaces.clear();
        self.inbox = Inbox::default();
        for held in core::mem::take(&mut self.held) {
            let cqe = Cqe::new(held.cid, Status::ABORTED_SQ_DELETION);
            actions.push_back(Action::Complete { connection: self.admin, tag: held.tag, cqe });
        }
    }

    pub(crate) fn hold(&mut self, tag: u32, cid: u16, actions: &mut VecDeque<Action>) -> Result<(), Status> {
        if self.held.len() >= AER_MAX {
            return Err(Status::AER_LIMIT_EXCEEDED.dnr());
        }
        self.held.push_back(Held { tag, cid });
        self.deliver(actions);
        Ok(())
    }

    /// Aborts an event request; false if there is none with this identifier.
    pub(crate) fn abort_held(&mut self, cid: u16, actions: &mut VecDeque<Action>) -> bool {
        let Some(held) =
            self.held.iter().position(|h| h.cid == cid).and_then(|index| self.held.remove(index))
        else {
            return false;
        };
        let cqe = Cqe::new(held.cid, Status::ABORT_REQUESTED);
        actions.push_back(Action::Complete { connection: self.admin, tag: held.tag, cqe });
        true
    }

    /// Tells the host, if it wants to know, as soon as it can be told. Repeats before that count once.
    pub(crate) fn raise(&mut self, notice: Notice, actions: &mut VecDeque<Action>) {
        // A discovery controller without keep alive is not persistent: nobody listens (Base 2.1 §3.1.3.3.2).
        let is_wanted = notice == Notice::Reservation || self.features.notices & notice.facts().0 != 0;
        if !is_wanted || (self.is_discovery() && self.keep_alive_ms == 0) {
            return;
        }
        self.pending |= notice.bit();
        self.deliver(actions);
    }

    /// The oldest reservation notification was read; the host is told of the next one, if there is one.
    pub(crate) fn on_reservation_page_read(&mut self, actions: &mut VecDeque<Action>) {
        self.inbox.pop();
        self.pending &= !Notice::Reservation.bit();
        if !self.inbox.is_empty() {
            self.raise(Notice::Reservation, actions);
        }
    }

    /// The log page was read without RAE: the next notice of its kind may be sent.
    pub(crate) fn rearm(&mut self, page: LogPage, actions: &mut VecDeque<Action>) {
        if let Some(notice) = Notice::of_page(page) {
            self.reported &= !notice.bit();
            self.deliver(actions);
        }
    }

    fn deliver(&mut self, actions: &mut VecDeque<Action>) {
        for notice in Notice::ALL {
            if self.pending & !self.reported & notice.bit() == 0 {
                continue;
            }
            let Some(held) = self.held.pop_front() else { return };
            self.pending &= !notice.bit();
            self.reported |= notice.bit();
            let (_, information, page) = notice.facts();
            let is_notice = notice != Notice::Reservation;
            let event = AsyncEvent::new()
                .with_kind(if is_notice { AsyncEvent::NOTICE } else { AsyncEvent::IO_COMMAND_SET })
                .with_information(information)
                .with_log_page(page.0);
            let mut cqe = Cqe::new(held.cid, Status::SUCCESS);
            cqe.dw0 = U32::new(event.into_bits());
            actions.push_back(Action::Complete { connection: self.admin, tag: held.tag, cqe });
        }
    }

    /// Keeps a failed command for the error log.
    pub(crate) fn record_error(&mut self, qid: u16, sqe: &Sqe, status: Status) {
        self.counters.errors = self.counters.errors.saturating_add(1);
        if self.is_discovery() {
            return;
        }
        if self.errors.len() >= ERRORS_MAX {
            self.errors.pop_back();
        }
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count = U64::new(self.counters.errors);
        entry.sqid = U16::new(qid);
        entry.cid = sqe.cid;
        entry.status = U16::new(status.to_field());
        entry.parameter = U16::new(0xffff); // not tied to one parameter
        entry.lba = U64::new(if qid == 0 { 0 } else { sqe.slba() });
        entry.nsid = sqe.nsid;
        entry.trtype = 3; // TCP
        self.errors.push_front(entry);
    }
}

/// A keep alive timeout in whole units of KAS, rounded up.
pub(crate) fn round_keep_alive(ms: u32) -> u32 {
    ms.div_ceil(KEEP_ALIVE_GRANULARITY_MS).saturating_mul(KEEP_ALIVE_GRANULARITY_MS)
}
