//! The lab: emulated servers that boot the real image, and a real Linux host that uses them.
//!
//! ```text
//!  network namespace ironbay-<pid>                           10.77.0.0/24
//!  ┌───────────────────────────────────────────────────────────────────┐
//!  │ dnsmasq: DHCP, TFTP (kit)      terraform, ironbay (the operator)  │
//!  │      └──────────────┬──────────────────┘                          │
//!  │                bridge lab0 .1                                     │
//!  │          tap0 ──────┴────── tap1                                  │
//!  │  QEMU: node .10          QEMU: Linux host .20                     │
//!  │  IOMMU, NVMe drives      nvme-cli, fio, ext4                      │
//!  └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariants
//! - No machine outlives its test: every child dies with the thread that started it.
//! - Every wait has a limit, and its failure says what was waited for and what the machine said last.
//! - Nothing touches the network of the machine on which the lab runs.
//!
//! Layer 7: nothing that ships uses this crate. `docs/lab.md` tells how to debug a scenario.

pub mod capture;
pub mod child;
pub mod client;
pub mod daemon;
pub mod demo;
pub mod fio;
pub mod guest;
pub mod host;
pub mod interrupt;
pub mod kernel_bench;
pub mod lab;
pub mod limits;
pub mod manage;
pub mod network;
pub mod node;
pub mod parts;
pub mod qemu;
pub mod qmp;
pub mod scenario;
pub mod serial;
pub mod steps;
