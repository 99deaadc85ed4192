//! Tests of the thin engine's format: goldens, every struct read back, damage refused, and any bytes answered.

mod golden;
mod totality;

use crate::Name;
use crate::thin::{
    AU_BLOCKS, Address, AttributesBlock, Au, DirtyNode, HOMES, JournalBlock, JournalHead, JournalRecord, Lsn,
    MapEntry, MapNode, MapRecord, Member, Piece, Pointer, PoolLayout, REGION_BLOCKS, Region, Root, SumPage,
    Superblock, ThinIdentity, ThinLayout, VolumeEntry, VolumeKind, VolumeTable,
};
use block::{BLOCK_SIZE, Blocks, Lba};
use uuid::Uuid;

const PLACE: Lba = Lba(4660);

/// The same place, on a drive.
const AT: Address = Address { member: Member(1), lba: PLACE };

fn owner() -> ThinIdentity {
    ThinIdentity { pool: Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111), drive: super::drive(1) }
}

fn superblock() -> Superblock {
    Superblock {
        identity: owner(),
        name: Name::new("tank").expect("a name"),
        generation: 1,
        member: 0,
        member_count: 1,
        lanes: 1,
        blocks: Blocks(16384),
        journal_blocks: 256,
    }
}

fn pointer(n: u64) -> Pointer {
    Pointer { at: Address { member: Member(1), lba: Lba(1000 + n) }, generation: 3, checksum: 0xaabb_ccdd }
}

fn root() -> Root {
    let mut dirty = [None; DirtyNode::INDEXES];
    dirty[17] = Some(pointer(2));
    Root {
        generation: 5,
        epoch: 2,
        journal_sequence: 77,
        next_volume: 40,
        volume_count: 25,
        tables: vec![pointer(0), pointer(1)],
        dirty,
    }
}

fn table() -> VolumeTable {
    let name = |text| Name::new(text).expect("a good name");
    let volume = VolumeEntry {
        number: 1,
        uuid: Uuid::from_u128(0x3333_3333_3333_4333_8333_3333_3333_3333),
        origin: None,
        kind: VolumeKind::Volume,
        blocks: Blocks(1 << 20),
        name: name("db"),
        root: Some(pointer(7)),
        attributes: Some(pointer(10)),
    };
    let snapshot = VolumeEntry {
        number: 2,
        uuid: Uuid::from_u128(0x4444_4444_4444_4444_8444_4444_4444_4444),
        origin: Some(volume.uuid),
        kind: VolumeKind::Snapshot,
        blocks: Blocks(1 << 20),
        name: name("db-monday"),
        root: None,
        attributes: None,
    };
    VolumeTable { index: 1, entries: vec![volume, snapshot] }
}

/// The second of three blocks.
fn attributes() -> AttributesBlock {
    let bytes = (0..3968).map(|n| if n % 1984 == 0 { 0xa5 } else { 0 }).collect();
    AttributesBlock { volume: 3, total: 8000, index: 1, next: Some(pointer(13)), bytes }
}

/// The only block of its chain.
fn few_attributes() -> AttributesBlock {
    AttributesBlock { volume: 2, total: 5, index: 0, next: None, bytes: Box::new(*b"hosts") }
}

fn au(index: u32) -> Au {
    Au { member: Member(2), index }
}

fn piece(index: u32, mask: u16) -> Piece {
    Piece { au: au(index), mask }
}

fn leaf() -> MapNode {
    let mut entries = Box::new([None; 256]);
    entries[0] = Some(MapEntry { own: piece(300, 0xffff), base: None });
    entries[255] = Some(MapEntry { own: piece(301, 0x0001), base: Some(piece(200, 0x8001)) });
    MapNode::Leaf(entries)
}

fn inner() -> MapNode {
    let mut children = Box::new([None; 128]);
    children[0] = Some(pointer(8));
    children[127] = Some(pointer(9));
    MapNode::Inner { level: 1, children }
}

fn sums() -> [u32; REGION_BLOCKS] {
    core::array::from_fn(|n| {
        [0x0102_0304, 0, 0x0506_0708][n.min(2)] * u32::from(n < 2 || n == REGION_BLOCKS - 1)
    })
}

