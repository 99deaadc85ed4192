//! The journal: what changed since the last checkpoint, block after block in a ring.
//!
//! A block is written once in a lap and never rewritten. Reading stops at the first place that has not the sequence number and
//! epoch that are next: it is blank, or has a block of an earlier lap, or of a life before the last import. That this is the
//! end, and not a block that was lost, follows from what later blocks say was durable. Since the ring is blank in a new pool,
//! anything else at a place is damage.

use super::layout::Region;
use super::node::{Piece, Pointer};
use super::table::VolumeKind;
use super::wire::{
    self, AttributesRecordV1, CreateV1, JOURNAL_MAGIC, JOURNAL_ROOM, JournalHeadV1, MapV1, RangeV1,
    RecordHeadV1, ThinIdentity, rule,
};
use crate::error::{Inconsistency, LoadError};
use crate::stamp;
use crate::text::{self, Name};
use block::{BLOCK_SIZE, Blocks, Lba};
use uuid::Uuid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAP: u8 = 1;
const TRIM: u8 = 2;
const CREATE: u8 = 3;
const DELETE: u8 = 4;
const GROW: u8 = 5;
const DIRTY: u8 = 6;
const ATTRIBUTES: u8 = 7;

/// The place of a record in the journal: block, and number in it. Grows without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The record `index` of the block `sequence`.
    #[must_use]
    pub fn new(sequence: u64, index: u8) -> Self {
        Self(sequence.saturating_mul(256).saturating_add(u64::from(index)))
    }

    /// The block in which it stands.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0 >> 8
    }
}

/// Blocks of a unit were written for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRecord {
    /// Which volume.
    pub volume: u32,
    /// Which unit of it.
    pub unit: u64,
    /// Where, and which blocks.
    pub own: Piece,
    /// What lies below from then on; only with `is_fresh`.
    pub base: Option<Piece>,
    /// The unit becomes the entry's own one, and nothing else is in it. Otherwise it is that already; if it is not, because
    /// the record that made it so was dropped at an import, this one is dropped, too.
    pub is_fresh: bool,
    /// CRC32C of the blocks of `own.mask`, lowest first; the rest zero.
    pub sums: [u32; 16],
}

/// A change of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalRecord {
    /// See there.
    Map(MapRecord),
    /// Blocks read as zeroes.
    Trim {
        /// Which volume.
        volume: u32,
        /// First block.
        first: u64,
        /// How many; not zero.
        blocks: Blocks,
    },
    /// A volume, snapshot or clone.
    Create {
        /// Its number.
        volume: u32,
        /// The number of what it is a copy of; `None` for an empty volume.
        origin: Option<u32>,
        /// Volume or snapshot.
        kind: VolumeKind,
        /// Length.
        blocks: Blocks,
        /// Identity.
        uuid: Uuid,
        /// Name.
        name: Name,
        /// The first block of what it carries for its owner; that was durable before this record was written.
        attributes: Option<Pointer>,
    },
    /// A volume or snapshot is gone.
    Delete {
        /// Which.
        volume: u32,
    },
    /// A volume is longer.
    Grow {
        /// Which volume.
        volume: u32,
        /// Its length from now on.
        blocks: Blocks,
    },
    /// What a volume carries for its owner is something else.
    Attributes {
        /// Which volume or snapshot.
        volume: u32,
        /// As with [`JournalRecord::Create`].
        attributes: Option<Pointer>,
    },
    /// The checksums of regions may lag behind their data from now on. A map record says the same of the region of its unit.
    Dirty {
        /// The first one.
        first: Region,
        /// How many; not zero.
        regions: u32,
    },
}

