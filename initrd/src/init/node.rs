//! The main loop of PID 1: starts what is due, reaps what ended, obeys orders, and ends the node in order.
//!
//! Invariants
//! - Every process that ends is reaped, also one that was not ours.
//! - On the way down the agent goes first (nobody asks for changes any more), then the engine (it flushes and releases
//!   the drives), then the rest; each has a limit, and what does not end is killed.

use super::server::Server;
use super::services::{Kind, Machine, Service, agent_arguments, dhcp_arguments, engine_arguments};
use super::{Shared, panic, ready, report};
use crate::args::AddressSource;
use crate::boot::network::{default_hostname, links};
use crate::clock::uptime_ms;
use crate::failure::Failure;
use crate::journal::{Level, busy_file};
use crate::limits::{STOP_AGENT, STOP_ENGINE, STOP_OTHERS};
use crate::phase::{Outcome, Phase};
use crate::rtnl;
use crate::unit::Exit;
use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The loop looks at its timers at least this often; nothing depends on it.
const TICK: Duration = Duration::from_secs(60);
/// Index of the loopback interface: Linux makes it first.
const LOOPBACK: u32 = 1;
/// A process that ended is reaped this much later, so that its last line, often the reason, is read before.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// Time for the last lines to leave through a serial port: about 40 lines at 115200 baud.
const LAST_LINES: Duration = Duration::from_millis(300);

/// The end of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Start again, and why.
    Reboot(String),
    /// Switch off, and why.
    PowerOff(String),
}

/// What reaches the main loop.
#[derive(Debug)]
pub(super) enum Note {
    /// Network interfaces exist now.
    ModulesLoaded,
    /// The engine can start.
    DrivesClaimed {
        /// PCI addresses.
        drives: Vec<String>,
        /// Size of its memory.
        arena_mib: u64,
    },
    /// A service printed a line.
    Line {
        /// Which service.
        index: usize,
        /// The line.
        line: String,
    },
    /// A process ended.
    ChildEnded,
    /// Somebody wants the node to end.
    Order(Order),
}

/// The state of PID 1.
pub(super) struct Node {
    shared: Arc<Shared>,
    notes: mpsc::Sender<Note>,
    inbox: mpsc::Receiver<Note>,
    services: Vec<Service>,
    /// One per service: the task that waits until it is ready.
    waiters: Vec<Option<JoinHandle<()>>>,
    server: Arc<Server>,
}

impl Node {
    pub(super) fn new(
        shared: Arc<Shared>,
        notes: mpsc::Sender<Note>,
        inbox: mpsc::Receiver<Note>,
        ttys: &[String],
    ) -> Self {
        let server = Arc::new(Server::new(Arc::clone(&shared), notes.clone()));
        let mut node = Self { shared, notes, inbox, services: Vec::new(), waiters: Vec::new(), server };
        if node.shared.args.has_console {
            for tty in ttys {
                node.add(Kind::Console(tty.clone()), vec!["console".to_owned(), tty.clone()]);
            }
        }
        node
    }

    /// Runs until an order ends the node.
    pub(super) async fn run(&mut self) -> ! {
        self.listen_to_signals();
        self.open_bus();
        loop {
            self.start_due();
            self.server.set_services(self.services.iter().map(Service::status).collect());
            if let Some(order) = self.step(TICK).await {
                self.end(&order).await;
            }
        }
    }

    /// Waits for one note or for the next timer.
    async fn step(&mut self, limit: Duration) -> Option<Order> {
        let now = uptime_ms();
        let due = self.services.iter().filter_map(|s| s.unit.poll_deadline()).min();
        let pause = due.map_or(limit, |due| Duration::from_millis(due.saturating_sub(now)).min(limit));
        let note = tokio::time::timeout(pause, self.inbox.recv()).await.ok()??;
        match note {
            Note::ModulesLoaded => self.on_modules_loaded(),
            Note::DrivesClaimed { drives, arena_mib } => self.on_drives_claimed(&drives, arena_mib),
            Note::Line { index, line } => {
                if let Some(service) = self.services.get_mut(index) {
                    service.on_line(&self.shared.journal, &line);
                }
            }
            Note::ChildEnded => self.reap(),
            Note::Order(order) => return Some(order),
        }
        None
    }

