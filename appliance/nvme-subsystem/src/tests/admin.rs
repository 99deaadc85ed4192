//! Identify and features, as Linux uses them.

use super::host::{Host, NQN, data, namespace};
use crate::Outcome;
use nvme_spec::identify::{Cns, IdentifyController, IdentifyNamespace};
use nvme_spec::{AdminOpcode, NSID_ALL, Sqe, Status};
use zerocopy::FromBytes;

/// Goal: every rule by which Linux refuses a controller, in one place.
#[test]
fn linux_accepts_the_controller() {
    let mut host = Host::ready();
    let page = host.identify(Cns::CONTROLLER, 0).expect("it exists");
    let id = IdentifyController::read_from_bytes(&page).expect("a page");
    assert_eq!(id.cntlid.get(), host.cntlid);
    assert!(id.kas.get() != 0 && id.maxcmd.get() != 0);
    assert!(id.ioccsz.get() >= 4 && id.iorcsz.get() >= 1 && id.icdoff.get() == 0);
    assert_eq!(id.ioccsz.get() * 16 - 64, 16384);
    assert!(id.sgls.get() & 3 == 1 && id.sgls.get() & 1 << 20 != 0);
    assert!(0 < id.mnan.get() && id.mnan.get() <= id.nn.get());
    assert!(id.cmic & 0b1010 == 0b1010, "several controllers, ANA");
    // The ANA log of the largest subsystem fits into one transfer.
    let ana_log = 16 + 32 * id.nanagrpid.get() + 4 * id.mnan.get();
    assert!(ana_log <= 4096 << id.mdts);
    assert_eq!(nvme_spec::nqn_text(&id.subnqn), Some(NQN));
    // Compare, Dataset Management, Write Zeroes, reservations, Verify, Copy, and Compare and Write; nothing is claimed that
    // is not there.
    assert_eq!((id.oncs.get(), id.fuses.get(), id.oacs.get(), id.vwc), (0x1ad, 1, 0, 0b101));
}

/// Goal: lists and pages of namespaces: present, absent, impossible.
#[test]
fn namespaces() {
    let mut host = Host::ready();
    let list = |page: Vec<u8>| -> Vec<u32> {
        page.chunks_exact(4)
            .map(|c| u32::from_le_bytes(c.try_into().expect("four")))
            .take_while(|n| *n != 0)
            .collect()
    };
    for cns in [Cns::ACTIVE_NAMESPACES, Cns::IO_ACTIVE_NAMESPACES] {
        assert_eq!(host.identify(cns, 0).map(list), Ok(vec![1, 3]));
        assert_eq!(host.identify(cns, 1).map(list), Ok(vec![3]));
        assert_eq!(host.identify(cns, 3).map(list), Ok(vec![]));
        assert_eq!(host.identify(cns, NSID_ALL), Err(Status::INVALID_NAMESPACE.dnr()));
    }
    let page = host.identify(Cns::NAMESPACE, 3).expect("it exists");
    let id = IdentifyNamespace::read_from_bytes(&page).expect("a page");
    assert_eq!((id.nsze.get(), id.format().map(|f| f.lbads), id.anagrpid.get()), (1024, Some(12), 3));
    assert_eq!(id.nguid, *namespace(3, 0).uuid.as_bytes());
    for cns in [Cns::NAMESPACE, Cns::INDEPENDENT_NAMESPACE, Cns::IO_NAMESPACE] {
        assert_eq!(host.identify(cns, 2), Ok(vec![0; 4096]), "inactive: zeroes");
        for nsid in [0, 1025, NSID_ALL] {
            assert_eq!(host.identify(cns, nsid), Err(Status::INVALID_NAMESPACE.dnr()));
        }
    }
    assert_eq!(host.identify(Cns::NAMESPACE_DESCRIPTORS, 2), Err(Status::INVALID_NAMESPACE.dnr()));
    let page = host.identify(Cns::NAMESPACE_DESCRIPTORS, 1).expect("it exists");
    let uuid = *namespace(1, 0).uuid.as_bytes();
    assert_eq!((&page[..4], &page[4..20]), ([3, 16, 0, 0].as_slice(), uuid.as_slice()));
    assert_eq!((&page[20..24], &page[24..40], page[41]), ([2, 16, 0, 0].as_slice(), uuid.as_slice(), 0));
    let page = host.identify(Cns::INDEPENDENT_NAMESPACE, 1).expect("it exists");
    assert_eq!((page[1], page[4], page[14]), (1, 1, 1));
}

