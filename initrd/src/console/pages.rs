//! Pages of the console: pure functions from answers to text.

use super::command::HELP;
use super::table::{Table, count as noun, plain, span, wrap};
use block::Bytes;
use bus::{BootPhase, Interface, ServiceStatus};
use control::{
    ControlError, DriveState, DriveStatus, EngineStatus, PoolState, PoolStatus, SessionStatus, VolumeState,
    VolumeStatus,
};

/// What init says of itself.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Version of the image.
    pub version: String,
    /// Name of the node.
    pub hostname: String,
    /// The API needs no authentication.
    pub is_insecure: bool,
    /// Time since the kernel started.
    pub uptime_ms: u64,
    /// Interfaces.
    pub network: Vec<Interface>,
    /// Phases of the boot.
    pub phases: Vec<BootPhase>,
    /// Processes.
    pub services: Vec<ServiceStatus>,
}

/// What the engine says of itself.
#[derive(Clone, Debug)]
pub struct EngineFacts {
    /// The engine.
    pub engine: EngineStatus,
    /// Its drives.
    pub drives: Vec<DriveStatus>,
    /// Its pools.
    pub pools: Vec<PoolStatus>,
    /// Its volumes.
    pub volumes: Vec<VolumeStatus>,
    /// Its sessions.
    pub sessions: Vec<SessionStatus>,
}

/// The line that invites.
#[must_use]
pub fn banner(version: &str, hostname: &str, network: &[Interface]) -> String {
    let address = first_address(network).unwrap_or("no address yet");
    plain(&format!("Ironbay {version}   {hostname}   {address}   press Enter for the console")) + "\n"
}

/// The first address of the node, without its prefix.
#[must_use]
pub fn first_address(network: &[Interface]) -> Option<&str> {
    network.iter().find_map(|i| i.address.split('/').next().filter(|a| !a.is_empty()))
}

/// Page `help`.
#[must_use]
pub fn help() -> String {
    let mut table = Table::new(&["COMMAND", "KEY", "SHOWS"]);
    for (name, key, what) in HELP {
        table.row(&[name.to_owned(), key.to_owned(), what.to_owned()]);
    }
    table.render()
}

/// An answer that did not come.
#[must_use]
pub fn failure(error: &ControlError) -> String {
    let mut text = wrap("", 2, &error.message);
    if !error.remedy.is_empty() {
        text += &wrap("  -> ", 5, &error.remedy);
    }
    text
}

/// Page `status`.
#[must_use]
pub fn status(node: &NodeFacts, engine: &Result<EngineFacts, ControlError>) -> String {
    let mut text = wrap(
        "Node      ",
        10,
        &format!("{}, Ironbay {}, up {}", node.hostname, node.version, span(node.uptime_ms)),
    );
    text += &wrap("Address   ", 10, &addresses(&node.network));
    let api = match (first_address(&node.network), node.is_insecure) {
        (Some(address), true) => format!("{address}:7420, WITHOUT AUTHENTICATION (ironbay.insecure=1)"),
        (None, true) => "no address yet".to_owned(),
        (_, false) => "does not listen (not booted with ironbay.insecure=1)".to_owned(),
    };
    text += &wrap("API       ", 10, &api);
    match engine {
        Ok(facts) => text += &engine_lines(facts, first_address(&node.network)),
        Err(error) => {
            text += &wrap("Engine    ", 10, &error.message);
            text += &wrap("          -> ", 13, &error.remedy);
        }
    }
    text += &trouble(node);
    text
}

fn addresses(network: &[Interface]) -> String {
    let known: Vec<_> = network
        .iter()
        .filter(|i| !i.address.is_empty())
        .map(|i| format!("{} on {}, gateway {}", i.address, i.name, or_none(&i.gateway)))
        .collect();
    if known.is_empty() { "none yet; type `network`".to_owned() } else { known.join("; ") }
}

