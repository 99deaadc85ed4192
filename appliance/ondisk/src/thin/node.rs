//! The map of a volume: inner nodes and leaves, and where they point.
//!
//! A unit of a volume has at most two layers: its *own* allocation unit, which holds the blocks of `own.mask`, and below it
//! a *base* that it shares with a snapshot, for the blocks that only `base.mask` has. Blocks of neither read as zeroes.

use super::layout::{AU_BLOCKS, Address, Au, LEAF_UNITS, Member, NODE_POINTERS};
use super::wire::{
    self, EntryV1, LEAF_MAGIC, LeafV1, NODE_MAGIC, NodeHeadV1, NodeV1, PointerV1, ThinIdentity, rule,
};
use crate::error::{Inconsistency, LoadError};
use crate::stamp;
use block::Lba;

/// The deepest map: 128⁴ leaves are far more than any drive holds.
const LEVELS_MAX: u8 = 5;

/// Where a block of metadata lies, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Its place.
    pub at: Address,
    /// The generation that wrote it.
    pub generation: u64,
    /// The checksum in its stamp.
    pub checksum: u32,
}

impl Pointer {
    /// The pointer to a block that was encoded for this place.
    #[must_use]
    pub fn to(block: &[u8], at: Address, generation: u64) -> Self {
        Self { at, generation, checksum: wire::checksum_of(block) }
    }

    pub(crate) fn store(pointer: Option<Self>) -> PointerV1 {
        let none = Self { at: Address { member: Member(0), lba: Lba(0) }, generation: 0, checksum: 0 };
        let Self { at, generation, checksum } = pointer.unwrap_or(none);
        PointerV1 {
            lba: at.lba.0.into(),
            generation: generation.into(),
            checksum: checksum.into(),
            member: at.member.0,
            reserved: [0; 3],
        }
    }

    pub(crate) fn load(wire: &PointerV1) -> Result<Option<Self>, LoadError> {
        stamp::zero(&wire.reserved)?;
        let at = Address { member: Member(wire.member), lba: Lba(wire.lba.get()) };
        let (generation, checksum) = (wire.generation.get(), wire.checksum.get());
        if at.lba == Lba(0) {
            rule(generation == 0 && checksum == 0 && wire.member == 0, Inconsistency::Pointer)?;
            return Ok(None);
        }
        rule(generation > 0 && at.member.is_possible(), Inconsistency::Pointer)?;
        Ok(Some(Self { at, generation, checksum }))
    }
}

/// An allocation unit and which of its blocks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The unit.
    pub au: Au,
    /// Bit *n* stands for block *n*; not zero.
    pub mask: u16,
}

impl Piece {
    /// No unit.
    pub(crate) const NONE: Self = Self { au: Au { member: Member(0), index: 0 }, mask: 0 };

    /// Whether it may be stored: unit 0 of a drive is a home.
    pub(crate) fn is_valid(&self) -> bool {
        self.mask != 0 && self.au.index != 0 && self.au.member.is_possible()
    }

    pub(crate) fn load(member: u8, index: u32, mask: u16) -> Self {
        Self { au: Au { member: Member(member), index }, mask }
    }
}

/// What one unit of a volume maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Its own unit.
    pub own: Piece,
    /// What it shares, for blocks that are not its own.
    pub base: Option<Piece>,
}

impl MapEntry {
    /// Whether it satisfies the rules of a stored entry.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        // A base whose blocks are all hidden is of no use, and would be kept for ever.
        let is_base =
            |base: Piece| base.is_valid() && base.au != self.own.au && base.mask & !self.own.mask != 0;
        self.own.is_valid() && self.base.is_none_or(is_base)
    }

    /// Where a block of the unit lies; `None` for zeroes.
    #[must_use]
    pub fn block(&self, block: u32) -> Option<Address> {
        let bit = 1_u16.checked_shl(block)?;
        let piece = if self.own.mask & bit != 0 { Some(self.own) } else { self.base };
        let piece = piece.filter(|piece| piece.mask & bit != 0)?;
        Some(piece.au.block(block))
    }

    fn store(entry: Option<Self>) -> EntryV1 {
        let own = entry.map_or(Piece::NONE, |e| e.own);
        let base = entry.and_then(|e| e.base).unwrap_or(Piece::NONE);
        EntryV1 {
            own: own.au.index.into(),
            base: base.au.index.into(),
            own_mask: own.mask.into(),
            base_mask: base.mask.into(),
            own_member: own.au.member.0,
            base_member: base.au.member.0,
            reserved: 0,
        }
    }

    fn load(wire: &EntryV1) -> Result<Option<Self>, LoadError> {
        stamp::zero(&[wire.reserved])?;
        let own = Piece::load(wire.own_member, wire.own.get(), wire.own_mask.get());
        let base = Piece::load(wire.base_member, wire.base.get(), wire.base_mask.get());
        if own == Piece::NONE && base == Piece::NONE {
            return Ok(None);
        }
        let entry = Self { own, base: (base != Piece::NONE).then_some(base) };
        rule(entry.is_valid(), Inconsistency::MapEntry)?;
        Ok(Some(entry))
    }
}

