//! What one core works on: the target, the drives, the pools, and changes of them.
//!
//! ```text
//!  serving ── Stop ──▶ draining: no new connections or commands ──▶ closing ── nothing is in flight ──▶ over
//! ```

use crate::answer::Answer;
use crate::changes::Changes;
use crate::drives::DriveEntry;
use crate::limits::{CLOSE_TIME, DRAIN_TIME, SETTLE_PERIOD};
use crate::{Event as Notice, EventSink};
use block::Tick;
use control::Request;
use net::{Event, Net};
use nvme_subsystem::Session;
use pool::{KnownDrive, OfflinePool};
use reactor::{App, Mode, Round, Sleep};
use std::fs::File;
use std::net::SocketAddr;
use std::time::Instant;
use target::Target;

/// What other threads send.
pub(crate) enum Message {
    Call(Request, Answer),
    Stop,
}

/// Where the engine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    Draining { until: Tick },
    Closing { until: Tick },
    Over,
}

/// Facts for statuses.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: String,
    pub(crate) mode: Mode,
    pub(crate) portals: Vec<SocketAddr>,
    pub(crate) started: Instant,
    pub(crate) start_ms: u64,
}

/// How many cores there are, and how busy the busiest is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) cores: u32,
    pub(crate) busy_permille: u32,
}

impl Load {
    fn of(round: &Round<'_>) -> Self {
        let others = round.net.cores();
        let busiest = others.iter().map(|core| core.busy_permille).max().unwrap_or(0);
        let cores = u32::try_from(1 + others.len()).expect("cores are bounded");
        Self { cores, busy_permille: busiest.max(round.busy_permille) }
    }
}

/// The core.
pub(crate) struct Core {
    pub(crate) target: Target,
    pub(crate) drives: Vec<DriveEntry>,
    /// Drives that work, and what they are to us.
    pub(crate) known: Vec<KnownDrive>,
    pub(crate) offline: Vec<OfflinePool>,
    pub(crate) changes: Changes,
    pub(crate) facts: Facts,
    /// Random bytes for the identities of drives.
    pub(crate) random: File,
    events: Option<EventSink>,
    sessions: Vec<Session>,
    sessions_seen: u64,
    settle_at: Option<Tick>,
    life: Life,
}

/// What a core is made of.
pub(crate) struct Parts {
    pub(crate) target: Target,
    pub(crate) drives: Vec<DriveEntry>,
    pub(crate) known: Vec<KnownDrive>,
    pub(crate) offline: Vec<OfflinePool>,
    pub(crate) facts: Facts,
    pub(crate) random: File,
    pub(crate) events: Option<EventSink>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let has_unsettled = parts.target.pools().any(|pool| !pool.is_settled());
        Self {
            target: parts.target,
            drives: parts.drives,
            known: parts.known,
            offline: parts.offline,
            changes: Changes::new(),
            facts: parts.facts,
            random: parts.random,
            events: parts.events,
            sessions: Vec::new(),
            sessions_seen: 0,
            settle_at: has_unsettled.then(|| Tick(0).after(SETTLE_PERIOD)),
            life: Life::Serving,
        }
    }

    /// Tells whoever listens.
    pub(crate) fn notify(&mut self, kind: &str, object: String, text: String) {
        if let Some(sink) = &mut self.events {
            sink(Notice { kind: kind.to_owned(), object, text });
        }
    }

    fn notify_sessions(&mut self) {
        if self.target.session_changes() == self.sessions_seen {
            return;
        }
        self.sessions_seen = self.target.session_changes();
        let now = self.target.sessions();
        let before = core::mem::replace(&mut self.sessions, now.clone());
        let is_in = |list: &[Session], session: &Session| {
            list.iter().any(|s| s.cntlid == session.cntlid && s.subsystem_nqn == session.subsystem_nqn)
        };
        for session in now.iter().filter(|session| !is_in(&before, session)) {
            let text = format!("{} connected to {}", session.peer, session.subsystem_nqn);
            self.notify("host-connected", format!("host/{}", session.host_nqn), text);
        }
        for session in before.iter().filter(|session| !is_in(&now, session)) {
            let text = format!("{} left {}", session.peer, session.subsystem_nqn);
            self.notify("host-disconnected", format!("host/{}", session.host_nqn), text);
        }
    }

    /// Tells of drives that stopped working.
    fn notify_failures(&mut self) {
        if !self.target.devices_mut().take_news() {
            return;
        }
        let devices = self.target.devices();
        let failed: Vec<(String, String)> =
            self.drives.iter_mut().filter_map(|drive| drive.take_failure(devices)).collect();
        for (serial, why) in failed {
            self.notify("drive-failed", format!("drive/{serial}"), why);
        }
    }

    fn begin_stop(&mut self, net: &mut Net, now: Tick) {
        if self.life == Life::Serving {
            net.stop_listening();
            self.target.begin_stop();
            self.changes.refuse_waiting();
            self.life = Life::Draining { until: now.after(DRAIN_TIME) };
        }
    }

    fn go_on_stopping(&mut self, net: &mut Net, now: Tick) {
        match self.life {
            Life::Serving | Life::Over => {}
            Life::Draining { until } => {
                let is_drained = self.target.is_drained() && self.changes.is_idle();
                if is_drained || now >= until {
                    self.target.close_all(net);
                    self.life = Life::Closing { until: now.after(CLOSE_TIME) };
                }
            }
            Life::Closing { until } => {
                if self.target.is_idle() || now >= until {
                    self.life = Life::Over;
                }
            }
        }
    }

    /// Drives are flushed and shut down. Called after the loop has ended.
    pub(crate) fn shut_down(&mut self) {
        self.changes.abandon();
        for (id, problem) in self.target.devices_mut().shut_down() {
            let serial =
                self.known.iter().find(|known| known.drive.id == id).map(|known| &known.drive.serial);
            let object = format!("drive/{}", serial.map_or("?", String::as_str));
            self.notify("drive-failed", object, format!("the drive did not shut down: {problem}"));
        }
    }
}