impl JournalRecord {
    /// Bytes in a block.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Map(map) => {
                let sums = usize::try_from(map.own.mask.count_ones()).unwrap_or(0);
                size_of::<MapV1>().saturating_add(sums.saturating_mul(4))
            }
            Self::Trim { .. } | Self::Delete { .. } | Self::Grow { .. } | Self::Dirty { .. } => {
                size_of::<RangeV1>()
            }
            Self::Create { .. } => size_of::<CreateV1>(),
            Self::Attributes { .. } => size_of::<AttributesRecordV1>(),
        }
    }

    fn head(&self, kind: u8, volume: u32) -> RecordHeadV1 {
        let bytes = u16::try_from(self.encoded_len()).unwrap_or(u16::MAX);
        RecordHeadV1 { kind, reserved: 0, bytes: bytes.into(), volume: volume.into() }
    }

    /// Hands the stored form to `put`, piece by piece.
    fn store(&self, mut put: impl FnMut(&[u8])) {
        let range = |kind, volume, first: u64, blocks: Blocks| RangeV1 {
            head: self.head(kind, volume),
            first: first.into(),
            blocks: blocks.0.into(),
        };
        match self {
            Self::Map(map) => {
                let base = map.base.unwrap_or(Piece::NONE);
                put(MapV1 {
                    head: self.head(MAP, map.volume),
                    unit: map.unit.into(),
                    own: map.own.au.index.into(),
                    base: base.au.index.into(),
                    mask: map.own.mask.into(),
                    base_mask: base.mask.into(),
                    own_member: map.own.au.member.0,
                    base_member: base.au.member.0,
                    is_fresh: u8::from(map.is_fresh),
                    reserved: 0,
                }
                .as_bytes());
                for sum in map.sums.iter().take(usize::try_from(map.own.mask.count_ones()).unwrap_or(0)) {
                    put(&sum.to_le_bytes());
                }
            }
            Self::Trim { volume, first, blocks } => put(range(TRIM, *volume, *first, *blocks).as_bytes()),
            Self::Delete { volume } => put(range(DELETE, *volume, 0, Blocks(0)).as_bytes()),
            Self::Grow { volume, blocks } => put(range(GROW, *volume, 0, *blocks).as_bytes()),
            Self::Dirty { first, regions } => {
                put(range(DIRTY, 0, u64::from(first.0), Blocks(u64::from(*regions))).as_bytes());
            }
            Self::Create { volume, origin, kind, blocks, uuid, name, attributes } => put(CreateV1 {
                head: self.head(CREATE, *volume),
                origin: origin.unwrap_or(0).into(),
                volume_kind: kind.number(),
                reserved: [0; 3],
                blocks: blocks.0.into(),
                uuid: uuid.into_bytes(),
                name: text::store(name.as_str()),
                attributes: Pointer::store(*attributes),
            }
            .as_bytes()),
            Self::Attributes { volume, attributes } => put(AttributesRecordV1 {
                head: self.head(ATTRIBUTES, *volume),
                attributes: Pointer::store(*attributes),
            }
            .as_bytes()),
        }
    }

    /// Reads the record at the start of `bytes`, and says how long it is.
    fn load(bytes: &[u8]) -> Result<(Self, usize), LoadError> {
        let head: &RecordHeadV1 = prefix(bytes)?;
        let is_of_volume = head.volume.get() > 0;
        rule(is_of_volume == (head.kind != DIRTY) && head.reserved == 0, Inconsistency::Record)?;
        let record = match head.kind {
            MAP => Self::Map(load_map(bytes)?),
            TRIM | DELETE | GROW => load_range(prefix(bytes)?)?,
            DIRTY => load_dirty(prefix(bytes)?)?,
            CREATE => load_create(prefix(bytes)?)?,
            ATTRIBUTES => load_attributes(prefix(bytes)?)?,
            _ => return Err(Inconsistency::Record.into()),
        };
        rule(record.encoded_len() == usize::from(head.bytes.get()), Inconsistency::Record)?;
        Ok((record, usize::from(head.bytes.get())))
    }
}

