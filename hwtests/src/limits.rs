//! Bounds of every wait in the lab. Measured times are those of QEMU without KVM on two busy cores; the bounds leave
//! room for a machine that is five times slower, because a wait that is too short looks like a bug of the product.

use std::time::Duration;

/// A node from power-on to its API: measured 20 s.
pub const NODE_READY: Duration = Duration::from_secs(180);

/// The Linux host from power-on to its command channel: measured 6 s.
pub const HOST_READY: Duration = Duration::from_secs(120);

/// A short command on the host: measured below 2 s.
pub const HOST_COMMAND: Duration = Duration::from_secs(60);

/// A command on the host that moves data, or waits for a node to come back.
pub const HOST_WORK: Duration = Duration::from_secs(300);

/// A terraform command: measured 1 s.
pub const TERRAFORM: Duration = Duration::from_secs(120);

/// An `ironbay` command: measured 0.1 s.
pub const CLIENT: Duration = Duration::from_secs(30);

/// A set-up command of the lab itself (ip, qemu-img).
pub const SETUP: Duration = Duration::from_secs(20);

/// The benchmark beside the kernel's target: 3 minutes with its usual options.
pub const KERNEL_BENCH: Duration = Duration::from_secs(3600);

/// Sockets of QEMU appear after start: measured 0.1 s.
pub const QEMU_SOCKET: Duration = Duration::from_secs(20);

/// `ironbayd run` from its start to its API: measured 0.4 s.
pub const DAEMON_READY: Duration = Duration::from_secs(30);

/// `ironbayd run` from SIGTERM to its end: measured 0.1 s.
pub const DAEMON_STOP: Duration = Duration::from_secs(30);

/// dumpcap from its start to its first packet: measured 0.2 s.
pub const CAPTURE_START: Duration = Duration::from_secs(30);

/// dumpcap from the signal to its end: it writes what its buffer holds. Measured 0.1 s.
pub const CAPTURE_END: Duration = Duration::from_secs(30);

/// tshark over one capture of [`CAPTURE_MIB`]: measured 5 s.
pub const DISSECTION: Duration = Duration::from_secs(180);

/// A capture ends by itself at so many MiB: enough for thousands of commands, and for some seconds of reading and writing.
pub const CAPTURE_MIB: u32 = 24;

/// An answer of QEMU's monitor.
pub const QMP_ANSWER: Duration = Duration::from_secs(20);

/// An answer of the serial console to a command: measured 0.2 s.
pub const CONSOLE_ANSWER: Duration = Duration::from_secs(30);

/// Pause between two looks at something that cannot be waited for.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Bytes of console kept in memory for a machine; the log file has all of it.
pub const CONSOLE_BYTES_MAX: usize = 8 << 20;

/// Console lines in the message of a failed wait.
pub const LAST_LINES: usize = 30;

/// A kernel under emulation panics now and then before it starts init (timer set-up), or QEMU itself crashes; such a boot is
/// repeated, and the lab says so.
pub const BOOT_TRIES: u32 = 2;
