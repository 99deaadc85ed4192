//! Pools and volumes through `Engine::call`, and what connected hosts see of it.

use super::host::{Host, Queue, Which, pattern};
use super::{
    MIB, POOL, call, create_pool, create_volume, engine, file, pool_request, ram, refused, volume_id,
    volume_request,
};
use crate::{Affinity, Cores, EngineConfig, EventSink, Mode, start};
use control::{
    DeletePool, DeleteVolume, DriveState, ErrorKind, PoolState, Reply, Request, ResizeVolume, VolumeState,
};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use nvme_spec::log::LogPage;
use nvme_spec::{AdminOpcode, Sqe, Status};
use nvme_tcp::Digests;
use nvme_tcp::host::Data;
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use zerocopy::little_endian::U32;

const NO_DIGESTS: Digests = Digests { header: false, data: false };

fn delete(number: u128, force: bool) -> Request {
    Request::DeleteVolume(DeleteVolume { uuid: volume_id(number), force })
}

fn resize(number: u128, mib: u64) -> Request {
    Request::ResizeVolume(ResizeVolume { uuid: volume_id(number), size_bytes: mib * MIB })
}

/// Goal: a repeated creation gives the existing object; one that differs is refused.
#[test]
fn creation_is_repeatable() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    assert_eq!(create_pool(&engine, &["R0"]), pool);
    let volume = create_volume(&engine, 1, 8);
    assert_eq!(create_volume(&engine, 1, 8), volume);
    assert_eq!(refused(&engine, volume_request(1, 9 * MIB)).kind, ErrorKind::AlreadyExists);
    assert_eq!(refused(&engine, pool_request(&["R1"])).kind, ErrorKind::AlreadyExists);
}

/// Goal: who names a drive that did not open learns why, and no other drive of the request is touched.
#[test]
fn drive_that_did_not_open_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = format!("file:{}/gone.img,serial=GONE", dir.path().display());
    let engine = engine(&[ram(96), gone], Mode::Balanced);
    let error = refused(&engine, pool_request(&["R0", "GONE"]));
    let told = (error.kind, error.object.as_str(), error.field.as_str());
    assert_eq!(told, (ErrorKind::FailedPrecondition, "drive/GONE", "drive_serials"));
    assert!(error.message.starts_with("drive GONE does not work: there is no "), "{}", error.message);
    assert!(error.remedy.contains("restart the engine"), "{}", error.remedy);
    assert_eq!(refused(&engine, pool_request(&["R0", "NONE"])).kind, ErrorKind::NotFound);
    create_pool(&engine, &["R0"]);
}

/// Goal: a volume whose deletion may or may not be found at the next start is served to nobody, or what hosts write until
/// then would be lost. Method: one of two drives is memory that is sealed against writing before the deletion.
#[test]
fn undecided_deletion_is_not_served_again() {
    let sealed = memfd_create("sealed", MFdFlags::MFD_ALLOW_SEALING).expect("memory");
    ftruncate(&sealed, 96 << 20).expect("96 MiB");
    let path = format!("file:/proc/self/fd/{},serial=SEALED", sealed.as_raw_fd());
    let engine = engine(&[ram(96), path], Mode::Balanced);
    let pool = create_pool(&engine, &["R0", "SEALED"]);
    let nsid = create_volume(&engine, 1, 8).nsid;
    fcntl(&sealed, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).expect("sealed");
    let error = refused(&engine, delete(1, false));
    assert!(error.message.contains("SEALED"), "{}", error.message);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("a host");
    let status = host.write(nsid, 0, pattern(4096, 1)).expect("an answer");
    assert_eq!(status, Status::INVALID_NAMESPACE.dnr());
}

/// Goal: a pool whose drive shrank is offline, changes are refused with the reason, and the drives keep their bytes.
#[test]
fn damaged_pool_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let drives = [file(dir.path(), "D0", 96), file(dir.path(), "D1", 96)];
    create_pool(&engine(&drives, Mode::Balanced), &["D0", "D1"]);
    let (shrunk, other) = (dir.path().join("D0"), dir.path().join("D1"));
    std::fs::OpenOptions::new().write(true).open(&shrunk).expect("opened").set_len(80 * MIB).expect("cut");
    let before = [&shrunk, &other].map(|path| std::fs::read(path).expect("read"));
    {
        let engine = engine(&drives, Mode::Balanced);
        for request in [pool_request(&["D0", "D1"]), volume_request(1, MIB)] {
            let error = refused(&engine, request);
            assert_eq!((error.kind, error.object.as_str()), (ErrorKind::FailedPrecondition, "pool/tank"));
            assert!(error.message.contains("drive D0 is smaller than when it joined"), "{}", error.message);
            assert!(error.remedy.contains("put the original drives in, as they were"), "{}", error.remedy);
        }
    }
    assert!([&shrunk, &other].map(|path| std::fs::read(path).expect("read")) == before);
}

