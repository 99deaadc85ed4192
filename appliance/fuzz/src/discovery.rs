//! The discovery log, read in parts while it changes.

use crate::choices::Choices;
use crate::world::{HOST, World, any_sqe};
use nvme_spec::fabrics::DISCOVERY_NQN;
use nvme_spec::log::GetLogPage;
use nvme_spec::{AdminOpcode, Sqe};
use nvme_subsystem::SubsystemConfig;
use nvme_subsystem::limits::DISCOVERY_TRANSFER_MAX;

/// Bytes of the header and of each entry.
const RECORD: u64 = 1024;

/// Plays a host that reads the log from anywhere, in any length, while subsystems come and go.
///
/// # Panics
/// If the target does what it must not.
pub fn discovery(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new();
    world.connect(HOST, DISCOVERY_NQN, 0xffff, 0);
    // The log as it was when its start was last read, as far as it was read then.
    let mut seen: Vec<u8> = Vec::new();
    while !choices.is_empty() && !world.open.is_empty() {
        match choices.u8() % 8 {
            0..=4 => read(&mut world, &mut choices, &mut seen),
            5 => change(&mut world, &mut choices),
            6 => {
                let sqe =
                    any_sqe(&mut choices, &[AdminOpcode::ASYNC_EVENT_REQUEST.0, 0x06, 0x0a, 0x09, 0x08]);
                let len = choices.len().min(1 << 20);
                if sqe.opc != AdminOpcode::GET_LOG_PAGE.0 {
                    world.command(0, sqe, len, &[]);
                }
            }
            _ => world.wait(u64::from(choices.u16())),
        }
    }
}

fn change(world: &mut World, choices: &mut Choices<'_>) {
    let nqn = format!("nqn.2026-01.example:{}", choices.u8() % 80);
    let is_open = choices.is_set();
    let config = SubsystemConfig {
        nqn: nqn.clone(),
        serial: "1".into(),
        model: "Ironbay".into(),
        is_volatile: false,
        is_open,
    };
    if world.target.add_subsystem(config).is_err() {
        let _ = world.target.remove_subsystem(&nqn);
    }
    world.wait(0);
}

/// Reads a part: as many dwords from as far as the input says.
fn read(world: &mut World, choices: &mut Choices<'_>, seen: &mut Vec<u8>) {
    let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
    let (dwords_z, offset) = match choices.u8() % 4 {
        0 => (choices.u32(), choices.u64()),
        1 => (u32::from(choices.u8()) * 4 + 3, u64::from(choices.u8()) * 4),
        2 => (255, u64::from(choices.u8() % 8) * RECORD),
        _ => (choices.len() / 4, u64::from(choices.u16())),
    };
    let flags = choices.u8();
    let lid = if flags == 255 { choices.u8() } else { 0x70 };
    sqe.cdw10 = (u32::from(lid) | u32::from(flags & 1) << 15 | dwords_z << 16).into();
    sqe.cdw11 = (dwords_z >> 16).into();
    let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
    sqe.cdw12 = u32::from_le_bytes([a, b, c, d]).into();
    sqe.cdw13 = u32::from_le_bytes([e, f, g, h]).into();
    let get = GetLogPage::from(&sqe);
    let len = if flags == 254 { choices.len() } else { u32::try_from(get.len).unwrap_or(u32::MAX) };
    let answer = world.command(0, sqe, len, &[]).expect("log pages are answered at once");
    if !answer.cqe.status().is_success() {
        return;
    }
    assert!(len <= DISCOVERY_TRANSFER_MAX, "anybody may ask, so it is short");
    assert_eq!(answer.data.len(), len as usize, "all of it is sent");
    if lid != 0x70 {
        assert_eq!(lid, 0, "the only other page is the one that lists the two");
        return;
    }
    if offset == 0 {
        seen.clone_from(&answer.data);
    }
    check(&answer.data, offset, seen);
}

/// The parts of one reading belong together, and behind the last record there is nothing.
fn check(part: &[u8], offset: u64, seen: &[u8]) {
    let offset = usize::try_from(offset).expect("the log is short");
    let known = seen.get(offset..).unwrap_or_default();
    let both = known.len().min(part.len());
    assert!(part[..both] == known[..both], "a part that was read before has changed");
    if let Some(count) = seen.get(8..16) {
        let count = u64::from_le_bytes(count.try_into().expect("8 bytes"));
        assert!((1..=65).contains(&count), "{count} records");
        let end = usize::try_from((count + 1) * RECORD).expect("the log is short");
        assert!(offset <= end, "an offset behind the end is refused");
        let behind = end.saturating_sub(offset).min(part.len());
        assert!(part[behind..].iter().all(|byte| *byte == 0), "there is nothing behind the end");
    }
}
