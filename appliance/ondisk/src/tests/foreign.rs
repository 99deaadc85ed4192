//! Recognition of what others leave on drives.

use crate::{Content, HEAD_BYTES, Signature, TAIL_BYTES, recognise};

/// A drive that is blank but for some bytes in its head and tail; tail offsets count from the drive's end.
fn drive(head: &[(usize, &[u8])], tail: &[(usize, &[u8])]) -> Content {
    let mut first = vec![0; HEAD_BYTES];
    let mut last = vec![0; TAIL_BYTES];
    for (at, bytes) in head {
        first[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    for (before_end, bytes) in tail {
        let at = TAIL_BYTES - before_end;
        last[at..at + bytes.len()].copy_from_slice(bytes);
    }
    recognise(&first, &last)
}

/// Goal: each kind of data that servers have on their drives is named.
#[test]
fn foreign_data_is_named() {
    let ext = |compat: u8, incompat: u8| {
        drive(&[(1080, &[0x53, 0xef]), (1024 + 92, &[compat]), (1024 + 96, &[incompat])], &[])
    };
    let cases = [
        (drive(&[(512, b"EFI PART"), (510, &[0x55, 0xaa])], &[]), Signature::Gpt),
        (drive(&[(4096, b"EFI PART")], &[]), Signature::Gpt),
        (drive(&[], &[(512, b"EFI PART")]), Signature::Gpt),
        (drive(&[], &[(4096, b"EFI PART")]), Signature::Gpt),
        (drive(&[(0, b"LUKS\xba\xbe\0\x02")], &[]), Signature::Luks),
        (drive(&[(512, b"LABELONE"), (536, b"LVM2 001")], &[]), Signature::Lvm2),
        (drive(&[(4096, &[0xfc, 0x4e, 0x2b, 0xa9, 1])], &[]), Signature::MdRaid),
        (drive(&[], &[(8192, &[0xfc, 0x4e, 0x2b, 0xa9, 1])]), Signature::MdRaid),
        (drive(&[], &[(1024, b"Intel Raid ISM Cfg Sig. 1.3.00")]), Signature::FirmwareRaid),
        (drive(&[(16384, &[1, 1, 0, 0]), (16408, b"version")], &[]), Signature::Zfs),
        (drive(&[], &[(32768, &0x00ba_b10c_u64.to_le_bytes())]), Signature::Zfs),
        (drive(&[(65600, b"_BHRfS_M")], &[]), Signature::Btrfs),
        (drive(&[(0, b"XFSB\0\0\x10\0")], &[]), Signature::Xfs),
        (ext(0x38, 0x02), Signature::Ext2),
        (ext(0x3c, 0x02), Signature::Ext3),
        (ext(0x3c, 0x42), Signature::Ext4),
        (ext(0x38, 0x40), Signature::Ext4),
        (drive(&[(1024, &[0x10, 0x20, 0xf5, 0xf2])], &[]), Signature::F2fs),
        (drive(&[(4086, b"SWAPSPACE2")], &[]), Signature::Swap),
        (drive(&[(0, b"bluestore block device\n")], &[]), Signature::BlueStore),
        (drive(&[(0, b"SPDKBLOB")], &[]), Signature::Blobstore),
        (drive(&[(3, b"NTFS    "), (510, &[0x55, 0xaa])], &[]), Signature::Ntfs),
        (drive(&[(3, b"EXFAT   "), (510, &[0x55, 0xaa])], &[]), Signature::ExFat),
        (drive(&[(82, b"FAT32   "), (510, &[0x55, 0xaa])], &[]), Signature::Fat),
        (drive(&[(32769, b"CD001")], &[]), Signature::Iso9660),
        (drive(&[(510, &[0x55, 0xaa])], &[]), Signature::Mbr),
        (drive(&[(77, &[1])], &[]), Signature::Unknown),
        (drive(&[], &[(1, &[1])]), Signature::Unknown),
    ];
    for (index, (found, expected)) in cases.into_iter().enumerate() {
        assert_eq!(found, Content::Foreign(expected), "case {index}");
    }
}

/// Goal: only zeroes are blank, also on a drive that is smaller than what one looks at.
#[test]
fn only_zeroes_are_blank() {
    assert_eq!(drive(&[], &[]), Content::Blank);
    assert_eq!(recognise(&[0; 512], &[]), Content::Blank);
    assert_eq!(recognise(&[], &[]), Content::Blank);
    assert_eq!(recognise(&[0, 1], &[]), Content::Foreign(Signature::Unknown));
    assert_eq!(recognise(b"XFSB", &[]), Content::Foreign(Signature::Xfs));
}