/// Goal: a full pool refuses with the free size and changes nothing; what is freed can be used again.
#[test]
fn full_pool_refuses() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let free = create_pool(&engine, &["R0"]).free_bytes;
    let error = refused(&engine, volume_request(1, free + MIB));
    assert_eq!((error.kind, error.field.as_str()), (ErrorKind::ResourceExhausted, "size_bytes"));
    assert!(error.remedy.contains(&free.to_string()), "{}", error.remedy);
    create_volume(&engine, 1, free / MIB);
    assert_eq!(refused(&engine, volume_request(2, MIB)).kind, ErrorKind::ResourceExhausted);
    call(&engine, delete(1, false)).expect("deleted");
    create_volume(&engine, 2, free / MIB);
}

/// Goal: a connected host is told of a volume that grows and sees the new size; data stays, the new part is zero.
#[test]
fn host_sees_a_volume_grow() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 4);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let data = pattern(1 << 20, 1);
    host.write(1, 3 * 256, data.clone()).expect("written");
    let mut configure = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
    configure.cdw10 = U32::new(0x0b);
    configure.cdw11 = U32::new(1 << 8);
    assert!(host.admin.command(configure).expect("answered").status().is_success());
    let request = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
    let event = host.admin.submit(request, Data::None, Vec::new());
    // Something that is answered after the event request was received.
    assert_eq!(host.size(1).expect("a size"), 4 << 8);
    assert!(matches!(call(&engine, resize(1, 6)), Ok(Reply::Volumes(v)) if v[0].size_bytes == 6 * MIB));
    let event = host.admin.finish(event).expect("an event").dw0.get();
    let page = u8::try_from((event >> 16) & 0xff).expect("one byte");
    assert_eq!((event & 7, LogPage(page)), (2, LogPage::CHANGED_NAMESPACES));
    assert_eq!(host.size(1).expect("a size"), 6 << 8);
    assert!(host.read(1, 3 * 256, 1 << 20).expect("read") == data);
    assert!(host.read(1, 5 * 256, 1 << 20).expect("read").iter().all(|byte| *byte == 0));
    assert_eq!(refused(&engine, resize(1, 5)).kind, ErrorKind::InvalidArgument);
}

/// Goal: a volume whose subsystem has hosts is deleted only with force; then the host's commands are refused, nothing
/// hangs, and its extents are free.
#[test]
fn delete_needs_force_while_connected() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 8);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    let error = refused(&engine, delete(1, false));
    assert_eq!((error.kind, error.object.as_str()), (ErrorKind::FailedPrecondition, "volume/vol-1"));
    assert!(error.message.contains("host-a"), "{}", error.message);
    assert_eq!(call(&engine, delete(1, true)), Ok(Reply::Done));
    let status = host.write(1, 0, pattern(4096, 1)).expect("the connection stays");
    assert_eq!(status, Status::INVALID_NAMESPACE.dnr());
    assert_eq!(refused(&engine, delete(1, true)).kind, ErrorKind::NotFound);
    create_volume(&engine, 2, 8);
    assert_eq!(host.write(1, 0, pattern(4096, 1)).expect("written"), Status::SUCCESS);
}

/// Goal: a pool with volumes is not deleted; an empty one is, its drives are blank, and its hosts are disconnected.
#[test]
fn pool_is_deleted_when_empty() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 8);
    let delete_pool = || Request::DeletePool(DeletePool { uuid: POOL });
    assert_eq!(refused(&engine, delete_pool()).kind, ErrorKind::FailedPrecondition);
    call(&engine, delete(1, false)).expect("deleted");
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    assert_eq!(call(&engine, delete_pool()), Ok(Reply::Done));
    assert!(host.size(1).is_err(), "the connection is closed");
    assert_eq!(call(&engine, Request::ListPools), Ok(Reply::Pools(Vec::new())));
    let Ok(Reply::Drives(drives)) = call(&engine, Request::ListDrives) else { panic!("drives") };
    assert_eq!((drives[0].state, drives[0].pool.is_nil()), (DriveState::Blank, true));
    create_pool(&engine, &["R0"]);
}

