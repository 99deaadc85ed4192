//! NVMe as types (layer 0; protocol, driver, emulated controller and tests use it). No IO, no behaviour.
//!
//! ```text
//!  opcode    admin, NVM, fabrics opcodes          register  CAP CC CSTS AQA VS CRTO, doorbells (PCIe and properties)
//!  status    the 15-bit status field              fabrics   Connect, Property Get/Set, Disconnect
//!  entry     submission (64 B), completion (16 B) tcp       PDU headers of NVMe/TCP
//!  identify  controller and namespace pages       log       log pages          feature   feature identifiers
//!  reservation  reservation commands, their report and notifications; write protection
//! ```
//!
//! Invariants
//! - Every wire struct has exactly the size the standard gives it (`const` assertions) and no padding, so any byte
//!   string of that size is a value of it. Meaning is checked by whoever uses the value, never assumed here.
//! - Numbers from outside are open newtypes: an unknown opcode or status is representable and printable.
//! - Names are the standard's mnemonics in lower case; 0's-based fields end in `_z`.
//!
//! Citations: "Base" is NVM Express Base Specification 2.1, "NVM" the NVM Command Set Specification 1.1, "PCIe" the
//! NVMe over PCIe Transport Specification 1.1, "TCP" the NVMe/TCP Transport Specification 1.1.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)]

#[macro_use]
mod open_enum;

pub mod entry;
pub mod fabrics;
pub mod feature;
pub mod identify;
pub mod log;
pub mod opcode;
pub mod register;
pub mod reservation;
pub mod status;
pub mod tcp;
mod text;

pub use entry::{CopyRange, Cqe, DATASET_RANGES_MAX, DataPointer, DatasetRange, Sgl, SglKind, Sqe};
pub use opcode::{AdminOpcode, FabricsType, NvmOpcode};
pub use status::Status;
pub use text::{ascii_field, ascii_text, nqn_field, nqn_text};

/// The namespace identifier that stands for all namespaces (Base 2.1 §3.2.1.2).
pub const NSID_ALL: u32 = 0xffff_ffff;

#[cfg(test)]
mod tests;
