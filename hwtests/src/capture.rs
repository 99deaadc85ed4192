//! What machines say to one another, captured on the bridge and read by Wireshark's dissector of NVMe/TCP: a second opinion
//! on every PDU, by people who never saw our code.
//!
//! Invariants
//! - A capture is bounded: it ends by itself at its limit. The buffer is larger than the limit, so a busy machine
//!   loses no packet; a capture that lost one is an error, because what follows would be read wrongly.
//! - A capture in which the dissector finds no NVMe/TCP is an error, not a success.
//! - Connections that were there before the capture are not judged: Wireshark would begin to read in the middle of a PDU.
//!
//! Not here: what the PDUs should be in which order; that is the business of the tests of `nvme-tcp`.

use crate::child::{Tied, run};
use crate::daemon::{DISCOVERY, PORTAL};
use crate::limits::{CAPTURE_END, CAPTURE_START, DISSECTION, LOOK_AGAIN};
use crate::network::{BRIDGE, Network};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A capture under way. It should begin before the connections that it shall show.
#[derive(Debug)]
pub struct Capture {
    process: Tied,
    path: PathBuf,
    log: PathBuf,
}

/// What the dissector found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many PDUs of each type there were.
    pub pdus: BTreeMap<u8, u64>,
    /// Everything that should not be: the frame and what is wrong with it.
    pub faults: Vec<String>,
}

/// Fields that the dissector prints for a frame; several values are separated by commas.
const FIELDS: [&str; 9] = [
    "frame.number",
    "tcp.stream",
    "tcp.flags.syn",
    "nvme-tcp.type",
    "nvme-tcp.hdgst.status",
    "nvme-tcp.ddgst.status",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
];

/// Wireshark's number for the severity "error" (`PI_ERROR` in its `proto.h`); warnings are smaller.
const SEVERITY_ERROR: u64 = 0x0080_0000;
/// What it says of its own mistakes: 4.0 has one in the answers to Get Features.
const DISSECTOR_BUG: &str = "failed assertion";
/// Wireshark's word for a digest that is wrong (`PROTO_CHECKSUM_E_BAD`).
const DIGEST_BAD: &str = "0";
/// PDUs that end a connection for a violation of the protocol.
const TERMINATIONS: [u8; 2] = [2, 3];
/// Faults that a message shows; the capture has all.
const FAULTS_SHOWN: usize = 5;

