//! The commands of the console.

use crate::limits::{LOG_LINES_DEFAULT, LOG_LINES_MAX};

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing was typed.
    Nothing,
    /// The node at a glance.
    Status,
    /// Drives.
    Drives,
    /// Volumes.
    Volumes,
    /// Pools.
    Pools,
    /// Network interfaces.
    Network,
    /// Connected hosts.
    Hosts,
    /// Phases of the boot.
    Phases,
    /// Supervised processes.
    Services,
    /// The last lines of the kernel log.
    Log {
        /// How many.
        lines: usize,
    },
    /// Restart, after a confirmation.
    Reboot,
    /// Switch off, after a confirmation.
    PowerOff,
    /// The list of commands.
    Help,
    /// Back to the plain log.
    Quit,
}

/// Names, the digit if there is one, and what it shows, in the order of the help page.
pub const HELP: [(&str, &str, &str); 13] = [
    ("status", "1", "the node at a glance"),
    ("drives", "2", "drives and what is on them"),
    ("volumes", "3", "volumes and who uses them"),
    ("pools", "4", "pools, space, subsystem names"),
    ("network", "5", "interfaces, addresses, links"),
    ("hosts", "6", "connected hosts"),
    ("phases", "7", "phases of the boot, with failures and remedies"),
    ("services", "8", "processes of the node"),
    ("log [N]", "9", "the last N lines of the kernel log (40)"),
    ("reboot", "", "restart the node, after a confirmation"),
    ("poweroff", "", "switch the node off, after a confirmation"),
    ("quit", "", "back to the plain log"),
    ("help", "?", "this page"),
];

/// Understands a line; the error is what to tell.
///
/// # Errors
/// The line is no command.
pub fn parse(line: &str) -> Result<Command, String> {
    let mut words = line.split_ascii_whitespace();
    let Some(word) = words.next() else { return Ok(Command::Nothing) };
    let argument = words.next();
    let command = match word.to_ascii_lowercase().as_str() {
        "status" | "1" => Command::Status,
        "drives" | "drive" | "2" => Command::Drives,
        "volumes" | "volume" | "3" => Command::Volumes,
        "pools" | "pool" | "4" => Command::Pools,
        "network" | "net" | "5" => Command::Network,
        "hosts" | "host" | "sessions" | "6" => Command::Hosts,
        "phases" | "7" => Command::Phases,
        "services" | "8" => Command::Services,
        "log" | "9" => return log(argument),
        "reboot" => Command::Reboot,
        "poweroff" => Command::PowerOff,
        "help" | "?" | "h" => Command::Help,
        "quit" | "exit" | "logout" | "q" => Command::Quit,
        _ => return Err(format!("\"{word}\" is not a command; type `help` for the list")),
    };
    match argument {
        None => Ok(command),
        Some(extra) => Err(format!("`{word}` takes no argument, \"{extra}\" is too much")),
    }
}

fn log(argument: Option<&str>) -> Result<Command, String> {
    let Some(text) = argument else { return Ok(Command::Log { lines: LOG_LINES_DEFAULT }) };
    match text.parse() {
        Ok(lines) if (1..=LOG_LINES_MAX).contains(&lines) => Ok(Command::Log { lines }),
        _ => Err(format!("`log` takes a number from 1 to {LOG_LINES_MAX}, not \"{text}\"")),
    }
}