    fn listen_to_signals(&self) {
        // Ctrl-Alt-Del comes as SIGINT instead of an immediate reset.
        if let Err(errno) = set_cad_enabled(false) {
            report(&self.shared.journal, &Failure::errno("take over", "Ctrl-Alt-Del", errno));
        }
        let reboot = |why: &str| Order::Reboot(why.to_owned());
        let table = [
            (SignalKind::child(), None),
            (SignalKind::interrupt(), Some(reboot("Ctrl-Alt-Del or SIGINT"))),
            (SignalKind::terminate(), Some(reboot("SIGTERM"))),
            (SignalKind::user_defined2(), Some(Order::PowerOff("SIGUSR2".to_owned()))),
        ];
        for (kind, order) in table {
            let Ok(mut stream) = signal(kind) else {
                panic::give_up(&self.shared.journal, "signals cannot be received");
            };
            let notes = self.notes.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if order.is_none() {
                        sleep(LAST_WORDS).await;
                    }
                    let note = order.clone().map_or(Note::ChildEnded, Note::Order);
                    if notes.send(note).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    fn open_bus(&self) {
        let remedy = "console and agent cannot see the node's state; hosts are served nevertheless";
        let listener = match bus::listen(bus::INIT_SOCKET) {
            Ok(listener) => listener,
            Err(e) => {
                let failure = Failure::io("listen", bus::INIT_SOCKET, &e).remedy(remedy);
                return report(&self.shared.journal, &failure);
            }
        };
        let server = Arc::clone(&self.server);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let publish =
                move |builder| bus::publish_init(builder, Arc::clone(&server) as Arc<dyn bus::InitService>);
            if let Err(e) = bus::serve(listener, publish).await {
                report(&shared.journal, &Failure::io("serve", bus::INIT_SOCKET, &e).remedy(remedy));
            }
        });
    }

    fn add(&mut self, kind: Kind, arguments: Vec<String>) {
        let mut service = Service::new(kind, arguments);
        service.unit.want(uptime_ms());
        self.services.push(service);
        self.waiters.push(None);
    }

    fn on_modules_loaded(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.timeline.begin(Phase::Network);
        if let Err(errno) = rtnl::link_up(LOOPBACK) {
            report(&shared.journal, &Failure::errno("switch on", "loopback", errno));
        }
        let hostname = shared.args.hostname.clone().or_else(|| default_hostname(&links()));
        if let Some(name) = hostname
            && let Err(errno) = nix::unistd::sethostname(OsString::from(&name))
        {
            report(&shared.journal, &Failure::errno("set host name", name, errno));
        }
        if let AddressSource::Static(fixed) = shared.args.address {
            shared
                .journal
                .line(Level::Info, &format!("network    fixed address {}/{}", fixed.address, fixed.prefix));
        }
        self.add(Kind::Dhcp, dhcp_arguments(&shared.args));
        tokio::spawn(ready::network(shared));
    }

    fn on_drives_claimed(&mut self, drives: &[String], arena_mib: u64) {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let engine = engine_arguments(&Machine { drives, arena_mib, processors }, &self.shared.args);
        let agent = agent_arguments(&self.shared.args);
        self.add(Kind::Engine, engine);
        self.add(Kind::Agent, agent);
    }

    /// Starts every service whose time has come.
    fn start_due(&mut self) {
        for index in 0..self.services.len() {
            let Some(service) = self.services.get_mut(index) else { continue };
            if !service.unit.is_due(uptime_ms()) {
                continue;
            }
            if let Some(phase) = phase_of(&service.kind) {
                self.shared.timeline.begin(phase);
            }
            match service.start(index, &self.shared, &self.notes) {
                Ok(()) => self.await_ready(index),
                Err(why) => {
                    let pause = service.unit.on_start_failed(&why, uptime_ms());
                    let failure = Failure::new("start", service.kind.name(), why).remedy(format!(
                        "next try in {}; a file missing here means: build the image again",
                        seconds(pause)
                    ));
                    self.fail(index, failure);
                }
            }
        }
    }

    /// Starts the task that waits until a service is ready.
    fn await_ready(&mut self, index: usize) {
        let Some(service) = self.services.get(index) else { return };
        let shared = Arc::clone(&self.shared);
        let waiter = match service.kind {
            Kind::Engine => Some(tokio::spawn(ready::engine(shared))),
            Kind::Agent => Some(tokio::spawn(ready::agent(shared))),
            Kind::Dhcp | Kind::Console(_) => None,
        };
        if let Some(place) = self.waiters.get_mut(index) {
            *place = waiter;
        }
    }

