//! Looking at drives: each thing that can be on one has its own answer.

use super::bench::Bench;
use crate::Finding;
use block::MediaError;
use ondisk::{LABEL_LBA, Signature, Slot};
use sim::Drive;

fn finding(prepare: impl FnOnce(&mut Drive)) -> Finding {
    let mut drive = Drive::new("S0", 64);
    prepare(&mut drive);
    Bench::of([drive], 1).probe(0)
}

/// A member of a pool, tampered with.
fn tampered(prepare: impl FnOnce(&mut Drive)) -> Finding {
    let (mut bench, _) = Bench::with_tank(1);
    prepare(&mut bench.drives[0].drive);
    bench.probe(0)
}

const SLOT_B: u64 = Slot::B.lba().0 * 4096;

/// Goal: a drive with zeroes is blank, one with anything at its start or end is foreign and named.
#[test]
fn blank_and_foreign_drives_are_told_apart() {
    assert_eq!(finding(|_| {}), Finding::Blank);
    assert_eq!(finding(|d| d.put(0, b"XFSB")), Finding::Foreign(Signature::Xfs));
    assert_eq!(finding(|d| d.put((64 << 20) - 512, b"EFI PART")), Finding::Foreign(Signature::Gpt));
    assert_eq!(finding(|d| d.put(100_000, b"x")), Finding::Foreign(Signature::Unknown));
    assert_eq!(finding(|d| d.put(30 << 20, b"in the middle")), Finding::Blank);
}

/// Goal: drives far smaller than a member are looked at too, without reading behind their end.
#[test]
fn tiny_drives_are_answered() {
    for blocks in [0, 1, 5, 31, 33, 255, 300, 2048, 2049] {
        let mut drive = Drive::new("S0", 64);
        drive.geometry.blocks.0 = blocks;
        assert_eq!(Bench::of([drive], 1).probe(0), Finding::Blank, "{blocks} blocks");
    }
}

/// Goal: a drive that takes one block per transfer is read all the same.
#[test]
fn small_transfers_give_the_same_answer() {
    let (mut bench, mut pool) = Bench::with_tank(1);
    for number in 1..40 {
        let job = super::job(pool.begin_create_volume(&super::volume(number, 1)));
        bench.run(&mut pool, job).expect("no cut").expect("no fault");
    }
    let whole = bench.probe(0);
    bench.drives[0].drive.geometry.transfer_max.0 = 1;
    assert_eq!(bench.probe(0), whole);
    assert!(matches!(whole, Finding::Ours(label) if label.newest().is_some_and(|r| r.generation == 40)));
}

/// Goal: a damaged label does not hide a good record, and a damaged record does not hide a good label.
#[test]
fn either_label_or_record_identifies_a_member() {
    let Finding::Ours(whole) = tampered(|_| {}) else { panic!("a member") };
    assert_eq!(whole.label_flaw, None);

    let Finding::Ours(no_label) = tampered(|d| d.put(80, b"!")) else { panic!("a member") };
    assert!(no_label.label_flaw.is_some_and(|why| why.starts_with("its checksum is")));
    assert_eq!(
        (no_label.pool, no_label.drive, no_label.slots),
        (whole.pool, whole.drive, whole.slots.clone())
    );

    let Finding::Ours(unreadable) = tampered(|d| d.faults.unreadable.extend([LABEL_LBA.0])) else {
        panic!("a member")
    };
    assert_eq!(unreadable.label_flaw.as_deref(), Some("unrecovered read error"));

    let Finding::Ours(no_record) = tampered(|d| d.put(SLOT_B + 200, b"!")) else { panic!("a member") };
    assert_eq!((no_record.drive, no_record.newest()), (whole.drive, None));
}

/// Goal: a label and a record that are both damaged are said to be so; nothing is guessed.
#[test]
fn damaged_label_without_record_is_damaged() {
    let found = tampered(|d| {
        d.put(80, b"!");
        d.put(SLOT_B + 200, b"!");
    });
    assert!(
        matches!(&found, Finding::Damaged(why) if why.starts_with("the drive label is damaged")),
        "{found:?}"
    );
}

/// Goal: a member whose start was erased by somebody is not taken for blank while its record remains.
#[test]
fn erased_label_with_a_record_is_not_blank() {
    let found = tampered(|d| d.put(0, &[0; 4096]));
    assert_eq!(found, Finding::Damaged("the drive label was erased, a pool record remains".to_owned()));
}

/// Goal: a member that somebody formatted since is foreign, although an old record may remain.
#[test]
fn formatted_member_is_foreign() {
    let found = tampered(|d| {
        d.put(0, &[0; 4096]);
        d.put(1080, &[0x53, 0xef]);
    });
    assert_eq!(found, Finding::Foreign(Signature::Ext2));
}

/// Goal: a record that was written for another drive (a slot copied or misdirected) is not believed.
#[test]
fn record_of_another_drive_is_a_flaw() {
    let (mut bench, _) = Bench::with_tank(2);
    let other = bench.drives[1].drive.block(Slot::B.lba().0).expect("a record");
    bench.drives[0].drive.put(SLOT_B, &other);
    let Finding::Ours(label) = bench.probe(0) else { panic!("a member") };
    assert!(
        matches!(label.slot(Slot::B), crate::SlotContent::Flawed(why) if why.contains("written for drive"))
    );
}

/// Goal: a drive that cannot be read is neither blank nor foreign.
#[test]
fn unreadable_drives_are_failed() {
    let unreadable = Finding::Unreadable(MediaError::Unreadable);
    assert_eq!(finding(|d| d.faults.unreadable.extend([0])), unreadable);
    assert_eq!(finding(|d| d.faults.unreadable.extend([20])), unreadable);
    assert_eq!(finding(|d| d.faults.unreadable.extend([64 * 256 - 1])), unreadable);
}
