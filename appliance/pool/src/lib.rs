//! Drives joined to a pool: space, thick volumes, the metadata record (layer 2; `engine` and `target` use it).
//!
//! ```text
//!  drives ──▶ Probe ──▶ Finding ─┐
//!                                ├─▶ import ──▶ Pool ── begin_settle ──▶ Job ──▶ finish: volumes may be served
//!  all drives of the node ───────┘      │
//!                                       ├── begin_set_access, begin_delete_volume, … ──▶ Job ──▶ finish
//!                                       ├── begin_create_volume, begin_grow_volume ──▶ Job ──▶ begin_commit ──▶ Job ──▶ finish
//!                                       └── map(nsid, lba, blocks) ──▶ Segments, on the path of each IO
//! ```
//!
//! Nothing here does IO. [`Probe`] and [`Job`] say which operation comes next (`poll_op`), the owner of the drives
//! submits it, and brings the completion back (`on_completion`).
//!
//! Invariants
//! - A change becomes current in memory ([`Pool::finish`]) only after its record is durable on every member. So an
//!   answered change survives a power cut, and an extent that a change frees is not given away before.
//! - New extents are zeroed, durably, before the record that owns them is written: a volume never shows what another
//!   one stored.
//! - The newest valid record wins at import. A member that is one change behind was cut off while that change was
//!   written, and is brought up to date before anything is served. A member further behind is an older copy or lost
//!   what it had confirmed: then nothing is served.
//! - One job at a time writes the record. Beside it one may zero extents that no record names; until it goes on, nobody
//!   gets extents or gives them back.
//! - A job that fails while its record is being written leaves the pool frozen: the old state is
//!   served on, changes are refused, and the next import decides. Guessing which record is newer on which drive
//!   could end with two histories of one pool.
//!
//! Not here: IO to the volumes (`target`), opening drives (`engine`), checking names across pools (`engine`).
#![forbid(unsafe_code)]

mod change;
mod create;
mod drive;
mod import;
mod job;
pub mod limits;
mod map;
mod pool;
mod probe;
mod settings;
mod space;
mod wipe;

pub use create::begin_create_pool;
pub use drive::{Drive, DriveId, KnownDrive, MemberIndex, Role};
pub use import::{Found, FoundThin, Imported, OfflinePool, import, offline_thin};
pub use job::{Asked, Job, JobError};
pub use map::{MapError, Segment, Segments};
pub use ondisk::{
    Access, HostNqn, LbaSize, Registrant, Reservation, ReservationType, Reserved, Settings, VolumeRecord,
    WriteProtect,
};
pub use pool::{Begun, Pool};
pub use probe::{Finding, Labelled, Probe, SlotContent};
pub use settings::access_of;
pub use wipe::{begin_wipe, finish_wipe};

#[cfg(test)]
mod tests;