impl Capture {
    /// Begins to capture up to `mib` MiB into `NAME.pcapng`.
    pub fn start(network: &Network, dir: &Path, name: &str, mib: u32) -> Result<Self> {
        let (path, log) = (dir.join(format!("{name}.pcapng")), dir.join(format!("{name}.capture.log")));
        let mut command = network.command("dumpcap");
        command.args(["-q", "-i", BRIDGE, "-s", "262144", "-B", &(2 * mib).to_string()]);
        command.args(["-a", &format!("filesize:{}", u64::from(mib) * 1000)]);
        command.args(["-f", &format!("tcp port {PORTAL} or tcp port {DISCOVERY}")]).arg("-w").arg(&path);
        let complaints = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stderr(complaints);
        let mut capture = Self { process: Tied::start(&mut command)?, path, log };
        let started = Instant::now();
        // It names its file when the interface is open.
        while !capture.said().contains("File:") {
            capture.process.alive().with_context(|| format!("dumpcap said: {}", capture.said()))?;
            ensure!(started.elapsed() < CAPTURE_START, "dumpcap does not start: {}", capture.said());
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(capture)
    }

    /// Ends the capture and has it dissected.
    pub fn finish(mut self) -> Result<Findings> {
        // At its limit it has ended already.
        if self.process.alive().is_ok() {
            self.process.end(Signal::SIGINT, CAPTURE_END)?;
        }
        let said = self.said();
        let lost = lost(&said).with_context(|| format!("dumpcap said: {said}"))?;
        ensure!(lost == 0, "the capture lost {lost} packets: {said}");
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.path);
        for port in [PORTAL, DISCOVERY] {
            command.args(["-d", &format!("tcp.port=={port},nvme-tcp")]);
        }
        command.args(["-o", "nvme-tcp.check_hdgst:TRUE", "-o", "nvme-tcp.check_ddgst:TRUE"]);
        command.args(["-Y", "nvme-tcp || _ws.malformed || _ws.expert", "-T", "fields"]);
        for field in FIELDS {
            command.args(["-e", field]);
        }
        let text = run(&mut command, DISSECTION)?.ok("tshark")?;
        Ok(judge(&text))
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Findings {
    /// A word about a capture without faults; otherwise an error.
    pub fn good(&self, name: &str) -> Result<String> {
        let count: u64 = self.pdus.values().sum();
        if !self.faults.is_empty() {
            let shown =
                self.faults.iter().take(FAULTS_SHOWN).map(|f| format!("\n    {f}")).collect::<String>();
            bail!("in {name}.pcapng Wireshark finds {} faults:{shown}", self.faults.len());
        }
        ensure!(count > 0, "in {name}.pcapng Wireshark finds no NVMe/TCP at all");
        let types = self.pdus.iter().map(|(kind, n)| format!("{n} {}", pdu_name(*kind))).collect::<Vec<_>>();
        Ok(format!("{count} PDUs, no fault: {}", types.join(", ")))
    }
}

/// Reads the dissector's lines.
fn judge(text: &str) -> Findings {
    let mut findings = Findings::default();
    let mut begun = BTreeSet::new();
    for line in text.lines() {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let [frame, stream, syn] = [(); 3].map(|()| next());
        // Versions of tshark write a flag as a digit or as a word.
        if ["1", "True"].contains(&syn) {
            begun.insert(stream);
        }
        if !begun.contains(stream) {
            continue;
        }
        let [types, header, data, malformed, severities, messages] = [(); 6].map(|()| next());
        let mut fault = |what: String| findings.faults.push(format!("frame {frame}: {what}"));
        let severities = severities.split(',').filter_map(|s| s.parse::<u64>().ok());
        if messages.contains(DISSECTOR_BUG) {
            // Wireshark stumbled over itself; that says nothing about the frame.
        } else if severities.max().unwrap_or(0) >= SEVERITY_ERROR {
            fault(messages.to_owned());
        } else if !malformed.is_empty() {
            fault("malformed".to_owned());
        }
        for (name, digest) in [("header", header), ("data", data)] {
            if digest.split(',').any(|status| status == DIGEST_BAD) {
                fault(format!("wrong {name} digest"));
            }
        }
        for kind in types.split(',').filter_map(|t| t.parse().ok()) {
            *findings.pdus.entry(kind).or_default() += 1;
            if TERMINATIONS.contains(&kind) {
                findings.faults.push(format!("frame {frame}: {}", pdu_name(kind)));
            }
        }
    }
    findings
}

/// Packets that the kernel or dumpcap could not keep: "Packets received/dropped on interface 'lab0': 24/0 (pcap:0/…)".
fn lost(said: &str) -> Option<u64> {
    let line = said.lines().find(|l| l.contains("received/dropped on interface"))?;
    let numbers = line.rsplit_once("': ")?.1.split_whitespace().next()?;
    numbers.split_once('/')?.1.parse().ok()
}

/// TCP Transport 1.1 §3.6.2.
fn pdu_name(kind: u8) -> String {
    let known =
        ["ICReq", "ICResp", "H2CTermReq", "C2HTermReq", "commands", "responses", "H2CData", "C2HData"];
    match (kind, known.get(usize::from(kind))) {
        (9, _) => "R2T".to_owned(),
        (_, Some(name)) => (*name).to_owned(),
        (_, None) => format!("of unknown type {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{judge, lost};

    /// Goal: what Wireshark complains about is a fault, what it only remarks upon is none, and several PDUs in a frame count.
    #[test]
    fn complaints_become_faults() {
        let syn = "1\t0\t1\t\t\t\t\t4194304\tConnection establish request\n";
        let judge = |lines: &str| judge(&format!("{syn}{lines}"));
        let good = judge("2\t0\t0\t0\t\t\t\t\t\n3\t0\t0\t4,4\t1,1\t\t\t\t\n");
        assert_eq!((good.pdus.get(&4), good.faults.len()), (Some(&2), 0));
        assert!(good.good("x").expect("good").contains("3 PDUs"));
        let own =
            judge("9\t0\t0\t5\t\t\t\t8388608\t./epan/proto.c:4056: failed assertion \"(guint)hfindex\"\n");
        assert_eq!((own.pdus.get(&5), own.faults.len()), (Some(&1), 0));
        for (line, word) in [
            ("5\t\t\t1\t8388608\tMalformed Packet (Exception occurred)", "Malformed Packet"),
            ("5\t\t\t1\t\t", "malformed"),
            ("5,5\t1,0\t\t\t\t", "wrong header digest"),
            ("7\t\t0\t\t\t", "wrong data digest"),
            ("3\t\t\t\t\t", "C2HTermReq"),
        ] {
            // The same in a connection whose beginning nobody saw says nothing.
            assert_eq!(judge(&format!("7\t1\t0\t{line}\n")).faults.len(), 0);
            let refusal = judge(&format!("7\t0\t0\t{line}\n")).good("x").expect_err("a fault").to_string();
            assert!(refusal.contains("frame 7") && refusal.contains(word), "{refusal}");
        }
    }

    /// Goal: a capture in which nothing was understood proves nothing.
    #[test]
    fn silence_is_no_success() {
        assert!(judge("").good("x").is_err());
    }

    /// Goal: lost packets are noticed, and a dumpcap that does not tell is an error.
    #[test]
    fn lost_packets_are_counted() {
        let said = "Capturing on 'lab0'\nPackets received/dropped on interface 'lab0': 24/3 (pcap:3/dumpcap:0) (88%)\n";
        assert_eq!(lost(said), Some(3));
        assert_eq!(lost("Capturing on 'lab0'\n"), None);
    }
}
