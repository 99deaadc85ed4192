//! Planted contradictions: good blocks that say what cannot be, each named by an import that writes nothing.

use super::hostile::{act, block, places, plant, pool};
use super::world::{Request, World, identity, on_first};
use crate::ImportError;
use block::{BLOCK_SIZE, Blocks, Lba};
use ondisk::thin::{
    Au, HomeSlot, JournalBlock, JournalRecord, MapEntry, MapNode, Piece, Pointer, Root, Superblock,
    VolumeEntry, VolumeKind, VolumeTable,
};
use sim::Drive;

/// A pool, and what is to be changed in it.
struct Planted {
    world: World,
    places: Vec<u64>,
}

impl Planted {
    fn new() -> Self {
        let (world, places) = pool();
        Self { world, places }
    }

    fn drive(&mut self) -> &mut Drive {
        self.world.drive.as_mut().expect("the power is off")
    }

    fn put(&mut self, lba: u64, bytes: &[u8]) {
        let places = self.places.clone();
        plant(self.drive(), &places, lba, bytes.to_vec());
    }

    /// The only block of the volume table, and its place.
    fn table(&mut self) -> (VolumeTable, Pointer) {
        self.find(|bytes, lba| {
            let meant = Pointer::to(bytes, on_first(lba.0), generation(bytes));
            VolumeTable::decode(bytes, &meant, 0, identity()).ok().map(|table| (table, meant))
        })
    }

    fn find<T>(&mut self, decode: impl Fn(&[u8], Lba) -> Option<T>) -> T {
        let places = self.places.clone();
        let found = places.into_iter().find_map(|lba| decode(&block(self.drive(), lba), Lba(lba)));
        found.expect("the pool has one")
    }

    /// Changes the first record that `change` accepts.
    fn change_record(&mut self, change: impl Fn(&mut JournalRecord) -> bool) -> u64 {
        let (lba, bytes) = self.find(|bytes, lba| {
            let (head, mut records) = JournalBlock::decode(bytes, lba, identity()).ok()?;
            records.iter_mut().find_map(|record| change(record).then_some(()))?;
            let (mut block, mut bytes) = (JournalBlock::default(), vec![0; BLOCK_SIZE]);
            records.iter().for_each(|record| assert!(block.push(record).is_some()));
            block.seal(head, lba, identity(), &mut bytes);
            Some((lba.0, bytes))
        });
        self.put(lba, &bytes);
        lba
    }

    fn change_entry(&mut self, number: u32, change: impl Fn(&mut VolumeEntry)) -> u64 {
        let (mut table, meant) = self.table();
        change(table.entries.iter_mut().find(|entry| entry.number == number).expect("it is there"));
        table.entries.sort_by_key(|entry| entry.number);
        self.put(meant.at.lba.0, &table.encode(meant.generation, meant.at, identity()).0);
        meant.at.lba.0
    }

    fn change_root(&mut self, change: impl Fn(&mut Root)) -> u64 {
        let drive = self.drive();
        let lba = |slot| {
            let blocks = drive.geometry.blocks;
            let layout = ondisk::thin::ThinLayout::new(blocks, super::world::JOURNAL_BLOCKS);
            layout.expect("it was formatted").root_lba(slot)
        };
        let decode = |slot| Root::decode(&block(drive, lba(slot).0), slot, lba(slot), identity()).ok();
        let found = [0, 1].into_iter().filter_map(|parity| decode(HomeSlot { home: 0, parity }));
        let mut root = found.max_by_key(|root| root.generation).expect("one of them is the last");
        change(&mut root);
        let at = lba(Root::slot(root.generation, 0));
        self.put(at.0, &root.encode(at, identity()));
        at.0
    }

    fn import(mut self) -> ImportError {
        let before = self.drive().commands()[1];
        let error = self.world.start(false).expect("no cut is planned").expect_err("it contradicts itself");
        assert_eq!(self.drive().commands()[1], before, "nothing is written");
        error
    }
}

/// The generation in a node or block of the table.
fn generation(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[64..72].try_into().expect("eight bytes"))
}

/// A change of a record; false if it is none of this kind.
type RecordChange = fn(&mut JournalRecord, Au) -> bool;

