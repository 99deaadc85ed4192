//! The controller: registers, rings, and commands on their way.
//!
//! A command is fetched at its doorbell, meets the rules, and becomes a pending completion that is due now or later.
//! Its data moves when it is due. A stop throws away everything pending at the moment CSTS.RDY drops.

use crate::config::ModelConfig;
use crate::fault::{Fault, Rule, Switches};
use crate::io::{Executed, Media};
use crate::memory::Memory;
use block::Tick;
use core::time::Duration;
use nvme_spec::register::{Aqa, Cc, Csts, cq_head_doorbell, offset, sq_tail_doorbell};
use nvme_spec::{Cqe, Sqe, Status};
use std::collections::BTreeMap;
use std::rc::Rc;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: ModelConfig,
    pub(crate) memory: Rc<Memory>,
    pub(crate) now: Tick,
    pub(crate) switches: Switches,
    pub(crate) rules: Vec<Rule>,
    pub(crate) media: Media,
    pub(crate) log: Vec<Executed>,
    /// Doorbell writes of I/O queues: submission, completion.
    pub(crate) doorbells: (u32, u32),
    pub(crate) is_isolated: bool,
    /// Shutdowns that completed.
    pub(crate) shutdowns: u32,
    pub(crate) submission: BTreeMap<u16, Submission>,
    pub(crate) completion: BTreeMap<u16, CompletionRing>,
    cc: Cc,
    csts: Csts,
    aqa: Aqa,
    asq: u64,
    acq: u64,
    starts_at: Option<Tick>,
    stops_at: Option<Tick>,
    shut_down_at: Option<Tick>,
    pending: Vec<Pending>,
}

#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) address: u64,
    pub(crate) entries: u16,
    pub(crate) cqid: u16,
    pub(crate) head: u16,
}

#[derive(Debug)]
pub(crate) struct CompletionRing {
    pub(crate) address: u64,
    pub(crate) entries: u16,
    pub(crate) tail: u16,
    pub(crate) head: u16,
    pub(crate) phase: bool,
}

#[derive(Debug)]
struct Pending {
    due: Tick,
    sqid: u16,
    sqe: Sqe,
    fault: Option<Fault>,
}

impl Core {
    pub(crate) fn new(config: ModelConfig, memory: Rc<Memory>) -> Self {
        Self {
            media: Media::new(config.lbads, config.lbas),
            config,
            memory,
            // Not zero, so that a time that was never set is noticed.
            now: Tick(1_000_000_000_000),
            switches: Switches::default(),
            rules: Vec::new(),
            log: Vec::new(),
            doorbells: (0, 0),
            is_isolated: false,
            shutdowns: 0,
            submission: BTreeMap::new(),
            completion: BTreeMap::new(),
            cc: Cc::new(),
            csts: Csts::new(),
            aqa: Aqa::new(),
            asq: 0,
            acq: 0,
            starts_at: None,
            stops_at: None,
            shut_down_at: None,
            pending: Vec::new(),
        }
    }

    pub(crate) fn read32(&mut self, at: u64) -> u32 {
        self.run();
        if self.switches.gone {
            return u32::MAX;
        }
        let fatal = self.csts.cfs() || self.switches.fatal;
        match u32::try_from(at).expect("registers lie below 4 GiB") {
            offset::VS => self.config.vs.into_bits(),
            offset::CC => self.cc.into_bits(),
            offset::CSTS => self.csts.with_cfs(fatal).into_bits(),
            offset::AQA => self.aqa.into_bits(),
            offset::CRTO => self.config.crto.into_bits(),
            _ => {
                self.memory.violation(format!("read of 32 bits at {at:#x}"));
                0
            }
        }
    }

    pub(crate) fn read64(&mut self, at: u64) -> u64 {
        self.run();
        if self.switches.gone {
            return u64::MAX;
        }
        if at == u64::from(offset::CAP) {
            return self.config.cap.into_bits();
        }
        self.memory.violation(format!("read of 64 bits at {at:#x}"));
        0
    }

