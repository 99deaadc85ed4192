//! A served object and its client over a real socket.

use super::*;
use control::{
    ControlError, CreatePool, DriveState, DriveStatus, ErrorKind, PoolState, PoolStatus, Reply, Request,
    VolumeState, VolumeStatus,
};
use std::sync::Arc;
use uuid::Uuid;

struct Fake;

fn full_error() -> ControlError {
    ControlError::new(ErrorKind::ResourceExhausted, "pool \"tank\" is full")
        .object("pool/tank")
        .field("size_bytes")
        .remedy("choose less")
}

fn drive() -> DriveStatus {
    DriveStatus {
        serial: "S0".into(),
        path: "ram:0".into(),
        model: "Memory".into(),
        size_bytes: 1 << 40,
        lba_bytes: 4096,
        state: DriveState::Foreign,
        detail: "GPT partition table".into(),
        pool: Uuid::from_u128(7),
        is_volatile: true,
        errors: 3,
    }
}

fn volume() -> VolumeStatus {
    VolumeStatus {
        uuid: Uuid::from_u128(1),
        name: "db".into(),
        pool: Uuid::from_u128(2),
        pool_name: "tank".into(),
        size_bytes: 1 << 20,
        block_size: 512,
        state: VolumeState::Offline,
        nsid: 3,
        subsystem_nqn: "nqn".into(),
        hosts: vec!["a".into(), "b".into()],
        allowed_hosts: control::AllowedHosts { is_listed: true, nqns: vec!["a".into()] },
        revision: 4,
    }
}

impl EngineService for Fake {
    fn call(&self, request: Request) -> Answer {
        Box::pin(async move {
            match request {
                Request::ListVolumes => Ok(Reply::Volumes(vec![volume()])),
                Request::ListDrives => Ok(Reply::Drives(vec![drive()])),
                Request::CreatePool(create) => Ok(Reply::Pools(vec![PoolStatus {
                    uuid: create.uuid,
                    name: create.name,
                    state: PoolState::Incomplete,
                    detail: String::new(),
                    drive_serials: create.drive_serials,
                    size_bytes: 1,
                    free_bytes: 2,
                    subsystem_nqn: "nqn".into(),
                    revision: 3,
                }])),
                Request::DeletePool(_) => Ok(Reply::Done),
                Request::WipeDrive(wipe) => Ok(Reply::Drives(vec![DriveStatus {
                    serial: wipe.serial,
                    detail: wipe.confirm,
                    ..drive()
                }])),
                Request::GetStatus => Ok(Reply::Done),
                Request::ListPools
                | Request::ListSessions
                | Request::CreateVolume(_)
                | Request::ResizeVolume(_)
                | Request::SetVolumeHosts(_)
                | Request::DeleteVolume(_) => Err(full_error()),
            }
        })
    }
}

fn serving(dir: &tempfile::TempDir) -> (std::path::PathBuf, tokio::task::JoinHandle<std::io::Result<()>>) {
    let path = dir.path().join("run").join("engine.sock");
    let listener = listen(&path).expect("the path is free");
    (path, tokio::spawn(serve(listener, |builder| publish_engine(builder, Arc::new(Fake)))))
}

/// Goal: values arrive as they left, enumerations and UUIDs too, for several peers.
#[tokio::test]
async fn answers_arrive_unchanged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, _task) = serving(&dir);
    for _ in 0..2 {
        let client = EngineClient::at(&path);
        assert_eq!(client.drives().await, Ok(vec![drive()]));
        assert_eq!(client.volumes().await, Ok(vec![volume()]));
        let create = CreatePool {
            uuid: Uuid::from_u128(9),
            name: "tank".into(),
            drive_serials: vec!["S0".into(), "S1".into()],
            overwrite_foreign_data: true,
        };
        let pool = client.create_pool(create).await.expect("the pool is made");
        assert_eq!((pool.uuid, pool.state), (Uuid::from_u128(9), PoolState::Incomplete));
        assert_eq!(pool.drive_serials, ["S0", "S1"]);
        assert_eq!(client.delete_pool(control::DeletePool { uuid: Uuid::nil() }).await, Ok(()));
    }
}

