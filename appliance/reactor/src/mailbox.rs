//! Messages from other threads to a core.

use crate::limits::MESSAGES_MAX;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use net::Waker;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// The core's end.
#[derive(Debug)]
pub struct Mailbox<M> {
    receiver: Receiver<M>,
    /// Messages sent so far: a look that costs nothing while there is none.
    sent: Arc<AtomicUsize>,
    seen: usize,
    /// Taken out to see whether there is one.
    next: Option<M>,
    waker: Waker,
}

/// The end of other threads; clones reach the same core.
pub struct Sender<M> {
    sender: SyncSender<M>,
    sent: Arc<AtomicUsize>,
    waker: Waker,
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), sent: Arc::clone(&self.sent), waker: self.waker.clone() }
    }
}

/// A message that the core will not get.
#[derive(Debug)]
pub enum Refused<M> {
    /// Too many wait already.
    Full(M),
    /// The core has ended.
    Ended(M),
}

/// A mailbox for the core that `waker` wakes.
#[must_use]
pub fn mailbox<M: Send>(waker: Waker) -> (Sender<M>, Mailbox<M>) {
    let (sender, receiver) = sync_channel(MESSAGES_MAX);
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = Sender { sender, sent: Arc::clone(&sent), waker: waker.clone() };
    (sender, Mailbox { receiver, sent, seen: 0, next: None, waker })
}

impl<M> Sender<M> {
    /// Leaves a message and wakes the core; never blocks.
    ///
    /// # Errors
    /// The message, if the core is gone or does not keep up.
    pub fn send(&self, message: M) -> Result<(), Refused<M>> {
        match self.sender.try_send(message) {
            Ok(()) => {
                // Release: whoever sees the number finds the message.
                self.sent.fetch_add(1, Ordering::Release);
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(message)) => Err(Refused::Full(message)),
            Err(TrySendError::Disconnected(message)) => Err(Refused::Ended(message)),
        }
    }
}

impl<M> Mailbox<M> {
    /// The next message.
    pub fn take(&mut self) -> Option<M> {
        let message = self.next.take().or_else(|| {
            let is_new = self.sent.load(Ordering::Acquire) != self.seen;
            if is_new { self.receiver.try_recv().ok() } else { None }
        });
        self.seen = self.seen.wrapping_add(usize::from(message.is_some()));
        message
    }

    /// Whether a message waits.
    pub fn has_message(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.receiver.try_recv().ok();
        }
        self.next.is_some()
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }
}
