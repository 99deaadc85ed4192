//! The way back to whoever asked.
//!
//! Invariant: every request is answered exactly once, also when the engine ends before it was looked at.

use control::{ControlError, ErrorKind, Reply};

type Callback = Box<dyn FnOnce(Result<Reply, ControlError>) + Send>;

/// Waits for its answer; dropped without one, it says that the engine has stopped.
pub(crate) struct Answer(Option<Callback>);

impl Answer {
    pub(crate) fn new(callback: impl FnOnce(Result<Reply, ControlError>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    pub(crate) fn give(mut self, result: Result<Reply, ControlError>) {
        if let Some(callback) = self.0.take() {
            callback(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            let error = ControlError::new(ErrorKind::Unavailable, "the engine has stopped");
            callback(Err(error.remedy("start it again, then repeat the request")));
        }
    }
}

/// Too many requests.
pub(crate) fn overloaded() -> ControlError {
    ControlError::new(ErrorKind::Unavailable, "the engine has too many requests waiting")
        .remedy("try again in a moment")
}