impl App for Core {
    type Message = Message;

    fn poll_devices(&mut self, _: &mut Round<'_>) -> usize {
        let count = self.target.poll_devices();
        while let Some(completion) = self.target.poll_job() {
            self.changes.on_completion(completion);
        }
        count
    }

    fn on_event(&mut self, round: &mut Round<'_>, event: Event) -> bool {
        self.target.on_event(round.net, event, round.now)
    }

    fn start_requests(&mut self, round: &mut Round<'_>) -> usize {
        let served = self.target.start_requests(round.net, round.now);
        self.notify_sessions();
        self.notify_failures();
        if self.life == Life::Serving {
            self.take_host_changes();
        }
        if self.changes.is_idle() {
            return served;
        }
        let finished = self.finish_changes();
        let begun = match self.life {
            Life::Serving => self.begin_host_changes() + self.begin_changes(),
            Life::Draining { .. } | Life::Closing { .. } | Life::Over => 0,
        };
        // While closing, jobs give nothing new to the drives: the change is cut off as by a crash.
        let submitted = match self.life {
            Life::Serving | Life::Draining { .. } => self.changes.submit(&mut self.target),
            Life::Closing { .. } | Life::Over => 0,
        };
        served + finished + begun + submitted
    }

    fn kick(&mut self, round: &mut Round<'_>) -> usize {
        let count = self.target.kick(round.net, round.now);
        while let Some(completion) = self.target.poll_job() {
            self.changes.on_completion(completion);
        }
        self.go_on_stopping(round.net, round.now);
        count
    }

    fn on_message(&mut self, round: &mut Round<'_>, message: Message) {
        match message {
            Message::Call(request, answer) => {
                let load = Load::of(round);
                self.on_request(request, answer, round.now, load);
            }
            Message::Stop => self.begin_stop(round.net, round.now),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        [self.target.deadline(), self.settle_at].into_iter().flatten().min()
    }

    fn on_time(&mut self, round: &mut Round<'_>) {
        self.target.on_time(round.net, round.now);
        if self.settle_at.is_some_and(|at| at <= round.now) {
            let is_left = self.settle_again();
            self.settle_at = is_left.then(|| round.now.after(SETTLE_PERIOD));
        }
    }

    fn prepare_sleep(&mut self) -> Sleep {
        let sleep = self.target.devices_mut().prepare_sleep();
        // The end of a stop is found by looking.
        if self.life == Life::Serving { sleep } else { Sleep::Poll }
    }

    fn on_awake(&mut self) {
        self.target.devices_mut().on_awake();
    }

    fn is_finished(&self) -> bool {
        self.life == Life::Over
    }
}
