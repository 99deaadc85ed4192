//! Events of the engine in the log.
//!
//! Invariants
//! - The core never waits for the log: what does not fit into the channel is dropped, and counted.
//! - A host that connects in a loop cannot flood the log: lines are limited per second.

use engine::{Event, EventSink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Events that wait to be logged: a start with 16 drives and 16 pools, and room.
const EVENTS_MAX: usize = 256;

/// Lines in a second. A person reads a few; a serial console carries about a hundred.
const LINES_PER_SECOND_MAX: u32 = 20;

/// Where an engine puts its events, so that they are logged. Call it within a tokio runtime.
pub(crate) fn log() -> EventSink {
    let (sink, mut events) = mpsc::channel::<Event>(EVENTS_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let lost = Arc::clone(&dropped);
    tokio::spawn(async move {
        let mut limit = Limit::new(Instant::now());
        while let Some(event) = events.recv().await {
            let skipped = limit.on_event(Instant::now());
            if let Some(skipped) = skipped {
                let skipped = skipped.saturating_add(lost.swap(0, Ordering::Relaxed));
                if skipped > 0 {
                    tracing::warn!("{skipped} events came too fast to be logged");
                }
                write(&event);
            }
        }
    });
    Box::new(move |event| {
        if sink.try_send(event).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    })
}

fn write(event: &Event) {
    let Event { kind, object, text } = event;
    if matches!(kind.as_str(), "drive-failed" | "pool-offline") {
        tracing::warn!(object, "{text}");
    } else {
        tracing::info!(object, "{text}");
    }
}

/// Lines of the running second.
#[derive(Debug)]
struct Limit {
    second: Instant,
    lines: u32,
    skipped: u64,
}

impl Limit {
    fn new(now: Instant) -> Self {
        Self { second: now, lines: 0, skipped: 0 }
    }

    /// Whether an event is to be logged, and how many were not since the last one that was.
    fn on_event(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.lines = 0;
        }
        if self.lines == LINES_PER_SECOND_MAX {
            self.skipped = self.skipped.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a flood is cut, the log says by how much, and the next second is free again.
    #[test]
    fn floods_are_cut() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let logged = (0..1000).filter(|_| limit.on_event(start).is_some()).count();
        assert_eq!(logged, LINES_PER_SECOND_MAX as usize);
        assert_eq!(limit.on_event(start + Duration::from_secs(1)), Some(1000 - 20));
        assert_eq!(limit.on_event(start + Duration::from_secs(1)), Some(0));
    }
}
