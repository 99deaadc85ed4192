//! Admin commands, on the admin queue of a controller with namespaces.

use crate::choices::Choices;
use crate::world::{World, any_sqe};
use nvme_spec::log::GetLogPage;
use nvme_spec::{AdminOpcode, Sqe, Status};

/// Opcodes that are looked at more often than the others.
const OPCODES: [u8; 12] = [
    AdminOpcode::IDENTIFY.0,
    AdminOpcode::GET_LOG_PAGE.0,
    AdminOpcode::IDENTIFY.0,
    AdminOpcode::GET_LOG_PAGE.0,
    AdminOpcode::SET_FEATURES.0,
    AdminOpcode::GET_FEATURES.0,
    AdminOpcode::ASYNC_EVENT_REQUEST.0,
    AdminOpcode::ABORT.0,
    AdminOpcode::KEEP_ALIVE.0,
    AdminOpcode::FABRICS.0,
    AdminOpcode::NAMESPACE_MANAGEMENT.0,
    AdminOpcode::FORMAT_NVM.0,
];

/// Retain Asynchronous Event: reading does not change anything.
const RAE: u32 = 1 << 15;

/// Plays admin commands, while namespaces change, time passes and an I/O queue is there to be closed with the controller.
///
/// # Panics
/// If the target does what it must not.
pub fn admin(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::with_queues();
    while !choices.is_empty() {
        match choices.u8() % 8 {
            0..=5 => command(&mut world, &mut choices),
            6 => world.change_namespace(&mut choices),
            _ => world.wait(u64::from(choices.u16())),
        }
    }
}

fn command(world: &mut World, choices: &mut Choices<'_>) {
    let sqe = any_sqe(choices, &OPCODES);
    let is_free = choices.u8() == 0;
    let opcode = AdminOpcode(sqe.opc);
    let data_len = match opcode {
        _ if is_free => choices.len(),
        AdminOpcode::IDENTIFY => 4096,
        AdminOpcode::GET_LOG_PAGE => u32::try_from(GetLogPage::from(&sqe).len).unwrap_or(u32::MAX),
        AdminOpcode::SET_FEATURES | AdminOpcode::GET_FEATURES => choices.one_of(&[0, 0, 16, 512, 4096]),
        _ => 0,
    };
    let len = choices.below(64);
    let data = choices.bytes(len);
    let Some(index) = world.open.iter().position(|open| open.queue.is_some_and(|queue| queue.qid == 0))
    else {
        return; // closed for silence
    };
    match opcode {
        AdminOpcode::GET_LOG_PAGE => log_page(world, index, sqe, data_len),
        AdminOpcode::IDENTIFY => identify(world, index, sqe, data_len),
        _ => drop(world.command(index, sqe, data_len, data)),
    }
}

/// A part of a log page is that part of the whole page.
fn log_page(world: &mut World, index: usize, sqe: Sqe, data_len: u32) {
    let get = GetLogPage::from(&sqe);
    let end = get.offset.saturating_add(get.len);
    let mut whole_sqe = sqe;
    let dwords_z = u32::try_from((end / 4).saturating_sub(1)).unwrap_or(0);
    whole_sqe.cdw10 = (sqe.cdw10.get() & 0x7fff | RAE | dwords_z << 16).into();
    whole_sqe.cdw11 = (sqe.cdw11.get() & 0xffff_0000 | dwords_z >> 16).into();
    (whole_sqe.cdw12, whole_sqe.cdw13) = (0.into(), 0.into());
    let whole = if end <= 1 << 20 {
        world.command(index, whole_sqe, u32::try_from(end).expect("1 MiB"), &[])
    } else {
        None
    };
    let part = world.command(index, sqe, data_len, &[]).expect("log pages are answered at once");
    if !part.cqe.status().is_success() {
        return;
    }
    assert_eq!(part.data.len(), data_len as usize, "all of it is sent");
    let Some(whole) = whole else { return };
    assert!(whole.cqe.status().is_success(), "the whole of a page can be read where a part can");
    let offset = usize::try_from(get.offset).expect("1 MiB");
    assert!(whole.data[offset..] == part.data, "a part of page {:?}", get.lid);
}

/// Less of a page is its beginning.
fn identify(world: &mut World, index: usize, sqe: Sqe, data_len: u32) {
    let whole = world.command(index, sqe, 4096, &[]).expect("Identify is answered at once");
    let part = world.command(index, sqe, data_len, &[]).expect("Identify is answered at once");
    if whole.cqe.status().is_success() {
        assert_eq!(whole.data.len(), 4096);
        if part.cqe.status().is_success() {
            assert!(whole.data.starts_with(&part.data), "less of a page is its beginning");
        } else {
            assert!(data_len != 4096 && part.cqe.status() == Status::INVALID_SGL_LENGTH.dnr());
        }
    }
}
