//! Volumes with logical blocks of 512 bytes: from a request to the drives, to what hosts see, and back after a restart.

use super::host::{Host, expect, identify, pattern};
use super::{MIB, call, create_pool, engine, file, volume_id, volume_request};
use crate::{Engine, Mode};
use control::{CreateVolume, Reply, Request, ResizeVolume, VolumeStatus};
use nvme_spec::identify::IdentifyNamespace;
use nvme_spec::{NvmOpcode, Sqe};
use nvme_tcp::Digests;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

fn volume(engine: &Engine, request: Request) -> VolumeStatus {
    match call(engine, request) {
        Ok(Reply::Volumes(volumes)) => volumes.into_iter().next().expect("the volume"),
        other => panic!("a volume, not {other:?}"),
    }
}

fn small(number: u128, mib: u64) -> Request {
    let Request::CreateVolume(create) = volume_request(number, mib * MIB) else { unreachable!("it is one") };
    Request::CreateVolume(CreateVolume { block_size: 512, ..create })
}

/// A Read or Write of 512-byte blocks.
fn transfer(opcode: NvmOpcode, nsid: u32, lba: u64, len: usize) -> Sqe {
    let mut sqe = Sqe::new(opcode.0, nsid);
    sqe.set_slba(lba);
    sqe.cdw12 = U32::new(u32::try_from(len / 512 - 1).expect("at most 2048 blocks"));
    sqe
}

fn read(host: &mut Host, nsid: u32, lba: u64, len: usize) -> Vec<u8> {
    let sqe = transfer(NvmOpcode::READ, nsid, lba, len);
    let (cqe, data) = host.io.read(sqe, u32::try_from(len).expect("small")).expect("answered");
    expect(cqe).expect("read");
    data
}

/// What Linux makes of the namespace: logical and physical block size, and blocks in all.
fn seen(host: &mut Host, nsid: u32) -> (u32, u32, u64) {
    let (cqe, page) = host.admin.read(identify(nsid, 0), 4096).expect("answered");
    expect(cqe).expect("it exists");
    let id = IdentifyNamespace::read_from_bytes(&page).expect("a page");
    let logical = 1 << id.format().expect("a format").lbads;
    let has = |bits| id.nsfeat & bits == bits;
    let physical = if has(IdentifyNamespace::NSFEAT_ATOMICS | IdentifyNamespace::NSFEAT_OPTIMAL) {
        assert_eq!((id.npwa_z.get(), id.nawun_z.get(), id.nabo.get()), (7, 7, 0));
        logical * (1 + u32::from(id.npwg_z.get().min(id.nawupf_z.get())))
    } else {
        logical
    };
    (logical, physical, id.nsze.get())
}

/// Goal: a volume that was made with 512-byte blocks has them after a restart: the record on the drives is imported and
/// published with them, hosts are told LBADS 9 and a physical block of 4 KiB, data lies where it was written within blocks of the
/// drives, and growing counts in them. A volume beside it has 4096.
#[test]
fn a_stored_volume_keeps_its_small_blocks() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = || engine(&[file(dir.path(), "F0", 96), file(dir.path(), "F1", 96)], Mode::Balanced);
    let connect = |engine: &Engine, nqn: &str| {
        let digests = Digests { header: false, data: false };
        Host::connect(engine.portals()[0], nqn, digests).expect("connected")
    };
    let first = start();
    let nqn = create_pool(&first, &["F0", "F1"]).subsystem_nqn;
    let made = volume(&first, small(1, 8));
    let plain = volume(&first, volume_request(2, 8 * MIB));
    assert_eq!((made.block_size, plain.block_size), (512, 4096));
    assert_eq!(volume(&first, small(1, 8)), made, "the same request again gives the same volume");
    let mut host = connect(&first, &nqn);
    assert_eq!(seen(&mut host, made.nsid), (512, 4096, 8 * MIB / 512));
    // Across a block of the drives, across an extent, and one logical block.
    let pieces = [(5, pattern(9 * 512, 1)), (2047, pattern(2 * 512, 2)), (16_383, pattern(512, 3))];
    for (lba, data) in &pieces {
        let sqe = transfer(NvmOpcode::WRITE, made.nsid, *lba, data.len());
        expect(host.io.write(sqe, data.clone()).expect("answered")).expect("written");
    }
    drop(host);
    first.stop();

    let second = start();
    let mut host = connect(&second, &nqn);
    assert_eq!(seen(&mut host, made.nsid), (512, 4096, 8 * MIB / 512));
    assert_eq!(seen(&mut host, plain.nsid), (4096, 4096, 8 * MIB / 4096));
    for (lba, data) in &pieces {
        assert!(read(&mut host, made.nsid, *lba, data.len()) == *data, "from {lba}");
        assert!(read(&mut host, made.nsid, lba - 1, 512).iter().all(|byte| *byte == 0), "before {lba}");
    }
    let grow = ResizeVolume { uuid: volume_id(1), size_bytes: 12 * MIB };
    let grown = volume(&second, Request::ResizeVolume(grow));
    assert_eq!((grown.size_bytes, grown.block_size), (12 * MIB, 512));
    assert_eq!(seen(&mut host, made.nsid), (512, 4096, 12 * MIB / 512));
    let (last, data) = (12 * MIB / 512 - 1, pattern(512, 4));
    let sqe = transfer(NvmOpcode::WRITE, made.nsid, last, 512);
    expect(host.io.write(sqe, data.clone()).expect("answered")).expect("written");
    assert!(read(&mut host, made.nsid, last, 512) == data);
    second.stop();
}

/// Goal: another size of blocks is refused with the field and what would be right.
#[test]
fn other_sizes_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = engine(&[file(dir.path(), "F0", 96)], Mode::Balanced);
    create_pool(&engine, &["F0"]);
    for block_size in [0, 520, 1024, 8192] {
        let Request::CreateVolume(create) = small(1, 8) else { unreachable!("it is one") };
        let refused = super::refused(&engine, Request::CreateVolume(CreateVolume { block_size, ..create }));
        assert_eq!((refused.field.as_str(), refused.object.as_str()), ("block_size", "volume/vol-1"));
        assert_eq!(refused.remedy, "use 512 or 4096");
    }
    engine.stop();
}
