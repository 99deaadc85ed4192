//! What an import believes. Good checksums only say that a block is as it was written; whoever wrote it may have had a fault, or
//! mean harm. So each thing that is loaded is compared with what is known before it, and only then applied: everything behind
//! this may rely on it.
//!
//! | believed without a check | what would follow |
//! |---|---|
//! | a unit of data in which nodes lie | data overwrites maps |
//! | a unit past the end of its volume, a trim of more than a leaf | another unit is meant, or a loop without an end |
//! | a clone with another length than its origin, a volume that shrinks | a map with too few levels |
//! | a number, name or UUID that is taken | a volume is replaced, or a table cannot be stored |
//! | counters close to their end | an overflow |

use crate::change::blocks_max;
use crate::drives::Drives;
use crate::engine::{EngineError, State, Volume};
use crate::import::ImportError;
use crate::limits::{COUNTERS_MAX, JOURNAL_BLOCKS_MIN};
use block::{Blocks, Lba};
use ondisk::Name;
use ondisk::thin::{
    AU_BLOCKS, Address, JournalRecord, LEAF_UNITS, MapRecord, Member, Piece, Pointer, PoolLayout, Root,
    Superblock, TABLE_ENTRIES, VolumeEntry, VolumeKind,
};
use uuid::Uuid;

/// Blocks of a volume that a leaf covers: no trim reaches further.
const LEAF_BLOCKS: u64 = LEAF_UNITS as u64 * AU_BLOCKS;

/// Whether this engine can serve the drive.
pub(crate) fn check_superblock(superblock: &Superblock) -> Result<(), ImportError> {
    if superblock.member_count != 1 {
        return Err(ImportError::Members(superblock.member_count));
    }
    let at = Address { member: Member::FIRST, lba: Lba(0) };
    if superblock.journal_blocks < JOURNAL_BLOCKS_MIN { Err(ImportError::Impossible(at)) } else { Ok(()) }
}

/// Whether the pool can go on counting from here.
pub(crate) fn check_root(root: &Root, drives: &Drives) -> Result<(), ImportError> {
    let is_possible =
        [root.generation, root.epoch, root.journal_sequence].iter().all(|counter| *counter <= COUNTERS_MAX);
    let at = drives.root_at(Member::FIRST, Root::slot(root.generation, 0));
    if is_possible { Ok(()) } else { Err(ImportError::Impossible(at)) }
}

/// Whether the checkpoint at the end of the import has room.
pub(crate) fn check_room(state: &State) -> Result<(), ImportError> {
    let needed = state.map.dirty + state.volumes.len().div_ceil(TABLE_ENTRIES) + state.bitmap.blocks();
    if needed <= state.space.node_room() { Ok(()) } else { Err(EngineError::Full.into()) }
}

/// Whether a volume may be in the table, behind those before it.
pub(crate) fn is_possible_volume(state: &State, entry: &VolumeEntry) -> bool {
    let is_behind = state.volumes.last_key_value().is_none_or(|(last, _)| *last < entry.number);
    is_behind
        && entry.number < state.next_volume
        && entry.blocks.0 <= blocks_max()
        && is_new(state, entry.uuid, &entry.name)
}

/// Whether a record can follow on what there is. Creation, deletion and growth of a volume are replayed once; what a map
/// record or a trim says may be there already.
pub(crate) fn is_possible(state: &State, layout: &PoolLayout, record: &JournalRecord) -> bool {
    let is_place = |first: Option<&Pointer>| first.is_none_or(|first| layout.is_usable_at(first.at));
    let writable = |volume: u32| state.volumes.get(&volume).filter(|v| v.kind == VolumeKind::Volume);
    match record {
        JournalRecord::Map(map) => {
            writable(map.volume).is_some_and(|volume| is_possible_map(state, layout, volume, map))
        }
        JournalRecord::Trim { volume, first, blocks } => {
            let end = first
                .checked_add(blocks.0)
                .filter(|end| end.div_ceil(LEAF_BLOCKS) == first / LEAF_BLOCKS + 1);
            writable(*volume).is_some_and(|volume| end.is_some_and(|end| end <= volume.blocks.0))
        }
        JournalRecord::Create { volume, origin, kind: _, blocks, uuid, name, attributes } => {
            let is_copy = |number: &u32| state.volumes.get(number).is_some_and(|v| v.blocks == *blocks);
            *volume == state.next_volume
                && *volume < u32::MAX
                && state.volumes.len() < Root::VOLUMES_MAX
                && blocks.0 <= blocks_max()
                && origin.as_ref().is_none_or(is_copy)
                && is_new(state, *uuid, name)
                && is_place(attributes.as_ref())
        }
        JournalRecord::Attributes { volume, attributes } => {
            state.volumes.contains_key(volume) && is_place(attributes.as_ref())
        }
        JournalRecord::Delete { volume } => state.volumes.contains_key(volume),
        JournalRecord::Grow { volume, blocks } => {
            let is_longer = |old: Blocks| *blocks > old && blocks.0 <= blocks_max();
            writable(*volume).is_some_and(|volume| is_longer(volume.blocks))
        }
        JournalRecord::Dirty { first, regions } => {
            first.0.checked_add(*regions).is_some_and(|end| end <= layout.regions())
        }
    }
}

/// Whether a record is about a volume that may have stood in a block of the volume table that is lost.
pub(crate) fn is_of_lost(state: &State, record: &JournalRecord) -> bool {
    let is_lost = |number: &u32| *number < state.next_volume && !state.volumes.contains_key(number);
    !state.damage.is_empty()
        && match record {
            JournalRecord::Map(MapRecord { volume, .. })
            | JournalRecord::Trim { volume, .. }
            | JournalRecord::Delete { volume }
            | JournalRecord::Attributes { volume, .. }
            | JournalRecord::Grow { volume, .. } => is_lost(volume),
            JournalRecord::Create { origin, .. } => origin.as_ref().is_some_and(is_lost),
            JournalRecord::Dirty { .. } => false,
        }
}

fn is_possible_map(state: &State, layout: &PoolLayout, volume: &Volume, map: &MapRecord) -> bool {
    let is_inside = |piece: Piece| {
        let blocks = u64::from(u16::BITS - piece.mask.leading_zeros());
        let end = map.unit.checked_mul(AU_BLOCKS).and_then(|first| first.checked_add(blocks));
        end.is_some_and(|end| end <= volume.blocks.0)
            && layout.is_usable(piece.au)
            && !state.space.has_nodes(piece.au)
    };
    // Nobody else has a unit that is written for the first time.
    let is_own = || {
        let (entry, _) = state.map.lookup(volume.root, map.unit);
        state.space.refs(map.own.au) == 0 || entry.is_some_and(|entry| entry.own.au == map.own.au)
    };
    is_inside(map.own) && map.base.is_none_or(is_inside) && (!map.is_fresh || is_own())
}

fn is_new(state: &State, uuid: Uuid, name: &Name) -> bool {
    !state.volumes.values().any(|v| v.uuid == uuid || v.name == *name)
}
