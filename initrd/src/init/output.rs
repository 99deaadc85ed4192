//! What services print: bytes of a pipe become lines, and too many lines become a number.

use crate::limits::{LINE_BYTES_MAX, OUTPUT_LINES_PER_WINDOW, OUTPUT_WINDOW};

/// Cuts a stream of bytes into lines of bounded length.
#[derive(Debug, Default)]
pub(super) struct LineCutter {
    rest: Vec<u8>,
}

impl LineCutter {
    /// Takes bytes, gives the lines that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.rest.push(*byte);
            }
            if *byte == b'\n' || self.rest.len() >= LINE_BYTES_MAX {
                lines.extend(self.flush());
            }
        }
        lines
    }

    /// The last line when the stream ended without a line end. Empty lines are nothing.
    pub(super) fn flush(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&self.rest).trim_end().to_owned();
        self.rest.clear();
        (!line.is_empty()).then_some(line)
    }
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// To the console.
    Show,
    /// To the console, after the number of lines that were not shown.
    ShowAfter(u32),
    /// To the kernel log only.
    Hide,
}

/// How many lines of one service reached the console lately.
#[derive(Debug, Default)]
pub(super) struct Meter {
    window_began: u64,
    shown: u32,
    hidden: u32,
}

impl Meter {
    /// Decides about one line.
    pub(super) fn pass(&mut self, now: u64) -> Passage {
        let window = u64::try_from(OUTPUT_WINDOW.as_millis()).unwrap_or(u64::MAX);
        if now.saturating_sub(self.window_began) >= window {
            self.window_began = now;
            self.shown = 0;
        }
        if self.shown >= OUTPUT_LINES_PER_WINDOW {
            self.hidden = self.hidden.saturating_add(1);
            return Passage::Hide;
        }
        self.shown = self.shown.saturating_add(1);
        match std::mem::take(&mut self.hidden) {
            0 => Passage::Show,
            hidden => Passage::ShowAfter(hidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: lines arrive whole however the pipe cuts them, and empty ones not at all.
    #[test]
    fn lines_are_put_together() {
        let mut cutter = LineCutter::default();
        assert_eq!(cutter.feed(b"one\ntw"), ["one"]);
        assert_eq!(cutter.feed(b"o\r\n\nthree"), ["two"]);
        assert_eq!(cutter.flush().as_deref(), Some("three"));
        assert_eq!(cutter.flush(), None);
    }

    /// Goal: a stream without line ends does not grow memory.
    #[test]
    fn long_lines_are_cut() {
        let mut cutter = LineCutter::default();
        let lines = cutter.feed(&vec![b'x'; LINE_BYTES_MAX * 2 + 5]);
        assert_eq!(lines.len(), 2);
        assert_eq!(cutter.flush().as_deref(), Some("xxxxx"));
    }

    /// Goal: a service that prints in a loop does not fill the console, and the missing lines are counted.
    #[test]
    fn too_many_lines_become_a_number() {
        let mut meter = Meter::default();
        let passed = (0..500).filter(|_| meter.pass(1) == Passage::Show).count();
        assert_eq!(passed, 100);
        assert_eq!(meter.pass(10_001), Passage::ShowAfter(400));
        assert_eq!(meter.pass(10_001), Passage::Show);
    }
}
