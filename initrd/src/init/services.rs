//! The services of a node: their command lines, their start, what they print.

use super::Shared;
use super::node::Note;
use super::output::{LineCutter, Meter, Passage};
use crate::args::{AddressSource, Args, LogLevel};
use crate::boot::files;
use crate::clock::uptime_ms;
use crate::journal::{Journal, Level};
use crate::service_log;
use crate::unit::{Unit, UnitState};
use bus::ServiceStatus;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// The daemon of the image.
const IRONBAYD: &str = "/usr/bin/ironbayd";
/// This program.
const SELF: &str = "/init";

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `init dhcp`.
    Dhcp,
    /// `ironbayd engine`.
    Engine,
    /// `ironbayd agent`.
    Agent,
    /// `init console` on this device.
    Console(String),
}

impl Kind {
    /// The name that people see.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Dhcp => "dhcp".to_owned(),
            Self::Engine => "engine".to_owned(),
            Self::Agent => "agent".to_owned(),
            Self::Console(tty) => format!("console {tty}"),
        }
    }

    fn program(&self) -> &'static str {
        match self {
            Self::Dhcp | Self::Console(_) => SELF,
            Self::Engine | Self::Agent => IRONBAYD,
        }
    }
}

/// A service with its process.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) arguments: Vec<String>,
    /// The last line that it printed: often the reason of its end.
    pub(super) last_words: String,
    meter: Meter,
}

impl Service {
    pub(super) fn new(kind: Kind, arguments: Vec<String>) -> Self {
        Self { kind, unit: Unit::default(), arguments, last_words: String::new(), meter: Meter::default() }
    }