/// Goal: unknown structures and command sets are refused; a shorter buffer gets the beginning.
#[test]
fn identify_limits() {
    let mut host = Host::ready();
    for cns in [0x10, 0x11, 0x16, 0x7f, 0xff] {
        assert_eq!(host.identify(Cns(cns), 1), Err(Status::INVALID_FIELD.dnr()), "CNS {cns:#x}");
    }
    let mut sqe = Sqe::new(AdminOpcode::IDENTIFY.0, 1);
    sqe.cdw10 = u32::from(Cns::IO_CONTROLLER.0).into();
    let mut limits = vec![0; 4096];
    limits[..4].copy_from_slice(&[8, 13, 0, 255]); // Verify 1 MiB, Write Zeroes 32 MiB, as many ranges as can be said
    limits[4..8].copy_from_slice(&[0, 0, 4, 0]);
    limits[8..16].copy_from_slice(&[0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(data(host.admin(sqe, 4096)), Ok(limits));
    sqe.cdw11 = (2 << 24).into();
    assert_eq!(data(host.admin(sqe, 4096)), Err(Status::INVALID_FIELD.dnr()));
    sqe.cdw10 = u32::from(Cns::IO_COMMAND_SETS.0).into();
    assert_eq!(data(host.admin(sqe, 8)), Ok(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(data(host.admin(sqe, 0)), Err(Status::INVALID_SGL_LENGTH.dnr()));
}

/// Goal: features are read and set as the standard says, and what cannot be changed says so.
#[test]
fn features() {
    let mut host = Host::ready();
    // Queues: as many as wanted up to the limit; not after queues exist.
    assert_eq!(host.set_feature(7, 0x0003_0007).dw0.get(), 0x0003_0003);
    assert_eq!(host.get_feature(7), Ok(0x0003_0003));
    assert_eq!(host.set_feature(7, 0x0100_0100).dw0.get(), 0x003f_003f);
    assert_eq!(host.set_feature(7, 0xffff_0001).status(), Status::INVALID_FIELD.dnr());
    host.io_queue(1);
    assert_eq!(host.set_feature(7, 0).status(), Status::COMMAND_SEQUENCE_ERROR.dnr());

    for (feature, value) in [(1, 0x0304_0501), (5, 7), (0x0a, 1), (0x0b, 0x900)] {
        assert!(host.set_feature(feature, value).status().is_success());
        assert_eq!(host.get_feature(u32::from(feature)), Ok(value), "feature {feature:#x}");
        // Default and saved values; what Get Features says about changing.
        assert_eq!(host.get_feature(u32::from(feature) | 1 << 8), Ok(0));
        assert_eq!(host.get_feature(u32::from(feature) | 3 << 8), Ok(4));
    }
    assert_eq!(host.get_feature(4), Ok(0xffff));
    assert_eq!(host.get_feature(6), Ok(1));
    assert!(host.set_feature(6, 1).status().is_success());
    assert_eq!(host.set_feature(6, 0).status(), Status::FEATURE_NOT_CHANGEABLE.dnr());
    assert_eq!(host.set_feature(8, 0).status(), Status::FEATURE_NOT_CHANGEABLE.dnr());
    assert_eq!(host.set_feature(2, 1).status(), Status::INVALID_FIELD.dnr());
    assert_eq!(host.set_feature(0x81, 1).status(), Status::COMMAND_SEQUENCE_ERROR.dnr());
    assert_eq!(host.set_feature(0x0c, 1).status(), Status::INVALID_FIELD.dnr());
    assert_eq!(host.get_feature(0xc0), Err(Status::INVALID_FIELD.dnr()));
    let mut save = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
    save.cdw10 = (1 | 1 << 31).into();
    assert_eq!(host.admin(save, 0).cqe.status(), Status::FEATURE_NOT_SAVEABLE.dnr());
    assert_eq!(host.set_feature(9, 0).status(), Status::FEATURE_NOT_CHANGEABLE.dnr());
    // What does not belong to a namespace is not set for one.
    let mut of_namespace = Sqe::new(AdminOpcode::SET_FEATURES.0, 1);
    of_namespace.cdw10 = 0x0b.into();
    assert_eq!(host.admin(of_namespace, 0).cqe.status(), Status::FEATURE_NOT_NAMESPACE.dnr());
    of_namespace.nsid = NSID_ALL.into();
    assert!(host.admin(of_namespace, 0).cqe.status().is_success());
    of_namespace.cdw10 = 5.into();
    of_namespace.nsid = 1.into();
    assert!(host.admin(of_namespace, 0).cqe.status().is_success());
}

/// Goal: features with data: the host identifier of 128 bits, and Host Behavior Support, which Linux sets because of CRDT.
#[test]
fn features_with_data() {
    let mut host = Host::ready();
    let mut get = Sqe::new(AdminOpcode::GET_FEATURES.0, 0);
    get.cdw10 = 0x81.into();
    assert_eq!(host.admin(get, 16).cqe.status(), Status::INVALID_FIELD.dnr());
    get.cdw11 = 1.into();
    assert_eq!(data(host.admin(get, 16)), Ok(vec![7; 16]));

    let mut set = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
    set.cdw10 = 0x16.into();
    assert_eq!(host.admin(set, 0).cqe.status(), Status::INVALID_SGL_LENGTH.dnr());
    let admin = host.admin;
    assert!(matches!(host.outcome(admin, set, 512), Outcome::NeedsData { len: 512 }));
    let mut behavior = vec![0; 512];
    behavior[0] = 1;
    let command = crate::Command { tag: 0, sqe: &set, data_len: 512 };
    let Outcome::Done(answer) = host.target.on_data(admin, &command, &behavior, host.now) else {
        panic!("done")
    };
    assert!(answer.cqe.status().is_success());
    get.cdw10 = 0x16.into();
    assert_eq!(data(host.admin(get, 512)), Ok(behavior));
}

/// Goal: commands that do not exist over fabrics, or not here, are refused for good.
#[test]
fn unsupported_commands() {
    let mut host = Host::ready();
    for opcode in [0x00, 0x01, 0x04, 0x05, 0x0d, 0x10, 0x80, 0xc0] {
        let status = host.admin(Sqe::new(opcode, 0), 0).cqe.status();
        assert_eq!(status, Status::INVALID_OPCODE.dnr(), "opcode {opcode:#x}");
    }
    let mut fused = Sqe::new(AdminOpcode::KEEP_ALIVE.0, 0);
    fused.flags = 1;
    assert_eq!(host.admin(fused, 0).cqe.status(), Status::INVALID_FIELD.dnr());

    let mut host = Host::discovering();
    assert_eq!(host.identify(Cns::ACTIVE_NAMESPACES, 0), Err(Status::INVALID_FIELD.dnr()));
    assert_eq!(host.set_feature(7, 0).status(), Status::INVALID_FIELD.dnr());
    assert_eq!(host.admin(Sqe::new(AdminOpcode::ABORT.0, 0), 0).cqe.status(), Status::INVALID_OPCODE.dnr());
}
