//! Tests of the pool: each module a part, and the whole under power cuts.

mod bench;
mod change;
mod create;
mod import;
mod job;
mod map;
mod power_cut;
mod probe;
mod settings;
mod space;
mod wipe;

use crate::{Begun, Job, Pool};
use control::{ControlError, CreatePool, CreateVolume, ResizeVolume};
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// A UUID that says in a failure where it comes from.
fn uuid(kind: u8, number: u64) -> Uuid {
    Uuid::from_u128((u128::from(kind) << 120) | (0x4000_8000 << 60) | u128::from(number))
}

/// A request for a pool named "tank" of all drives `S0`, `S1`, ….
fn tank(drives: usize) -> CreatePool {
    CreatePool {
        uuid: uuid(b'P', 1),
        name: "tank".to_owned(),
        drive_serials: (0..drives).map(|n| format!("S{n}")).collect(),
        overwrite_foreign_data: false,
    }
}

/// A request for a volume of that pool; its name comes from its number.
fn volume(number: u64, size_mib: u64) -> CreateVolume {
    CreateVolume {
        allowed_hosts: control::AllowedHosts::default(),
        uuid: uuid(b'V', number),
        pool: uuid(b'P', 1),
        name: format!("v{number}"),
        size_bytes: size_mib * MIB,
        block_size: 4096,
    }
}

fn grow(number: u64, size_mib: u64) -> ResizeVolume {
    ResizeVolume { uuid: uuid(b'V', number), size_bytes: size_mib * MIB }
}

/// The job that must have begun.
fn job(begun: Result<Begun, ControlError>) -> Job {
    match begun {
        Ok(Begun::Job(job)) => job,
        other => panic!("a job should have begun, not {other:?}"),
    }
}

/// What an operator reads: kind, message, object, field, remedy.
fn shown<T: core::fmt::Debug>(result: Result<T, ControlError>) -> String {
    let e = result.expect_err("it should be refused");
    format!("{:?} | {} | {} | {} | {}", e.kind, e.message, e.object, e.field, e.remedy)
}

/// Name, NSID and size in MiB of each volume.
fn volumes(pool: &Pool) -> Vec<(String, u32, u32)> {
    pool.volumes().iter().map(|v| (v.name.to_string(), v.nsid, v.extents)).collect()
}