/// The first region of the second block of the bitmap.
const FIRST: Region = Region(DirtyNode::REGIONS);

fn dirty_bits() -> DirtyNode {
    let mut bits = Box::new([0; 3840]);
    (bits[0], bits[3839]) = (0x21, 0x80);
    DirtyNode::Bits(bits)
}

fn dirty_index() -> DirtyNode {
    let mut pointers = Box::new([None; DirtyNode::FAN_OUT]);
    pointers[1] = Some(pointer(3));
    DirtyNode::Index(pointers)
}

fn records() -> Vec<JournalRecord> {
    let mut sums = [0; 16];
    sums[..2].copy_from_slice(&[0x0102_0304, 0x0506_0708]);
    let base = Some(piece(200, 0x00ff));
    let map = MapRecord { volume: 1, unit: 9, own: piece(301, 0x0101), base, is_fresh: true, sums };
    let name = Name::new("db-clone").expect("a good name");
    let uuid = Uuid::from_u128(0x5555_5555_5555_4555_8555_5555_5555_5555);
    let kind = VolumeKind::Volume;
    vec![
        JournalRecord::Map(map),
        JournalRecord::Trim { volume: 1, first: 16, blocks: Blocks(3) },
        JournalRecord::Create {
            volume: 3,
            origin: Some(2),
            kind,
            blocks: Blocks(1 << 20),
            uuid,
            name,
            attributes: Some(pointer(11)),
        },
        JournalRecord::Delete { volume: 2 },
        JournalRecord::Grow { volume: 3, blocks: Blocks(1 << 21) },
        JournalRecord::Dirty { first: Region(262), regions: 2 },
        JournalRecord::Attributes { volume: 3, attributes: Some(pointer(12)) },
    ]
}

const HEAD: JournalHead = JournalHead { sequence: 78, epoch: 2, settled: Lsn(77 * 256 + 4), durable: 76 };

fn journal() -> Box<[u8]> {
    let mut block = JournalBlock::default();
    for (index, record) in (0..).zip(records()) {
        assert_eq!(block.push(&record), Some(index));
    }
    let mut bytes = vec![0xaa; BLOCK_SIZE].into_boxed_slice();
    block.seal(HEAD, PLACE, owner(), &mut bytes);
    bytes
}

