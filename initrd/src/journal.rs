//! Where init writes: every console device, and the kernel log.
//!
//! A line goes to each console as `[  2.093s] text` and to the kernel log as a debug message, so that the console role
//! can show it later and the kernel does not print it a second time.
//!
//! Invariants
//! - Init never waits for a console: each device has a thread and a bounded queue; what does not fit is counted.
//! - A console on which somebody types (`busy` file, made by the console role) gets failures only.
//! - Control characters of services never reach a terminal.

use crate::args::LogLevel;
use crate::clock::{stamp, uptime_ms};
use crate::limits::CONSOLE_QUEUE_LINES;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Progress.
    Info,
    /// Worse than it should be.
    Warning,
    /// Needs a person.
    Error,
}

/// The writer of all lines.
#[derive(Debug)]
pub struct Journal {
    sinks: Mutex<Sinks>,
}

#[derive(Debug, Default)]
struct Sinks {
    kmsg: Option<File>,
    consoles: Vec<Console>,
    least: Option<Level>,
    /// Before the devices are there, lines go to the descriptor that the kernel gave to init.
    is_early: bool,
}

#[derive(Debug)]
struct Console {
    queue: SyncSender<(Level, String)>,
    dropped: Arc<AtomicU64>,
}

impl Journal {
    /// A journal that writes to standard output until [`Journal::attach`].
    #[must_use]
    pub fn early() -> Self {
        Self { sinks: Mutex::new(Sinks { is_early: true, ..Sinks::default() }) }
    }

    /// A journal that writes nowhere.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self { sinks: Mutex::new(Sinks::default()) }
    }

    /// Opens the kernel log and the console devices (`ttyS0`, `tty1`), each with a thread of its own.
    pub fn attach(&self, ttys: &[String], log: LogLevel) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.kmsg = OpenOptions::new().write(true).open("/dev/kmsg").ok();
        sinks.consoles = ttys.iter().filter_map(|tty| open_console(tty)).collect();
        sinks.is_early = sinks.consoles.is_empty();
        sinks.least = (log == LogLevel::Warn).then_some(Level::Warning);
    }

    /// Writes one line.
    pub fn line(&self, level: Level, text: &str) {
        let text = printable(text);
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kmsg) = &mut sinks.kmsg {
            // Facility daemon (3), level debug (7): in the log, and not printed by the kernel itself. A full or broken
            // kernel log cannot be reported anywhere better than where the line goes next.
            let _ = kmsg.write_all(format!("<31>ironbay: {text}\n").as_bytes());
        }
        if sinks.least.is_some_and(|least| level < least) {
            return;
        }
        let line = format!("{} {text}\n", stamp(uptime_ms()));
        if sinks.is_early {
            // Standard output may be closed; there is no other place to say so.
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
        for console in &sinks.consoles {
            match console.queue.try_send((level, line.clone())) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    console.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Writes one line into the kernel log only.
    pub fn quiet(&self, text: &str) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kmsg) = &mut sinks.kmsg {
            // See `line`.
            let _ = kmsg.write_all(format!("<31>ironbay: {}\n", printable(text)).as_bytes());
        }
    }
}

/// The file whose presence says that somebody works at a console.
#[must_use]
pub fn busy_file(tty: &str) -> PathBuf {
    Path::new("/run/ironbay").join(format!("console-{tty}.busy"))
}

/// The console devices: what the kernel uses, with the virtual terminal by its real name.
#[must_use]
pub fn console_ttys(active: &str) -> Vec<String> {
    let mut ttys: Vec<String> = Vec::new();
    for word in active.split_ascii_whitespace() {
        let tty = if word == "tty0" { "tty1" } else { word };
        if !ttys.iter().any(|known| known == tty) && !tty.contains('/') {
            ttys.push(tty.to_owned());
        }
    }
    ttys
}

/// The text with everything that could steer a terminal replaced.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

fn open_console(tty: &str) -> Option<Console> {
    let path = Path::new("/dev").join(tty);
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path).ok()?;
    let (queue, lines) = sync_channel(CONSOLE_QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    let busy = busy_file(tty);
    let thread = std::thread::Builder::new().name(format!("console-{tty}"));
    thread.spawn(move || write_lines(file, &lines, &counter, &busy)).ok()?;
    Some(Console { queue, dropped })
}

fn write_lines(mut file: File, lines: &Receiver<(Level, String)>, dropped: &AtomicU64, busy: &Path) {
    while let Ok((level, line)) = lines.recv() {
        let is_busy = busy.exists();
        if level < Level::Error && is_busy {
            continue;
        }
        // Not into the middle of what somebody types.
        let line = if is_busy { format!("\n{line}") } else { line };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            // A console that fails to write has no one to tell; the kernel log has the lines.
            let _ =
                file.write_all(format!("({lost} lines did not fit; type `log` to see them)\n").as_bytes());
        }
        // See above.
        let _ = file.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the virtual terminal is opened by its real name, and no device twice.
    #[test]
    fn console_devices() {
        assert_eq!(console_ttys("tty0 ttyS0\n"), ["tty1", "ttyS0"]);
        assert_eq!(console_ttys("tty1 tty0 ttyS1"), ["tty1", "ttyS1"]);
        assert!(console_ttys("").is_empty());
        assert!(console_ttys("../x").is_empty());
    }

    /// Goal: a service cannot move the cursor of a terminal.
    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\td\r"), "a?[2Jb?c\td?");
    }
}
