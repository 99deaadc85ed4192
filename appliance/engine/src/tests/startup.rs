//! What the start of an engine finds out about its machine.

use crate::{Affinity, Cores, EngineConfig, start, startup};
use net::Waker;
use std::time::Instant;

/// Goal: cores that have a processor of their own still know how many the machine has, so that they give theirs away only where it is
/// shared. (With one processor there is nothing to tell apart.)
#[test]
fn bound_cores_know_the_machine() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // The thread is bound, and must not be one that runs other tests.
    let thread = std::thread::spawn(|| {
        let config = EngineConfig { cores: Cores::On(vec![Affinity::Auto]), ..EngineConfig::default() };
        let waker = Waker::new().expect("an eventfd");
        let ready = startup::start(config, &waker, Instant::now()).expect("an engine");
        (ready.polling.processors, std::thread::available_parallelism().map_or(1, usize::from))
    });
    let (known, allowed) = thread.join().expect("it starts");
    assert_eq!((known, allowed), (processors, 1));
}

/// Goal: where a core cannot run is said with the core, the processor and the reason, for the home core and for one of the others.
#[test]
fn core_without_a_processor_is_named() {
    const NOWHERE: Affinity = Affinity::Processor(1023);
    for (core, places) in [(0, vec![NOWHERE]), (2, vec![Affinity::Anywhere, Affinity::Anywhere, NOWHERE])] {
        let config = EngineConfig { cores: Cores::On(places), ..EngineConfig::default() };
        let refused = start(config).expect_err("there are fewer processors").to_string();
        let why = "there is no such processor, or this process may not use it";
        assert_eq!(refused, format!("cannot run core {core} on processor 1023: {why}"));
    }
}
