//! The last words of PID 1.
//!
//! A panic aborts, and the end of PID 1 is a panic of the kernel with a page of registers. So the hook prints what
//! happened and what comes next, waits so that it can be read, and reboots: the node comes back by itself.

use crate::journal::{Journal, Level};
use crate::limits::PANIC_REBOOT;
use nix::sys::reboot::{RebootMode, reboot};
use std::sync::Arc;

/// Makes every panic of this process end in a reboot.
pub(super) fn install(journal: Arc<Journal>) {
    std::panic::set_hook(Box::new(move |info| give_up(&journal, &info.to_string())));
}

/// Prints the reason, waits, and reboots.
pub(super) fn give_up(journal: &Journal, reason: &str) -> ! {
    for line in reason.lines() {
        journal.line(Level::Error, &format!("init       PANIC   {line}"));
    }
    let seconds = PANIC_REBOOT.as_secs();
    journal
        .line(Level::Error, &format!("init       PANIC   this is a fault of Ironbay; reboot in {seconds} s"));
    std::thread::sleep(PANIC_REBOOT);
    nix::unistd::sync();
    loop {
        let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
        journal
            .line(Level::Error, &format!("init       PANIC   reboot: {errno}; switch the power off and on"));
        std::thread::sleep(PANIC_REBOOT);
    }
}
