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
use crate::requests::random_uuid;
use crate::socket_cores::{self, Sockets};
use crate::thin;
use crate::{Event, StartError};
use dma::{Arena, ArenaConfig, Pages};
use net::{ListenerId, Net, Waker};
use nvme_spec::fabrics::UUID_NQN_PREFIX;
use nvme_subsystem::TargetConfig;
use pool::{Begun, FoundThin, Imported, KnownDrive, OfflinePool, Pool};
use reactor::Polling;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Instant;
use target::limits::ARENA_BYTES_MIN;
use target::{Devices, Target};
use uuid::Uuid;

/// The home core and its sockets, listening.
pub(crate) struct Ready {
    pub(crate) core: Core,
    pub(crate) net: Net,
    pub(crate) polling: Polling,
    pub(crate) socket_cores: Vec<JoinHandle<()>>,
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
    // Before there is any memory: pages come from the node of memory that is next to the processor.
    let asked = |source| StartError::Cores { what: format!("cores on {}", config.cores), source };
    let places = config.cores.places().map_err(asked)?;
    let polling = Polling::before_bind(config.mode);
    let (home, others) = places.split_first().expect("there is a home core");
    let processor = reactor::bind(*home).map_err(|source| StartError::core(0, *home, source))?;
    let mut random = File::open("/dev/urandom").map_err(system("the source of random numbers"))?;
    let Sockets { mut net, threads: socket_cores, processors } = socket_cores::start(waker, others, polling)?;
    let arena = arena(&config)?;
    if let Some(why) = arena.hugepages_refused() {
        notify("memory", "memory".to_owned(), format!("no huge pages, ordinary ones are used: {why}"));
    }
    notify("core", "core/0".to_owned(), about_core(&config, processor, &arena));
    for (number, processor) in (1..).zip(processors) {
        notify("core", format!("core/{number}"), format!("runs on {}, for sockets", place(processor)));
    }
    let mut devices = Devices::default();
    let drives = open_all(&config.drives, &arena, waker, &mut devices);
    for (serial, failure) in drives.iter().filter_map(|drive| drive.failure()) {
        notify("drive-failed", format!("drive/{serial}"), failure.to_owned());
    }
    let found = probe_all(&drives, &arena, &mut devices);
    let Imported { pools, thin, mut offline, drives: known } = pool::import(&found);
    let identity = if config.identity.is_nil() { random_uuid(&mut random) } else { config.identity };
    let mut target = Target::new(
        TargetConfig {
            discovery_nqn: discovery_nqn(identity),
            // A node alone: others export other subsystems.
            node: 0,
            io_port: 0,
            firmware: config.version.chars().take(8).collect(),
        },
        arena.clone(),
        devices,
    );
    if config.is_insecure {
        target.open_to_everybody();
    }
    offline.extend(open_thin(&mut target, &known, &thin, &mut notify));
    for pool in &offline {
        notify("pool-offline", format!("pool/{}", pool.name()), pool.detail.clone());
    }
    for mut pool in pools {
        let (object, name) = (format!("pool/{}", pool.name()), pool.name().to_owned());
        match settle(&mut pool, &arena, target.devices_mut()) {
            Ok(()) => notify("pool-imported", object, format!("pool {name} is online")),
            Err(problem) => notify("pool-offline", object, problem),
        }
        target.add_pool(pool).expect("fewer pools than drives, and drives are bounded");
    }
    let (_, portals) = listen(&mut net, &config.listen)?;
    let (listeners, discovery) = listen(&mut net, &config.discovery)?;
    listeners.into_iter().for_each(|listener| target.add_discovery_listener(listener));
    target.set_io_port(portals.first().map_or(0, SocketAddr::port));
    let start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let facts =
        Facts { version: config.version, mode: config.mode, portals: portals.clone(), started, start_ms };
    let core = Core::new(Parts { target, drives, known, offline, facts, random, events });
    Ok(Ready { core, net, polling, socket_cores, portals, discovery })
}

/// Opens the pools of the thin engine; gives those that cannot be served.
fn open_thin(
    target: &mut Target,
    known: &[KnownDrive],
    found: &[FoundThin],
    notify: &mut impl FnMut(&str, String, String),
) -> Vec<OfflinePool> {
    // Before hosts come, who would use it up.
    let has_memory = known.iter().all(|known| target.reserve_for(known.drive.id).is_some());
    assert!(has_memory, "the arena was made large enough for its drives");
    let mut offline = Vec::new();
    for found in found {
        let name = &found.superblock.name;
        match thin::open(target, found) {
            Ok(()) => notify("pool-imported", format!("pool/{name}"), format!("pool {name} is online")),
            Err(pool) => offline.push(*pool),
        }
    }
    offline
}

/// The node's own name for its discovery subsystem: hosts tell by it two nodes apart, and one node on two paths. It is not
/// the identity as such, of which a host that runs on this machine makes its own name.
fn discovery_nqn(identity: Uuid) -> String {
    let own = Uuid::from_u128(identity.as_u128() ^ DISCOVERY_MARK);
    format!(
        "{UUID_NQN_PREFIX}{}",
        uuid::Builder::from_u128(own.as_u128()).with_version(uuid::Version::Custom).into_uuid()
    )
}

/// Random, once, for [`discovery_nqn`].
const DISCOVERY_MARK: u128 = 0x5d1f_08c2_96e3_4b7a_a40c_71de_35b9_c268;

fn place(processor: Option<usize>) -> String {
    processor.map_or_else(|| "any processor".to_owned(), |number| format!("processor {number}"))
}

/// Where a core runs and what its memory is, for people.
fn about_core(config: &EngineConfig, processor: Option<usize>, arena: &Arena) -> String {
    let place = place(processor);
    let pages = match arena.pages() {
        Pages::Huge2MiB => "huge pages",
        Pages::Normal => "ordinary pages",
    };
    format!("runs on {place}, mode {}, with {} MiB of {pages} for IO", config.mode, arena.len() >> 20)
}

/// At least what the target needs beside what drives keep for themselves: else the longest commands would wait for ever.
fn arena(config: &EngineConfig) -> Result<Arena, StartError> {
    let bytes = config.arena_bytes.max(ARENA_BYTES_MIN + config.drives.len() * ARENA_BYTES_PER_DRIVE);
    Arena::new(ArenaConfig { bytes, hugepages: config.hugepages })
        .map_err(|error| StartError::Arena { bytes, detail: error.to_string() })
}

fn listen(net: &mut Net, addresses: &[SocketAddr]) -> Result<(Vec<ListenerId>, Vec<SocketAddr>), StartError> {
    addresses
        .iter()
        .map(|address| match net.listen(*address) {
            Ok(listening) => Ok(listening),
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
