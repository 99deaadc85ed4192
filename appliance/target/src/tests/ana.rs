//! ANA states on real queues: what a host is told, when, and what its commands meet.

use super::Bench;
use super::host::{Host, transfer};
use nvme_spec::log::{AnaState, LogPage};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use std::sync::mpsc::channel;

/// The state of the first group, as the log tells, and how often the log has changed. Reading it re-arms the event.
fn state(host: &mut Host) -> (u8, u64) {
    let mut sqe = Sqe::new(AdminOpcode::GET_LOG_PAGE.0, 0xffff_ffff);
    sqe.cdw10 = (u32::from(LogPage::ANA.0) | (4096 / 4 - 1) << 16).into();
    let (cqe, page) = host.admin.read(sqe, 4096).expect("answered");
    assert!(cqe.status().is_success());
    (page[16 + 16], u64::from_le_bytes(page[..8].try_into().expect("8 bytes")))
}

/// Goal: each change of a group's state reaches the host as event 03h once the log has it; from then on its commands end with
/// the path status of the state, which it may retry elsewhere, and go on when the state serves again.
#[test]
fn state_reaches_the_host() {
    let states = [
        (AnaState::INACCESSIBLE, Status::ANA_INACCESSIBLE),
        (AnaState::NON_OPTIMIZED, Status::SUCCESS),
        (AnaState::CHANGE, Status::ANA_TRANSITION),
        (AnaState::PERSISTENT_LOSS, Status::ANA_PERSISTENT_LOSS),
        (AnaState::OPTIMIZED, Status::SUCCESS),
    ];
    let mut bench = Bench::new();
    let (waits, is_waiting) = channel();
    let host = bench.host(move |mut host| {
        let mut configure = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
        (configure.cdw10, configure.cdw11) = (0x0b.into(), (1 << 11).into());
        assert!(host.admin.command(configure).expect("answered").status().is_success());
        let (_, mut changes) = state(&mut host);
        for (wanted, status) in states {
            let request = Sqe::new(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0);
            let event = host.admin.submit(request, Data::None, Vec::new());
            host.admin.send().expect("sent");
            waits.send(()).expect("the test waits");
            let told = host.admin.finish(event).expect("answered");
            // Notice, ANA change, log page 0Ch.
            assert_eq!(told.dw0.get(), 0x000c_0302, "{wanted:?}");
            let (now, count) = state(&mut host);
            assert!(now == wanted.0 && count > changes, "the log has it already");
            changes = count;
            let read = host.io.read(transfer(NvmOpcode::READ, 1, 0, 4096), 4096).expect("answered").0;
            let write = host.write(1, 0, vec![7; 4096]).expect("answered");
            assert_eq!((read.status(), write), (status, status), "{wanted:?}");
            let flush = host.io.command(Sqe::new(NvmOpcode::FLUSH.0, 1)).expect("answered");
            assert_eq!(flush.status(), status, "{wanted:?}");
        }
    });
    let nqn = bench.nqn.clone();
    for (state, _) in states {
        bench.until(|_| is_waiting.try_recv().is_ok());
        bench.target.subsystems.set_ana_state(&nqn, 1, state).expect("a group");
    }
    bench.join(host);
}
