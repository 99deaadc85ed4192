//! Admin commands, one at a time, waited for: they belong to bring-up and shutdown, never to the data path.

use crate::controller::Controller;
use crate::error::BringUpError;
use crate::limits::{ADMIN_ENTRIES, ADMIN_TIMEOUT, PAGE};
use crate::platform::{Platform, QueueMemory};
use crate::queue::QueuePair;
use nvme_spec::identify::{Cns, IDENTIFY_LEN};
use nvme_spec::{AdminOpcode, DataPointer, Sqe};
use zerocopy::little_endian::{U16, U32};

/// The admin queue pair and a page for what Identify returns.
#[derive(Debug)]
pub(crate) struct Admin<Q> {
    pair: QueuePair<Q>,
    page: Q,
    cid: u16,
}

impl<Q: QueueMemory> Admin<Q> {
    /// Takes the memory and tells the (stopped) controller where it is.
    pub(crate) fn new<P: Platform<Queue = Q>>(controller: &Controller<P>) -> Result<Self, BringUpError> {
        let platform = &controller.platform;
        let pair = QueuePair::new(platform, 0, ADMIN_ENTRIES, controller.cap.dstrd());
        let pair = pair.ok_or(BringUpError::NoMemory)?;
        let page = platform.alloc_queue(PAGE).ok_or(BringUpError::NoMemory)?;
        controller.set_admin_queues(pair.entries(), pair.sq_address(), pair.cq_address());
        Ok(Self { pair, page, cid: 0 })
    }

    /// Sends a command and waits for its completion; returns dword 0.
    pub(crate) fn execute<P: Platform<Queue = Q>>(
        &mut self,
        controller: &Controller<P>,
        command: &'static str,
        mut sqe: Sqe,
    ) -> Result<u32, BringUpError> {
        // Never FFFFh, which error log entries use for "no command" (Base 2.1 §5.1.12.1.2).
        self.cid = (self.cid + 1) % u16::MAX;
        sqe.cid = U16::new(self.cid);
        let platform = &controller.platform;
        self.pair.push(&sqe);
        self.pair.ring(platform.registers());
        let deadline = platform.now().after(ADMIN_TIMEOUT);
        loop {
            if let Some(cqe) = self.pair.pop() {
                self.pair.acknowledge(platform.registers());
                if cqe.cid.get() != self.cid {
                    return Err(BringUpError::WrongAnswer { command });
                }
                let status = cqe.status();
                let failed = BringUpError::Command { command, status };
                return if status.is_success() { Ok(cqe.dw0.get()) } else { Err(failed) };
            }
            match controller.csts() {
                None => return Err(BringUpError::Gone),
                Some(csts) if csts.cfs() => return Err(BringUpError::Fatal),
                Some(_) if platform.now() >= deadline => {
                    return Err(BringUpError::NoAnswer { command, seconds: ADMIN_TIMEOUT.as_secs() });
                }
                Some(_) => platform.pause(),
            }
        }
    }

    /// Identify: the 4096 bytes that the controller returned.
    pub(crate) fn identify<P: Platform<Queue = Q>>(
        &mut self,
        controller: &Controller<P>,
        command: &'static str,
        cns: Cns,
        nsid: u32,
    ) -> Result<[u8; IDENTIFY_LEN], BringUpError> {
        let mut sqe = Sqe::new(AdminOpcode::IDENTIFY.0, nsid);
        sqe.dptr = DataPointer::prp(self.page.address(), 0);
        sqe.cdw10 = U32::new(u32::from(cns.0));
        // A controller that answers without data must not hand out the answer before.
        for at in (0..IDENTIFY_LEN).step_by(size_of::<u64>()) {
            self.page.store_u64(at, 0);
        }
        self.execute(controller, command, sqe)?;
        let mut bytes = [0; IDENTIFY_LEN];
        for (index, word) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *word = self.page.load_u64(index * size_of::<u64>()).to_le_bytes();
        }
        Ok(bytes)
    }
}
