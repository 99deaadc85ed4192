//! The scenarios: each boots the real image and uses it as a customer would.

pub mod bad_boot;
pub mod console;
pub mod first_light;
pub mod killed;
pub mod linux;
pub mod linux_access;
pub mod linux_blocks;
pub mod linux_host;
pub mod linux_older;
pub mod linux_restart;
pub mod linux_shared;
pub mod linux_volumes;
pub mod reproducible;
pub mod self_test;

use crate::parts::Parts;
use anyhow::Result;

/// A scenario by name.
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Runs it once with a seed.
    pub run: fn(&Parts, u64) -> Result<()>,
}

/// All scenarios, cheapest first.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "self_test",
        about: "the lab itself: the Linux host boots, moves data in its memory, answers truly",
        run: self_test::run,
    },
    Scenario {
        name: "bad_boot",
        about: "no drive, no DHCP server, wrong kernel arguments: each is named on the console, the boot goes on",
        run: bad_boot::run,
    },
    Scenario {
        name: "console",
        about: "the serial console: every page answers, within 79 columns, without a terminal",
        run: console::run,
    },
    Scenario {
        name: "linux_host",
        about: "a Linux host discovers, connects in every way, and asks all that nvme-cli may ask; Wireshark reads along",
        run: linux_host::run,
    },
    Scenario {
        name: "linux_volumes",
        about: "volumes come, grow and go under a connected Linux host, and every command does to blocks what it says",
        run: linux_volumes::run,
    },
    Scenario {
        name: "linux_access",
        about: "lists of allowed hosts change under a connected host, and a persistent discovery controller hears of it",
        run: linux_access::run,
    },
    Scenario {
        name: "linux_shared",
        about: "one volume and two hosts: reservations of every type, also after a restart, and write protection",
        run: linux_shared::run,
    },
    Scenario {
        name: "linux_restart",
        about: "resets, 200 rounds of connecting, and the daemon killed while fio writes: nothing is lost or left behind",
        run: linux_restart::run,
    },
    Scenario {
        name: "linux_older",
        about: "Debian 12's own kernel as the host: connect, write, verify, reset, connect again",
        run: linux_older::run,
    },
    Scenario {
        name: "first_light",
        about: "PXE boot, terraform apply, a Linux host writes, the power fails, all is there, grow, destroy",
        run: first_light::run,
    },
    Scenario {
        name: "killed",
        about: "the engine is killed under PID 1 while fio writes: it is started again, the host goes on, nothing is lost",
        run: killed::run,
    },
    Scenario {
        name: "reproducible",
        about: "the image is built twice, from programs compiled twice: same bytes",
        run: reproducible::run,
    },
];
