//! Which socket cores connections go to.

use super::Bench;
use net::{CoreSeed, Net, Waker};
use std::thread;

/// A socket core that sleeps whenever it finds nothing.
fn run(seed: CoreSeed) {
    thread::spawn(move || {
        let mut core = seed.start().expect("an io_uring");
        while !core.is_finished() {
            if !core.round() {
                core.wait(core::time::Duration::from_secs(60));
            }
        }
    });
}

/// The target's sockets are those of so many cores.
pub(super) fn with_cores(bench: &mut Bench, count: usize) {
    let (mut net, seeds) = Net::with_cores(&Waker::new().expect("an eventfd"), count).expect("an io_uring");
    seeds.into_iter().for_each(run);
    (_, bench.address) = net.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    bench.net = net;
}

/// Goal: IO queues are divided among the cores, also where each host has one, whose turn is always the same after its admin queue.
#[test]
fn io_queues_are_divided_among_cores() {
    let mut bench = Bench::new();
    with_cores(&mut bench, 2);
    let mut hosts = Vec::new();
    for _ in 0..4 {
        let host = bench.host(|host| host);
        hosts.push(bench.join(host));
    }
    let cores: Vec<_> = bench.net.cores().iter().map(|core| (core.loaded, core.connections)).collect();
    assert_eq!(cores.iter().map(|(loaded, _)| *loaded).collect::<Vec<_>>(), [2, 2], "{cores:?}");
    assert_eq!(cores.iter().map(|(_, connections)| connections).sum::<usize>(), 8);
}