fn prefix<T: FromBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8]) -> Result<&T, LoadError> {
    T::ref_from_prefix(bytes).map(|(value, _)| value).map_err(|_| Inconsistency::Record.into())
}

fn load_map(bytes: &[u8]) -> Result<MapRecord, LoadError> {
    let wire: &MapV1 = prefix(bytes)?;
    stamp::zero(&[wire.reserved])?;
    let is_fresh = wire.is_fresh == 1;
    let own = Piece::load(wire.own_member, wire.own.get(), wire.mask.get());
    let base = Piece::load(wire.base_member, wire.base.get(), wire.base_mask.get());
    let is_none = base == Piece::NONE;
    let is_base = is_fresh && base.is_valid() && base.au != own.au;
    rule(wire.is_fresh <= 1 && own.is_valid() && (is_none || is_base), Inconsistency::Record)?;
    let count = usize::try_from(own.mask.count_ones()).unwrap_or(0);
    let stored = bytes.get(size_of::<MapV1>()..).unwrap_or(&[]).as_chunks::<4>().0;
    rule(stored.len() >= count, Inconsistency::Record)?;
    let mut sums = [0; 16];
    for (sum, bytes) in sums.iter_mut().zip(stored).take(count) {
        *sum = u32::from_le_bytes(*bytes);
    }
    let base = (!is_none).then_some(base);
    Ok(MapRecord { volume: wire.head.volume.get(), unit: wire.unit.get(), own, base, is_fresh, sums })
}

fn load_range(wire: &RangeV1) -> Result<JournalRecord, LoadError> {
    let (volume, first, blocks) = (wire.head.volume.get(), wire.first.get(), Blocks(wire.blocks.get()));
    let holds = match wire.head.kind {
        TRIM => blocks.0 > 0 && first.checked_add(blocks.0).is_some(),
        GROW => blocks.0 > 0 && first == 0,
        _ => blocks.0 == 0 && first == 0,
    };
    rule(holds, Inconsistency::Record)?;
    Ok(match wire.head.kind {
        TRIM => JournalRecord::Trim { volume, first, blocks },
        GROW => JournalRecord::Grow { volume, blocks },
        _ => JournalRecord::Delete { volume },
    })
}

fn load_dirty(wire: &RangeV1) -> Result<JournalRecord, LoadError> {
    let count = |stored: u64| u32::try_from(stored).map_err(|_| Inconsistency::Record);
    let (first, regions) = (count(wire.first.get())?, count(wire.blocks.get())?);
    rule(regions > 0 && first.checked_add(regions).is_some(), Inconsistency::Record)?;
    Ok(JournalRecord::Dirty { first: Region(first), regions })
}

fn load_create(wire: &CreateV1) -> Result<JournalRecord, LoadError> {
    stamp::zero(&wire.reserved)?;
    let origin = wire.origin.get();
    rule(wire.blocks.get() > 0 && origin != wire.head.volume.get(), Inconsistency::Record)?;
    Ok(JournalRecord::Create {
        volume: wire.head.volume.get(),
        origin: (origin > 0).then_some(origin),
        kind: VolumeKind::of(wire.volume_kind)?,
        blocks: Blocks(wire.blocks.get()),
        uuid: stamp::identity(wire.uuid)?,
        name: text::load(&wire.name).and_then(Name::new).map_err(Inconsistency::from)?,
        attributes: Pointer::load(&wire.attributes)?,
    })
}

fn load_attributes(wire: &AttributesRecordV1) -> Result<JournalRecord, LoadError> {
    let attributes = Pointer::load(&wire.attributes)?;
    Ok(JournalRecord::Attributes { volume: wire.head.volume.get(), attributes })
}

/// What a block says beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// One more with each block.
    pub sequence: u64,
    /// As in the root.
    pub epoch: u64,
    /// The data of all map records up to this one is durable, and need not be compared with their checksums.
    pub settled: Lsn,
    /// All blocks of this epoch before this one were durable when it was written, at the most itself: if one of them is
    /// missing, it was lost.
    pub durable: u64,
}

