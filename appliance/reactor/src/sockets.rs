//! The loop of a socket core: the same rest as that of the home core, around other work.
//!
//! It has no drives, and everything that matters wakes it, so it may sleep whenever it likes. While the home core works on what came
//! from here, it spins for longer: an answer is as near as with the drives of the home core.

use crate::Sleep;
use crate::idle::{Idle, Polling, Rest};
use crate::limits::SLEEP_MAX;
use block::Tick;
use net::SocketCore;
use std::thread;
use std::time::Instant;

/// Runs a socket core until the home core ends it. A panic ends the process: connections that nobody serves any more, and memory that
/// is never given back, are no state to go on in.
pub fn serve_sockets(core: &mut SocketCore, polling: Polling) {
    let _guard = EndProcessOnPanic;
    let epoch = Instant::now();
    let clock = || Tick(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut start = clock();
    let mut idle = Idle::new(polling, start);
    let mut told = 0;
    while !core.is_finished() {
        let did_work = core.round();
        let end = clock();
        idle.on_round(did_work, start, end);
        if idle.busy_permille() != told {
            told = idle.busy_permille();
            core.set_busy_permille(told);
        }
        start = end;
        if !did_work && rest(core, &idle, end) {
            start = clock();
        }
    }
}

/// Rests; says whether time has passed.
fn rest(core: &mut SocketCore, idle: &Idle, now: Tick) -> bool {
    let sleep = idle.wants_sleep(now).then(|| if core.expects_orders() { Sleep::Poll } else { Sleep::Fine });
    match idle.rest(now, None, sleep) {
        Rest::Spin => {
            core::hint::spin_loop();
            false
        }
        Rest::Yield => {
            thread::yield_now();
            true
        }
        // An order wakes it: there is nothing to look for by timer.
        Rest::Wait(_) | Rest::Sleep(_) => {
            core.wait(SLEEP_MAX);
            true
        }
    }
}

/// Ends the process when it is dropped by a panic.
struct EndProcessOnPanic;

impl Drop for EndProcessOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            // What went wrong has been printed by the panic itself.
            eprintln!("a socket core has failed: the process ends");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// Goal: a socket core that fails takes the process with it, also where panics unwind; one that ends well does not. Method: this
    /// test, once more, in a process of its own.
    #[test]
    fn failing_core_ends_the_process() {
        const FAILING: &str = "A_CORE_FAILS_HERE";
        if std::env::var_os(FAILING).is_some() {
            let _ = thread::spawn(|| {
                let _guard = EndProcessOnPanic;
                panic!("as the test wants it");
            })
            .join();
            return;
        }
        drop(EndProcessOnPanic);
        let own = std::env::current_exe().expect("this program");
        let name = "sockets::tests::failing_core_ends_the_process";
        let mut child = Command::new(own);
        child.args(["--exact", name, "--nocapture"]).env(FAILING, "1").stdout(Stdio::null());
        let output = child.output().expect("it runs");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("as the test wants it") && said.contains("a socket core has failed"), "{said}");
    }
}
