//! PCI devices over VFIO (layer 3; used by `engine`).
//!
//! ```text
//!  Container ── one per process ── open(bdf) ─▶ Device ── map(arena) ─▶ address of the arena as the device sees it
//!                                                 ├ Bar       registers, mapped into this process
//!                                                 └ config    command register: memory, bus master
//!  nvme::open(container, arena, bdf) = all of that and the driver's bring-up on top
//! ```
//!
//! UNSAFETY: registers are memory that changes by itself, and a mapping gives a device access to ours; neither can be
//! said in safe Rust. Unsafe code is in `bar` (register access) and `container` (the DMA mapping).
//!
//! Invariants
//! - A device reaches only arenas that were mapped for it; the IOMMU refuses everything else.
//! - An arena is mapped once per container, at an address of our own choosing and not at its virtual address: IOMMUs
//!   with 39 address bits exist.
//! - The arena stays alive as long as the kernel has it mapped.
//! - Everything that opening needs is checked in sysfs first, so that a refusal names the device and the remedy.
//!
//! Not here: binding devices to `vfio-pci` (PID 1), interrupts (all queues are polled), what the registers mean.
#![allow(unsafe_code, reason = "registers and DMA mappings, see UNSAFETY above")]

mod bar;
mod bdf;
mod container;
mod device;
mod error;
pub mod limits;
pub mod nvme;
mod sysfs;

pub use bar::Bar;
pub use bdf::{Bdf, BdfError};
pub use container::Container;
pub use device::Device;
pub use error::VfioError;