    pub(crate) fn write32(&mut self, at: u64, value: u32) {
        self.run();
        if self.switches.gone {
            return;
        }
        if at == u64::from(offset::CC) {
            self.configure(Cc::from_bits(value));
        } else if at == u64::from(offset::AQA) && !self.cc.en() {
            self.aqa = Aqa::from_bits(value);
        } else if at >= u64::from(offset::DOORBELLS) {
            self.doorbell(at, value);
        } else {
            self.memory.violation(format!("write of {value:#x} at {at:#x}"));
        }
        self.run();
    }

    pub(crate) fn write64(&mut self, at: u64, value: u64) {
        if self.switches.gone {
            return;
        }
        if self.cc.en() {
            self.memory.violation(format!("queue base at {at:#x} changed while enabled"));
        } else if at == u64::from(offset::ASQ) {
            self.asq = value;
        } else if at == u64::from(offset::ACQ) {
            self.acq = value;
        } else {
            self.memory.violation(format!("write of {value:#x} at {at:#x}"));
        }
    }

    /// Time passes.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.run();
    }

    fn configure(&mut self, cc: Cc) {
        let before = self.cc;
        self.cc = cc;
        if cc.en() && !before.en() {
            self.starts_at = (!self.switches.never_starts).then(|| self.now.after(self.config.start_time));
        }
        if !cc.en() && before.en() {
            self.starts_at = None;
            self.stops_at = (!self.switches.never_stops).then(|| self.now.after(self.config.stop_time));
        }
        if cc.shn() != 0 && before.shn() == 0 && !self.switches.never_shuts_down {
            self.csts.set_shst(1);
            self.shut_down_at = Some(self.now.after(self.config.shutdown_time));
        }
    }

    /// Does everything that is due.
    fn run(&mut self) {
        if self.switches.gone {
            return;
        }
        if is_due(&mut self.starts_at, self.now) {
            self.start();
        }
        self.run_pending();
        if is_due(&mut self.stops_at, self.now) {
            self.switches.fatal = false;
            self.csts = Csts::new();
            self.pending.clear();
            self.submission.clear();
            self.completion.clear();
        }
        if is_due(&mut self.shut_down_at, self.now) {
            self.csts.set_shst(2);
            self.shutdowns += 1;
        }
    }

    fn start(&mut self) {
        if self.switches.fatal_starts > 0 {
            self.switches.fatal_starts -= 1;
            self.csts.set_cfs(true);
            return;
        }
        if self.cc.iosqes() != 6 || self.cc.iocqes() != 4 || self.cc.mps() != 0 || self.cc.css() != 0 {
            self.memory.violation(format!("controller configured with {:?}", self.cc));
        }
        let (entries, cq_entries) = (self.aqa.asqs_z() + 1, self.aqa.acqs_z() + 1);
        self.submission.insert(0, Submission { address: self.asq, entries, cqid: 0, head: 0 });
        self.completion.insert(0, CompletionRing::new(self.acq, cq_entries));
        self.csts.set_rdy(true);
    }

    fn doorbell(&mut self, at: u64, value: u32) {
        let dstrd = self.config.cap.dstrd();
        let Ok(value) = u16::try_from(value) else {
            return self.memory.violation(format!("doorbell {at:#x} set to {value:#x}"));
        };
        let ids: Vec<u16> = self.submission.keys().copied().collect();
        if let Some(sqid) = ids.into_iter().find(|id| sq_tail_doorbell(*id, dstrd) == at) {
            self.doorbells.0 += u32::from(sqid != 0);
            return self.fetch(sqid, value);
        }
        let found = self.completion.iter_mut().find(|(id, _)| cq_head_doorbell(**id, dstrd) == at);
        match found {
            Some((id, ring)) if value < ring.entries => {
                ring.head = value;
                self.doorbells.1 += u32::from(*id != 0);
            }
            Some(_) | None => self.memory.violation(format!("doorbell {at:#x} set to {value:#x}")),
        }
    }

    /// Takes the commands up to `tail` off a submission queue.
    fn fetch(&mut self, sqid: u16, tail: u16) {
        let Some(ring) = self.submission.get_mut(&sqid).filter(|ring| tail < ring.entries) else {
            return self.memory.violation(format!("tail of queue {sqid} set to {tail}"));
        };
        let mut fetched = Vec::new();
        while ring.head != tail {
            let bytes = self.memory.device_read(ring.address + u64::from(ring.head) * 64, 64);
            fetched.push(Sqe::read_from_bytes(&bytes).expect("64 bytes"));
            ring.head = (ring.head + 1) % ring.entries;
        }
        for sqe in fetched {
            if self.pending.iter().any(|other| other.sqid == sqid && other.sqe.cid == sqe.cid) {
                self.memory.violation(format!("command identifier {:#x} used twice", sqe.cid.get()));
            }
            let fault = self.fault(sqid, &sqe);
            let due = match fault {
                Some(Fault::Delay(delay)) => self.now.after(delay),
                Some(Fault::Lost) => Tick(u64::MAX),
                Some(Fault::Status(_) | Fault::WrongCid | Fault::Twice) | None => self.now,
            };
            self.pending.push(Pending { due, sqid, sqe, fault });
        }
    }

    /// The fault of the first rule that matches, counted.
    fn fault(&mut self, sqid: u16, sqe: &Sqe) -> Option<Fault> {
        let lbas = sqe.slba()..sqe.slba().saturating_add(u64::from(sqe.nlb()));
        let rule = self.rules.iter_mut().find(|rule| rule.matches(sqid == 0, sqe.opc, &lbas))?;
        rule.times -= 1;
        Some(rule.fault)
    }

    fn run_pending(&mut self) {
        while !self.switches.fatal && !self.is_isolated {
            let next =
                self.pending.iter().enumerate().filter(|(_, p)| p.due <= self.now && p.due.0 < u64::MAX);
            let Some(index) = next.min_by_key(|(index, p)| (p.due, *index)).map(|(index, _)| index) else {
                return;
            };
            let Pending { sqid, sqe, fault, .. } = self.pending.remove(index);
            let mut cqe = match fault {
                Some(Fault::Status(status)) => Cqe::new(sqe.cid.get(), status),
                Some(Fault::Lost | Fault::Delay(_) | Fault::WrongCid | Fault::Twice) | None => {
                    self.execute(sqid, &sqe)
                }
            };
            if fault == Some(Fault::WrongCid) {
                cqe.cid = U16::new(0x8000 | sqe.cid.get());
            }
            self.post(sqid, cqe);
            if fault == Some(Fault::Twice) {
                self.post(sqid, cqe);
            }
        }
    }

    fn execute(&mut self, sqid: u16, sqe: &Sqe) -> Cqe {
        let result = if sqid == 0 { self.execute_admin(sqe) } else { self.execute_io(sqe) };
        match result {
            Ok(dw0) => Cqe { dw0: U32::new(dw0), ..Cqe::new(sqe.cid.get(), Status::SUCCESS) },
            Err(status) => Cqe::new(sqe.cid.get(), status.dnr()),
        }
    }

    /// Writes a completion to its ring.
    fn post(&mut self, sqid: u16, mut cqe: Cqe) {
        // The queue may have been deleted by the command itself.
        let Some(submission) = self.submission.get(&sqid) else { return };
        let Some(ring) = self.completion.get_mut(&submission.cqid) else { return };
        if (ring.tail + 1) % ring.entries == ring.head {
            return self.memory.violation(format!("completion queue {} overflows", submission.cqid));
        }
        cqe.sqid = U16::new(sqid);
        cqe.sqhd = U16::new(submission.head);
        cqe.status_phase = U16::new(cqe.status_phase.get() & !1 | u16::from(ring.phase));
        self.memory.device_write(ring.address + u64::from(ring.tail) * 16, cqe.as_bytes());
        ring.tail = (ring.tail + 1) % ring.entries;
        if ring.tail == 0 {
            ring.phase = !ring.phase;
        }
    }
}

impl CompletionRing {
    pub(crate) fn new(address: u64, entries: u16) -> Self {
        Self { address, entries, tail: 0, head: 0, phase: true }
    }
}

fn is_due(at: &mut Option<Tick>, now: Tick) -> bool {
    at.take_if(|at| *at <= now).is_some()
}
