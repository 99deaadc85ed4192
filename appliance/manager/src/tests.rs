//! The server over a real socket, before an engine that is away or that answers from a list.

use crate::{Manager, bind};
use api::{Client, Error, Timeouts, v1};
use bus::{Answer, EngineClient, EngineService, publish_engine};
use control::{
    ControlError, EngineStatus, ErrorKind, PoolState, PoolStatus, Reply, Request, VolumeState, VolumeStatus,
};
use std::sync::Arc;
use uuid::Uuid;

/// An engine with one pool and no memory: a created volume is answered, not kept.
struct Listed;

fn tank() -> PoolStatus {
    PoolStatus {
        uuid: Uuid::from_u128(1),
        name: "tank".into(),
        state: PoolState::Online,
        detail: String::new(),
        drive_serials: vec!["S0".into()],
        size_bytes: 1 << 30,
        free_bytes: 1 << 30,
        subsystem_nqn: "nqn.2014-08.org.nvmexpress:uuid:1".into(),
        revision: 1,
    }
}

impl EngineService for Listed {
    fn call(&self, request: Request) -> Answer {
        Box::pin(async move {
            match request {
                Request::GetStatus => Ok(Reply::Engine(EngineStatus {
                    version: "0.1.0".into(),
                    cores: 1,
                    mode: "eco".into(),
                    portals: vec!["127.0.0.1:4420".into()],
                    start_ms: 1,
                    uptime_ms: 2,
                    io_commands: 3,
                    busy_permille: 4,
                })),
                Request::ListPools => Ok(Reply::Pools(vec![tank()])),
                Request::CreateVolume(create) => Ok(Reply::Volumes(vec![VolumeStatus {
                    uuid: create.uuid,
                    name: create.name,
                    pool: create.pool,
                    pool_name: "tank".into(),
                    size_bytes: create.size_bytes,
                    block_size: create.block_size,
                    state: VolumeState::Online,
                    nsid: 1,
                    subsystem_nqn: "nqn".into(),
                    hosts: Vec::new(),
                    allowed_hosts: create.allowed_hosts,
                    revision: 2,
                }])),
                Request::DeletePool(_) => {
                    Err(ControlError::new(ErrorKind::FailedPrecondition, "pool \"tank\" has 1 volume")
                        .object("pool/tank")
                        .remedy("delete volume \"db\" first"))
                }
                Request::WipeDrive(wipe) => Err(ControlError::new(
                    ErrorKind::FailedPrecondition,
                    format!("drive {} carries data: {:?}", wipe.serial, wipe.confirm),
                )
                .field("confirm")),
                Request::ListDrives
                | Request::ListVolumes
                | Request::ListSessions
                | Request::CreatePool(_)
                | Request::ResizeVolume(_)
                | Request::SetVolumeHosts(_)
                | Request::DeleteVolume(_) => Ok(Reply::Done),
            }
        })
    }
}

async fn client_of(engine: EngineClient) -> Client {
    let server = bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = server.address().to_string();
    tokio::spawn(server.serve(Manager::new(engine, None), std::future::pending()));
    Client::connect(&address, Timeouts::default()).await.expect("the server listens")
}

/// A client, and the engine's side of the bus, which lives as long as it is held.
async fn listed() -> (Client, bus::Connection) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let publish = |builder| publish_engine(builder, Arc::new(Listed));
    let (server, client) = tokio::join!(bus::serve_stream(ours, &publish), bus::connect_stream(theirs));
    let client = client_of(EngineClient::over(client.expect("the client side"))).await;
    (client, server.expect("the server side"))
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> ControlError {
    match result.expect_err("it is refused") {
        Error::Refused(error) => error,
        Error::Unreachable(error) => panic!("unreachable: {error}"),
    }
}

/// Goal: an engine that is away is said so, with what to do, and the server stays.
#[tokio::test]
async fn an_engine_that_is_away() {
    let client = client_of(EngineClient::at("/nonexistent/engine.sock")).await;
    for _ in 0..2 {
        let error = refused(client.node().await);
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("/nonexistent/engine.sock"), "{}", error.message);
        assert!(!error.remedy.is_empty());
    }
}

/// Goal: a volume names its pool by name or by id, gets an id and the portals to connect to.
#[tokio::test]
async fn a_volume_is_made_in_the_named_pool() {
    let (client, _bus) = listed().await;
    for pool in ["tank", "00000000-0000-0000-0000-000000000001"] {
        let request = v1::CreateVolumeRequest {
            id: String::new(),
            name: "db".into(),
            pool: pool.into(),
            size_bytes: 1 << 20,
            block_size: 512,
            allowed_hosts: Some(v1::AllowedHosts { nqns: vec!["nqn.2014-08.org:a".into()] }),
        };
        let volume = client.create_volume(request).await.expect("the volume is made");
        let hosts = volume.allowed_hosts.expect("a list").nqns;
        assert_eq!(hosts, ["nqn.2014-08.org:a"]);
        assert_eq!(volume.block_size, 512);
        assert_eq!(volume.pool_id, tank().uuid.to_string());
        assert!(Uuid::try_parse(&volume.id).is_ok_and(|id| !id.is_nil()));
        let connection = volume.connection.expect("how to connect");
        assert_eq!(
            connection.portals.first().map(|p| (p.address.as_str(), p.port)),
            Some(("127.0.0.1", 4420))
        );
    }
}

/// Goal: to wipe a drive its name and the confirmation reach the engine as they are; what is no serial number does not.
#[tokio::test]
async fn a_drive_is_wiped_by_name() {
    let (client, _bus) = listed().await;
    let wipe = |serial: &str| v1::WipeDriveRequest { serial: serial.into(), confirm: "a b".into() };
    let asked = refused(client.wipe_drive(wipe("S 0")).await);
    assert_eq!(
        (asked.field.as_str(), asked.message.as_str()),
        ("confirm", "drive S 0 carries data: \"a b\"")
    );
    for bad in ["", "S\n", "a serial number that is too long"] {
        assert_eq!(refused(client.wipe_drive(wipe(bad)).await).field, "serial", "{bad:?}");
    }
}

/// Goal: refusals of the manager and of the engine arrive whole.
#[tokio::test]
async fn refusals_arrive_whole() {
    let (client, _bus) = listed().await;
    let request = |pool: &str, size_bytes| v1::CreateVolumeRequest {
        id: String::new(),
        name: "db".into(),
        pool: pool.into(),
        size_bytes,
        block_size: 0,
        allowed_hosts: None,
    };
    let size = refused(client.create_volume(request("tank", 5)).await);
    assert_eq!((size.field.as_str(), size.object.as_str()), ("size_bytes", "volume/db"));
    let blocks = v1::CreateVolumeRequest { block_size: 1024, ..request("tank", 1 << 20) };
    let blocks = refused(client.create_volume(blocks).await);
    assert_eq!((blocks.field.as_str(), blocks.object.as_str()), ("block_size", "volume/db"));
    assert_eq!(blocks.remedy, "use 512 or 4096");
    let pool = refused(client.create_volume(request("pond", 1 << 20)).await);
    assert_eq!((pool.kind, pool.object.as_str()), (ErrorKind::NotFound, "pool/pond"));
    let id = tank().uuid.to_string();
    let full = refused(client.delete_pool(v1::DeletePoolRequest { id }).await);
    assert_eq!(full.remedy, "delete volume \"db\" first");
    let missing = refused(client.pool(v1::get_pool_request::Key::Name("pond".into())).await);
    assert_eq!((missing.kind, missing.field.as_str()), (ErrorKind::NotFound, "name"));
}