/// A block of the journal, being filled: nothing is allocated for a record.
#[derive(Clone, Debug)]
pub struct JournalBlock {
    bytes: Box<[u8; BLOCK_SIZE]>,
    used: usize,
    count: u8,
}

impl Default for JournalBlock {
    fn default() -> Self {
        Self { bytes: Box::new([0; BLOCK_SIZE]), used: 0, count: 0 }
    }
}

impl JournalBlock {
    /// Adds a record; gives its number in the block, or `None` if it has no room any more.
    pub fn push(&mut self, record: &JournalRecord) -> Option<u8> {
        let end = self.used.checked_add(record.encoded_len()).filter(|end| *end <= JOURNAL_ROOM)?;
        let index = self.count;
        self.count = self.count.checked_add(1)?;
        let room = self.bytes.get_mut(size_of::<JournalHeadV1>()..)?;
        let mut at = self.used;
        record.store(|piece| {
            for (to, from) in room.iter_mut().skip(at).zip(piece) {
                *to = *from;
            }
            at = at.saturating_add(piece.len());
        });
        assert_eq!(at, end, "a record is as long as it says");
        self.used = end;
        Some(index)
    }

    /// Whether there are no records in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.fill(0);
        (self.used, self.count) = (0, 0);
    }

    /// Completes the block for its place and copies it to `to`, which has the size of a block.
    pub fn seal(&mut self, head: JournalHead, lba: Lba, owner: ThinIdentity, to: &mut [u8]) {
        let wire = JournalHeadV1 {
            stamp: wire::stamp_of(JOURNAL_MAGIC, lba, owner),
            sequence: head.sequence.into(),
            epoch: head.epoch.into(),
            settled: head.settled.0.into(),
            durable: head.durable.into(),
            lane: 0.into(),
            record_count: u16::from(self.count).into(),
            record_bytes: u16::try_from(self.used).unwrap_or(u16::MAX).into(),
            reserved: [0; 26],
        };
        for (to, from) in self.bytes.iter_mut().zip(wire.as_bytes()) {
            *to = *from;
        }
        stamp::seal(self.bytes.as_mut_slice());
        to.copy_from_slice(self.bytes.as_slice());
    }

    /// Reads the block at a place.
    ///
    /// # Errors
    /// If there is none, or it is damaged. Whether it is the next one of the journal is for the caller to compare.
    pub fn decode(
        bytes: &[u8],
        lba: Lba,
        owner: ThinIdentity,
    ) -> Result<(JournalHead, Vec<JournalRecord>), LoadError> {
        wire::check_owned(bytes, JOURNAL_MAGIC, lba, owner)?;
        let (wire, room) =
            JournalHeadV1::ref_from_prefix(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })?;
        stamp::zero(&wire.reserved)?;
        rule(wire.lane.get() == 0 && wire.epoch.get() > 0, Inconsistency::Record)?;
        let used = usize::from(wire.record_bytes.get());
        let (mut left, rest) = room.split_at_checked(used).ok_or(Inconsistency::Record)?;
        stamp::zero(rest)?;
        let mut records = Vec::with_capacity(usize::from(wire.record_count.get()).min(JOURNAL_ROOM));
        while !left.is_empty() {
            let (record, len) = JournalRecord::load(left)?;
            records.push(record);
            left = left.get(len..).ok_or(Inconsistency::Record)?;
        }
        rule(records.len() == usize::from(wire.record_count.get()), Inconsistency::Record)?;
        let head = JournalHead {
            sequence: wire.sequence.get(),
            epoch: wire.epoch.get(),
            settled: Lsn(wire.settled.get()),
            durable: wire.durable.get(),
        };
        let is_before = head.durable <= head.sequence && head.settled.sequence() <= head.sequence;
        rule(is_before, Inconsistency::Record)?;
        Ok((head, records))
    }
}
