//! What a drive without our label carries: nothing, or data of somebody else.
//!
//! ```text
//!  first 128 KiB ─┐
//!                 ├─▶ recognise ─▶ Blank | Foreign(signature)
//!  last 64 KiB  ──┘
//! ```
//!
//! Invariants
//! - `Blank` is said only if every byte shown is zero. Anything else is somebody's data, known by name or not: the
//!   mistake to avoid is to take a drive that still matters.
//! - Pure and total: any bytes give an answer.
//!
//! The offsets are those that each format documents and that `libblkid` looks at.

use crate::stamp::is_zero;
use core::fmt;

/// How much of the start of a drive is looked at.
pub const HEAD_BYTES: usize = 128 * 1024;

/// How much of its end is looked at.
pub const TAIL_BYTES: usize = 64 * 1024;

/// What the drive carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Only zeroes where one looked.
    Blank,
    /// Data that is not ours.
    Foreign(Signature),
}

/// Who left the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signature {
    /// GUID partition table.
    Gpt,
    /// LUKS encryption.
    Luks,
    /// LVM2 physical volume.
    Lvm2,
    /// Linux software RAID.
    MdRaid,
    /// Intel or DDF firmware RAID.
    FirmwareRaid,
    /// ZFS pool member.
    Zfs,
    /// btrfs.
    Btrfs,
    /// XFS.
    Xfs,
    /// ext2.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// F2FS.
    F2fs,
    /// Linux swap.
    Swap,
    /// bcache.
    Bcache,
    /// Ceph BlueStore.
    BlueStore,
    /// SPDK blobstore.
    Blobstore,
    /// NTFS.
    Ntfs,
    /// ReFS.
    Refs,
    /// exFAT.
    ExFat,
    /// FAT.
    Fat,
    /// APFS.
    Apfs,
    /// ISO 9660.
    Iso9660,
    /// Master boot record with partitions or a boot loader.
    Mbr,
    /// Bytes that no rule knows.
    Unknown,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpt => "GPT partition table",
            Self::Luks => "LUKS encrypted volume",
            Self::Lvm2 => "LVM2 physical volume",
            Self::MdRaid => "Linux software RAID member",
            Self::FirmwareRaid => "firmware RAID member",
            Self::Zfs => "ZFS pool member",
            Self::Btrfs => "btrfs file system",
            Self::Xfs => "XFS file system",
            Self::Ext2 => "ext2 file system",
            Self::Ext3 => "ext3 file system",
            Self::Ext4 => "ext4 file system",
            Self::F2fs => "F2FS file system",
            Self::Swap => "Linux swap space",
            Self::Bcache => "bcache device",
            Self::BlueStore => "Ceph BlueStore device",
            Self::Blobstore => "SPDK blobstore",
            Self::Ntfs => "NTFS file system",
            Self::Refs => "ReFS file system",
            Self::ExFat => "exFAT file system",
            Self::Fat => "FAT file system",
            Self::Apfs => "APFS container",
            Self::Iso9660 => "ISO 9660 file system",
            Self::Mbr => "MBR partition table",
            Self::Unknown => "unknown data",
        })
    }
}

/// Where a signature is looked for.
#[derive(Clone, Copy)]
enum At {
    /// Bytes from the start of the drive.
    Head(usize),
    /// Bytes before the end of the drive.
    Tail(usize),
}