/// One block of each kind, and a function that reads it and gives it back as it would be written.
type Sample = (&'static str, Box<[u8]>, fn(&[u8]) -> Option<Box<[u8]>>);

fn samples() -> Vec<Sample> {
    let slot = Root::slot(5, 2);
    assert_eq!((slot.home, slot.parity), (2, 1));
    vec![
        ("superblock", superblock().encode(2, PLACE), |bytes| {
            Some(Superblock::decode(bytes, 2, PLACE).ok()?.encode(2, PLACE))
        }),
        ("root", root().encode(PLACE, owner()), |bytes| {
            Some(Root::decode(bytes, Root::slot(5, 2), PLACE, owner()).ok()?.encode(PLACE, owner()))
        }),
        ("table", table().encode(4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            Some(VolumeTable::decode(bytes, &meant, 1, owner()).ok()?.encode(4, AT, owner()).0)
        }),
        ("attributes", attributes().encode(4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            let found = AttributesBlock::decode(bytes, &meant, (3, 1), owner()).ok()?;
            Some(found.encode(4, AT, owner()).0)
        }),
        ("few attributes", few_attributes().encode(4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            let found = AttributesBlock::decode(bytes, &meant, (2, 0), owner()).ok()?;
            Some(found.encode(4, AT, owner()).0)
        }),
        ("inner", inner().encode(0, 4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            Some(MapNode::decode(bytes, &meant, (1, 0), owner()).ok()?.encode(0, 4, AT, owner()).0)
        }),
        ("leaf", leaf().encode(512, 4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            Some(MapNode::decode(bytes, &meant, (0, 512), owner()).ok()?.encode(512, 4, AT, owner()).0)
        }),
        ("sums", SumPage::encode(&sums(), PLACE, owner()), |bytes| {
            let mut sums = [0; REGION_BLOCKS];
            sums.iter_mut()
                .zip(SumPage::decode(bytes, PLACE, owner()).ok()?)
                .for_each(|(to, from)| *to = from);
            Some(SumPage::encode(&sums, PLACE, owner()))
        }),
        ("dirty", dirty_bits().encode(FIRST, 4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            Some(DirtyNode::decode(bytes, &meant, (0, FIRST), owner()).ok()?.encode(FIRST, 4, AT, owner()).0)
        }),
        ("dirty index", dirty_index().encode(Region(0), 4, AT, owner()).0, |bytes| {
            let meant = Pointer::to(bytes, AT, 4);
            let index = DirtyNode::decode(bytes, &meant, (1, Region(0)), owner()).ok()?;
            Some(index.encode(Region(0), 4, AT, owner()).0)
        }),
        ("journal", journal(), |bytes| {
            let (head, records) = JournalBlock::decode(bytes, PLACE, owner()).ok()?;
            let mut block = JournalBlock::default();
            records.iter().for_each(|record| assert!(block.push(record).is_some()));
            let mut bytes = vec![0; BLOCK_SIZE].into_boxed_slice();
            block.seal(head, PLACE, owner(), &mut bytes);
            Some(bytes)
        }),
    ]
}

/// Goal: what is stored is read back as it was.
#[test]
fn everything_is_read_back() {
    for (what, bytes, again) in samples() {
        assert_eq!(again(&bytes), Some(bytes), "{what}");
    }
    assert_eq!(Superblock::decode(&superblock().encode(2, PLACE), 2, PLACE), Ok(superblock()));
    assert_eq!(JournalBlock::decode(&journal(), PLACE, owner()), Ok((HEAD, records())));
}

/// Goal: a block of another place, drive, pool or generation, or another block of the same kind, is never taken for the
/// one that is meant.
#[test]
fn other_blocks_are_refused() {
    let other = ThinIdentity { pool: owner().drive, ..owner() };
    let (bytes, meant) = leaf().encode(512, 4, AT, owner());
    let read = |pointer: Pointer, place, owner| MapNode::decode(&bytes, &pointer, place, owner).is_ok();
    assert!(read(meant, (0, 512), owner()));
    assert!(!read(meant, (0, 512), other));
    assert!(!read(meant, (0, 256), owner()), "another part of the volume");
    assert!(!read(meant, (1, 512), owner()), "a leaf where a node should be");
    assert!(!read(Pointer { at: Address { lba: Lba(1), ..AT }, ..meant }, (0, 512), owner()));
    assert!(!read(Pointer { generation: 5, ..meant }, (0, 512), owner()));
    assert!(!read(Pointer { checksum: 1, ..meant }, (0, 512), owner()), "an older copy at the same place");
    assert!(Superblock::decode(&superblock().encode(2, PLACE), 3, PLACE).is_err(), "another home");
    let page = SumPage::encode(&sums(), PLACE, owner());
    assert!(SumPage::decode(&page, Lba(1), owner()).is_err(), "the page of another region");
    let (bytes, meant) = dirty_bits().encode(FIRST, 4, AT, owner());
    let read = |pointer: Pointer, place| DirtyNode::decode(&bytes, &pointer, place, owner()).is_ok();
    assert!(read(meant, (0, FIRST)));
    assert!(!read(meant, (0, Region(0))) && !read(meant, (1, FIRST)), "another piece of the bitmap");
    assert!(!read(Pointer { checksum: 1, ..meant }, (0, FIRST)), "an older copy at the same place");
    let (bytes, meant) = attributes().encode(4, AT, owner());
    let read = |pointer: Pointer, place| AttributesBlock::decode(&bytes, &pointer, place, owner()).is_ok();
    assert!(read(meant, (3, 1)));
    assert!(!read(meant, (2, 1)) && !read(meant, (3, 0)), "another volume's, another part");
    assert!(!read(Pointer { checksum: 1, ..meant }, (3, 1)), "an older copy at the same place");
    let even = Root { generation: 4, ..root() }.encode(PLACE, owner());
    assert!(Root::decode(&even, Root::slot(5, 2), PLACE, owner()).is_err(), "the other slot");
    assert!(JournalBlock::decode(&journal(), Lba(1), owner()).is_err());
}

/// Goal: a block takes records until it is full, and the one that has no room leaves it as it was.
#[test]
fn journal_blocks_fill_up() {
    let mut block = JournalBlock::default();
    let record = JournalRecord::Trim { volume: 1, first: 0, blocks: Blocks(1) };
    let count = core::iter::from_fn(|| block.push(&record)).count();
    assert_eq!(count, (BLOCK_SIZE - 128) / 24);
    let mut bytes = vec![0; BLOCK_SIZE];
    block.seal(HEAD, PLACE, owner(), &mut bytes);
    let (_, found) = JournalBlock::decode(&bytes, PLACE, owner()).expect("it is good");
    assert_eq!(found, vec![record; count]);
    block.clear();
    assert!(block.is_empty());
    block.seal(HEAD, PLACE, owner(), &mut bytes);
    assert_eq!(JournalBlock::decode(&bytes, PLACE, owner()), Ok((HEAD, Vec::new())));
}

/// Goal: attributes of every length at the edges of their blocks are read back from their chain, whose end is known.
#[test]
fn attributes_are_a_chain() {
    use crate::limits::ATTRIBUTES_MAX;
    let places: Vec<Address> = (0..17).map(|n| Address { lba: Lba(3000 - 7 * n), ..AT }).collect();
    for (len, blocks) in [(0, 0), (1, 1), (3968, 1), (3969, 2), (7936, 2), (ATTRIBUTES_MAX, 17)] {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251 + 1).to_le_bytes()[0]).collect();
        assert_eq!(AttributesBlock::count(len), blocks);
        let (stored, first) = AttributesBlock::encode_chain(5, &bytes, &places[..blocks], 4, |_| owner());
        let (mut next, mut found, mut index) = (first, Vec::new(), 0);
        while let Some(pointer) = next {
            let (_, block) = stored.iter().find(|(at, _)| *at == pointer.at).expect("it is stored");
            let block = AttributesBlock::decode(block, &pointer, (5, index), owner()).expect("it is good");
            assert_eq!(block.is_last(), block.next.is_none());
            found.extend(block.bytes);
            (next, index) = (block.next, index + 1);
        }
        assert!(found == bytes && stored.len() == blocks, "{len} bytes");
    }
}

