//! When is a service ready? Asked until the answer is yes; each task ends then, or with its service.

use super::Shared;
use crate::args::AddressSource;
use crate::boot::network::{first_address, links};
use crate::console::table::count;
use crate::failure::Failure;
use crate::limits::READY_POLL;
use crate::phase::{Outcome, Phase};
use bus::EngineClient;
use control::{DriveState, DriveStatus};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// The agent's port on this node.
const API: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 7420);
/// After this time without an address the console says what is missing. DHCP behind a switch with spanning tree takes
/// 30 s, without it under 5 s.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(20);

/// An agent that does not listen cannot be asked; it counts as ready after this time.
const AGENT_PROBATION: Duration = Duration::from_millis(500);

/// Waits for an address, for ever, and says so once when it takes long.
pub(super) async fn network(shared: Arc<Shared>) {
    let began = Instant::now();
    let mut has_complained = false;
    loop {
        if let Some(address) = first_address() {
            shared.timeline.finish(Phase::Network, Outcome::done(address.to_string()));
            return;
        }
        if !has_complained && began.elapsed() >= ADDRESS_PATIENCE {
            has_complained = true;
            shared.timeline.wait(Phase::Network, no_address(shared.args.address));
        }
        sleep(READY_POLL).await;
    }
}

fn no_address(source: AddressSource) -> Failure {
    let links = links();
    let with_carrier: Vec<_> = links.iter().filter(|l| l.has_carrier).map(|l| l.name.as_str()).collect();
    if links.is_empty() {
        return Failure::new("get address", "", "there is no network interface")
            .remedy("see phase modules: the image needs a driver for this card");
    }
    if with_carrier.is_empty() {
        let names: Vec<_> = links.iter().map(|l| l.name.as_str()).collect();
        return Failure::new("get address", names.join(", "), "no link").remedy("check cable and switch");
    }
    let names = with_carrier.join(", ");
    match source {
        AddressSource::Dhcp => {
            Failure::new("get address", names, "no DHCP server has answered; asking for ever")
                .remedy("check VLAN and DHCP server, or boot with ironbay.ip=ADDRESS/PREFIX[,GATEWAY]")
        }
        AddressSource::Static(fixed) => {
            let reason = format!("{} is not set", fixed.address);
            Failure::new("get address", names, reason).remedy("see the lines of dhcp above")
        }
    }
}

/// Waits until the engine answers on the bus, then until hosts can reach it.
pub(super) async fn engine(shared: Arc<Shared>) {
    let client = EngineClient::at(bus::ENGINE_SOCKET);
    let status = loop {
        match client.status().await {
            Ok(status) => break status,
            Err(_) => sleep(READY_POLL).await,
        }
    };
    let drives = client.drives().await.unwrap_or_default();
    let pools = client.pools().await.unwrap_or_default();
    let volumes = client.volumes().await.unwrap_or_default();
    let noun = |n: usize, word| count(u64::try_from(n).unwrap_or(u64::MAX), word);
    let summary = format!(
        "{}, {}, {}; {}, mode {}",
        noun(drives.len(), "drive"),
        noun(pools.len(), "pool"),
        noun(volumes.len(), "volume"),
        count(u64::from(status.cores), "core"),
        status.mode
    );
    shared
        .timeline
        .finish(Phase::Engine, Outcome { summary, warnings: bad_drives(&drives), failures: Vec::new() });
    serve(&shared, &client).await;
}

fn bad_drives(drives: &[DriveStatus]) -> Vec<Failure> {
    drives
        .iter()
        .filter(|d| d.state == DriveState::Failed)
        .map(|d| {
            let name = if d.serial.is_empty() { &d.path } else { &d.serial };
            Failure::new("use drive", name, &d.detail)
                .remedy("type `drives` on the console; replace the drive if it stays")
        })
        .collect()
}

async fn serve(shared: &Shared, client: &EngineClient) {
    shared.timeline.begin(Phase::Serve);
    let (address, portals) = loop {
        let portals = client.status().await.map(|s| s.portals).unwrap_or_default();
        if let (Some(address), false) = (first_address(), portals.is_empty()) {
            break (address, portals);
        }
        sleep(READY_POLL).await;
    };
    let portals: Vec<_> = portals.iter().map(|p| p.replace("0.0.0.0", &address.to_string())).collect();
    let api = if shared.args.is_insecure { format!(", API {address}:7420") } else { String::new() };
    let summary = format!("NVMe/TCP {}, discovery {address}:8009{api}", portals.join(", "));
    shared.timeline.finish(Phase::Serve, Outcome::done(summary));
}

/// Waits until the agent accepts connections, if it may.
pub(super) async fn agent(shared: Arc<Shared>) {
    if !shared.args.is_insecure {
        // A process that ends at once was never ready; its end stops this task.
        sleep(AGENT_PROBATION).await;
        let why =
            "authentication is not part of this version, and the node was not booted with ironbay.insecure=1";
        let failure = Failure::new("serve API", "port 7420", why)
            .remedy("in a lab boot with ironbay.insecure=1; hosts are served without the API");
        let summary = "runs, the API does not listen".to_owned();
        let outcome = Outcome { summary, warnings: vec![failure], failures: Vec::new() };
        shared.timeline.finish(Phase::Agent, outcome);
        return;
    }
    while TcpStream::connect(API).await.is_err() {
        sleep(READY_POLL).await;
    }
    shared
        .timeline
        .finish(Phase::Agent, Outcome::done("the API listens on port 7420 without authentication"));
}