/// The entries of a leaf.
pub type Leaf = [Option<MapEntry>; LEAF_UNITS];

/// A node of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapNode {
    /// An inner node.
    Inner {
        /// 1 if its children are leaves.
        level: u8,
        /// Its children.
        children: Box<[Option<Pointer>; NODE_POINTERS]>,
    },
    /// A leaf.
    Leaf(Box<Leaf>),
}

impl MapNode {
    /// Units that a node of this level covers; `None` if there is no such level.
    #[must_use]
    pub fn span(level: u8) -> Option<u64> {
        let fan_out = (NODE_POINTERS as u64).checked_pow(u32::from(level))?;
        (level <= LEVELS_MAX).then_some(fan_out.checked_mul(LEAF_UNITS as u64)?)
    }

    /// The level of the root of a map of so many units.
    #[must_use]
    pub fn level_for(units: u64) -> u8 {
        (0..LEVELS_MAX)
            .find(|level| Self::span(*level).is_some_and(|span| span >= units))
            .unwrap_or(LEVELS_MAX)
    }

    /// 0 for leaves.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Inner { level, .. } => *level,
            Self::Leaf(_) => 0,
        }
    }

    /// The bytes for a place, and the pointer to them.
    ///
    /// # Panics
    /// If an entry breaks a rule: that must not reach a disk.
    #[must_use]
    pub fn encode(
        &self,
        first_unit: u64,
        generation: u64,
        at: Address,
        owner: ThinIdentity,
    ) -> (Box<[u8]>, Pointer) {
        let head = |magic| NodeHeadV1 {
            stamp: wire::stamp_of(magic, at.lba, owner),
            generation: generation.into(),
            first_unit: first_unit.into(),
            level: self.level(),
            reserved: [0; 175],
        };
        let bytes = match self {
            Self::Inner { level, children } => {
                assert!((1..=LEVELS_MAX).contains(level), "levels are bounded");
                let pointers = children.each_ref().map(|child| Pointer::store(*child));
                wire::store(&NodeV1 { head: head(NODE_MAGIC), pointers, reserved: [0; 768] })
            }
            Self::Leaf(entries) => {
                assert!(entries.iter().flatten().all(MapEntry::is_valid), "entries obey the rules");
                let entries = entries.each_ref().map(|entry| MapEntry::store(*entry));
                wire::store(&LeafV1 { head: head(LEAF_MAGIC), entries })
            }
        };
        let pointer = Pointer::to(&bytes, at, generation);
        (bytes, pointer)
    }

    /// Reads the node that a pointer means, whose place in the map is known.
    ///
    /// # Errors
    /// If it is damaged, or another one.
    pub fn decode(
        bytes: &[u8],
        pointer: &Pointer,
        place: (u8, u64),
        owner: ThinIdentity,
    ) -> Result<Self, LoadError> {
        let (level, _) = place;
        let magic = if level == 0 { LEAF_MAGIC } else { NODE_MAGIC };
        wire::check_owned(bytes, magic, pointer.at.lba, owner)?;
        let head = |head: &NodeHeadV1| {
            stamp::zero(&head.reserved)?;
            let is_meant = wire::checksum_of(bytes) == pointer.checksum
                && head.generation.get() == pointer.generation
                && (head.level, head.first_unit.get()) == place;
            rule(is_meant, Inconsistency::OtherNode)
        };
        if level == 0 {
            let wire: &LeafV1 = wire::view(bytes)?;
            head(&wire.head)?;
            let mut entries: Box<Leaf> = Box::new([None; LEAF_UNITS]);
            for (entry, stored) in entries.iter_mut().zip(&wire.entries) {
                *entry = MapEntry::load(stored)?;
            }
            return Ok(Self::Leaf(entries));
        }
        let wire: &NodeV1 = wire::view(bytes)?;
        head(&wire.head)?;
        stamp::zero(&wire.reserved)?;
        let mut children = Box::new([None; NODE_POINTERS]);
        for (child, stored) in children.iter_mut().zip(&wire.pointers) {
            *child = Pointer::load(stored)?;
        }
        Ok(Self::Inner { level, children })
    }
}

const _: () = assert!(AU_BLOCKS == 16, "masks have 16 bits");