/// Goal: an error keeps every field on its way.
#[tokio::test]
async fn errors_arrive_unchanged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, _task) = serving(&dir);
    let client = EngineClient::at(path);
    assert_eq!(client.pools().await, Err(full_error()));
    // An answer of another kind is the engine's fault, and said so.
    assert_eq!(client.status().await.expect_err("the kind is wrong").kind, ErrorKind::Internal);
}

/// Goal: a peer that is away gives an error with a remedy, and the same client works once the peer is back.
#[tokio::test]
async fn a_client_outlives_its_peer() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let client = EngineClient::at(dir.path().join("run").join("engine.sock"));
    let away = client.drives().await.expect_err("nobody listens");
    assert_eq!(away.kind, ErrorKind::Unavailable);
    assert!(away.message.contains("engine.sock"), "the message names the socket: {}", away.message);
    assert!(!away.remedy.is_empty());
    let (_, _task) = serving(&dir);
    assert_eq!(client.drives().await, Ok(vec![drive()]));
}

/// Goal: two ends of a socket pair in one process talk as over a path; a dropped server is noticed.
#[tokio::test]
async fn a_socket_pair_joins_one_process() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let publish = |builder| publish_engine(builder, Arc::new(Fake));
    let (server, client) = tokio::join!(serve_stream(ours, &publish), connect_stream(theirs));
    let server = server.expect("the server side is set up");
    let client = EngineClient::over(client.expect("the client side is set up"));
    assert_eq!(client.drives().await, Ok(vec![drive()]));
    server.close().await.expect("the server closes");
    assert_eq!(client.drives().await.expect_err("the server is gone").kind, ErrorKind::Unavailable);
}

/// Goal: a file that is no socket is never removed.
#[tokio::test]
async fn listening_replaces_sockets_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("x");
    std::fs::write(&path, "kept").expect("written");
    assert_eq!(listen(&path).expect_err("a file is there").kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "kept");
}

struct Pid1;

fn phase() -> BootPhase {
    BootPhase {
        name: "network".into(),
        started_ms: 900,
        took_ms: 1200,
        state: "failed".into(),
        failure: "no answer to DHCP".into(),
        remedy: "check the cable".into(),
    }
}

fn service() -> ServiceStatus {
    ServiceStatus {
        name: "engine".into(),
        state: "running".into(),
        pid: 7,
        restarts: 1,
        last_exit: "signal 9".into(),
    }
}

fn interface() -> Interface {
    Interface { name: "eth0".into(), has_link: true, ..Interface::default() }
}

impl InitService for Pid1 {
    fn phases(&self) -> Vec<BootPhase> {
        vec![phase()]
    }
    fn services(&self) -> Vec<ServiceStatus> {
        vec![service()]
    }
    fn network(&self) -> Vec<Interface> {
        vec![interface()]
    }
    fn version(&self) -> String {
        "0.1.0".into()
    }
    fn hostname(&self) -> String {
        "node".into()
    }
    fn is_insecure(&self) -> bool {
        true
    }
    fn reboot(&self, reason: &str) -> Result<(), ControlError> {
        Err(ControlError::new(ErrorKind::FailedPrecondition, reason))
    }
    fn power_off(&self, _: &str) -> Result<(), ControlError> {
        Ok(())
    }
}

/// Goal: what init says arrives unchanged, and orders reach it with their reason.
#[tokio::test]
async fn init_answers() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("init.sock");
    let listener = listen(&path).expect("the path is free");
    let _task = tokio::spawn(serve(listener, |builder| publish_init(builder, Arc::new(Pid1))));
    let client = InitClient::at(path);
    assert_eq!(client.phases().await, Ok(vec![phase()]));
    assert_eq!(client.services().await, Ok(vec![service()]));
    assert_eq!(client.network().await, Ok(vec![interface()]));
    assert_eq!(client.version().await.as_deref(), Ok("0.1.0"));
    assert_eq!(client.hostname().await.as_deref(), Ok("node"));
    assert_eq!(client.is_insecure().await, Ok(true));
    assert_eq!(client.power_off("asked on the console").await, Ok(()));
    let busy = client.reboot("a firmware update runs").await;
    assert_eq!(busy, Err(ControlError::new(ErrorKind::FailedPrecondition, "a firmware update runs")));
}
