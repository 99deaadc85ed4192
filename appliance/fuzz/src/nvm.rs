//! I/O commands: what reaches the storage is a range that exists.

use crate::choices::Choices;
use crate::world::{World, any_sqe};
use nvme_spec::NvmOpcode;

/// Opcodes that are looked at more often than the others.
const OPCODES: [u8; 14] = [
    NvmOpcode::FLUSH.0,
    NvmOpcode::WRITE.0,
    NvmOpcode::READ.0,
    NvmOpcode::COMPARE.0,
    NvmOpcode::WRITE_ZEROES.0,
    NvmOpcode::DATASET_MANAGEMENT.0,
    NvmOpcode::VERIFY.0,
    NvmOpcode::RESERVATION_REGISTER.0,
    NvmOpcode::RESERVATION_REPORT.0,
    NvmOpcode::RESERVATION_ACQUIRE.0,
    NvmOpcode::RESERVATION_RELEASE.0,
    NvmOpcode::COPY.0,
    NvmOpcode::WRITE_UNCORRECTABLE.0,
    NvmOpcode::FABRICS.0,
];

/// Plays I/O commands on a queue, while the namespaces change and the storage ends what it was given, in any order.
///
/// # Panics
/// If the target does what it must not.
pub fn nvm(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::with_queues();
    while !choices.is_empty() {
        match choices.u8() % 8 {
            0..=4 => command(&mut world, &mut choices),
            5 => world.end_io(&mut choices),
            6 => world.change_namespace(&mut choices),
            _ => world.wait(u64::from(choices.u16())),
        }
    }
}

fn command(world: &mut World, choices: &mut Choices<'_>) {
    let sqe = any_sqe(choices, &OPCODES);
    let how = choices.u8();
    let data_len = match how % 4 {
        0 => choices.len(),
        // What a host would send: the data of the blocks, or of the ranges that the command counts.
        1 => (sqe.cdw10.get() & 0xff).saturating_add(1).saturating_mul(16),
        _ => sqe.nlb().saturating_mul(4096),
    };
    let len = choices.below(64);
    let data = choices.bytes(len);
    // The controller may have been closed for silence.
    if let Some(index) = world.open.iter().position(|open| open.queue.is_some_and(|queue| queue.qid > 0)) {
        world.command(index, sqe, data_len, data);
    }
}
