//! Who may use which volume: lists of hosts from the request to the wire, and through a restart.

use super::host::{Host, expect, identify, pattern};
use super::{POOL, call, create_pool, engine_for, file, ram, refused, volume_id};
use crate::{Engine, Mode};
use control::{AllowedHosts, CreateVolume, ErrorKind, Reply, Request, SetVolumeHosts, VolumeStatus};
use nvme_spec::{AdminOpcode, Sqe, Status};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use zerocopy::little_endian::U32;

const NO_DIGESTS: Digests = Digests { header: false, data: false };
const A: &str = "nqn.2014-08.org:host-a";
const B: &str = "nqn.2014-08.org:host-b";

fn listed(hosts: &[&str]) -> AllowedHosts {
    AllowedHosts { is_listed: true, nqns: hosts.iter().map(|nqn| (*nqn).to_owned()).collect() }
}

fn volume_of(reply: Result<Reply, control::ControlError>) -> VolumeStatus {
    match reply {
        Ok(Reply::Volumes(volumes)) => volumes.into_iter().next().expect("the volume"),
        other => panic!("a volume, not {other:?}"),
    }
}

fn create(engine: &Engine, number: u128, allowed_hosts: AllowedHosts) -> VolumeStatus {
    let create = CreateVolume {
        uuid: volume_id(number),
        pool: POOL,
        name: format!("vol-{number}"),
        size_bytes: 8 << 20,
        block_size: 4096,
        allowed_hosts,
    };
    volume_of(call(engine, Request::CreateVolume(create)))
}

fn set(engine: &Engine, number: u128, allowed_hosts: AllowedHosts) -> VolumeStatus {
    let set = SetVolumeHosts { uuid: volume_id(number), allowed_hosts };
    volume_of(call(engine, Request::SetVolumeHosts(set)))
}

fn connect(engine: &Engine, nqn: &str, host: &str) -> std::io::Result<Host> {
    Host::connect_as(engine.portals()[0], nqn, host, NO_DIGESTS)
}

fn active(host: &mut Host) -> Vec<u32> {
    let (cqe, page) = host.admin.read(identify(0, 2), 4096).expect("answered");
    expect(cqe).expect("a list");
    page.chunks_exact(4)
        .map(|c| u32::from_le_bytes(c.try_into().expect("four")))
        .take_while(|n| *n != 0)
        .collect()
}

/// Goal: outside of insecure mode a volume without a list is nobody's; a list lets in those on it, no others.
#[test]
fn nobody_gets_in_by_default() {
    let engine = engine_for(&[ram(96)], Mode::Balanced, false);
    let nqn = create_pool(&engine, &["R0"]).subsystem_nqn;
    let volume = create(&engine, 1, AllowedHosts::default());
    assert_eq!(volume.allowed_hosts, AllowedHosts::default());
    let refusal = connect(&engine, &nqn, A).err().expect("it is refused").to_string();
    assert!(refusal.contains("1h/84h"), "{refusal}");
    assert_eq!(set(&engine, 1, listed(&[B, A, B])).allowed_hosts, listed(&[A, B]));
    let mut host = connect(&engine, &nqn, A).expect("connected");
    assert_eq!(host.write(1, 0, pattern(4096, 1)).expect("answered"), Status::SUCCESS);
    assert!(connect(&engine, &nqn, "nqn.2014-08.org:host-ab").is_err());
    assert_eq!(set(&engine, 1, listed(&[A])).hosts, [A]);
}