fn engine_lines(facts: &EngineFacts, address: Option<&str>) -> String {
    let e = &facts.engine;
    let portals: Vec<_> =
        e.portals.iter().map(|p| address.map_or_else(|| p.clone(), |a| p.replace("0.0.0.0", a))).collect();
    let serving = if portals.is_empty() { "nothing yet".to_owned() } else { portals.join(", ") };
    let mut text = wrap("NVMe/TCP  ", 10, &serving);
    let engine = format!(
        "{}, mode {}, busy {}.{} %, {} commands, up {}",
        noun(u64::from(e.cores), "core"),
        e.mode,
        e.busy_permille / 10,
        e.busy_permille % 10,
        e.io_commands,
        span(e.uptime_ms)
    );
    text += &wrap("Engine    ", 10, &engine);
    let drives = count(facts.drives.iter().map(|d| drive_state(d.state)));
    text += &wrap("Drives    ", 10, &drives);
    text += &wrap("Pools     ", 10, &count(facts.pools.iter().map(|p| pool_state(p.state))));
    text += &wrap("Volumes   ", 10, &count(facts.volumes.iter().map(|v| volume_state(v.state))));
    text += &wrap("Hosts     ", 10, &noun(length(facts.sessions.len()), "connected controller"));
    text
}

/// "3: 2 member, 1 blank", states in the order of their first appearance.
fn count<'a>(states: impl Iterator<Item = &'a str>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for state in states {
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, n)) => *n = n.saturating_add(1),
            None => counts.push((state, 1)),
        }
    }
    let total: usize = counts.iter().map(|(_, n)| n).sum();
    let parts: Vec<_> = counts.iter().map(|(state, n)| format!("{n} {state}")).collect();
    if parts.is_empty() { "none".to_owned() } else { format!("{total}: {}", parts.join(", ")) }
}

/// What is not as it should be, with remedies; one line if there is nothing.
fn trouble(node: &NodeFacts) -> String {
    let mut text = String::new();
    for phase in node.phases.iter().filter(|p| p.state != "done" || !p.failure.is_empty()) {
        let what = if phase.failure.is_empty() { "not finished yet" } else { &phase.failure };
        let state = if phase.state == "done" { "done, with a warning" } else { &phase.state };
        text += &wrap("Attention ", 10, &format!("{} {state}: {what}", phase.name));
        if !phase.remedy.is_empty() {
            text += &wrap("          -> ", 13, &phase.remedy);
        }
    }
    for service in node.services.iter().filter(|s| s.state != "running") {
        let exit = or_none(&service.last_exit);
        let line = format!("service {} is {}, last exit: {exit}", service.name, service.state);
        text += &wrap("Attention ", 10, &line);
    }
    if text.is_empty() { "Health    all phases done, all services running\n".to_owned() } else { text }
}

/// Page `drives`.
#[must_use]
pub fn drives(drives: &[DriveStatus], pools: &[PoolStatus]) -> String {
    if drives.is_empty() {
        return "no drive; type `phases` to see what was claimed\n".to_owned();
    }
    let mut table = Table::new(&["SERIAL", "SIZE>", "LBA>", "STATE", "POOL", "ERRORS>", "PATH"]);
    for d in drives {
        let pool = pools.iter().find(|p| p.uuid == d.pool).map_or("-", |p| &p.name);
        table.row(&[
            d.serial.clone(),
            Bytes(d.size_bytes).rounded().to_string(),
            d.lba_bytes.to_string(),
            drive_state(d.state).to_owned(),
            pool.to_owned(),
            d.errors.to_string(),
            d.path.clone(),
        ]);
    }
    let mut text = table.render();
    for d in drives {
        let about = if d.detail.is_empty() { d.model.clone() } else { format!("{}; {}", d.model, d.detail) };
        text += &wrap("", 2, &format!("{}: {about}", d.serial));
    }
    text
}

