//! Which changes of a pool go beside each other, and in which order they end. Jobs of a real pool, done by hand: no drive decides
//! about time.

use super::{Active, Changes, Kind, Waiting, Worker};
use crate::answer::Answer;
use block::{Blocks, Completion, Geometry};
use control::{AllowedHosts, CreatePool, CreateVolume, DeleteVolume, Request, ResizeVolume, SetVolumeHosts};
use pool::{Begun, Drive, DriveId, Job, KnownDrive, Pool, Role, WriteProtect};
use target::HostChange;
use uuid::Uuid;

const POOL: Uuid = Uuid::from_u128(1);
const VOLUME: Uuid = Uuid::from_u128(2);

/// Completes everything that a job has to do.
fn drain(job: &mut Job) {
    while let Some((_, tag, op)) = job.poll_op(|len| Some(vec![0_u8; len])) {
        job.on_completion(Completion { tag, buf: op.into_buf(), result: Ok(()) });
    }
    assert_eq!(job.result(), Some(Ok(())));
}

fn begun(begun: Result<Begun, control::ControlError>) -> Job {
    match begun {
        Ok(Begun::Job(job)) => job,
        other => panic!("a job should have begun, not {other:?}"),
    }
}

fn volume(number: u128) -> CreateVolume {
    CreateVolume {
        uuid: Uuid::from_u128(number),
        pool: POOL,
        name: format!("v{number}"),
        size_bytes: 1 << 20,
        block_size: 4096,
        allowed_hosts: AllowedHosts::default(),
    }
}

/// A pool with one volume.
fn pool() -> Pool {
    let geometry = Geometry {
        blocks: Blocks(1 << 20),
        transfer_max: Blocks(32),
        depth_max: 64,
        is_volatile: true,
        is_block_atomic: true,
    };
    let drive = Drive { id: DriveId(0), serial: "S0".to_owned(), geometry };
    let request = CreatePool {
        uuid: POOL,
        name: "tank".to_owned(),
        drive_serials: vec!["S0".to_owned()],
        overwrite_foreign_data: false,
    };
    let drives = [KnownDrive { drive, role: Role::Blank }];
    let (mut pool, mut job) =
        pool::begin_create_pool(&request, &drives, &[], || Uuid::from_u128(9)).expect("a good request");
    drain(&mut job);
    pool.finish(job).expect("it went well");
    let mut zeroing = begun(pool.begin_create_volume(&volume(2)));
    drain(&mut zeroing);
    let mut commit = pool.begin_commit(zeroing).expect("nothing came between");
    drain(&mut commit);
    pool.finish(commit).expect("it went well");
    pool
}

fn active(kind: Kind, job: Job) -> Active {
    Active { pool: POOL, kind, job, answer: None, worker: Worker::Drives(vec![DriveId(0)]) }
}

fn creation(job: Job) -> Active {
    active(Kind::CreateVolume(Box::new(volume(3))), job)
}

fn host_change() -> HostChange {
    HostChange { pool: POOL, volume: VOLUME, name: 7, reservation: None, write_protect: WriteProtect::On }
}

fn job_of(changes: &mut Changes, index: usize) -> &mut Job {
    &mut changes.active[index].as_mut().expect("it works").job
}

fn wait(changes: &mut Changes, request: Request) {
    let waiting = Waiting { pool: POOL, request, answer: Answer::new(drop) };
    assert!(changes.enqueue(waiting).is_ok(), "there is room");
}

/// Goal: what a host decides goes beside the zeroing of a volume, and the record of the volume follows when that of the host is
/// durable: neither waits for the zeroes nor do two jobs write the record.
#[test]
fn hosts_do_not_wait_for_zeroes() {
    let (mut pool, mut changes) = (pool(), Changes::new());
    changes.start(creation(begun(pool.begin_create_volume(&volume(3)))));
    changes.enqueue_host(host_change());
    let HostChange { volume: fenced, reservation, write_protect, .. } =
        changes.next_host().expect("it goes beside the zeroing");
    let guard = begun(pool.begin_set_guard(fenced, reservation, write_protect));
    changes.start(active(Kind::Guard { name: 7 }, guard));
    changes.enqueue_host(host_change());
    assert!(changes.next_host().is_none(), "one job writes the record");

    drain(job_of(&mut changes, 0));
    assert!(changes.next_finished().is_none(), "the record is being written by the other");
    assert_eq!(changes.volumes_in_creation().count(), 1, "its name stays taken");
    drain(job_of(&mut changes, 1));
    // The place of the preparation is before that of the guard, and still it is second.
    let guard = changes.next_finished().expect("the guard");
    assert!(matches!(guard.kind, Kind::Guard { name: 7 }));
    pool.finish(guard.job).expect("it went well");
    let zeroed = changes.next_finished().expect("now it is its turn");
    let mut commit = pool.begin_commit(zeroed.job).expect("the pool is free");
    drain(&mut commit);
    pool.finish(commit).expect("it went well");
    let protections: Vec<WriteProtect> =
        pool.volumes().iter().map(|volume| volume.settings.write_protect).collect();
    assert_eq!(protections, [WriteProtect::On, WriteProtect::Off], "both changes are in the record");
}

/// Goal: who may use a volume is changed beside the zeroing of others, also before it when that still waits; what moves extents
/// keeps its order.
#[test]
fn short_requests_pass_zeroing() {
    let (mut pool, mut changes) = (pool(), Changes::new());
    let hosts =
        || Request::SetVolumeHosts(SetVolumeHosts { uuid: VOLUME, allowed_hosts: AllowedHosts::default() });
    changes.start(creation(begun(pool.begin_create_volume(&volume(3)))));
    wait(&mut changes, Request::CreateVolume(volume(4)));
    wait(&mut changes, Request::ResizeVolume(ResizeVolume { uuid: VOLUME, size_bytes: 2 << 20 }));
    wait(&mut changes, hosts());
    wait(&mut changes, Request::DeleteVolume(DeleteVolume { uuid: VOLUME, force: false }));
    wait(&mut changes, hosts());
    let names: Vec<&str> = changes.volumes_to_come().map(|new| new.name.as_str()).collect();
    assert_eq!(names, ["v3", "v4"]);
    let first = changes.next_ready().expect("one of them goes beside the zeroing");
    assert!(matches!(first.request, Request::SetVolumeHosts(_)), "{:?}", first.request);
    assert!(changes.next_ready().is_none(), "behind the deletion nobody passes, nor does the deletion");
}

/// Goal: who may use a volume that is being created is changed when it is there. Method: its creation works, and waits.
#[test]
fn changes_of_a_new_volume_wait_for_it() {
    let (mut pool, mut changes) = (pool(), Changes::new());
    let hosts = |number| {
        let (uuid, allowed_hosts) = (Uuid::from_u128(number), AllowedHosts::default());
        Request::SetVolumeHosts(SetVolumeHosts { uuid, allowed_hosts })
    };
    changes.start(creation(begun(pool.begin_create_volume(&volume(3)))));
    wait(&mut changes, Request::CreateVolume(volume(4)));
    wait(&mut changes, hosts(3));
    wait(&mut changes, hosts(4));
    assert!(changes.next_ready().is_none());
    wait(&mut changes, hosts(2));
    assert!(changes.next_ready().is_none(), "requests to one pool keep their order");
}
