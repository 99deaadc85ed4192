//! The word that the user wants to stop, for every operation under way; and the count of those operations.

use std::sync::Arc;
use tokio::sync::watch;

/// Tells operations that the user interrupted.
#[derive(Clone)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
}

impl Stop {
    /// Returns once the user interrupted; never returns if that does not happen.
    pub async fn requested(&self) {
        let mut receiver = self.receiver.clone();
        if receiver.wait_for(|is_stopped| *is_stopped).await.is_err() {
            // The sender lives as long as the process serves; without it nobody can ask us to stop.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the user interrupted.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.receiver.borrow()
    }
}

/// The other end of [`Stop`].
#[derive(Clone)]
pub struct Stopper {
    sender: Arc<watch::Sender<bool>>,
}

impl Stopper {
    /// Nobody interrupted yet.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self { sender: Arc::new(sender) }, Stop { receiver })
    }

    /// The user interrupted.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }
}

/// Counts things that are under way, so that somebody can wait for none.
#[derive(Clone)]
pub(crate) struct Gauge {
    count: Arc<watch::Sender<Count>>,
}

/// Who waits sees only the latest count; `ever` tells of a thing that came and went meanwhile.
#[derive(Clone, Copy, Default)]
struct Count {
    now: usize,
    ever: bool,
}

/// One thing under way.
pub(crate) struct Busy {
    count: Arc<watch::Sender<Count>>,
}

impl Gauge {
    pub(crate) fn new() -> Self {
        Self { count: Arc::new(watch::channel(Count::default()).0) }
    }

    pub(crate) fn enter(&self) -> Busy {
        self.count.send_modify(|count| *count = Count { now: count.now + 1, ever: true });
        Busy { count: self.count.clone() }
    }

    /// Returns when nothing is under way.
    pub(crate) async fn idle(&self) {
        self.wait(|count| count.now == 0).await;
    }

    /// Returns when something is or was under way.
    pub(crate) async fn used(&self) {
        self.wait(|count| count.ever).await;
    }

    async fn wait(&self, condition: impl FnMut(&Count) -> bool) {
        let mut receiver = self.count.subscribe();
        receiver.wait_for(condition).await.expect("this gauge holds the sender");
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.count.send_modify(|count| count.now -= 1);
    }
}