/// Page `pools`.
#[must_use]
pub fn pools(pools: &[PoolStatus]) -> String {
    if pools.is_empty() {
        return "no pool; create one with the API, `ironbay pool create` or Terraform\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "STATE", "SIZE>", "FREE>", "DRIVES"]);
    for p in pools {
        table.row(&[
            p.name.clone(),
            pool_state(p.state).to_owned(),
            Bytes(p.size_bytes).rounded().to_string(),
            Bytes(p.free_bytes).rounded().to_string(),
            p.drive_serials.join(","),
        ]);
    }
    let mut text = table.render();
    for p in pools {
        text += &wrap("", 2, &format!("{}: {}", p.name, p.subsystem_nqn));
        if !p.detail.is_empty() {
            text += &wrap("", 2, &format!("{}: {}", p.name, p.detail));
        }
    }
    text
}

/// Page `volumes`.
#[must_use]
pub fn volumes(volumes: &[VolumeStatus]) -> String {
    if volumes.is_empty() {
        return "no volume; create one with the API, `ironbay volume create` or Terraform\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "POOL", "SIZE>", "LBA>", "STATE", "NSID>", "HOSTS>"]);
    for v in volumes {
        table.row(&[
            v.name.clone(),
            v.pool_name.clone(),
            Bytes(v.size_bytes).rounded().to_string(),
            v.block_size.to_string(),
            volume_state(v.state).to_owned(),
            v.nsid.to_string(),
            v.hosts.len().to_string(),
        ]);
    }
    let mut text = table.render();
    for v in volumes {
        text += &wrap("", 2, &format!("{}: uuid {}", v.name, v.uuid));
    }
    text
}

/// Page `hosts`.
#[must_use]
pub fn hosts(sessions: &[SessionStatus]) -> String {
    if sessions.is_empty() {
        return "no host is connected\n".to_owned();
    }
    let mut table = Table::new(&["PEER", "CNTLID>", "QUEUES>", "COMMANDS>", "SINCE"]);
    for s in sessions {
        table.row(&[
            s.peer.clone(),
            s.cntlid.to_string(),
            s.io_queues.to_string(),
            s.commands.to_string(),
            span(s.age_ms),
        ]);
    }
    let mut text = table.render();
    for s in sessions {
        text += &wrap("", 2, &format!("{}: host {}", s.cntlid, s.host_nqn));
        text += &wrap("", 2, &format!("{}: subsystem {}", s.cntlid, s.subsystem_nqn));
    }
    text
}

/// Page `network`.
#[must_use]
pub fn network(interfaces: &[Interface]) -> String {
    if interfaces.is_empty() {
        return "no network interface; the image needs a driver for the card (type `phases`)\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "LINK", "ADDRESS", "GATEWAY", "MAC", "DRIVER"]);
    for i in interfaces {
        table.row(&[
            i.name.clone(),
            if i.has_link { "up".to_owned() } else { "down".to_owned() },
            or_none(&i.address).to_owned(),
            or_none(&i.gateway).to_owned(),
            i.mac.clone(),
            i.driver.clone(),
        ]);
    }
    table.render()
}

/// Page `phases`.
#[must_use]
pub fn phases(phases: &[BootPhase]) -> String {
    let mut table = Table::new(&["PHASE", "STATE", "BEGAN ms>", "TOOK ms>"]);
    for p in phases {
        let (began, took) = match p.started_ms {
            0 => ("-".to_owned(), "-".to_owned()),
            began => (began.to_string(), p.took_ms.to_string()),
        };
        table.row(&[p.name.clone(), p.state.clone(), began, took]);
    }
    let mut text = table.render();
    for p in phases.iter().filter(|p| !p.failure.is_empty()) {
        text += &wrap("", 2, &format!("{}: {}", p.name, p.failure));
        text += &wrap("  -> ", 5, &p.remedy);
    }
    text
}

/// Page `services`.
#[must_use]
pub fn services(services: &[ServiceStatus]) -> String {
    let mut table = Table::new(&["SERVICE", "STATE", "PID>", "RESTARTS>", "LAST EXIT"]);
    for s in services {
        table.row(&[
            s.name.clone(),
            s.state.clone(),
            if s.pid == 0 { "-".to_owned() } else { s.pid.to_string() },
            s.restarts.to_string(),
            or_none(&s.last_exit).to_owned(),
        ]);
    }
    table.render()
}

fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn drive_state(state: DriveState) -> &'static str {
    match state {
        DriveState::Blank => "blank",
        DriveState::Member => "member",
        DriveState::Foreign => "foreign",
        DriveState::Failed => "FAILED",
    }
}

fn pool_state(state: PoolState) -> &'static str {
    match state {
        PoolState::Online => "online",
        PoolState::Incomplete => "INCOMPLETE",
        PoolState::Damaged => "DAMAGED",
    }
}

fn volume_state(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Online => "online",
        VolumeState::Offline => "OFFLINE",
        VolumeState::Creating => "creating",
    }
}
