//! Ctrl-C and SIGTERM: the lab is taken down in order.
//!
//! The signals are blocked in every thread and taken by one thread of ours. Machines die with us anyway (see `child`); what
//! would stay behind is the network namespace.

use crate::network;
use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Condvar, Mutex, PoisonError};

/// Exit code of a program that Ctrl-C ended, as shells expect it.
const INTERRUPTED: i32 = 130;

#[derive(Default)]
struct State {
    is_awaited: bool,
    has_come: bool,
}

static STATE: Mutex<State> = Mutex::new(State { is_awaited: false, has_come: false });
static CHANGED: Condvar = Condvar::new();

/// Takes over the signals. Must run before the first thread is started.
pub fn install() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("cannot block signals")?;
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            on_signal();
        }
    });
    Ok(())
}

/// The first signal wakes who waits for it; any other ends the program.
fn on_signal() {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if state.is_awaited && !state.has_come {
        state.has_come = true;
        CHANGED.notify_all();
        return;
    }
    eprintln!(
        "\nlab: interrupted; machines are switched off, logs stay in {}",
        std::env::temp_dir().display()
    );
    network::remove_own();
    std::process::exit(INTERRUPTED);
}

/// Waits for Ctrl-C.
pub fn wait() {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.is_awaited = true;
    while !state.has_come {
        state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
