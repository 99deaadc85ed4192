//! The format of the thin engine: what `docs/ondisk.md` describes in its second part.
//!
//! ```text
//!  AU 0    1      2 … 18      19 …          …            16384 … 16400        …             last two
//!  ┌──────┬──────┬───────────┬─────────────┬── data ────┬────────────────────┬── data ─────┬──────┬──────┐
//!  │ home │ home │ checksums │ journal ring│ and nodes  │ checksums          │ and nodes   │ home │ home │
//!  └──────┴──────┴───────────┴─────────────┴────────────┴────────────────────┴─────────────┴──────┴──────┘
//!  home: superblock · root of even generations · root of odd generations, one block each
//!
//!  Root ─▶ VolumeTable ─▶ Node (level 2) ─▶ Node (level 1) ─▶ Leaf (256 units of 64 KiB) ─▶ data
//!       └─▶ DirtyNode: regions whose SumPage may lag
//!                  └─▶ AttributesBlock ─▶ …: what a volume carries for its owner
//!  Journal blocks: what changed since the root was written
//! ```
//!
//! Invariants
//! - Everything is one block of 4 KiB with a stamp (magic, checksum, version, own address, drive, pool), as in the format of
//!   the first pool.
//! - A pointer carries the checksum and the generation of the node that it means. So a node that was lost on its way to the
//!   drive, with an older good one in its place, is noticed.
//! - Decoding is total, and what was decoded encodes to the same bytes.
//!
//! Not here: IO, and the order of writes (`volume`).

mod attributes;
mod exported;
mod journal;
mod layout;
mod node;
mod root;
mod sums;
mod superblock;
mod table;
pub(crate) mod wire;

pub use attributes::{AttributesBlock, PlacedBlocks};
pub use exported::Exported;
pub use journal::{JournalBlock, JournalHead, JournalRecord, Lsn, MapRecord};
pub use layout::{
    AU_BLOCKS, Address, Au, HOMES, HomeSlot, LEAF_UNITS, Member, NODE_POINTERS, PoolLayout, REGION_AUS,
    REGION_BLOCKS, Region, ThinLayout, UNIT_MASK_FULL, home_of, units_of,
};
pub use node::{Leaf, MapEntry, MapNode, Piece, Pointer};
pub use root::Root;
pub use sums::{DirtyNode, SumPage};
pub use superblock::Superblock;
pub use table::{TABLE_ENTRIES, VolumeEntry, VolumeKind, VolumeTable};
pub use wire::{ThinIdentity, data_checksum};
