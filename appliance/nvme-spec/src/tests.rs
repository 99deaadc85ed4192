//! Goal: the words mean what the standard says, for values known from elsewhere.

use super::*;
use zerocopy::{FromZeros, IntoBytes};

/// Goal: register fields lie where the standard puts them. CAP value of QEMU's controller.
#[test]
fn capability_bits_are_in_place() {
    let cap = register::Cap::from_bits(0x0004_0020_0f01_07ff | 1 << 59);
    assert_eq!((cap.mqes_z(), cap.cqr(), cap.to(), cap.dstrd(), cap.css()), (2047, true, 15, 0, 1));
    assert!(cap.crwms() && !cap.crims());
    assert_eq!(register::Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).into_bits(), 0x0046_0001);
    assert_eq!(register::Vs::from_bits(0x0001_0400).mnr(), 4);
    assert_eq!(register::sq_tail_doorbell(1, 0), 0x1008);
    assert_eq!(register::cq_head_doorbell(1, 2), 0x1030);
}

/// Goal: statuses survive the way through a completion, and read as text.
#[test]
fn status_round_trip() {
    let status = Status::LBA_OUT_OF_RANGE.dnr();
    let cqe = Cqe::new(7, status);
    assert_eq!(cqe.status_phase.get(), 0x8100);
    assert_eq!(cqe.status(), status);
    assert!(
        status.is(Status::LBA_OUT_OF_RANGE) && status != Status::LBA_OUT_OF_RANGE && !status.is_success()
    );
    assert_eq!(status.to_string(), "LBA out of range (0h/80h), do not retry");
    assert_eq!(Status::new(7, 0x12).to_string(), "status (7h/12h)");
}

/// Goal: unknown values are printed, known ones named.
#[test]
fn open_enums_print_what_they_are() {
    assert_eq!(format!("{:?} {:?}", AdminOpcode::IDENTIFY, AdminOpcode(0xee)), "IDENTIFY AdminOpcode(0xee)");
}

/// Goal: a command's own bytes and its parsed form agree.
#[test]
fn connect_and_property_round_trip() {
    let connect = fabrics::Connect { recfmt: 0, qid: 3, sqsize_z: 127, cattr: 4, kato_ms: 5000 };
    let sqe = connect.to_sqe();
    assert_eq!(fabrics::Connect::from(&sqe), connect);
    assert_eq!(
        (sqe.opc, sqe.fctype(), sqe.direction()),
        (0x7f, FabricsType::CONNECT, opcode::DataDirection::ToController)
    );
    assert_eq!(sqe.as_bytes().get(40..52), Some([0, 0, 3, 0, 127, 0, 4, 0, 0x88, 0x13, 0, 0].as_slice()));
    let property = fabrics::Property { offset: 0x14, is_wide: false };
    let sqe = property.set(0x0046_0001);
    assert_eq!(fabrics::Property::of(&sqe), Some(property));
    assert_eq!(fabrics::Property::value(&sqe), 0x0046_0001);
}

/// Goal: lengths and offsets of Get Log Page are put together from all of their halves.
#[test]
fn get_log_page_reads_all_halves() {
    let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0);
    sqe.cdw10 = 0xffff_810c.into();
    sqe.cdw11 = 1.into();
    sqe.cdw12 = 8.into();
    sqe.cdw13 = 1.into();
    let get = log::GetLogPage::from(&sqe);
    assert_eq!(get.lid, log::LogPage::ANA);
    assert_eq!((get.lsp, get.rae, get.len, get.offset), (1, true, 0x2_0000 * 4, 0x1_0000_0008));
}

/// Goal: the starting LBA uses both dwords, and the block count is a real count.
#[test]
fn read_write_fields() {
    let mut sqe = Sqe::new_zeroed();
    sqe.set_slba(0x0123_4567_89ab_cdef);
    sqe.cdw12 = 0x4000_0007.into();
    assert_eq!((sqe.slba(), sqe.nlb(), sqe.rw_flags().fua()), (0x0123_4567_89ab_cdef, 8, true));
    assert!(Sqe::new(NvmOpcode::WRITE_ZEROES.0, 1).direction() == opcode::DataDirection::None);
}

/// Goal: foreign text never reaches a console unfiltered, and an NQN without its NUL is refused.
#[test]
fn text_is_bounded_and_filtered() {
    assert_eq!(&ascii_field::<6>("abü"), b"ab?   ");
    assert_eq!(ascii_text(b" SER\x1b[1\0x"), "SER?[1");
    assert_eq!(nqn_text(&[b'a'; 256]), None);
    assert_eq!(nqn_text(&[0; 256]), None);
    let field = nqn_field(fabrics::DISCOVERY_NQN).expect("short enough");
    assert_eq!(nqn_text(&field), Some(fabrics::DISCOVERY_NQN));
    assert_eq!(nqn_field(&"x".repeat(224)), None);
}
