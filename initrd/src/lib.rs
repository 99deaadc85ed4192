//! PID 1, the DHCP client and the serial console of a node (layer 6; nobody uses this crate but its own program).
//!
//! ```text
//!  init          PID 1: phases of the boot, services, the end of the node
//!  boot          what the phases do to the kernel
//!  dhcp          the process that gets addresses
//!  console       the process that answers on a serial line
//!  args, phase, unit, journal, failure, service_log   words that they share
//!  rtnl, sys     the kernel's network
//! ```
//!
//! Invariants
//! - A failure names operation, object, reason and remedy, and reaches the console; the boot goes on.
//! - Nothing here writes to a drive.

pub mod args;
pub mod boot;
pub mod clock;
pub mod console;
pub mod dhcp;
pub mod failure;
pub mod init;
pub mod journal;
pub mod limits;
pub mod phase;
pub mod rtnl;
pub mod service_log;
pub mod sys;
pub mod unit;