/// Goal: requests of parallel clients to one pool all succeed, each with its own namespace.
#[test]
fn parallel_changes_take_turns() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    create_pool(&engine, &["R0"]);
    let (answer, answered) = channel();
    for number in 0..20 {
        let answer = answer.clone();
        engine.call(volume_request(number, MIB), move |result| answer.send(result).expect("somebody waits"));
    }
    let mut nsids: Vec<u32> = (0..20)
        .map(|_| match answered.recv().expect("answered") {
            Ok(Reply::Volumes(volumes)) => volumes[0].nsid,
            other => panic!("a volume, not {other:?}"),
        })
        .collect();
    nsids.sort_unstable();
    assert_eq!(nsids, (1..=20).collect::<Vec<u32>>());
}

/// Goal: a drive that cannot be opened is listed with the reason, and the others serve.
#[test]
fn failed_drive_is_listed() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = format!("file:{},serial=GONE", dir.path().join("none.img").display());
    let engine = engine(&[missing, ram(96), ram(96)], Mode::Balanced);
    let Ok(Reply::Drives(drives)) = call(&engine, Request::ListDrives) else { panic!("drives") };
    let states: Vec<DriveState> = drives.iter().map(|drive| drive.state).collect();
    assert_eq!(states, [DriveState::Failed, DriveState::Blank, DriveState::Failed]);
    assert!(drives[0].detail.contains("none.img"), "{}", drives[0].detail);
    assert!(drives[2].detail.contains("serial number R0"), "{}", drives[2].detail);
    create_pool(&engine, &["R0"]);
}

/// Goal: without one of its drives a pool is not served and not changed; with it again, everything is back.
#[test]
fn incomplete_pool_waits_for_its_drives() {
    let dir = tempfile::tempdir().expect("a directory");
    let drives = [file(dir.path(), "F0", 96), file(dir.path(), "F1", 96)];
    {
        let engine = engine(&drives, Mode::Balanced);
        create_pool(&engine, &["F0", "F1"]);
        create_volume(&engine, 1, 8);
    }
    {
        let engine = engine(&drives[..1], Mode::Balanced);
        let Ok(Reply::Pools(pools)) = call(&engine, Request::ListPools) else { panic!("pools") };
        assert_eq!(pools[0].state, PoolState::Incomplete);
        assert!(pools[0].detail.contains("F1"), "{}", pools[0].detail);
        let Ok(Reply::Volumes(volumes)) = call(&engine, Request::ListVolumes) else { panic!("volumes") };
        assert_eq!(volumes[0].state, VolumeState::Offline);
        assert_eq!(refused(&engine, delete(1, true)).kind, ErrorKind::FailedPrecondition);
        let nqn = &pools[0].subsystem_nqn;
        assert!(Host::connect(engine.portals()[0], nqn, NO_DIGESTS).is_err(), "it is not exported");
    }
    let engine = engine(&drives, Mode::Balanced);
    let Ok(Reply::Volumes(volumes)) = call(&engine, Request::ListVolumes) else { panic!("volumes") };
    assert_eq!(volumes[0].state, VolumeState::Online);
}

/// Goal: sessions, their hosts and counters are seen; a host that leaves is forgotten.
#[test]
fn sessions_are_seen() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    create_volume(&engine, 1, 8);
    let mut host = Host::connect(engine.portals()[0], &pool.subsystem_nqn, NO_DIGESTS).expect("connected");
    host.write(1, 0, pattern(4096, 1)).expect("written");
    let sessions = || match call(&engine, Request::ListSessions) {
        Ok(Reply::Sessions(sessions)) => sessions,
        other => panic!("sessions, not {other:?}"),
    };
    let seen = sessions();
    assert_eq!((seen.len(), seen[0].io_queues), (1, 1));
    assert_eq!(seen[0].subsystem_nqn, pool.subsystem_nqn);
    let Ok(Reply::Volumes(volumes)) = call(&engine, Request::ListVolumes) else { panic!("volumes") };
    assert_eq!(volumes[0].hosts, ["nqn.2014-08.org.nvmexpress:uuid:host-a"]);
    let Ok(Reply::Engine(status)) = call(&engine, Request::GetStatus) else { panic!("a status") };
    assert_eq!((status.cores, status.mode.as_str(), status.io_commands), (1, "balanced", 1));
    drop(host);
    // The engine learns of it when the socket's end arrives; each question gives it another round.
    assert!((0..100_000).any(|_| sessions().is_empty()), "the host is forgotten");
}

