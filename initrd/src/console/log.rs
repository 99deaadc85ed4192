//! Records of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg): `priority,sequence,microseconds,flags;text`, then lines
//! that begin with a space.

use crate::clock::stamp;
use crate::journal::printable;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Longest record that the kernel makes (`PRINTK_MESSAGE_MAX` of `kernel/printk`).
const RECORD_BYTES_MAX: usize = 8192;
/// Records that one page reads: more than the kernel's buffer of 1 MiB holds.
const RECORDS_MAX: usize = 100_000;

/// The last lines of the kernel log, as text.
///
/// # Errors
/// The log cannot be opened; the text says why.
pub fn tail(lines: usize) -> Result<String, String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
        .map_err(|e| format!("open /dev/kmsg: {e}"))?;
    let mut last = VecDeque::new();
    let mut buffer = vec![0; RECORD_BYTES_MAX];
    for _ in 0..RECORDS_MAX {
        match file.read(&mut buffer) {
            Ok(length) => last.extend(record(&buffer[..length.min(buffer.len())])),
            // The record was overwritten while we read: the next read goes on after the gap.
            Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {}
            Err(_) => break,
        }
        while last.len() > lines {
            last.pop_front();
        }
    }
    Ok(last.into_iter().map(|line| line + "\n").collect())
}

/// One line of a record; `None` if it is not understood.
#[must_use]
pub fn record(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (prefix, rest) = text.split_once(';')?;
    let micros: u64 = prefix.split(',').nth(2)?.parse().ok()?;
    let line = rest.lines().next().unwrap_or_default();
    Some(format!("{} {}", stamp(micros / 1000), printable(line)))
}
