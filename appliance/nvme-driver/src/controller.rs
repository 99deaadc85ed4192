//! The registers by their names, and bounded waits for them.

use crate::error::BringUpError;
use crate::limits::READY_TIMEOUT_MIN;
use crate::platform::{Platform, Registers};
use core::time::Duration;
use nvme_spec::register::{Aqa, Cap, Cc, Crto, Csts, Vs, offset};

/// CAP.TO and CRTO count in units of 500 ms (Base 2.1 §3.1.4.1).
const READY_UNIT_MS: u64 = 500;

/// The controller behind a platform's registers.
#[derive(Debug)]
pub(crate) struct Controller<P> {
    pub(crate) platform: P,
    pub(crate) cap: Cap,
    /// How long a change of CC.EN may take.
    pub(crate) ready_timeout: Duration,
}

/// What CSTS says about a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The state waited for.
    Reached,
    /// CSTS.CFS.
    Fatal,
    /// All ones.
    Gone,
    /// Time is over.
    TooLong,
}

impl<P: Platform> Controller<P> {
    /// Reads the capabilities and checks that this driver can use them.
    pub(crate) fn new(platform: P) -> Result<Self, BringUpError> {
        let registers = platform.registers();
        // A BAR without doorbells is not one of NVMe; nothing may be read from it.
        if registers.bytes() <= u64::from(offset::DOORBELLS) {
            return Err(BringUpError::Unsupported { what: "its registers are too small" });
        }
        let raw = registers.read64(u64::from(offset::CAP));
        if raw == u64::MAX {
            return Err(BringUpError::Gone);
        }
        let cap = Cap::from_bits(raw);
        let unsupported = |what| Err(BringUpError::Unsupported { what });
        // Base 2.1 §3.1.4.1: bit 0 of CSS is the NVM command set.
        if cap.css() & 1 == 0 {
            return unsupported("it has no NVM command set");
        }
        if cap.mpsmin() > 0 {
            return unsupported("it needs memory pages larger than 4 KiB");
        }
        // Doorbells of the admin queue and of queue pair 1 (PCIe 1.1 §3.1.2).
        let end = nvme_spec::register::sq_tail_doorbell(2, cap.dstrd());
        if registers.bytes() < end {
            return unsupported("its doorbells are out of reach");
        }
        let crto = Crto::from_bits(registers.read32(u64::from(offset::CRTO)));
        let ready_timeout = ready_timeout(cap, crto);
        Ok(Self { platform, cap, ready_timeout })
    }

    /// CSTS; `None` if the controller is gone.
    pub(crate) fn csts(&self) -> Option<Csts> {
        let raw = self.read32(offset::CSTS);
        (raw != u32::MAX).then(|| Csts::from_bits(raw))
    }

    pub(crate) fn cc(&self) -> Cc {
        Cc::from_bits(self.read32(offset::CC))
    }

    pub(crate) fn set_cc(&self, cc: Cc) {
        self.write32(offset::CC, cc.into_bits());
    }

    pub(crate) fn version(&self) -> Vs {
        Vs::from_bits(self.read32(offset::VS))
    }

    /// Tells the controller where the admin queues are; CC.EN must be 0.
    pub(crate) fn set_admin_queues(&self, entries: u16, sq: u64, cq: u64) {
        let entries_z = entries - 1;
        self.write32(offset::AQA, Aqa::new().with_asqs_z(entries_z).with_acqs_z(entries_z).into_bits());
        let registers = self.platform.registers();
        registers.write64(u64::from(offset::ASQ), sq);
        registers.write64(u64::from(offset::ACQ), cq);
    }

    /// Asks the controller to stop: CC.EN = 0. It stops all transfers before CSTS.RDY drops (Base 2.1 §3.7.2).
    pub(crate) fn begin_stop(&self) {
        let cc = self.cc();
        self.set_cc(cc.with_en(false).with_shn(0));
    }

    /// Stops the controller and waits for it.
    pub(crate) fn stop(&self) -> Wait {
        self.begin_stop();
        self.wait_for(self.ready_timeout, |csts| !csts.rdy())
    }

    /// Waits until CSTS shows what `reached` asks for. A fatal status ends the wait for everything but the stop, which
    /// is what clears it.
    pub(crate) fn wait_for(&self, timeout: Duration, reached: impl Fn(Csts) -> bool) -> Wait {
        let deadline = self.platform.now().after(timeout);
        loop {
            let Some(csts) = self.csts() else { return Wait::Gone };
            if reached(csts) {
                return Wait::Reached;
            }
            if csts.cfs() && self.cc().en() {
                return Wait::Fatal;
            }
            if self.platform.now() >= deadline {
                return if csts.cfs() { Wait::Fatal } else { Wait::TooLong };
            }
            self.platform.pause();
        }
    }

    fn read32(&self, offset: u32) -> u32 {
        self.platform.registers().read32(u64::from(offset))
    }

    fn write32(&self, offset: u32, value: u32) {
        self.platform.registers().write32(u64::from(offset), value);
    }
}

/// The longer of what CAP and, where it counts, CRTO say (Base 2.1 §3.1.4.20), and never less than our minimum.
fn ready_timeout(cap: Cap, crto: Crto) -> Duration {
    let units =
        if cap.crwms() { u64::from(cap.to()).max(u64::from(crto.crwmt())) } else { u64::from(cap.to()) };
    Duration::from_millis(units * READY_UNIT_MS).max(READY_TIMEOUT_MIN)
}