/// Goal: a host sees its volumes only, hears of each that comes or goes, and cannot reach the others'.
#[test]
fn lists_change_under_connected_hosts() {
    let engine = engine_for(&[ram(96)], Mode::Balanced, false);
    let nqn = create_pool(&engine, &["R0"]).subsystem_nqn;
    create(&engine, 1, listed(&[A]));
    create(&engine, 2, listed(&[B]));
    let mut host = connect(&engine, &nqn, A).expect("connected");
    assert_eq!(active(&mut host), [1]);
    assert_eq!(host.write(2, 0, pattern(4096, 1)).expect("answered"), Status::INVALID_NAMESPACE.dnr());
    let mut configure = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
    configure.cdw10 = U32::new(0x0b);
    configure.cdw11 = U32::new(0x100);
    expect(host.admin.command(configure).expect("answered")).expect("set");
    let event = host.admin.submit(Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0), Data::None, Vec::new());
    set(&engine, 2, listed(&[A, B]));
    assert_eq!(host.admin.finish(event).expect("an event").dw0.get(), 2 | 4 << 16);
    assert_eq!(active(&mut host), [1, 2]);
    assert_eq!(host.write(2, 0, pattern(4096, 1)).expect("answered"), Status::SUCCESS);
    set(&engine, 1, listed(&[]));
    assert_eq!(active(&mut host), [2]);
    assert_eq!(host.write(1, 0, pattern(4096, 1)).expect("answered"), Status::INVALID_NAMESPACE.dnr());
}

/// Goal: who loses the last volume is disconnected and stays out; the others do not notice.
#[test]
fn the_last_loss_disconnects_only_the_loser() {
    let engine = engine_for(&[ram(96)], Mode::Balanced, false);
    let nqn = create_pool(&engine, &["R0"]).subsystem_nqn;
    create(&engine, 1, listed(&[A, B]));
    let mut loser = connect(&engine, &nqn, A).expect("connected");
    let mut other = connect(&engine, &nqn, B).expect("connected");
    let data = pattern(1 << 20, 7);
    assert_eq!(other.write(1, 0, data.clone()).expect("written"), Status::SUCCESS);
    set(&engine, 1, listed(&[B]));
    assert!(loser.admin.finish_any().is_err() && loser.io.finish_any().is_err(), "its sockets end");
    assert!(connect(&engine, &nqn, A).is_err());
    assert!(other.read(1, 0, 1 << 20).expect("read") == data);
    assert_eq!(set(&engine, 1, listed(&[B])).hosts, [B]);
}

/// Goal: in insecure mode everybody may connect, volumes without a list are everybody's, a list still counts.
#[test]
fn insecure_mode_keeps_lists() {
    let engine = engine_for(&[ram(96)], Mode::Balanced, true);
    let nqn = create_pool(&engine, &["R0"]).subsystem_nqn;
    create(&engine, 1, listed(&[B]));
    let mut host = connect(&engine, &nqn, A).expect("connected");
    assert!(active(&mut host).is_empty());
    create(&engine, 2, AllowedHosts::default());
    assert_eq!(active(&mut host), [2]);
    set(&engine, 2, listed(&[]));
    assert!(active(&mut host).is_empty());
    set(&engine, 2, AllowedHosts::default());
    assert_eq!(active(&mut host), [2]);
}

/// Goal: lists are there after a restart, and wrong ones are refused and change nothing.
#[test]
fn lists_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let drives = [file(dir.path(), "S0", 96)];
    let nqn = {
        let engine = engine_for(&drives, Mode::Balanced, false);
        let nqn = create_pool(&engine, &["S0"]).subsystem_nqn;
        create(&engine, 1, listed(&[]));
        set(&engine, 1, listed(&[A]));
        let wrong = SetVolumeHosts { uuid: volume_id(1), allowed_hosts: listed(&[A, ""]) };
        let error = refused(&engine, Request::SetVolumeHosts(wrong));
        assert_eq!((error.kind, error.field.as_str()), (ErrorKind::InvalidArgument, "allowed_hosts[1]"));
        let unknown = SetVolumeHosts { uuid: volume_id(9), allowed_hosts: listed(&[A]) };
        assert_eq!(refused(&engine, Request::SetVolumeHosts(unknown)).kind, ErrorKind::NotFound);
        engine.stop();
        nqn
    };
    let engine = engine_for(&drives, Mode::Balanced, false);
    let Ok(Reply::Volumes(volumes)) = call(&engine, Request::ListVolumes) else { panic!("volumes") };
    assert_eq!(volumes[0].allowed_hosts, listed(&[A]));
    assert_eq!(active(&mut connect(&engine, &nqn, A).expect("connected")), [1]);
    assert!(connect(&engine, &nqn, B).is_err());
}
