//! A pool of the thin engine in the place of the first one: the same hosts, the same drive.

use super::commands::{compare, copy, dataset};
use super::host::{pattern, transfer};
use super::{Bench, POOL, VOLUME};
use crate::{Target, Thin, memory};
use block::{Blocks, Geometry, MediaError};
use dma::DmaBuf;
use nvme_spec::{NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use ondisk::Name;
use ondisk::thin::{Superblock, ThinIdentity, VolumeKind};
use pool::{Drive, DriveId, FoundThin, LbaSize, Pool, Settings, VolumeRecord};
use thin::{Change, Server};
use uuid::Uuid;
use volume::NewVolume;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn found(geometry: Geometry) -> FoundThin {
    let superblock = Superblock {
        identity: ThinIdentity { pool: POOL, drive: Uuid::from_u128(3) },
        name: name("tank"),
        generation: 1,
        member: 0,
        member_count: 1,
        lanes: 1,
        blocks: geometry.blocks,
        journal_blocks: 1024,
    };
    FoundThin { drive: Drive { id: DriveId(0), serial: "S0".into(), geometry }, superblock }
}

/// Lets the pool work until something has ended.
fn until<T>(target: &mut Target, mut ended: impl FnMut(&mut Thin) -> Option<T>) -> T {
    loop {
        target.poll_devices();
        target.devices_mut().kick();
        if let Some(ended) = ended(target.thin_mut(POOL).expect("it was added")) {
            return ended;
        }
    }
}

impl Bench {
    /// A pool of the thin engine with one volume of 32 MiB, and a portal.
    fn thin() -> Self {
        let (mut target, orders, geometry) = Self::parts();
        let found = found(geometry);
        let reserve = target.reserve_for(DriveId(0)).expect("memory");
        let server = Server::format(found.superblock.identity, name("tank"), geometry, memory(reserve));
        target.add_thin(Thin::new(POOL, DriveId(0), server));
        until(&mut target, |thin| thin.server_mut().opened()).expect("a blank drive");
        let new = NewVolume {
            uuid: VOLUME,
            name: name("vol"),
            kind: VolumeKind::Volume,
            attributes: Box::default(),
        };
        let thin = target.thin_mut(POOL).expect("it was added");
        thin.server_mut().begin(Change::Create { blocks: Blocks(32 << 8), new });
        let number = until(&mut target, |thin| thin.server_mut().poll_change());
        let number = number.expect("created").expect("it has a number");
        target.thin_mut(POOL).expect("it was added").add_volume(1, number);
        let settings = Settings::new(LbaSize::B4096);
        let (uuid, name) = (VOLUME, name("vol"));
        let record =
            VolumeRecord { uuid, name, nsid: 1, extents: 32, revision: 2, settings, runs: Vec::new() };
        target.add_pool(Pool::thin(found, 64, vec![record]).expect("a pool")).expect("room");
        Self::open(target, orders)
    }
}

/// Goal: every command does to a thin volume what it does to a thick one, wherever it lies; and all memory is free afterwards.
#[test]
fn commands_on_a_thin_volume() {
    let mut bench = Bench::thin();
    let before = bench.target.arena().usage();
    let host = bench.host(|mut host| {
        let data = pattern(1 << 20, 1);
        assert!(host.read(1, 3, 1 << 20).expect("read").iter().all(|byte| *byte == 0));
        assert_eq!(host.write(1, 3, data.clone()).expect("answered"), Status::SUCCESS);
        assert_eq!(compare(&mut host, 3, data.clone()), Status::SUCCESS);
        let mut other = data.clone();
        other[70 * 4096] ^= 1;
        assert_eq!(compare(&mut host, 3, other), Status::COMPARE_FAILURE.dnr());
        assert_eq!(dataset(&mut host, &[(5, 30), (100, 1)], true), Status::SUCCESS);
        let zeroes = transfer(NvmOpcode::WRITE_ZEROES, 1, 200, 20 * 4096);
        assert!(host.io.command(zeroes).expect("answered").status().is_success());
        let mut expected = data;
        for (lba, blocks) in [(5, 30), (100, 1), (200, 20)] {
            expected[(lba - 3) * 4096..(lba - 3 + blocks) * 4096].fill(0);
        }
        assert!(host.read(1, 3, 1 << 20).expect("read") == expected);
        assert_eq!(copy(&mut host, 1001, &[(3, 90), (190, 40)]), Status::SUCCESS);
        let copied = [&expected[..90 * 4096], &expected[187 * 4096..227 * 4096]].concat();
        assert!(host.read(1, 1001, 130 * 4096).expect("read") == copied);
        assert!(host.io.command(Sqe::new(NvmOpcode::FLUSH.0, 1)).expect("answered").status().is_success());
        assert_eq!(
            host.write(1, (32 << 8) - 1, pattern(8192, 1)).expect("answered"),
            Status::LBA_OUT_OF_RANGE.dnr()
        );
    });
    bench.join(host);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
}

/// Goal: parts of blocks are written beside what others have in them.
#[test]
fn small_blocks_of_a_thin_volume() {
    let mut bench = Bench::thin().with_small_blocks();
    let host = bench.host(|mut host| {
        let mut small = |opcode: NvmOpcode, lba: u64, blocks: u32| {
            let mut sqe = Sqe::new(opcode.0, 1);
            sqe.set_slba(lba);
            sqe.cdw12 = (blocks - 1).into();
            let len = blocks as usize * 512;
            if opcode == NvmOpcode::READ {
                return host.io.read(sqe, blocks * 512).expect("read").1;
            }
            let status = host.io.write(sqe, pattern(len, lba)).expect("answered").status();
            assert_eq!(status, Status::SUCCESS);
            Vec::new()
        };
        small(NvmOpcode::WRITE, 100, 50);
        small(NvmOpcode::WRITE, 150, 300);
        assert!(small(NvmOpcode::READ, 100, 50) == pattern(50 * 512, 100));
        assert!(small(NvmOpcode::READ, 150, 300) == pattern(300 * 512, 150));
        assert!(small(NvmOpcode::READ, 96, 4).iter().all(|byte| *byte == 0));
    });
    bench.join(host);
}

/// Goal: with more commands than memory every one ends well: the engine has what was set aside for it, and they wait for each other.
#[test]
fn engine_never_waits_for_memory() {
    let mut bench = Bench::thin();
    let host = bench.host(|mut host| {
        let slots: Vec<_> = (0..30)
            .map(|n| {
                let write = transfer(NvmOpcode::WRITE, 1, n * 256 + 7, 1 << 20);
                host.io.submit(write, Data::Write(1 << 20), pattern(1 << 20, n))
            })
            .collect();
        assert!(slots.into_iter().all(|slot| host.io.finish(slot).expect("answered").status().is_success()));
        (0..30).all(|n| host.read(1, n * 256 + 7, 1 << 20).expect("read") == pattern(1 << 20, n))
    });
    assert!(bench.join(host));
    assert!(bench.target.counters().memory_waits > 0, "there was too little");
}

/// Goal: what a drive does wrong reaches the host of that command, and when its writes failed, nothing is written any more; what is
/// stored is read.
#[test]
fn failing_drive_below_a_thin_volume() {
    let mut bench = Bench::thin();
    let write = |bench: &mut Bench, seed| {
        let host = bench.host(move |mut host| host.write(1, 40, pattern(8192, seed)).expect("answered"));
        bench.join(host)
    };
    let read = |bench: &mut Bench| {
        let host = bench.host(|mut host| {
            let (cqe, data) = host.io.read(transfer(NvmOpcode::READ, 1, 40, 8192), 8192).expect("answered");
            (cqe.status(), data == pattern(8192, 1))
        });
        bench.join(host)
    };
    assert_eq!(write(&mut bench, 1), Status::SUCCESS);
    bench.orders(false, Some(MediaError::Unreadable));
    assert_eq!(read(&mut bench), (Status::UNRECOVERED_READ_ERROR.dnr(), false));
    bench.orders(false, Some(MediaError::WriteFault));
    // Its journal meets the failure first.
    assert_eq!(write(&mut bench, 2), Status::WRITE_PROTECTED.dnr());
    bench.orders(false, None);
    assert_eq!(write(&mut bench, 2), Status::WRITE_PROTECTED.dnr());
    assert_eq!(read(&mut bench).0, Status::SUCCESS);
    assert!(bench.target.is_drained());
}

/// Goal: a host disappears while the drive holds what the engine wants for it. Nothing of it is given to anybody before.
#[test]
fn dead_connection_waits_for_the_engine() {
    let mut bench = Bench::thin();
    let before = bench.target.arena().usage();
    bench.orders(true, None);
    let host = bench.host(|mut host| {
        for number in 0..4 {
            let write = transfer(NvmOpcode::WRITE, 1, number * 256, 8192);
            host.io.submit(write, Data::Write(8192), pattern(8192, 1));
        }
        host.io.send().expect("sent");
        host.admin.read(super::host::identify(0, 1), 4096).expect("answered by the other queue");
    });
    bench.join(host);
    bench.until(|bench| bench.net.sockets() == 0 && !bench.target.devices().is_quiet());
    assert!(!bench.target.is_idle(), "the engine has operations");
    bench.orders(false, None);
    bench.until(|bench| bench.target.is_idle());
    assert_eq!(bench.target.arena().usage(), before);
    let taken: Vec<DmaBuf> = core::iter::from_fn(|| bench.target.arena().alloc(4096)).collect();
    assert!(!taken.is_empty());
}
