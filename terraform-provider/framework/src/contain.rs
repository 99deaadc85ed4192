//! A panic of one operation becomes an error of that operation; the process and the other operations go on.
//!
//! Our programs abort on panic, so unwinding cannot be relied on. Instead each operation runs on a thread of its own, and
//! the panic hook, which runs before an abort, reports the message to whoever waits for the operation and then holds the
//! thread for ever. The thread is lost, which is cheap: the process lives as long as one Terraform command. It also keeps
//! the lock of the hook, so no other hook can be set afterwards. Where panics unwind (tests) the thread unwinds.
//!
//! Without this a panic in the middle of a creation would end the process, and Terraform would forget an object that
//! may exist.
//!
//! Not contained: panics outside of operations. Those end the process, and Terraform says that the plugin crashed.

use std::cell::RefCell;
use std::future::Future;
use tokio::sync::oneshot;

thread_local! {
    /// Where the operation on this thread reports its panic.
    static REPORT: RefCell<Option<oneshot::Sender<String>>> = const { RefCell::new(None) };
}

/// Installs the panic hook. Operations of a process without it are not contained.
pub fn install() {
    let other = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let Some(report) = REPORT.with(RefCell::take) else {
            return other(info);
        };
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(%message, %place, "An operation panicked");
        // Nobody may wait any more; then there is nobody to tell.
        drop(report.send(format!("{message}{place}")));
        while cfg!(panic = "abort") {
            std::thread::park();
        }
    }));
}

/// Runs an operation to its end, also if the caller is gone meanwhile.
///
/// # Errors
/// The message of the panic that ended it.
pub async fn run<T: Send + 'static>(
    operation: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let (report, panicked) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || {
        REPORT.with(|slot| slot.replace(Some(report)));
        let result = runtime.block_on(operation);
        REPORT.with(RefCell::take);
        result
    });
    tokio::select! {
        biased;
        Ok(message) = panicked => Err(message),
        result = done => result.map_err(|e| e.to_string()),
    }
}
