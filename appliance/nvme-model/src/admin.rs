//! Admin commands of the model.

use crate::controller::{CompletionRing, Core, Submission};
use nvme_spec::feature::{FeatureCdw10, FeatureId};
use nvme_spec::identify::{
    Cns, IDENTIFY_LEN, IdentifyController, IdentifyNamespace, IdentifyNvmController, LbaFormat,
};
use nvme_spec::register::{CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11};
use nvme_spec::{AdminOpcode, Sqe, Status, ascii_field};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes, transmute};

impl Core {
    /// Executes an admin command; dword 0 of the completion, or why not.
    pub(crate) fn execute_admin(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        let size = CreateQueueCdw10::from_bits(sqe.cdw10.get());
        match AdminOpcode(sqe.opc) {
            AdminOpcode::IDENTIFY => self.identify(sqe),
            AdminOpcode::SET_FEATURES => {
                let is_queues =
                    FeatureCdw10::from_bits(sqe.cdw10.get()).fid() == FeatureId::NUMBER_OF_QUEUES.0;
                if is_queues { Ok(0x0007_0007) } else { Err(Status::INVALID_FIELD) }
            }
            AdminOpcode::CREATE_IO_CQ => {
                let entries = self.new_queue(size, CreateCqCdw11::from_bits(sqe.cdw11.get()).pc())?;
                self.completion.insert(size.qid(), CompletionRing::new(sqe.dptr.prp1.get(), entries));
                Ok(0)
            }
            AdminOpcode::CREATE_IO_SQ => {
                let cdw11 = CreateSqCdw11::from_bits(sqe.cdw11.get());
                let entries = self.new_queue(size, cdw11.pc())?;
                if !self.completion.contains_key(&cdw11.cqid()) {
                    return Err(Status::new(1, 0));
                }
                let address = sqe.dptr.prp1.get();
                let ring = Submission { address, entries, cqid: cdw11.cqid(), head: 0 };
                self.submission.insert(size.qid(), ring);
                Ok(0)
            }
            AdminOpcode::DELETE_IO_SQ => {
                self.submission.remove(&size.qid()).map(|_| 0).ok_or(Status::INVALID_QUEUE_ID)
            }
            AdminOpcode::DELETE_IO_CQ => {
                self.completion.remove(&size.qid()).map(|_| 0).ok_or(Status::INVALID_QUEUE_ID)
            }
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    fn new_queue(&self, size: CreateQueueCdw10, is_contiguous: bool) -> Result<u16, Status> {
        if size.qid() == 0 || size.qid() > 8 || !is_contiguous {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if size.qsize_z() == 0 || size.qsize_z() > self.config.cap.mqes_z() {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        Ok(size.qsize_z() + 1)
    }

    fn identify(&self, sqe: &Sqe) -> Result<u32, Status> {
        let [cns, ..] = sqe.cdw10.get().to_le_bytes();
        let page: [u8; IDENTIFY_LEN] = match Cns(cns) {
            Cns::CONTROLLER => transmute!(self.identify_controller()),
            Cns::NAMESPACE if self.config.namespaces.contains(&sqe.nsid.get()) => {
                transmute!(self.identify_namespace())
            }
            Cns::NAMESPACE => return Err(Status::INVALID_NAMESPACE),
            Cns::ACTIVE_NAMESPACES => {
                let mut page = [0; IDENTIFY_LEN];
                for (entry, nsid) in page.as_chunks_mut::<4>().0.iter_mut().zip(&self.config.namespaces) {
                    *entry = nsid.to_le_bytes();
                }
                page
            }
            Cns::IO_CONTROLLER if self.config.has_nvm_page => {
                transmute!(IdentifyNvmController {
                    wzsl: self.config.wzsl,
                    ..IdentifyNvmController::new_zeroed()
                })
            }
            _ => return Err(Status::INVALID_FIELD),
        };
        self.memory.device_write(sqe.dptr.prp1.get(), page.as_bytes());
        Ok(0)
    }

    fn identify_controller(&self) -> IdentifyController {
        let config = &self.config;
        let oncs = if config.has_write_zeroes { IdentifyController::ONCS_WRITE_ZEROES } else { 0 };
        let vwc = if config.has_volatile_cache { IdentifyController::VWC_PRESENT } else { 0 };
        IdentifyController {
            sn: ascii_field(config.serial),
            mn: ascii_field("Model drive"),
            fr: ascii_field("1.0"),
            mdts: config.mdts,
            ver: U32::new(config.vs.into_bits()),
            sqes: 0x66,
            cqes: 0x44,
            nn: U32::new(config.namespaces.iter().copied().max().unwrap_or(0)),
            oncs: U16::new(oncs),
            vwc,
            awupf_z: U16::new(config.awupf_z),
            ..IdentifyController::new_zeroed()
        }
    }

    fn identify_namespace(&self) -> IdentifyNamespace {
        let mut page = IdentifyNamespace::new_zeroed();
        page.nsze = U64::new(self.config.lbas);
        page.ncap = page.nsze;
        page.nuse = page.nsze;
        page.lbaf[0] =
            LbaFormat { ms: U16::new(self.config.metadata_bytes), lbads: self.config.lbads, rp: 0 };
        page
    }
}