/// A change of something else, and what it is.
type Change<T> = (&'static str, fn(&mut T));

/// A change of records of one kind.
macro_rules! on {
    ($kind:ident { $($field:ident),* }, $change:expr) => {
        |record, _| {
            let JournalRecord::$kind { $($field,)* .. } = record else { return false };
            $change;
            true
        }
    };
    (map, $nodes:pat, $map:ident, $change:expr) => {
        |record, $nodes| {
            let JournalRecord::Map($map) = record else { return false };
            $change;
            $map.is_fresh
        }
    };
}

fn move_to(pointer: &mut Option<Pointer>, lba: u64) {
    pointer.iter_mut().for_each(|pointer| pointer.at.lba = Lba(lba));
}

/// Goal: a record that cannot follow on what there is, is refused, whatever its checksum says.
#[test]
fn records_that_cannot_be_are_refused() {
    const LONG: Blocks = Blocks(1 << 41);
    let changes: [(&str, RecordChange); 20] = [
        ("data in a unit of nodes", on!(map, nodes, map, map.own.au = nodes)),
        (
            "a base in a unit of nodes",
            on!(map, nodes, map, map.base = Some(Piece { au: nodes, mask: 1 << 15 })),
        ),
        ("data in a unit of another volume", on!(map, nodes, map, map.own.au.index = nodes.index - 1)),
        ("a unit past the end", on!(map, _, map, map.unit = 5008 / 16)),
        ("a write to a snapshot", on!(map, _, map, map.volume = 3)),
        ("a write to no volume", on!(map, _, map, map.volume = 77)),
        ("a trim without an end", on!(Trim { first, blocks }, *blocks = Blocks(u64::MAX - *first))),
        ("a trim of two leaves", on!(Trim { first, blocks }, (*first, *blocks) = (4090, Blocks(20)))),
        ("a number that is taken", on!(Create { volume }, *volume = 2)),
        ("a number that is left out", on!(Create { volume }, *volume = 5)),
        ("a name that is taken", on!(Create { name }, *name = ondisk::Name::new("v1").expect("a good name"))),
        ("a UUID that is taken", on!(Create { uuid }, *uuid = uuid::Uuid::from_u128(101))),
        ("a clone that is longer than its origin", on!(Create { blocks }, *blocks = Blocks(blocks.0 * 200))),
        ("a clone of nothing", on!(Create { origin }, *origin = Some(77))),
        ("too long a volume", on!(Create { origin, blocks }, (*origin, *blocks) = (None, LONG))),
        ("attributes in the journal", on!(Attributes { attributes }, move_to(attributes, 400))),
        ("attributes past the end", on!(Attributes { attributes }, move_to(attributes, u64::MAX))),
        ("attributes of no volume", on!(Attributes { volume }, *volume = 77)),
        ("a volume that shrinks", on!(Grow { blocks }, *blocks = Blocks(50))),
        ("too long a growth", on!(Grow { blocks }, *blocks = LONG)),
    ];
    for (what, change) in changes {
        let mut planted = Planted::new();
        let nodes = Au::of(planted.table().1.at).expect("a usable unit");
        let lba = planted.change_record(|record| change(record, nodes));
        assert_eq!(planted.import(), ImportError::Impossible(on_first(lba)), "{what}");
    }
}

/// Goal: the same of volume table, leaves, roots and superblocks.
#[test]
fn tables_and_nodes_that_cannot_be_are_refused() {
    let changes: [Change<VolumeEntry>; 4] = [
        ("the number of the next volume", |entry| entry.number = 4),
        ("a name that is taken", |entry| entry.name = ondisk::Name::new("v2").expect("a good name")),
        ("a UUID that is taken", |entry| entry.uuid = uuid::Uuid::from_u128(102)),
        ("too long", |entry| (entry.blocks, entry.root) = (Blocks(1 << 41), None)),
    ];
    for (what, change) in changes {
        let mut planted = Planted::new();
        let lba = planted.change_entry(3, change);
        assert_eq!(planted.import(), ImportError::Impossible(on_first(lba)), "{what}");
    }
    let roots: [Change<Root>; 4] = [
        ("a generation at its end", |root| root.generation |= 1 << 60),
        ("an epoch at its end", |root| root.epoch = u64::MAX),
        ("a sequence at its end", |root| root.journal_sequence = u64::MAX),
        ("another number of volumes", |root| root.volume_count -= 1),
    ];
    for (what, change) in roots {
        let mut planted = Planted::new();
        let lba = planted.change_root(change);
        assert_eq!(planted.import(), ImportError::Impossible(on_first(lba)), "{what}");
    }
    let superblocks: [Change<Superblock>; 2] = [
        ("more drives than one", |superblock| superblock.member_count = 2),
        ("a short journal", |superblock| superblock.journal_blocks = 256),
    ];
    for ((what, change), error) in
        superblocks.into_iter().zip([ImportError::Members(2), ImportError::Impossible(on_first(0))])
    {
        let mut planted = Planted::new();
        let mut superblock = Superblock::decode(&block(planted.drive(), 0), 0, Lba(0)).expect("it is good");
        change(&mut superblock);
        planted.put(0, &superblock.encode(0, Lba(0)));
        assert_eq!(planted.import(), error, "{what}");
    }
}

/// Goal: a leaf that names a unit in which nodes lie is refused, also where nothing else of that unit is loaded after it.
#[test]
fn data_and_nodes_share_no_unit() {
    const LEAF_BLOCKS: u64 = 4096;
    let mut drive = Drive::new("S0", 12);
    drive.geometry.is_volatile = false;
    let mut world = World::new(1, drive);
    let new = world.fresh_name(VolumeKind::Volume);
    act(&mut world, Request::Create { blocks: 20 * LEAF_BLOCKS, new });
    for leaf in 0..20 {
        let versions = world.versions(1);
        act(&mut world, Request::Write { volume: 1, first: leaf * LEAF_BLOCKS, versions });
    }
    act(&mut world, Request::Checkpoint);
    let places = places(&mut world);
    world.end(false);
    let mut planted = Planted { world, places };
    let mut leaf_at = |first_unit| {
        planted.find(|bytes, lba| {
            let meant = Pointer::to(bytes, on_first(lba.0), generation(bytes));
            match MapNode::decode(bytes, &meant, (0, first_unit), identity()) {
                Ok(MapNode::Leaf(entries)) => Some((entries, meant)),
                Ok(MapNode::Inner { .. }) | Err(_) => None,
            }
        })
    };
    let ((_, first), (mut entries, last)) = (leaf_at(0), leaf_at(19 * 256));
    let nodes = Au::of(first.at).expect("a usable unit");
    assert_ne!(Au::of(last.at), Some(nodes), "the nodes fill more than a unit");
    entries[200] = Some(MapEntry { own: Piece { au: nodes, mask: 1 }, base: None });
    let (bytes, _) = MapNode::Leaf(entries).encode(19 * 256, last.generation, last.at, identity());
    planted.put(last.at.lba.0, &bytes);
    assert_eq!(planted.import(), ImportError::Impossible(nodes.start()));
}
