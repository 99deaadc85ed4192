//! From the configuration to a core that serves. Runs on the core's thread, before its loop.
//!
//! ```text
//!  arena ─▶ drives opened ─▶ probed ─▶ pools imported ─▶ brought up to date ─▶ portals listen
//! ```
//! The portals come last: a host that gets through finds its volumes.

use crate::config::EngineConfig;
use crate::core::{Core, Facts, Parts};
use crate::drives::{open_all, probe_all, wait};
use crate::limits::ARENA_BYTES_PER_DRIVE;
use crate::{Event, StartError};
use dma::{Arena, ArenaConfig};
use net::{Net, Waker};
use nvme_spec::fabrics::DISCOVERY_NQN;
use nvme_subsystem::TargetConfig;
use pool::{Begun, Imported, Pool};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use target::limits::ARENA_BYTES_MIN;
use target::{Devices, Target};

/// A core and its sockets, listening.
pub(crate) struct Ready {
    pub(crate) core: Core,
    pub(crate) net: Net,
    pub(crate) portals: Vec<SocketAddr>,
    pub(crate) discovery: Vec<SocketAddr>,
}

pub(crate) fn start(mut config: EngineConfig, waker: &Waker, started: Instant) -> Result<Ready, StartError> {
    let mut events = config.events.take();
    let mut notify = |kind: &str, object: String, text: String| {
        if let Some(sink) = &mut events {
            sink(Event { kind: kind.to_owned(), object, text });
        }
    };
    let system = |what| move |source: io::Error| StartError::System { what, source };
    let random = File::open("/dev/urandom").map_err(system("the source of random numbers"))?;
    let mut net = Net::new(waker.clone()).map_err(system("io_uring"))?;
    let arena = arena(&config)?;
    if let Some(why) = arena.hugepages_refused() {
        notify("memory", "memory".to_owned(), format!("no huge pages, ordinary ones are used: {why}"));
    }
    let mut devices = Devices::default();
    let drives = open_all(&config.drives, &arena, waker, &mut devices);
    for (serial, failure) in drives.iter().filter_map(|drive| drive.failure()) {
        notify("drive-failed", format!("drive/{serial}"), failure.to_owned());
    }
    let found = probe_all(&drives, &arena, &mut devices);
    let Imported { pools, offline, drives: known } = pool::import(&found);
    for pool in &offline {
        notify("pool-offline", format!("pool/{}", pool.name()), pool.detail.clone());
    }
    let mut target = Target::new(
        TargetConfig {
            discovery_nqn: DISCOVERY_NQN.to_owned(),
            io_port: 0,
            firmware: config.version.chars().take(8).collect(),
        },
        arena.clone(),
        devices,
    );
    for mut pool in pools {
        let (object, name) = (format!("pool/{}", pool.name()), pool.name().to_owned());
        match settle(&mut pool, &arena, target.devices_mut()) {
            Ok(()) => notify("pool-imported", object, format!("pool {name} is online")),
            Err(problem) => notify("pool-offline", object, problem),
        }
        target.add_pool(pool).expect("fewer pools than drives, and drives are bounded");
    }
    let portals = listen(&mut net, &config.listen)?;
    let discovery = listen(&mut net, &config.discovery)?;
    target.set_io_port(portals.first().map_or(0, SocketAddr::port));
    let start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let facts =
        Facts { version: config.version, mode: config.mode, portals: portals.clone(), started, start_ms };
    let core = Core::new(Parts { target, drives, known, offline, facts, random, events });
    Ok(Ready { core, net, portals, discovery })
}

/// At least what the target needs beside what drives keep for themselves: else the longest commands would wait for ever.
fn arena(config: &EngineConfig) -> Result<Arena, StartError> {
    let bytes = config.arena_bytes.max(ARENA_BYTES_MIN + config.drives.len() * ARENA_BYTES_PER_DRIVE);
    Arena::new(ArenaConfig { bytes, hugepages: config.hugepages })
        .map_err(|error| StartError::Arena { bytes, detail: error.to_string() })
}

fn listen(net: &mut Net, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, StartError> {
    addresses
        .iter()
        .map(|address| match net.listen(*address) {
            Ok((_, local)) => Ok(local),
            Err(source) => Err(StartError::Listen { address: *address, source }),
        })
        .collect()
}

/// Brings an imported pool up to date. Nothing else runs yet, so each completion belongs to it.
fn settle(pool: &mut Pool, arena: &Arena, devices: &mut Devices) -> Result<(), String> {
    let mut job = match pool.begin_settle() {
        Ok(Begun::Job(job)) => job,
        Ok(Begun::Unchanged) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    while job.result().is_none() {
        while let Some((member, tag, op)) = job.poll_op(|len| arena.alloc(len)) {
            devices.submit(pool.drive(member), tag, op);
        }
        devices.kick();
        job.on_completion(wait(devices));
    }
    pool.finish(job).map_err(|error| error.to_string())
}