/// A drive of 2 GiB and a bit, which has three segments.
fn layout(journal_blocks: u64) -> ThinLayout {
    ThinLayout::new(Blocks((2 << 18) + 4096 + 5), journal_blocks).expect("there is room")
}

/// Goal: where things lie: nothing overlaps, and what is kept is not usable.
#[test]
fn places_do_not_overlap() {
    let layout = layout(256);
    let homes: Vec<u64> = (0..HOMES).map(|home| layout.home_lba(home).0).collect();
    assert_eq!(homes, [0, 16, 528_352, 528_368]);
    assert_eq!(layout.root_lba(Root::slot(1, 3)), Lba(528_370));
    assert_eq!((layout.journal_lba(0), layout.journal_lba(511)), (Lba(304), Lba(559)));
    let pool = PoolLayout::new([layout]).expect("a pool");
    let usable: Vec<u32> = pool.usable().map(|au| au.index).collect();
    let edges: Vec<_> = usable.chunk_by(|a, b| a + 1 == *b).map(|run| (run[0], run[run.len() - 1])).collect();
    assert_eq!(edges, [(35, 16383), (16401, 32767), (32785, 33021)]);
    let first = Au { member: Member(0), index: 35 }.start();
    assert!(pool.is_usable_at(first) && !pool.is_usable_at(Address { member: Member(1), ..first }));
    assert!(!pool.is_usable_at(Address { lba: Lba(u64::MAX), ..first }));
    let least = Blocks((2 + 17 + 1 + 2 + 1) * AU_BLOCKS);
    assert!(ThinLayout::new(least, 16).is_some() && ThinLayout::new(Blocks(least.0 - 1), 16).is_none());
    assert!([0, 15].iter().all(|journal| ThinLayout::new(Blocks(16384), *journal).is_none()));
    assert!(ThinLayout::new(Blocks(u64::MAX), 16).is_none());
}

