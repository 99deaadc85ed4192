//! A model NVMe controller (test crate; tests of `nvme-driver` use it): registers, queues and media in memory, in
//! virtual time, with faults on request.
//!
//! ```text
//!  Model ── platform() ──▶ ModelPlatform: what the driver holds (registers, memory, clock)
//!    │                         │ doorbell
//!    ├ advance(time)           ▼
//!    ├ fault(rule)         Core: fetch ─ rules ─ execute now or later ─ DMA ─ completion
//!    ├ switches()              │
//!    └ log(), violations()     └─ Memory: pages, and who may touch them
//! ```
//!
//! Payload is really moved by the model: [`Platform::hand_over`](nvme_driver::Platform::hand_over) copies a buffer into
//! the model's memory and `take_back` copies it out. So the model knows which memory the device owns, and a transfer to
//! any other memory (a buffer freed too early, a wrong PRP) is recorded as a violation.
//!
//! Not here: several namespaces with data, metadata, interrupts, fused commands.
#![forbid(unsafe_code)]

mod admin;
mod config;
mod controller;
mod fault;
mod io;
mod memory;
mod model;

pub use config::ModelConfig;
pub use fault::{Fault, Rule, Switches};
pub use io::Executed;
pub use memory::{ModelBuf, ModelQueue};
pub use model::{Model, ModelPlatform, ModelRegisters};
