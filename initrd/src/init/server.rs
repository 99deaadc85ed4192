//! `org.ironbay.Init1`: answers from what PID 1 keeps anyway; orders go to the main loop.

use super::Shared;
use super::node::{Note, Order};
use crate::boot::network::{addresses, gateways, links};
use crate::clock::uptime_ms;
use crate::phase::{Record, State};
use bus::{BootPhase, InitService, Interface, ServiceStatus};
use control::{ControlError, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// The service behind the socket.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    services: Mutex<Vec<ServiceStatus>>,
    orders: mpsc::Sender<Note>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>, orders: mpsc::Sender<Note>) -> Self {
        Self { shared, services: Mutex::default(), orders }
    }

    /// The main loop tells how its services are.
    pub(super) fn set_services(&self, services: Vec<ServiceStatus>) {
        *self.services.lock().unwrap_or_else(PoisonError::into_inner) = services;
    }

    fn order(&self, order: Order) -> Result<(), ControlError> {
        self.orders.try_send(Note::Order(order)).map_err(|_| {
            ControlError::new(ErrorKind::Unavailable, "init is busy").remedy("try again in a few seconds")
        })
    }
}

impl InitService for Server {
    fn phases(&self) -> Vec<BootPhase> {
        let now = uptime_ms();
        self.shared.timeline.records().iter().map(|r| phase(r, now)).collect()
    }

    fn services(&self) -> Vec<ServiceStatus> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn network(&self) -> Vec<Interface> {
        let (addresses, gateways) = (addresses(), gateways());
        let interface = |link: crate::boot::network::Link| {
            let address = addresses.iter().find(|(name, ..)| *name == link.name);
            let gateway = gateways.iter().find(|(name, _)| *name == link.name);
            Interface {
                address: address.map(|(_, a, p)| format!("{a}/{p}")).unwrap_or_default(),
                gateway: gateway.map(|(_, g)| g.to_string()).unwrap_or_default(),
                name: link.name,
                mac: link.mac,
                driver: link.driver,
                has_link: link.has_carrier,
            }
        };
        links().into_iter().map(interface).collect()
    }

    fn version(&self) -> String {
        self.shared.version.clone()
    }

    fn hostname(&self) -> String {
        nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn is_insecure(&self) -> bool {
        self.shared.args.is_insecure
    }

    fn reboot(&self, reason: &str) -> Result<(), ControlError> {
        self.order(Order::Reboot(reason.to_owned()))
    }

    fn power_off(&self, reason: &str) -> Result<(), ControlError> {
        self.order(Order::PowerOff(reason.to_owned()))
    }
}

fn phase(record: &Record, now: u64) -> BootPhase {
    let join =
        |texts: Vec<String>| texts.into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("; ");
    let all = || record.outcome.failures.iter().chain(&record.outcome.warnings);
    let took_ms = match record.state {
        State::Running => now.saturating_sub(record.started_ms),
        State::Waiting | State::Done | State::Failed => record.took_ms,
    };
    BootPhase {
        name: record.phase.name().to_owned(),
        started_ms: record.started_ms,
        took_ms,
        state: record.state.word().to_owned(),
        failure: join(all().map(ToString::to_string).collect()),
        remedy: join(all().map(|f| f.remedy.clone()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;
    use crate::failure::Failure;
    use crate::journal::Journal;
    use crate::phase::{Outcome, Phase, Timeline};
    use bus::InitClient;
    use std::os::unix::net::UnixStream;

    fn shared() -> Arc<Shared> {
        let journal = Arc::new(Journal::silent());
        let timeline = Timeline::new(Arc::clone(&journal));
        let (args, _) = parse("ironbay.insecure=1");
        Arc::new(Shared { journal, timeline, args, version: "1.2.3".to_owned() })
    }

    /// Goal: what the boot did arrives over the bus unchanged, and an order reaches the main loop with its reason.
    #[tokio::test]
    async fn init_answers_over_the_bus() {
        let shared = shared();
        shared.timeline.begin(Phase::Claim);
        let why = Failure::new("claim drive", "0000:00:04.0", "no IOMMU").remedy("enable it");
        shared.timeline.finish(Phase::Claim, Outcome::failed(why));
        let (notes, mut inbox) = mpsc::channel(4);
        let server = Arc::new(Server::new(Arc::clone(&shared), notes));
        let engine = ServiceStatus { name: "engine".to_owned(), pid: 7, ..ServiceStatus::default() };
        server.set_services(vec![engine.clone()]);

        let (ours, theirs) = UnixStream::pair().unwrap();
        let publish = move |builder| bus::publish_init(builder, Arc::clone(&server) as Arc<dyn InitService>);
        let served = tokio::spawn(async move { bus::serve_stream(ours, &publish).await.unwrap() });
        let client = InitClient::over(bus::connect_stream(theirs).await.unwrap());
        let _served = served.await.unwrap();

        let phases = client.phases().await.unwrap();
        assert_eq!(phases.len(), 8);
        let claim = phases.iter().find(|p| p.name == "claim").unwrap();
        assert_eq!(
            (claim.state.as_str(), claim.failure.as_str(), claim.remedy.as_str()),
            ("failed", "claim drive 0000:00:04.0: no IOMMU", "enable it")
        );
        assert_eq!(phases[7].state, "waiting");
        assert_eq!(client.services().await.unwrap(), [engine]);
        assert_eq!(client.version().await.unwrap(), "1.2.3");
        assert!(client.is_insecure().await.unwrap());
        client.reboot("a test").await.unwrap();
        let note = inbox.recv().await.unwrap();
        assert!(matches!(note, Note::Order(Order::Reboot(reason)) if reason == "a test"));
    }
}
