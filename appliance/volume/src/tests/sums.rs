//! Regions and pages without IO: when a region gets clean, and what is known about a block.

use super::{Room, Store, Sums, Verdict};
use block::Blocks;
use ondisk::thin::{Au, DirtyNode, Member, PoolLayout, REGION_BLOCKS, Region, ThinLayout};

/// A unit of region 1.
const AU: Au = Au { member: Member(0), index: 70 };
const REGION: Region = Region(1);

fn sums(pages: usize) -> Sums {
    let layout = PoolLayout::new(ThinLayout::new(Blocks(8192), 16)).expect("there is room");
    Sums::new(layout, pages)
}

fn write(sums: &mut Sums, values: &[u32]) {
    assert_eq!(sums.make_room(REGION), Room::Ready);
    sums.begin_write(AU, 0, values);
    sums.end(REGION, true);
}

fn load(sums: &mut Sums, value: u32) {
    assert_eq!(sums.make_room(REGION), Room::Ready);
    assert_eq!(sums.begin_load(REGION), Some(true));
    sums.end_load(REGION, Some([value; REGION_BLOCKS].into_iter()));
}

fn checkpoint(sums: &mut Sums) -> Vec<Region> {
    sums.begin_checkpoint();
    let cleaned = (0..).map_while(|n| sums.cleaning(n)).collect();
    sums.bits(Region(0));
    sums.end_checkpoint();
    cleaned
}

/// Goal: a region is cleaned by the second checkpoint after its last write, and from the beginning of that one on a write has to mark
/// it again.
#[test]
fn quiet_regions_get_clean() {
    let mut sums = sums(2);
    assert!(sums.is_clean(REGION) && !sums.is_marked(REGION));
    write(&mut sums, &[1]);
    assert!(sums.is_marked(REGION));
    assert_eq!(checkpoint(&mut sums), []);
    assert!(sums.is_marked(REGION));
    sums.begin_checkpoint();
    assert_eq!((sums.cleaning(0), sums.is_marked(REGION)), (Some(REGION), false));
    let Some(None) = sums.bits(Region(0)) else { panic!("the bitmap has changed, and is empty") };
    // A write that begins now has a record of its own; the root knows nothing of it.
    sums.begin(REGION);
    sums.end_checkpoint();
    assert!(!sums.is_clean(REGION) && !sums.is_marked(REGION));
    sums.end(REGION, true);
    assert!(sums.is_marked(REGION));
}

/// Goal: as long as a write is under way no checkpoint cleans its region; the root says that it is dirty, which marks it.
#[test]
fn regions_with_writes_under_way_stay_dirty() {
    let mut sums = sums(2);
    sums.begin(REGION);
    for _ in 0..3 {
        assert_eq!(checkpoint(&mut sums), []);
    }
    assert!(sums.is_marked(REGION), "a root names it");
    sums.end(REGION, false);
    assert_eq!(checkpoint(&mut sums), [], "it was under way when the last one began");
    assert_eq!(checkpoint(&mut sums), [REGION]);
}

/// Goal: the bitmap has exactly the dirty regions, and is written only when it changed.
#[test]
fn the_bitmap_follows() {
    let mut sums = sums(2);
    assert_eq!(sums.bits(Region(0)), None);
    sums.import(Region(1), false);
    sums.import(Region(8), false);
    let Some(Some(DirtyNode::Bits(bits))) = sums.bits(Region(0)) else { panic!("two regions are dirty") };
    assert_eq!((bits[0], bits[1], bits[2..].iter().any(|byte| *byte != 0)), (2, 1, false));
    assert_eq!(sums.bits(Region(0)), None, "written");
}

/// Goal: what an import found dirty gets clean only after a scrub, and not if a block of it could not be read.
#[test]
fn unsure_regions_wait_for_a_scrub() {
    let mut sums = sums(2);
    for region in [1, 2] {
        sums.import(Region(region), true);
    }
    for _ in 0..3 {
        assert_eq!(checkpoint(&mut sums), []);
    }
    sums.begin_scrub();
    sums.give_up(Region(2));
    sums.end_scrub();
    assert_eq!(checkpoint(&mut sums), [REGION]);
}

/// Goal: in a sure region another checksum is damage; in an unsure one it follows the data, but for blocks of this life.
#[test]
fn what_is_known_is_believed() {
    let mut sums = sums(2);
    sums.import(REGION, true);
    write(&mut sums, &[7]);
    load(&mut sums, 3);
    assert_eq!(sums.compare(AU, 0, &[7, 3]), Verdict::Good);
    assert_eq!(sums.compare(AU, 0, &[7, 4]), Verdict::Differs(1), "verified a moment ago");
    assert_eq!(sums.decide(AU, 1, &[4]), Err(0));
    assert_eq!(sums.decide(AU, 2, &[4]), Ok(()), "nobody knew better");
    assert_eq!(sums.decide(AU, 0, &[8, 3, 5]), Err(0), "written, verified, corrected in this life");
    assert_eq!((sums.counts.restamped, sums.counts.damaged, sums.counts.unverified), (1, 3, 0));
    sums.begin_scrub();
    sums.end_scrub();
    assert_eq!(sums.decide(AU, 5, &[9]), Err(0), "the whole page is believed from now on");
}

/// Goal: a checksum of 0 says nothing: what has it is not damaged, and gets one.
#[test]
fn nothing_is_known_of_zero() {
    let mut sums = sums(2);
    load(&mut sums, 0);
    assert_eq!(sums.compare(AU, 0, &[4]), Verdict::Differs(0));
    assert_eq!(sums.decide(AU, 0, &[4]), Ok(()));
    assert_eq!((sums.compare(AU, 0, &[4]), sums.counts.unverified), (Verdict::Good, 1));
    assert_eq!(sums.decide(AU, 0, &[5]), Err(0));
}

/// Goal: a page that was written to before it was loaded is completed before it is stored, and is not forgotten before.
#[test]
fn pages_with_changes_are_stored_whole() {
    let mut sums = sums(1);
    write(&mut sums, &[7]);
    assert_eq!(sums.compare(AU, 0, &[7]), Verdict::Good, "known without the page");
    assert_eq!(sums.compare(AU, 0, &[7, 3]), Verdict::Unknown);
    assert_eq!(sums.make_room(Region(2)), Room::After(REGION));
    assert_eq!(sums.begin_store(REGION), Store::Load);
    load(&mut sums, 3);
    let Store::Write(stored) = sums.begin_store(REGION) else { panic!("it has changes") };
    let place = Region::place_of(AU);
    assert_eq!((stored[place], stored[place + 1], stored[0]), (7, 3, 3));
    assert_eq!((sums.make_room(Region(2)), sums.begin_store(REGION)), (Room::Wait, Store::Wait));
    // A write while it is stored changes it again.
    write(&mut sums, &[8]);
    sums.end_store(REGION, true);
    assert_eq!(sums.make_room(Region(2)), Room::After(REGION));
    assert!(matches!(sums.begin_store(REGION), Store::Write(_)));
    sums.end_store(REGION, true);
    assert_eq!((sums.begin_store(REGION), sums.make_room(Region(2))), (Store::Done, Room::Ready));
    assert_eq!(sums.compare(AU, 0, &[8]), Verdict::Unknown, "its page is gone");
}
