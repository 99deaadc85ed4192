//! Lists of hosts that change while commands are under way.

use super::host::{Host, pattern, transfer};
use super::{Bench, POOL, VOLUME, run};
use nvme_spec::{NvmOpcode, Status};
use nvme_tcp::host::Data;
use ondisk::Access;
use pool::Begun;
use std::sync::mpsc::channel;

/// Takes the volume away from everybody: durable first, then for the hosts.
fn shut_out(bench: &mut Bench) {
    let pool = bench.target.pool_mut(POOL).expect("the pool");
    let Ok(Begun::Job(mut job)) = pool.begin_set_access(VOLUME, Access::Hosts(Vec::new())) else {
        panic!("a change")
    };
    run(&mut bench.target, &mut job);
    bench.target.pool_mut(POOL).expect("the pool").finish(job).expect("it worked");
    bench.target.apply_hosts(POOL, VOLUME);
}

/// Goal: a host that loses a volume gets the answer of a write that waits for its data, and that data reaches no drive.
#[test]
fn a_write_that_waits_for_data_is_refused() {
    let mut bench = Bench::new();
    let (sent, is_sent) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let host = bench.host(move |mut host: Host| {
        let sqe = transfer(NvmOpcode::WRITE, 1, 0, 100 * 4096);
        let slot = host.io.submit(sqe, Data::Write(100 * 4096), pattern(100 * 4096, 1));
        host.io.send().expect("the capsule is sent");
        host.io.receive().expect("the R2T comes");
        sent.send(()).expect("the test waits");
        may_go_on.recv().expect("the test goes on");
        host.io.finish(slot).expect("answered").status()
    });
    bench.until(|_| is_sent.try_recv().is_ok());
    shut_out(&mut bench);
    bench.orders(false, None);
    go_on.send(()).expect("the host waits");
    assert_eq!(bench.join(host), Status::INVALID_NAMESPACE.dnr());
    assert_eq!(bench.operations(), 0, "it reached no drive");
}

/// Goal: what is at a drive ends well for the host; what comes after finds no volume.
#[test]
fn a_write_at_the_drive_ends_well() {
    let mut bench = Bench::new();
    let host = bench.host(|mut host| {
        let first = host.write(1, 0, pattern(8192, 1)).expect("answered");
        (first, host.write(1, 0, pattern(8192, 1)).expect("answered"))
    });
    let pool = bench.target.pool_mut(POOL).expect("the pool");
    let Ok(Begun::Job(mut job)) = pool.begin_set_access(VOLUME, Access::Hosts(Vec::new())) else {
        panic!("a change")
    };
    run(&mut bench.target, &mut job);
    bench.target.pool_mut(POOL).expect("the pool").finish(job).expect("it worked");
    bench.orders(true, None);
    bench.until(|bench| !bench.target.devices().is_quiet());
    bench.target.apply_hosts(POOL, VOLUME);
    bench.orders(false, None);
    assert_eq!(bench.join(host), (Status::SUCCESS, Status::INVALID_NAMESPACE.dnr()));
}