/// Goal: the discovery log names the subsystem and the portal, on the discovery port and on the other one.
#[test]
fn discovery_names_the_portal() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    let portal = engine.portals()[0];
    for address in [engine.discovery()[0], portal] {
        let which = Which {
            subsystem: nvme_spec::fabrics::DISCOVERY_NQN,
            host: "nqn.2014-08.org.nvmexpress:uuid:host-a",
            qid: 0,
            cntlid: 0xffff,
        };
        let (mut queue, _) = Queue::connect(address, which, NO_DIGESTS).expect("connected");
        let cc = nvme_spec::register::Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
        let property =
            nvme_spec::fabrics::Property { offset: nvme_spec::register::offset::CC, is_wide: false };
        queue.command(property.set(u64::from(cc.into_bits()))).expect("enabled");
        let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
        sqe.cdw10 = U32::new(0x70 | (1023 << 16));
        let (cqe, log) = queue.read(sqe, 4096).expect("the log");
        assert!(cqe.status().is_success());
        let text = String::from_utf8_lossy(&log);
        assert!(text.contains(&pool.subsystem_nqn) && text.contains(&portal.port().to_string()));
        // The discovery subsystem's own entry bears the name of the node.
        let own = text.split_once("nqn.2014-08.org.nvmexpress:uuid:").expect("the first entry").1;
        assert_eq!(own.get(..36), Some("5d1f08c2-96e3-8b7a-a40c-71de35b9d379"), "{text}");
    }
}

/// Goal: the addresses for discovery serve no subsystem.
#[test]
fn the_discovery_port_serves_no_volumes() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    let pool = create_pool(&engine, &["R0"]);
    let which = Which {
        subsystem: &pool.subsystem_nqn,
        host: "nqn.2014-08.org.nvmexpress:uuid:host-a",
        qid: 0,
        cntlid: 0xffff,
    };
    let refused = Queue::connect(engine.discovery()[0], which, NO_DIGESTS).err().expect("it is refused");
    assert!(refused.to_string().contains("1h/84h"), "{refused}");
    Queue::connect(engine.portals()[0], which, NO_DIGESTS).expect("connected");
}

/// Goal: whoever looks at the log sees where the cores run and what their memory is.
#[test]
fn place_of_the_core_is_told() {
    let config = |places, events| EngineConfig {
        cores: Cores::On(places),
        arena_bytes: 16 << 20,
        events,
        ..EngineConfig::default()
    };
    let (told, is_told) = channel();
    let sink: EventSink = Box::new(move |event| told.send(event).expect("the test listens"));
    start(config(vec![Affinity::Anywhere; 2], Some(sink))).expect("an engine").stop();
    let events: Vec<_> = is_told.iter().map(|event| (event.kind, event.object, event.text)).collect();
    let expected = [
        ("core/0", "runs on any processor, mode balanced, with 16 MiB of ordinary pages for IO"),
        ("core/1", "runs on any processor, for sockets"),
    ];
    assert_eq!(events, expected.map(|(object, text)| ("core".into(), object.into(), text.into())));
}

/// Goal: a volume that is being created is told of from the moment on in which it was asked for, and a deletion waits for it.
#[test]
fn a_volume_in_creation_is_not_forgotten() {
    let engine = engine(&[ram(96)], Mode::Balanced);
    create_pool(&engine, &["R0"]);
    let (answer, created) = channel();
    engine.call(volume_request(1, 64 * MIB), move |result| answer.send(result).expect("somebody waits"));
    let Ok(Reply::Volumes(volumes)) = call(&engine, Request::ListVolumes) else { panic!("a list") };
    let told: Vec<(&str, u64)> = volumes.iter().map(|v| (v.name.as_str(), v.size_bytes)).collect();
    assert_eq!(told, [("vol-1", 64 * MIB)]);
    assert_eq!(call(&engine, delete(1, false)), Ok(Reply::Done));
    assert!(matches!(created.recv(), Ok(Ok(Reply::Volumes(_)))), "it was there before");
    assert_eq!(call(&engine, Request::ListVolumes), Ok(Reply::Volumes(Vec::new())));
}
