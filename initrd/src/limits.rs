//! Bounds of init, each with its reason.
//!
//! "guessed" means: no measurement stands behind it, and nothing is known to suffer from it.

use std::time::Duration;

/// Bytes of a small file of sysfs, procfs or /run that init reads. The largest honest one is `/proc/cmdline` (4 KiB)
/// or the module index (about 60 KiB for 25 network card families).
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Rounds of module loading: a loaded bus driver may reveal devices with new aliases (PCI → virtio → …).
pub const MODULE_ROUNDS_MAX: usize = 4;

/// Network interfaces that are configured.
pub const INTERFACES_MAX: usize = 64;

/// Hugepage memory in MiB when the kernel arguments name none: a quarter of RAM within these bounds.
pub const HUGEPAGES_MIN_MIB: u64 = 64;
/// See [`HUGEPAGES_MIN_MIB`].
pub const HUGEPAGES_MAX_DEFAULT_MIB: u64 = 1024;

/// Memory in MiB that is not turned into hugepages, or half of all if that is less: kernel, image, agent and console
/// (a trial reached the API with 96 MiB in all).
pub const SYSTEM_MIB: u64 = 128;

/// Open files of a service: a host with 128 IO queues times 256 hosts stays below it.
pub const OPEN_FILES: u64 = 65_536;

/// One line of a service's output; the rest of a longer line becomes the next line.
pub const LINE_BYTES_MAX: usize = 1024;

/// Lines that wait for one console device. At 115200 baud 256 lines of 80 characters take about two seconds; what does
/// not fit is counted and reported, because a console that stands still must never stop init.
pub const CONSOLE_QUEUE_LINES: usize = 256;

/// Lines of one service that reach the console within [`OUTPUT_WINDOW`]; all of them reach the kernel log.
pub const OUTPUT_LINES_PER_WINDOW: u32 = 100;
/// See [`OUTPUT_LINES_PER_WINDOW`].
pub const OUTPUT_WINDOW: Duration = Duration::from_secs(10);

/// A service that ran this long was healthy: its next restart is immediate again.
pub const STABLE_RUN_MS: u64 = 10_000;
/// First pause before a restart. Never zero: a service that dies at once would take the processor from the others.
pub const RESTART_FIRST_MS: u64 = 100;
/// Longest pause before a restart: an operator who removed the cause waits no longer than this.
pub const RESTART_MAX_MS: u64 = 30_000;
const _: () = assert!(RESTART_FIRST_MS > 0 && RESTART_FIRST_MS < RESTART_MAX_MS);

/// Time for the agent to stop: it only answers requests that are under way.
pub const STOP_AGENT: Duration = Duration::from_secs(5);
/// Time for the engine to stop: running commands, a flush per drive, a metadata record.
pub const STOP_ENGINE: Duration = Duration::from_secs(20);
/// Time for the console and the DHCP client to stop.
pub const STOP_OTHERS: Duration = Duration::from_secs(1);

/// Pause between two questions whether the engine or the agent is ready.
pub const READY_POLL: Duration = Duration::from_millis(100);

/// Time between a panic of PID 1 and the reboot: enough to read the message or to photograph the screen.
pub const PANIC_REBOOT: Duration = Duration::from_secs(10);

/// Characters of a line typed at the console.
pub const CONSOLE_INPUT_MAX: usize = 256;
/// The console becomes a plain log again when nobody typed for so long.
pub const CONSOLE_IDLE: Duration = Duration::from_secs(300);
/// Columns of a page: a terminal of unknown size has at least 80.
pub const CONSOLE_COLUMNS: usize = 79;
/// Rows of a table on the console; the rest is counted.
pub const CONSOLE_ROWS_MAX: usize = 200;
/// Lines that `log` shows when no number is given, and at most.
pub const LOG_LINES_DEFAULT: usize = 40;
/// See [`LOG_LINES_DEFAULT`].
pub const LOG_LINES_MAX: usize = 1000;
