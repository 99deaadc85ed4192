//! The gRPC contract `ironbay.v1`, its conversions, and a client (layer 5; `manager`, `ironbay` and the provider use it).
//!
//! ```text
//!  client: Client ── v1 requests ──▶ manager: v1 servers
//!          Error  ◀── tonic::Status with ErrorInfo, BadRequest ── status_from(ControlError)
//! ```
//!
//! Invariants
//! - A [`control::ErrorKind`] has exactly one gRPC code; object, field and remedy travel in the standard error details, so
//!   an error reads the same on both sides.
//! - A client never waits without a limit.
//!
//! Not here: what the calls do (`manager`), authentication.
#![forbid(unsafe_code)]

mod client;
mod convert;
mod error;
pub mod limits;

pub use client::{Client, Timeouts};
pub use convert::{connection, drive, pool, session, volume};
pub use error::{Error, control_error_from, status_from};

/// Where the API listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 7420;

/// Messages, clients and servers generated from `proto/ironbay/v1/ironbay.proto`.
#[allow(
    warnings,
    clippy::all,
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code"
)]
#[allow(
    clippy::pedantic,
    clippy::nursery,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("ironbay.v1");
}