/// Signatures that are a fixed text at a fixed place, the outermost layer first: a partition table before what may
/// lie in its partitions, a RAID or encryption layer before the file system above it.
const FIXED: &[(Signature, At, &[u8])] = &[
    (Signature::Gpt, At::Head(512), b"EFI PART"),
    (Signature::Gpt, At::Head(4096), b"EFI PART"),
    (Signature::Gpt, At::Tail(512), b"EFI PART"),
    (Signature::Gpt, At::Tail(4096), b"EFI PART"),
    (Signature::Luks, At::Head(0), b"LUKS\xba\xbe"),
    (Signature::Luks, At::Head(0x4000), b"SKUL\xba\xbe"),
    (Signature::Lvm2, At::Head(24), b"LVM2 001"),
    (Signature::Lvm2, At::Head(512 + 24), b"LVM2 001"),
    (Signature::Lvm2, At::Head(1024 + 24), b"LVM2 001"),
    (Signature::Lvm2, At::Head(1536 + 24), b"LVM2 001"),
    (Signature::MdRaid, At::Head(0), &MD_MAGIC),
    (Signature::MdRaid, At::Head(4096), &MD_MAGIC),
    (Signature::MdRaid, At::Tail(8 * 1024), &MD_MAGIC),
    (Signature::MdRaid, At::Tail(12 * 1024), &MD_MAGIC),
    (Signature::MdRaid, At::Tail(64 * 1024), &MD_MAGIC),
    (Signature::FirmwareRaid, At::Tail(1024), b"Intel Raid ISM Cfg Sig. "),
    (Signature::FirmwareRaid, At::Tail(512), &DDF_MAGIC),
    (Signature::Btrfs, At::Head(64 * 1024 + 64), b"_BHRfS_M"),
    (Signature::Xfs, At::Head(0), b"XFSB"),
    (Signature::F2fs, At::Head(1024), &0xF2F5_2010_u32.to_le_bytes()),
    (Signature::Swap, At::Head(4096 - 10), b"SWAPSPACE2"),
    (Signature::Swap, At::Head(4096 - 10), b"SWAP-SPACE"),
    (Signature::Swap, At::Head(16 * 1024 - 10), b"SWAPSPACE2"),
    (Signature::Swap, At::Head(64 * 1024 - 10), b"SWAPSPACE2"),
    (Signature::Bcache, At::Head(4096 + 24), &BCACHE_MAGIC),
    (Signature::BlueStore, At::Head(0), b"bluestore block device\n"),
    (Signature::Blobstore, At::Head(0), b"SPDKBLOB"),
    (Signature::Ntfs, At::Head(3), b"NTFS    "),
    (Signature::Refs, At::Head(3), b"ReFS\0\0\0\0"),
    (Signature::ExFat, At::Head(3), b"EXFAT   "),
    (Signature::Fat, At::Head(54), b"FAT12   "),
    (Signature::Fat, At::Head(54), b"FAT16   "),
    (Signature::Fat, At::Head(82), b"FAT32   "),
    (Signature::Apfs, At::Head(32), b"NXSB"),
    (Signature::Iso9660, At::Head(32 * 1024 + 1), b"CD001"),
];

/// Linux RAID superblock, all versions, written little-endian on the machines of today.
const MD_MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();

/// DDF anchor header, big-endian.
const DDF_MAGIC: [u8; 4] = 0xde11_de11_u32.to_be_bytes();

const BCACHE_MAGIC: [u8; 16] =
    [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];

/// Says what a drive carries, from its first [`HEAD_BYTES`] and last [`TAIL_BYTES`] (less if the drive is smaller;
/// `tail` must end with the last byte of the drive).
#[must_use]
pub fn recognise(head: &[u8], tail: &[u8]) -> Content {
    if is_zero(head) && is_zero(tail) {
        return Content::Blank;
    }
    let fixed = FIXED.iter().find(|(_, at, text)| match at {
        At::Head(offset) => head.get(*offset..).is_some_and(|b| b.starts_with(text)),
        At::Tail(before_end) => tail
            .len()
            .checked_sub(*before_end)
            .and_then(|o| tail.get(o..))
            .is_some_and(|b| b.starts_with(text)),
    });
    let named = fixed
        .map(|(signature, _, _)| *signature)
        .or_else(|| is_zfs(head, tail).then_some(Signature::Zfs))
        .or_else(|| ext(head))
        .or_else(|| head.get(510..512).is_some_and(|b| b == [0x55, 0xaa]).then_some(Signature::Mbr));
    Content::Foreign(named.unwrap_or(Signature::Unknown))
}

/// ZFS keeps four labels of 256 KiB, two at each end. The first shows its name-value list at 16 KiB, the last its
/// ring of uberblocks.
fn is_zfs(head: &[u8], tail: &[u8]) -> bool {
    const NVLIST: usize = 16 * 1024;
    const UBERBLOCK_MAGIC: u64 = 0x00ba_b10c;
    let xdr = head.get(NVLIST).is_some_and(|encoding| *encoding == 1);
    let version = head.get(NVLIST.saturating_add(24)..).is_some_and(|b| b.starts_with(b"version"));
    let uberblock = |b: &[u8]| {
        b.starts_with(&UBERBLOCK_MAGIC.to_le_bytes()) || b.starts_with(&UBERBLOCK_MAGIC.to_be_bytes())
    };
    (xdr && version) || tail.chunks(1024).any(uberblock)
}

/// The ext family shares a magic; the features tell its members apart.
fn ext(head: &[u8]) -> Option<Signature> {
    const SUPERBLOCK: usize = 1024;
    const HAS_JOURNAL: u8 = 0x04;
    const EXT3_INCOMPAT: u8 = 0x1f;
    let superblock = head.get(SUPERBLOCK..)?;
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    let compat = *superblock.get(92)?;
    let incompat = superblock.get(96..100)?;
    let is_ext4 =
        incompat.first().is_some_and(|b| b & !EXT3_INCOMPAT != 0) || incompat.iter().skip(1).any(|b| *b != 0);
    Some(match (is_ext4, compat & HAS_JOURNAL != 0) {
        (true, _) => Signature::Ext4,
        (false, true) => Signature::Ext3,
        (false, false) => Signature::Ext2,
    })
}
