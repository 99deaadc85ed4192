//! Every struct that reaches a disk (layer 0; used by `pool`, and by tools that read drives).
//!
//! `docs/ondisk.md` describes the format byte by byte. In short:
//!
//! ```text
//!  block 0        256             512             2048 (8 MiB)                      end - 1 MiB
//!  ┌───────┬──────┬────────┬──────┬────────┬──────┬──────────┬──────────┬─ ─ ─ ─────┬──────────┐
//!  │ label │ zero │ slot A │ zero │ slot B │ zero │ extent 0 │ extent 1 │           │ zero     │
//!  └───────┴──────┴────────┴──────┴────────┴──────┴──────────┴──────────┴─ ─ ─ ─────┴──────────┘
//!  DriveLabel     PoolRecord, generation % 2                   1 MiB each             reserved
//! ```
//!
//! [`thin`] is the format of the thin engine, which has pools of one drive.
//!
//! Invariants
//! - Every stored struct has a magic, a version, a checksum over all its bytes, and its own address (drive and block).
//!   A torn write fails the checksum, a misdirected one names another address, a stale one has an older generation.
//! - Decoding is total: any bytes give a value or an error, never a panic. A decoded value satisfies every rule of its
//!   type ([`PoolRecord::check`]); the same rules are asserted before encoding.
//! - Reserved bytes are written as zero and checked when read, so that a later version may give them a meaning.
//!
//! Not here: IO, when and in which order things are written (`pool`).
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod error;
mod foreign;
mod label;
mod layout;
pub mod limits;
mod record;
mod settings;
mod stamp;
mod text;
pub mod thin;
mod wire;

pub use error::{Inconsistency, LoadError};
pub use foreign::{Content, HEAD_BYTES, Signature, TAIL_BYTES, recognise};
pub use label::DriveLabel;
pub use layout::{
    DATA_LBA, EXTENT_BLOCKS, EXTENT_BYTES, LABEL_LBA, Slot, TAIL_BLOCKS, extent_lba, extents_on, has_extents,
};
pub use record::{MemberRecord, Place, PoolRecord, Run, VolumeRecord, claimed_len};
pub use settings::{
    Access, LbaSize, Registrant, Reservation, ReservationType, Reserved, Settings, WriteProtect,
};
pub use text::{HostNqn, Name, Serial, TextError};

#[cfg(test)]
mod tests;
