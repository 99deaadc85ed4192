//! The program `/init`: PID 1 of a node, and by its first argument the DHCP client or a console.

use initrd::{console, dhcp, init, service_log};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The kernel passes words of its command line as arguments: PID 1 does not look at them.
    if std::process::id() == 1 {
        init::run();
    }
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match arguments.split_first() {
        Some((role, rest)) if role == "dhcp" => dhcp::role::run(rest),
        Some((role, rest)) if role == "console" => console::role::run(rest),
        _ => {
            service_log::error(
                "this program is PID 1 of an Ironbay node",
                "usage: init dhcp …, init console TTY",
            );
            ExitCode::from(2)
        }
    }
}
