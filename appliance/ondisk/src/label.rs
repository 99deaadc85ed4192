//! Who a drive is.
//!
//! The label is written once, when a drive joins a pool, before the first record; it is removed last, when the pool is
//! deleted. So a drive of ours is known as ours even while both of its records are damaged or not yet written.
//!
//! Identity is the drive's UUID, never its slot or serial number: drives that changed places in the chassis are found
//! again, and a drive that was copied to another one is noticed.

use crate::error::LoadError;
use crate::layout::LABEL_LBA;
use crate::text::{self, Serial};
use crate::wire::{LABEL_MAGIC, LABEL_VERSION, LabelV1};
use crate::{limits, stamp};
use block::BLOCK_SIZE;
use uuid::Uuid;
use zerocopy::{FromBytes, IntoBytes};

/// A drive's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveLabel {
    /// Identity of the drive.
    pub drive: Uuid,
    /// The pool that it belongs to.
    pub pool: Uuid,
    /// Its number in the pool.
    pub member: u16,
    /// Its serial number when it joined.
    pub serial: Serial,
}

impl DriveLabel {
    /// The bytes to be stored at [`LABEL_LBA`].
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_SIZE] {
        assert!(usize::from(self.member) < limits::MEMBERS_MAX, "member numbers are bounded");
        assert!(!self.drive.is_nil() && !self.pool.is_nil(), "a label identifies a drive and a pool");
        let wire = LabelV1 {
            stamp: stamp::stamp(LABEL_MAGIC, LABEL_VERSION, LABEL_LBA, self.drive, self.pool),
            member: self.member.into(),
            reserved0: [0; 6],
            serial: text::store(self.serial.as_str()),
            reserved1: [0; 4004],
        };
        let mut bytes = [0; BLOCK_SIZE];
        bytes.copy_from_slice(wire.as_bytes());
        stamp::seal(&mut bytes);
        bytes
    }

    /// Reads the first block of a drive.
    ///
    /// # Errors
    /// [`LoadError::Blank`] and [`LoadError::NotOurs`] if there is no label; otherwise the label is damaged.
    pub fn decode(block: &[u8]) -> Result<Self, LoadError> {
        stamp::magic_of(block, LABEL_MAGIC)?;
        let bytes = block.get(..BLOCK_SIZE).ok_or(LoadError::Truncated { len: block.len() })?;
        let head = stamp::check(bytes, LABEL_MAGIC, LABEL_VERSION, LABEL_LBA)?;
        let wire = LabelV1::ref_from_bytes(bytes).map_err(|_| LoadError::Truncated { len: bytes.len() })?;
        stamp::zero(&wire.reserved0)?;
        stamp::zero(&wire.reserved1)?;
        let member = wire.member.get();
        if usize::from(member) >= limits::MEMBERS_MAX {
            return Err(crate::Inconsistency::NotAMember.into());
        }
        Ok(Self {
            drive: stamp::identity(head.drive)?,
            pool: stamp::identity(head.pool)?,
            member,
            serial: text::load(&wire.serial).and_then(Serial::new).map_err(crate::Inconsistency::from)?,
        })
    }
}
