//! What the engine and the control plane say to one another, as plain types (layer 0; every crate above may use it).
//!
//! The engine executes these requests (`engine`), the D-Bus interface `org.ironbay.Engine1` carries them (`bus`), the
//! manager and the console make them. They are small primitives on purpose: policy lives in the manager.
//!
//! Invariants
//! - Sizes are bytes, always; names are for people, UUIDs identify.
//! - A change either happened completely and durably when its answer arrives, or the answer is an error and nothing
//!   changed. A repeated creation with the same UUID and the same parameters returns the existing object.
//! - Enumerations travel by name (D-Bus signature `s`): people with a D-Bus tool can read them, and a new variant between two
//!   old ones changes nothing.
//!
//! Not here: transport, authentication, who may do what.
#![forbid(unsafe_code)]

mod error;
pub mod limits;
mod name;
mod request;
mod status;

pub use error::{ControlError, ErrorKind, no_block_size};
pub use name::is_name;
pub use request::{
    AllowedHosts, CreatePool, CreateVolume, DeletePool, DeleteVolume, Reply, Request, ResizeVolume,
    SetVolumeHosts, WipeDrive,
};
pub use status::{
    DriveState, DriveStatus, EngineStatus, PoolState, PoolStatus, SessionStatus, VolumeState, VolumeStatus,
};