    /// Prints the failure of a service, in its phase if it has one.
    fn fail(&self, index: usize, failure: Failure) {
        let Some(service) = self.services.get(index) else { return };
        match phase_of(&service.kind) {
            Some(phase) => self.shared.timeline.finish(phase, Outcome::failed(failure)),
            None => report(&self.shared.journal, &failure),
        }
    }

    /// Collects every process that ended.
    fn reap(&mut self) {
        loop {
            let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(errno) => {
                    return report(&self.shared.journal, &Failure::errno("wait for", "children", errno));
                }
            };
            let index = self.services.iter().position(|s| s.unit.pid() == Some(pid.as_raw()));
            // A process that nobody knows was left behind by one of ours: nothing to say about it.
            if let Some(index) = index {
                self.on_exit(index, exit);
            }
        }
    }

    fn on_exit(&mut self, index: usize, exit: Exit) {
        if let Some(waiter) = self.waiters.get_mut(index).and_then(Option::take) {
            waiter.abort();
        }
        let Some(service) = self.services.get_mut(index) else { return };
        if let Kind::Console(tty) = &service.kind {
            // It died while somebody typed: the console is a plain log again. There may have been no such file.
            let _ = std::fs::remove_file(busy_file(tty));
        }
        let name = service.kind.name();
        match service.unit.on_exit(exit, uptime_ms()) {
            None => self.shared.journal.line(Level::Info, &format!("{name:<10} has ended ({exit})")),
            Some(pause) => {
                let words = if service.last_words.is_empty() {
                    String::new()
                } else {
                    format!("; its last line: {}", service.last_words)
                };
                let failure = Failure::new("run", name, format!("{exit}{words}")).remedy(format!(
                    "started again in {}; if it stays so, note the lines above and reboot",
                    seconds(pause)
                ));
                if service.kind == Kind::Engine {
                    self.shared.timeline.reset(Phase::Serve);
                }
                self.fail(index, failure);
            }
        }
    }

    /// Ends the node: services in order, then the machine.
    async fn end(&mut self, order: &Order) -> ! {
        let (mode, word, reason) = match order {
            Order::Reboot(reason) => (RebootMode::RB_AUTOBOOT, "reboot", reason),
            Order::PowerOff(reason) => (RebootMode::RB_POWER_OFF, "power off", reason),
        };
        let journal = Arc::clone(&self.shared.journal);
        journal.line(Level::Error, &format!("init       {word}: {reason}"));
        self.stop(STOP_AGENT, |kind| *kind == Kind::Agent).await;
        self.stop(STOP_ENGINE, |kind| *kind == Kind::Engine).await;
        self.stop(STOP_OTHERS, |_| true).await;
        nix::unistd::sync();
        journal.line(Level::Error, &format!("init       {word} now"));
        sleep(LAST_LINES).await;
        loop {
            let Err(errno) = reboot(mode);
            report(&journal, &Failure::errno(word, "", errno).remedy("switch the power off"));
            sleep(TICK).await;
        }
    }

    /// Asks the chosen services to end, waits up to a limit, then kills.
    async fn stop(&mut self, limit: Duration, is_chosen: impl Fn(&Kind) -> bool) {
        let chosen: Vec<usize> = (0..self.services.len())
            .filter(|i| self.services.get(*i).is_some_and(|s| is_chosen(&s.kind)))
            .collect();
        for index in &chosen {
            if let Some(pid) = self.services.get_mut(*index).and_then(|s| s.unit.stop()) {
                send(pid, Signal::SIGTERM);
            }
        }
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let deadline = uptime_ms().saturating_add(limit_ms);
        loop {
            let alive: Vec<(String, i32)> = chosen
                .iter()
                .filter_map(|i| self.services.get(*i))
                .filter_map(|s| Some((s.kind.name(), s.unit.pid()?)))
                .collect();
            let left = deadline.saturating_sub(uptime_ms());
            if alive.is_empty() {
                return;
            }
            if left == 0 {
                for (name, pid) in alive {
                    let reason = format!("it did not end within {} s", limit.as_secs());
                    report(&self.shared.journal, &Failure::new("stop", name, reason).remedy("killed"));
                    send(pid, Signal::SIGKILL);
                }
                return;
            }
            // A second order while the first is carried out changes nothing.
            let _ = self.step(Duration::from_millis(left)).await;
        }
    }
}

/// The process may have ended in this moment; then there is nothing to do.
fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

fn phase_of(kind: &Kind) -> Option<Phase> {
    match kind {
        Kind::Engine => Some(Phase::Engine),
        Kind::Agent => Some(Phase::Agent),
        Kind::Dhcp | Kind::Console(_) => None,
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