/// Goal: a pool has at least one drive, no more than its table of members lists, and no more regions than its bitmap.
#[test]
fn pools_are_bounded() {
    let of = |drives: usize, blocks| {
        PoolLayout::new((0..drives).map(|_| ThinLayout::new(Blocks(blocks), 16).expect("there is room")))
    };
    assert!(of(0, 16384).is_none() && of(16, 16384).is_some() && of(17, 16384).is_none());
    let tib = (1 << 40) / BLOCK_SIZE as u64;
    assert!(of(1, 255 * tib).is_some() && of(4, 64 * tib).is_some() && of(5, 64 * tib).is_none());
}

/// Goal: every block of every usable unit has a checksum of its own, on a page that lies in no usable unit, no home and no
/// journal. Regions are counted through the drives.
#[test]
fn every_block_has_its_checksum() {
    let drives = [layout(256), ThinLayout::new(Blocks(16384), 16).expect("there is room"), layout(16)];
    let pool = PoolLayout::new(drives).expect("a pool");
    let mut last = None;
    for au in pool.usable() {
        let layout = drives[usize::from(au.member.0)];
        let (region, place) = (pool.region_of(au).expect("it is there"), Region::place_of(au));
        assert!(region.0 < pool.regions() && place + 16 <= REGION_BLOCKS);
        let page = pool.sums_at(region).expect("it is there");
        assert!(last < Some((page, place)), "unit {au:?} shares a place");
        last = Some((page, place));
        assert_eq!(page.member, au.member);
        let journal = layout.journal_lba(0).0..layout.journal_lba(0).0 + layout.journal_blocks();
        let homes: Vec<u64> = (0..HOMES).map(|home| layout.home_lba(home).0 / AU_BLOCKS).collect();
        let is_apart = !homes.contains(&(page.lba.0 / AU_BLOCKS)) && !journal.contains(&page.lba.0);
        assert!(is_apart && !pool.is_usable_at(page), "{au:?}");
    }
    let found = [(0, 35), (0, 16383), (0, 16401), (0, 33021), (1, 20), (2, 33021)].map(|(member, index)| {
        let region = pool.region_of(Au { member: Member(member), index }).expect("it is there");
        (region.0, pool.sums_at(region).expect("it is there").lba.0)
    });
    let (second, third) = (16384 * AU_BLOCKS, 32768 * AU_BLOCKS + 4);
    assert_eq!(found, [(0, 32), (260, 292), (261, second), (526, third), (527, 32), (527 + 17 + 526, third)]);
    assert_eq!(pool.regions(), 527 + 17 + 527);
    assert!(pool.sums_at(Region(pool.regions())).is_none());
    assert!(pool.region_of(Au { member: Member(3), index: 35 }).is_none());
    assert!(pool.region_of(Au { member: Member(1), index: 1024 }).is_none());
}

/// Goal: own blocks hide the base, and what neither has reads as zeroes.
#[test]
fn own_blocks_hide_the_base() {
    let entry = MapEntry { own: piece(300, 0b0101), base: Some(piece(200, 0b0011)) };
    let found = [0, 1, 2, 3, 16].map(|block| entry.block(block).map(|at| (at.member.0, at.lba.0)));
    assert_eq!(found, [Some((2, 4800)), Some((2, 3201)), Some((2, 4802)), None, None]);
    assert!(entry.is_valid());
    assert!(!MapEntry { own: piece(300, 0b0011), base: Some(piece(200, 0b0011)) }.is_valid(), "all hidden");
    assert!(!MapEntry { own: piece(300, 1), base: Some(piece(300, 2)) }.is_valid(), "twice the same");
    assert!(!MapEntry { own: piece(300, 0), base: None }.is_valid());
}
