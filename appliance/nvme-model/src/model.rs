//! The two handles to a model: the test's and the driver's.

use crate::config::ModelConfig;
use crate::controller::Core;
use crate::fault::{Rule, Switches};
use crate::io::Executed;
use crate::memory::{Memory, ModelBuf, ModelQueue};
use block::Tick;
use core::cell::RefCell;
use core::time::Duration;
use nvme_driver::{Platform, Registers};
use std::rc::Rc;

/// Virtual time that passes while the driver waits for a register.
const PAUSE: Duration = Duration::from_millis(1);
/// The size of the BAR of a common drive.
const BAR_BYTES: u64 = 16 << 10;

/// A model as its test sees it.
#[derive(Clone, Debug)]
pub struct Model {
    registers: ModelRegisters,
    memory: Rc<Memory>,
}

impl Model {
    /// A controller that was just powered on.
    #[must_use]
    pub fn new(config: ModelConfig) -> Self {
        let memory = Rc::new(Memory::new(config.queue_bytes));
        let core = Rc::new(RefCell::new(Core::new(config, Rc::clone(&memory))));
        Self { registers: ModelRegisters { core }, memory }
    }

    /// What a driver needs to use it.
    #[must_use]
    pub fn platform(&self) -> ModelPlatform {
        ModelPlatform { model: self.clone() }
    }

    /// A buffer with these contents.
    #[must_use]
    pub fn buffer(&self, bytes: &[u8]) -> ModelBuf {
        ModelBuf::new(&self.memory, bytes)
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.registers.core.borrow_mut().advance(by);
    }

    /// Adds a fault for single commands.
    pub fn fault(&self, rule: Rule) {
        self.registers.core.borrow_mut().rules.push(rule);
    }

    /// Changes faults of the controller.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.registers.core.borrow_mut().switches);
    }

    /// The commands that reached the media, in order, and forgets them.
    #[must_use]
    pub fn take_log(&self) -> Vec<Executed> {
        std::mem::take(&mut self.registers.core.borrow_mut().log)
    }

    /// Doorbell writes of I/O queues so far: submission, completion.
    #[must_use]
    pub fn doorbells(&self) -> (u32, u32) {
        self.registers.core.borrow().doorbells
    }

    /// Shutdowns that the controller completed.
    #[must_use]
    pub fn shutdowns(&self) -> u32 {
        self.registers.core.borrow().shutdowns
    }

    /// Whether the controller has queues, that is, runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.registers.core.borrow().submission.is_empty()
    }

    /// What is on the media, in the drive's own blocks.
    #[must_use]
    pub fn media(&self, slba: u64, lbas: u32) -> Vec<u8> {
        self.registers.core.borrow().media.read(slba, lbas)
    }

    /// Puts something on the media.
    pub fn set_media(&self, slba: u64, bytes: &[u8]) {
        self.registers.core.borrow_mut().media.write(slba, bytes);
    }

    /// What the driver did wrong: transfers to memory that the device does not own, impossible doorbells, identifiers
    /// used twice. Empty at the end of every test.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.memory.violations()
    }
}

/// Registers of a model.
#[derive(Clone, Debug)]
pub struct ModelRegisters {
    core: Rc<RefCell<Core>>,
}

impl Registers for ModelRegisters {
    fn bytes(&self) -> u64 {
        BAR_BYTES
    }

    fn read32(&self, offset: u64) -> u32 {
        self.core.borrow_mut().read32(offset)
    }

    fn read64(&self, offset: u64) -> u64 {
        self.core.borrow_mut().read64(offset)
    }

    fn write32(&self, offset: u64, value: u32) {
        self.core.borrow_mut().write32(offset, value);
    }

    fn write64(&self, offset: u64, value: u64) {
        self.core.borrow_mut().write64(offset, value);
    }
}

/// A model as its driver sees it.
#[derive(Debug)]
pub struct ModelPlatform {
    model: Model,
}

impl Platform for ModelPlatform {
    type Registers = ModelRegisters;
    type Queue = ModelQueue;
    type Buf = ModelBuf;

    fn registers(&self) -> &ModelRegisters {
        &self.model.registers
    }

    fn alloc_queue(&self, bytes: usize) -> Option<ModelQueue> {
        ModelQueue::new(&self.model.memory, bytes)
    }

    fn address(&self, buf: &ModelBuf) -> Option<u64> {
        Some(buf.address())
    }

    fn hand_over(&self, buf: &mut ModelBuf) {
        buf.hand_over();
    }

    fn take_back(&self, buf: &mut ModelBuf) {
        buf.take_back();
    }

    fn isolate(&self) -> bool {
        let mut core = self.model.registers.core.borrow_mut();
        core.is_isolated = !core.switches.cannot_isolate;
        core.is_isolated
    }

    fn now(&self) -> Tick {
        self.model.registers.core.borrow().now
    }

    fn pause(&self) {
        self.model.advance(PAUSE);
    }
}
