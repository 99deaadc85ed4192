//! Before anything is measured: what is written is what is read, in all sizes, with and without digests and capsules.

use crate::workload::{ALL, Op, Workload};
use anyhow::{Result, bail, ensure};
use nvme_host::{HostError, Session, SessionConfig, Target, WriteOptions, pattern};
use nvme_tcp::Digests;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Bytes that each way of carrying data writes and reads.
const BYTES: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// A way to carry data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    bytes: u32,
    digests: bool,
    in_capsule: bool,
    is_durable: bool,
}

/// What a pass over the range does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Write,
    Verify,
}

/// Writes over one connection and verifies over another, in every way that a workload of the target uses; says how many bytes.
pub(crate) fn check(target: &Target, takes: impl Fn(&Workload) -> bool) -> Result<u64> {
    let ways: BTreeSet<Way> = ALL
        .iter()
        .filter(|work| takes(work))
        .map(|work| Way {
            bytes: work.bytes,
            digests: work.digests,
            in_capsule: work.in_capsule,
            is_durable: work.op == Op::DurableWrite,
        })
        .collect();
    // A seed for each, so that what an earlier one left does not pass.
    for (seed, way) in (1..).zip(&ways) {
        let config = SessionConfig {
            queues: 2,
            io_bytes_max: way.bytes,
            digests: Digests { header: way.digests, data: way.digests },
            in_capsule: way.in_capsule,
            timeout: PATIENCE,
            ..SessionConfig::default()
        };
        let mut session = Session::connect(target, config)?;
        ensure!(session.namespace().size_bytes() >= BYTES, "the volume is smaller than {BYTES} bytes");
        for pass in [Pass::Write, Pass::Verify] {
            run(&mut session, pass, *way, seed)?;
        }
        session.close();
    }
    Ok(BYTES * u64::try_from(ways.len())?)
}

fn run(session: &mut Session, pass: Pass, way: Way, seed: u64) -> Result<()> {
    let mut queue = session.queue(usize::from(pass == Pass::Verify));
    let mut offsets = vec![0; usize::from(queue.depth())];
    let mut next = 0;
    let mut last = Instant::now();
    while next < BYTES || queue.in_flight() > 0 {
        while next < BYTES {
            let options = WriteOptions { is_durable: way.is_durable };
            let begun = match pass {
                Pass::Write => {
                    queue.begin_write(next, way.bytes, options, |data| pattern::fill(seed, next, data))
                }
                Pass::Verify => queue.begin_read(next, way.bytes),
            };
            match begun {
                Ok(slot) => offsets[slot.index()] = next,
                Err(HostError::Full) => break,
                Err(error) => return Err(error.into()),
            }
            next += u64::from(way.bytes);
        }
        queue.turn()?;
        while let Some(done) = queue.poll() {
            last = Instant::now();
            let slot = done.result_of("a command of the check")?.slot;
            if pass == Pass::Verify
                && let Some(at) = pattern::check(seed, offsets[slot.index()], queue.data(slot, way.bytes))
            {
                bail!("{way:?}: byte {} is {:#04x}, {:#04x} was written", at.offset, at.found, at.expected);
            }
        }
        ensure!(last.elapsed() < PATIENCE, "nothing came back for {PATIENCE:?}");
    }
    Ok(())
}
