//! The console: pages and a few commands on a serial line, for when nothing else works.
//!
//! ```text
//!  role     opens the device, asks init and the engine, writes          (impure)
//!  editor   bytes from the line become lines and an echo
//!  command  a line becomes a command
//!  pages    answers become text
//!  table    columns within 79 characters
//!  log      records of the kernel log
//! ```
//!
//! Invariants
//! - Until a key is pressed the device is a plain log of the boot; nothing is drawn, no cursor is moved, ever.
//! - No terminal size is assumed: lines end, tables fit 79 columns, function keys are not used.
//! - Text from drives and hosts cannot steer the terminal.
//! - There is no shell, and no command that changes data.

pub mod command;
pub mod editor;
pub mod log;
pub mod pages;
pub mod role;
pub mod table;
#[cfg(test)]
mod tests;