    /// Starts the process; its lines come as notes with `index`.
    pub(super) fn start(
        &mut self,
        index: usize,
        shared: &Shared,
        notes: &mpsc::Sender<Note>,
    ) -> Result<(), String> {
        let (reader, writer) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        let second = writer.try_clone().map_err(|e| format!("pipe: {e}"))?;
        let program = self.kind.program();
        let child = Command::new(program)
            .args(&self.arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin")
            .env("IRONBAY_LOG", log_word(shared.args.log))
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(second)
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        let pid = i32::try_from(child.id()).map_err(|_| "odd process number".to_owned())?;
        // From here on the process belongs to `unit`; its end is seen by the reaper.
        drop(child);
        self.unit.on_started(pid, uptime_ms());
        self.last_words.clear();
        if self.kind == Kind::Engine {
            // When memory runs out, the engine goes last. Without the file it goes as any other.
            let _ = files::write(format!("/proc/{pid}/oom_score_adj"), "-900");
        }
        match pipe::Receiver::from_owned_fd(OwnedFd::from(reader)) {
            Ok(reader) => {
                tokio::spawn(read_lines(reader, index, notes.clone()));
            }
            Err(e) => shared.journal.line(Level::Warning, &format!("{}: no output: {e}", self.kind.name())),
        }
        Ok(())
    }

    /// One line that it printed.
    pub(super) fn on_line(&mut self, journal: &Journal, line: &str) {
        let (level, text) = service_log::parse(line);
        let name = self.kind.name();
        let is_remedy = text.starts_with("-> ");
        let text = if is_remedy { format!("{:25}{text}", "") } else { format!("{name:<10} {text}") };
        // Indented lines explain the one before, which is the one to remember.
        if !is_remedy && !line.starts_with("  ") {
            line.trim().clone_into(&mut self.last_words);
        }
        match self.meter.pass(uptime_ms()) {
            Passage::Show => journal.line(level, &text),
            Passage::ShowAfter(hidden) => {
                journal
                    .line(Level::Warning, &format!("{name:<10} {hidden} lines more; type `log` to see them"));
                journal.line(level, &text);
            }
            Passage::Hide => journal.quiet(&text),
        }
    }

    /// What the bus shows.
    pub(super) fn status(&self) -> ServiceStatus {
        let state = match self.unit.state() {
            UnitState::Stopped => "stopped",
            UnitState::Running { .. } | UnitState::Stopping { .. } => "running",
            UnitState::Waiting { .. } => "waiting",
        };
        ServiceStatus {
            name: self.kind.name(),
            state: state.to_owned(),
            pid: self.unit.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
            restarts: self.unit.restarts(),
            last_exit: self.unit.last_exit().to_owned(),
        }
    }
}

async fn read_lines(mut reader: pipe::Receiver, index: usize, notes: mpsc::Sender<Note>) {
    let mut cutter = LineCutter::default();
    let mut buffer = [0; 4096];
    loop {
        let length = reader.read(&mut buffer).await.unwrap_or(0);
        let bytes = buffer.get(..length).unwrap_or_default();
        let lines = if bytes.is_empty() { cutter.flush().into_iter().collect() } else { cutter.feed(bytes) };
        for line in lines {
            if notes.send(Note::Line { index, line }).await.is_err() {
                return;
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// What the daemon is told to say. Never less than information: the kernel log has everything, the journal keeps from
/// the console what is not wanted there.
fn log_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => LogLevel::Debug.word(),
        LogLevel::Info | LogLevel::Warn => LogLevel::Info.word(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// What the engine gets of this machine.
pub(super) struct Machine<'a> {
    pub(super) drives: &'a [String],
    pub(super) arena_mib: u64,
    pub(super) processors: usize,
}

/// Arguments of `ironbayd engine`. More cores than there are processors are no reason not to serve: then each has one.
pub(super) fn engine_arguments(machine: &Machine<'_>, args: &Args) -> Vec<String> {
    let Machine { drives, arena_mib, processors } = *machine;
    let mut list = words("engine --bus");
    list.push(bus::ENGINE_SOCKET.to_owned());
    for bdf in drives {
        list.push("--drive".to_owned());
        list.push(format!("vfio:{bdf}"));
    }
    list.extend(words("--listen 0.0.0.0:4420 --discovery 0.0.0.0:8009 --arena-mib"));
    list.push(arena_mib.to_string());
    list.push("--mode".to_owned());
    list.push(args.mode.word().to_owned());
    if let Some(cores) = args.cores {
        list.push("--core".to_owned());
        list.push(format!("x{}", usize::from(cores).clamp(1, processors.max(1))));
    }
    if args.is_insecure {
        list.push("--insecure".to_owned());
    }
    list
}

/// Arguments of `ironbayd agent`.
pub(super) fn agent_arguments(args: &Args) -> Vec<String> {
    let mut list = words("agent --engine-bus");
    list.push(bus::ENGINE_SOCKET.to_owned());
    list.push("--init-bus".to_owned());
    list.push(bus::INIT_SOCKET.to_owned());
    list.extend(words("--listen 0.0.0.0:7420"));
    if args.is_insecure {
        list.push("--insecure".to_owned());
    }
    list
}

/// Arguments of `init dhcp`.
pub(super) fn dhcp_arguments(args: &Args) -> Vec<String> {
    let mut list = vec!["dhcp".to_owned()];
    let mut add = |option: &str, value: String| list.extend([option.to_owned(), value]);
    if let Some(interface) = &args.interface {
        add("--interface", interface.clone());
    }
    if let AddressSource::Static(fixed) = args.address {
        let gateway = fixed.gateway.map(|g| format!(",{g}")).unwrap_or_default();
        add("--static", format!("{}/{}{gateway}", fixed.address, fixed.prefix));
    }
    if let Some(hostname) = &args.hostname {
        add("--hostname", hostname.clone());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    /// Goal: the reason of an end is the sentence, not the advice under it.
    #[test]
    fn last_words_are_the_reason() {
        let mut service = Service::new(Kind::Engine, Vec::new());
        for line in [
            "error: cannot listen on 0.0.0.0:4420",
            "  object address/0.0.0.0:4420",
            "  try: another address",
            "-> wait",
        ] {
            service.on_line(&Journal::silent(), line);
        }
        assert_eq!(service.last_words, "error: cannot listen on 0.0.0.0:4420");
    }

    /// Goal: the engine gets exactly what was claimed and granted, and serves everybody only when the kernel arguments say so.
    #[test]
    fn engine_command_line() {
        let (args, _) = parse("ironbay.mode=latency");
        let drives = ["0000:00:04.0".to_owned(), "0000:00:05.0".to_owned()];
        let machine = Machine { drives: &drives, arena_mib: 256, processors: 4 };
        assert_eq!(
            engine_arguments(&machine, &args).join(" "),
            "engine --bus /run/ironbay/engine.sock --drive vfio:0000:00:04.0 --drive vfio:0000:00:05.0 \
             --listen 0.0.0.0:4420 --discovery 0.0.0.0:8009 --arena-mib 256 --mode latency"
        );
        let (args, _) = parse("ironbay.cores=3");
        assert!(engine_arguments(&machine, &args).join(" ").ends_with("--mode balanced --core x3"));
        let (args, _) = parse("ironbay.cores=8");
        assert!(engine_arguments(&machine, &args).join(" ").ends_with("--core x4"));
        let (args, _) = parse("ironbay.insecure=1");
        assert!(engine_arguments(&machine, &args).join(" ").ends_with("--mode balanced --insecure"));
    }

    /// Goal: the agent listens without authentication only when the kernel arguments say so.
    #[test]
    fn agent_command_line() {
        let secure = "agent --engine-bus /run/ironbay/engine.sock --init-bus /run/ironbay/init.sock --listen 0.0.0.0:7420";
        assert_eq!(agent_arguments(&parse("").0).join(" "), secure);
        let insecure = format!("{secure} --insecure");
        assert_eq!(agent_arguments(&parse("ironbay.insecure=1").0).join(" "), insecure);
    }

    /// Goal: `ironbay.log=debug` reaches the daemon; `warn` keeps lines from the console, not from the kernel log.
    #[test]
    fn daemon_log_level() {
        let word = |text| log_word(parse(text).0.log);
        assert_eq!(
            [word("ironbay.log=debug"), word(""), word("ironbay.log=warn")],
            ["debug", "info", "info"]
        );
    }

    /// Goal: the DHCP client gets the network's kernel arguments.
    #[test]
    fn dhcp_command_line() {
        assert_eq!(dhcp_arguments(&parse("").0).join(" "), "dhcp");
        let (args, _) = parse("ironbay.ip=10.0.0.5/24,10.0.0.1 ironbay.interface=eth1 ironbay.hostname=n1");
        let expected = "dhcp --interface eth1 --static 10.0.0.5/24,10.0.0.1 --hostname n1";
        assert_eq!(dhcp_arguments(&args).join(" "), expected);
        let (args, _) = parse("ironbay.ip=10.0.0.5/24");
        assert_eq!(dhcp_arguments(&args).join(" "), "dhcp --static 10.0.0.5/24");
    }
}
