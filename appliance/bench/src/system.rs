//! What is measured side by side: nodes of our own, foreign targets, the floor.

use crate::floor;
use crate::machine::{Cores, pin_process};
use crate::sample::{self, Sample, Times};
use crate::workload::{Medium, Workload};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvme_host::Target;
use std::net::SocketAddr;
use std::str::FromStr;

/// A foreign target, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) portal: SocketAddr,
    pub(crate) nqn: String,
    pub(crate) pid: Option<i32>,
    /// It is the kernel of this machine.
    pub(crate) is_kernel: bool,
    pub(crate) medium: Medium,
}

impl FromStr for Peer {
    type Err = String;

    /// `[NAME=]ADDR:PORT,NQN[,PID][,kernel][,file]`
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\": write [NAME=]ADDR:PORT,NQN[,PID][,kernel][,file]");
        let (first, rest) = text.split_once(',').ok_or_else(wrong)?;
        let (name, portal) = first.split_once('=').unwrap_or(("peer", first));
        let mut words = rest.split(',');
        let nqn = words.next().filter(|nqn| !nqn.is_empty()).ok_or_else(wrong)?;
        let mut peer = Self {
            name: name.to_owned(),
            portal: portal.parse().map_err(|_| wrong())?,
            nqn: nqn.to_owned(),
            pid: None,
            is_kernel: false,
            medium: Medium::Ram,
        };
        for word in words {
            match word {
                "file" => peer.medium = Medium::File,
                "kernel" => peer.is_kernel = true,
                pid => peer.pid = Some(pid.parse().map_err(|_| wrong())?),
            }
        }
        Ok(peer)
    }
}

/// Where the load goes.
#[derive(Debug)]
enum Kind {
    Nvme(Target),
    Floor(Cores),
}

/// One side of the comparison.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: String,
    pub(crate) medium: Medium,
    kind: Kind,
    /// Its process, if it is on this machine: stopped while another is measured.
    pid: Option<i32>,
    /// It is the kernel of this machine, so its time is in no process.
    pub(crate) is_kernel: bool,
}

impl System {
    pub(crate) fn node(target: Target, medium: Medium, pid: i32, cores: Cores) -> Result<Self> {
        pin_process(pid, cores.target)?;
        let name = "ironbay".to_owned();
        let this = Self { name, medium, kind: Kind::Nvme(target), pid: Some(pid), is_kernel: false };
        this.pause()?;
        Ok(this)
    }

    /// A foreign target. Which cores it uses is the business of whoever started it.
    pub(crate) fn peer(peer: Peer) -> Result<Self> {
        let target = Target::new(peer.portal, &peer.nqn, 1);
        let Peer { name, medium, pid, is_kernel, .. } = peer;
        let this = Self { name, medium, kind: Kind::Nvme(target), pid, is_kernel };
        this.pause()?;
        Ok(this)
    }

    pub(crate) fn floor(cores: Cores) -> Self {
        let name = "floor".to_owned();
        Self { name, medium: Medium::Ram, kind: Kind::Floor(cores), pid: None, is_kernel: false }
    }

    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor(_))
    }

    /// True if it can do this one; the floor knows neither digests nor R2T.
    pub(crate) fn takes(&self, work: &Workload) -> bool {
        let is_beyond_floor = self.is_floor() && (work.digests || !work.in_capsule);
        // nvmet-tcp (Linux 6.12, `nvmet_tcp_queue_response`) takes every write that would fit into a capsule for one whose data is on
        // its way, and never asks for it.
        let is_beyond_kernel = self.is_kernel && !work.in_capsule;
        self.medium == work.medium && !is_beyond_floor && !is_beyond_kernel
    }

    /// Writes and verifies, and says how many bytes; the floor holds no data.
    pub(crate) fn check(&self) -> Result<Option<u64>> {
        let Kind::Nvme(target) = &self.kind else { return Ok(None) };
        self.alone(|| {
            crate::check::check(target, |work| self.takes(work))
                .context("what was written is not what was read")
        })
        .map(Some)
    }

    /// One sample, while the others stand still.
    pub(crate) fn sample(&self, work: &Workload, times: Times) -> Result<Sample> {
        self.alone(|| match &self.kind {
            Kind::Nvme(target) => sample::take(target, work, times, self.pid),
            Kind::Floor(cores) => floor::take(work, times, *cores),
        })
        .with_context(|| format!("{}: {}", self.name, work.name))
    }

    fn alone<T>(&self, job: impl FnOnce() -> Result<T>) -> Result<T> {
        self.resume()?;
        let result = job();
        self.pause()?;
        result
    }

    fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid else { return Ok(()) };
        ensure!(pid > 0, "{pid} is no process");
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{}: process {pid}", self.name))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // Nobody stays stopped; it may have ended meanwhile.
        let _ = self.resume();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::ALL;

    /// Goal: nobody is given what it cannot do: the floor no digests, the kernel's target no short write that must be asked for.
    #[test]
    fn systems_take_what_they_can() {
        let named = |name| ALL.iter().find(|work| work.name == name).expect("a workload");
        let peer = |text: &str| System::peer(text.parse().expect("a peer")).expect("no process to stop");
        let systems = [
            peer("127.0.0.1:1,nqn.x"),
            peer("127.0.0.1:1,nqn.x,kernel"),
            System::floor(Cores { initiator: 0, target: 1 }),
        ];
        let takers = |name| systems.each_ref().map(|system| system.takes(named(name)));
        assert_eq!(takers("write-4k-qd1"), [true, true, true]);
        assert_eq!(takers("write-4k-qd1-r2t"), [true, false, false]);
        assert_eq!(takers("read-4k-qd32-digests"), [true, true, false]);
        assert_eq!(takers("file-read-4k-qd1"), [false, false, false]);
    }

    /// Goal: every form of a peer is understood, and what is none is refused with the form.
    #[test]
    fn peers_are_named_on_the_command_line() {
        let peer: Peer = "other=127.0.0.1:4430,nqn.2014-08.org.example:a,77,file".parse().expect("a peer");
        assert_eq!((peer.name.as_str(), peer.pid, peer.medium), ("other", Some(77), Medium::File));
        assert_eq!((peer.portal.port(), peer.nqn.as_str()), (4430, "nqn.2014-08.org.example:a"));
        let short: Peer = "[::1]:4420,nqn.x".parse().expect("a peer");
        assert_eq!((short.name.as_str(), short.pid, short.medium), ("peer", None, Medium::Ram));
        let kernel: Peer = "10.0.0.2:4420,nqn.x,kernel".parse().expect("a peer");
        assert!(kernel.is_kernel && kernel.pid.is_none() && !short.is_kernel);
        for wrong in ["127.0.0.1:4420", "localhost,nqn.x", "127.0.0.1:4420,", "127.0.0.1:4420,nqn.x,pid"] {
            let error = wrong.parse::<Peer>().expect_err("no peer");
            assert!(error.contains("NAME="), "{error}");
        }
    }
}
