//! PID 1: the boot, the services, the end.
//!
//! ```text
//!  main thread    mounts → tokio (one thread): reap, restart, bus, orders            node
//!  boot thread    modules → hugepages → claim, then it ends                          this file
//!  writer threads one per console device                                             journal
//! ```
//!
//! Invariants
//! - PID 1 never ends: its end would be a kernel panic. No failure of a phase stops the boot, a panic of our own is
//!   printed and becomes a reboot.
//! - Bytes of strangers are read by children. PID 1 reads the kernel, its own image, and the bus of its children.

mod node;
mod output;
mod panic;
mod ready;
mod server;
mod services;

use crate::args::{self, Args};
use crate::boot::{claim, files, hugepages, modules, mounts};
use crate::failure::Failure;
use crate::journal::{Journal, Level, console_ttys};
use crate::limits::OPEN_FILES;
use crate::phase::{Outcome, Phase, Timeline, remedy_line};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use node::{Node, Note};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the image says about itself.
const RELEASE: &str = "/etc/ironbay-release";
/// Notes that wait for the main loop.
const NOTES_MAX: usize = 256;

/// What all parts of PID 1 share.
#[derive(Debug)]
struct Shared {
    journal: Arc<Journal>,
    timeline: Timeline,
    args: Args,
    version: String,
}

/// Runs PID 1; ends only by a reboot or a power-off.
pub fn run() -> ! {
    let journal = Arc::new(Journal::early());
    panic::install(Arc::clone(&journal));
    let timeline = Timeline::new(Arc::clone(&journal));
    timeline.begin(Phase::Mounts);
    let outcome = mounts::run();
    let command_line = files::read("/proc/cmdline").unwrap_or_default();
    let (args, problems) = args::parse(&command_line);
    let ttys = consoles();
    set_kernel_log(&args);
    journal.attach(&ttys, args.log);
    let version = version();
    journal.line(Level::Info, &format!("Ironbay {version} starts"));
    timeline.finish(Phase::Mounts, outcome);
    for problem in &problems {
        report(&journal, problem);
    }
    for problem in limits() {
        report(&journal, &problem);
    }
    let shared = Arc::new(Shared { journal, timeline, args, version });
    serve(&shared, &ttys)
}

/// Starts the boot thread and the main loop.
fn serve(shared: &Arc<Shared>, ttys: &[String]) -> ! {
    let (notes, inbox) = mpsc::channel(NOTES_MAX);
    let boot_shared = Arc::clone(shared);
    let boot_notes = notes.clone();
    let boot = std::thread::Builder::new().name("boot".to_owned());
    if let Err(e) = boot.spawn(move || boot_steps(&boot_shared, &boot_notes)) {
        report(&shared.journal, &Failure::io("start thread", "boot", &e).remedy("give the node more memory"));
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            let mut node = Node::new(Arc::clone(shared), notes, inbox, ttys);
            node.run().await
        }),
        Err(e) => panic::give_up(&shared.journal, &format!("the main loop cannot start: {e}")),
    }
}

/// The steps that wait for hardware. Each tells the main loop what can begin.
fn boot_steps(shared: &Shared, notes: &mpsc::Sender<Note>) {
    let timeline = &shared.timeline;
    timeline.run(Phase::Modules, modules::run);
    tell(notes, Note::ModulesLoaded);
    let mut arena_mib = 0;
    timeline.run(Phase::Hugepages, || {
        let (outcome, arena) = hugepages::run(shared.args.hugepages_mib);
        arena_mib = arena;
        outcome
    });
    let mut drives = Vec::new();
    timeline.run(Phase::Claim, || {
        if !shared.args.is_claiming {
            return Outcome::done("nothing, because of ironbay.claim=none");
        }
        let (outcome, claimed) = claim::run();
        drives = claimed;
        outcome
    });
    tell(notes, Note::DrivesClaimed { drives, arena_mib });
}

fn tell(notes: &mpsc::Sender<Note>, note: Note) {
    // The receiver lives as long as PID 1.
    let _ = notes.blocking_send(note);
}

/// The devices that the kernel uses as console.
fn consoles() -> Vec<String> {
    let ttys = console_ttys(&files::read("/sys/class/tty/console/active").unwrap_or_default());
    if ttys.is_empty() { vec!["console".to_owned()] } else { ttys }
}

/// How much of the kernel's own messages reaches the console: errors and worse, unless more is asked for.
fn set_kernel_log(args: &Args) {
    let level = match args.log {
        args::LogLevel::Debug => "7",
        args::LogLevel::Info => "4",
        args::LogLevel::Warn => "3",
    };
    // Without it the console shows more than it should, which is no reason to say even more.
    let _ = files::write("/proc/sys/kernel/printk", level);
}

fn version() -> String {
    let release = files::read(RELEASE).unwrap_or_default();
    let version = release.lines().find_map(|l| l.strip_prefix("VERSION="));
    version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned()
}

/// Limits of PID 1, which its children inherit: the engine locks its arena in memory and holds many sockets.
fn limits() -> Vec<Failure> {
    let wanted = [
        (Resource::RLIMIT_MEMLOCK, "memory lock limit", RLIM_INFINITY),
        (Resource::RLIMIT_NOFILE, "open files limit", OPEN_FILES),
    ];
    let set = |(resource, name, value)| {
        setrlimit(resource, value, value).err().map(|errno| Failure::errno("raise", name, errno))
    };
    wanted.into_iter().filter_map(set).collect()
}

/// Prints a failure that belongs to no phase.
fn report(journal: &Journal, failure: &Failure) {
    journal.line(Level::Error, &format!("{:<10} {failure}", "init"));
    if !failure.remedy.is_empty() {
        journal.line(Level::Error, &remedy_line(&failure.remedy));
    }
}
