//! A whole engine on file and memory drives, with a real host side over loopback.

mod access;
mod block_size;
mod control_plane;
mod data_plane;
mod failing_drive;
#[path = "../../target/src/tests/host.rs"]
mod host;
mod hostile;
mod reservation;
mod spread;
mod startup;
mod wiping;

use crate::{Affinity, Cores, DriveSpec, Engine, EngineConfig, Mode, start};
use control::{
    AllowedHosts, ControlError, CreatePool, CreateVolume, PoolStatus, Reply, Request, VolumeStatus,
};
use std::path::Path;
use std::sync::mpsc::channel;
use uuid::Uuid;

const POOL: Uuid = Uuid::from_u128(0x1111);
const MIB: u64 = 1 << 20;

/// A volume's UUID from a small number.
fn volume_id(number: u128) -> Uuid {
    Uuid::from_u128(0x2222_0000 + number)
}

fn engine(drives: &[String], mode: Mode) -> Engine {
    engine_for(drives, mode, true)
}

/// An engine in insecure mode or not.
fn engine_for(drives: &[String], mode: Mode, is_insecure: bool) -> Engine {
    engine_on(drives, mode, is_insecure, 1)
}

/// An engine of so many cores.
fn engine_on(drives: &[String], mode: Mode, is_insecure: bool, cores: usize) -> Engine {
    let any = || "127.0.0.1:0".parse().expect("an address");
    let drives = drives.iter().map(|spec| spec.parse::<DriveSpec>().expect("a drive")).collect();
    let config = EngineConfig {
        drives,
        listen: vec![any()],
        discovery: vec![any()],
        arena_bytes: 16 << 20,
        mode,
        is_insecure,
        cores: Cores::On(vec![Affinity::Anywhere; cores]),
        identity: Uuid::from_u128(0x1111),
        ..EngineConfig::default()
    };
    start(config).expect("an engine")
}

fn ram(mib: u64) -> String {
    format!("ram:{mib}MiB,serial=R0")
}

fn file(dir: &Path, name: &str, mib: u64) -> String {
    format!("file:{},size={mib}MiB,serial={name}", dir.join(name).display())
}

fn call(engine: &Engine, request: Request) -> Result<Reply, ControlError> {
    let (answer, answered) = channel();
    engine.call(request, move |result| answer.send(result).expect("somebody waits"));
    answered.recv().expect("each request is answered")
}

fn pool_request(serials: &[&str]) -> Request {
    Request::CreatePool(CreatePool {
        uuid: POOL,
        name: "tank".into(),
        drive_serials: serials.iter().map(|serial| (*serial).to_owned()).collect(),
        overwrite_foreign_data: false,
    })
}

fn create_pool(engine: &Engine, serials: &[&str]) -> PoolStatus {
    match call(engine, pool_request(serials)) {
        Ok(Reply::Pools(pools)) => pools.into_iter().next().expect("the new pool"),
        other => panic!("a pool, not {other:?}"),
    }
}

fn volume_request(number: u128, size_bytes: u64) -> Request {
    let name = format!("vol-{number}");
    Request::CreateVolume(CreateVolume {
        uuid: volume_id(number),
        pool: POOL,
        name,
        size_bytes,
        block_size: 4096,
        allowed_hosts: AllowedHosts::default(),
    })
}

fn create_volume(engine: &Engine, number: u128, mib: u64) -> VolumeStatus {
    match call(engine, volume_request(number, mib * MIB)) {
        Ok(Reply::Volumes(volumes)) => volumes.into_iter().next().expect("the new volume"),
        other => panic!("a volume, not {other:?}"),
    }
}

fn refused(engine: &Engine, request: Request) -> ControlError {
    call(engine, request).expect_err("it is refused")
}
