//! One serial line of a machine: a Unix socket of QEMU on our side.
//!
//! A thread of its own drains the socket, because a full socket would stop the machine. What was read stays in memory, so
//! a wait never misses what came before it; positions are byte counts from the start.

use crate::limits::{CONSOLE_BYTES_MAX, LAST_LINES, LOOK_AGAIN, QEMU_SOCKET};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The line.
#[derive(Debug)]
pub struct Serial {
    shared: Arc<Shared>,
    socket: UnixStream,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // The reader only appends; a panic in it leaves good data behind.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a wait ended without what it waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// The time was over.
    Late,
    /// The machine is gone.
    Closed,
}

impl Serial {
    /// Connects as soon as QEMU has made the socket.
    pub fn connect(path: &Path) -> Result<Self> {
        let socket = connect(path)?;
        let shared = Arc::new(Shared::default());
        let mut incoming = socket.try_clone().context("cannot duplicate a socket")?;
        let sink = Arc::clone(&shared);
        std::thread::spawn(move || drain(&mut incoming, &sink));
        Ok(Self { shared, socket })
    }

    /// Sends text as it is.
    pub fn send(&self, text: &str) -> Result<()> {
        (&self.socket).write_all(text.as_bytes()).context("cannot write to the serial line")
    }

    /// How much has been heard so far: the place from which a later wait looks.
    pub fn position(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    /// All text from a position on.
    pub fn since(&self, position: usize) -> String {
        let heard = self.shared.lock();
        String::from_utf8_lossy(heard.bytes.get(position..).unwrap_or_default()).into_owned()
    }

    /// Waits for one of the texts, looking from a position on. Returns which one it was and the position behind it.
    pub fn wait_any(
        &self,
        from: usize,
        texts: &[&str],
        limit: Duration,
    ) -> std::result::Result<(usize, usize), Silence> {
        let until = Instant::now() + limit;
        let mut heard = self.shared.lock();
        loop {
            let rest = heard.bytes.get(from..).unwrap_or_default();
            let first = texts
                .iter()
                .enumerate()
                .filter_map(|(which, text)| Some((find(rest, text.as_bytes())?, which)))
                .min();
            if let Some((at, which)) = first {
                return Ok((which, from + at + texts[which].len()));
            }
            if heard.is_closed {
                return Err(Silence::Closed);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::Late);
            }
            heard = self.shared.more.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a text; the error says what was waited for and what the machine said last.
    pub fn wait(&self, from: usize, text: &str, limit: Duration) -> Result<usize> {
        match self.wait_any(from, &[text], limit) {
            Ok((_, position)) => Ok(position),
            Err(silence) => bail!(
                "{text:?} did not appear on the serial line{}\n{}",
                match silence {
                    Silence::Late => format!(" within {} s", limit.as_secs()),
                    Silence::Closed => ": the machine is gone".to_owned(),
                },
                self.last_lines()
            ),
        }
    }

    /// The last lines, indented, for messages.
    pub fn last_lines(&self) -> String {
        let text = self.since(0);
        let lines: Vec<&str> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        lines[from..].iter().map(|l| format!("    | {l}\n")).collect()
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        // Ends the reading thread; a peer that is gone already is as good.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Connects to a socket that may not exist yet.
pub fn connect(path: &Path) -> Result<UnixStream> {
    let until = Instant::now() + QEMU_SOCKET;
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return Ok(socket),
            Err(error) if Instant::now() > until => {
                let path = PathBuf::from(path);
                return Err(error).with_context(|| format!("QEMU does not serve {}", path.display()));
            }
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

fn drain(incoming: &mut UnixStream, shared: &Shared) {
    let mut piece = [0; 4096];
    loop {
        let n = incoming.read(&mut piece).unwrap_or(0);
        let mut heard = shared.lock();
        if n == 0 {
            heard.is_closed = true;
        } else if heard.bytes.len() < CONSOLE_BYTES_MAX {
            heard.bytes.extend(&piece[..n]);
        }
        drop(heard);
        shared.more.notify_all();
        if n == 0 {
            return;
        }
    }
}

fn find(heard: &[u8], text: &[u8]) -> Option<usize> {
    heard.windows(text.len().max(1)).position(|w| w == text)
}

#[cfg(test)]
mod tests {
    use super::{Serial, Silence};
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    /// Goal: a wait sees what came before it, in the order in which it came, and ends when the machine is gone.
    #[test]
    fn waits_see_the_past_and_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("serial");
        let listener = UnixListener::bind(&path).expect("a socket");
        let serial = Serial::connect(&path).expect("connected");
        let (mut machine, _) = listener.accept().expect("accepted");
        machine.write_all(b"Booting\r\nlogin: ").expect("written");
        let long = Duration::from_secs(20);
        let first = serial.wait(0, "login:", long).expect("it came");
        assert_eq!(serial.wait_any(0, &["login:", "Booting"], long), Ok((1, 7)));
        assert_eq!(serial.wait_any(first, &["Booting"], Duration::ZERO), Err(Silence::Late));
        drop(machine);
        let refusal = serial.wait(0, "panic", long).expect_err("gone").to_string();
        assert!(refusal.contains("the machine is gone") && refusal.contains("| Booting"), "{refusal}");
    }
}
