//! A session: a controller of a subsystem, and one of its namespaces.

use crate::limits::{
    ADMIN_DEPTH, ADMIN_ENTRIES, IO_DEPTH_MAX, IO_QUEUES_MAX, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_MS,
    READY_INTERVAL, TRANSFER_BYTES_MAX,
};
use crate::{Completion, HostError, Queue, QueueConfig};
use nvme_spec::fabrics::{CNTLID_DYNAMIC, CONNECT_DATA_LEN, Connect, ConnectData, Nqns, Property};
use nvme_spec::identify::{Cns, IDENTIFY_LEN, IdentifyController, IdentifyNamespace};
use nvme_spec::register::{Cap, Cc, Csts, offset};
use nvme_spec::{AdminOpcode, NvmOpcode, Sqe, Status};
use nvme_tcp::host::Data;
use nvme_tcp::{Digests, Slot};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of an Identify page.
const PAGE_BYTES: u32 = 4096;
const _: () = assert!(PAGE_BYTES as usize == IDENTIFY_LEN);

/// Bytes of the data of Connect.
const CONNECT_BYTES: u32 = 1024;
const _: () = assert!(CONNECT_BYTES as usize == CONNECT_DATA_LEN);

/// What to connect to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address of a portal.
    pub portal: SocketAddr,
    /// NQN of the subsystem.
    pub subsystem_nqn: String,
    /// The namespace.
    pub nsid: u32,
    /// NQN of this host.
    pub host_nqn: String,
    /// Identifier of this host; not nil.
    pub host_id: Uuid,
}

impl Target {
    /// A namespace of a subsystem, for a host that nobody has seen before.
    #[must_use]
    pub fn new(portal: SocketAddr, subsystem_nqn: &str, nsid: u32) -> Self {
        let host_id = Uuid::new_v4();
        let host_nqn = format!("{}{host_id}", nvme_spec::fabrics::UUID_NQN_PREFIX);
        Self { portal, subsystem_nqn: subsystem_nqn.to_owned(), nsid, host_nqn, host_id }
    }
}

/// How a session is set up.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// IO queues, each with a connection of its own.
    pub queues: u16,
    /// Commands in flight on each IO queue.
    pub depth: u16,
    /// Bytes of the largest command.
    pub io_bytes_max: u32,
    /// Digests to ask for.
    pub digests: Digests,
    /// Data travels in the capsule where it fits; otherwise the controller has to ask for all of it.
    pub in_capsule: bool,
    /// How long nothing may happen while something is awaited.
    pub timeout: Duration,
}

impl Default for SessionConfig {
    /// One queue of 32 commands of up to 128 KiB, no digests, ten seconds.
    fn default() -> Self {
        Self {
            queues: 1,
            depth: 32,
            io_bytes_max: 128 << 10,
            digests: Digests::default(),
            in_capsule: true,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A namespace as its controller describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Identifier.
    pub nsid: u32,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Blocks.
    pub blocks: u64,
    /// NGUID.
    pub nguid: [u8; 16],
}

impl Namespace {
    /// Size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.blocks.saturating_mul(u64::from(self.block_bytes))
    }
}

/// How a write is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Force Unit Access: the data is durable when the command ends.
    pub is_durable: bool,
}

/// A connected host.
#[derive(Debug)]
pub struct Session {
    admin: Queue,
    io: Vec<Queue>,
    namespace: Namespace,
    controller_id: u16,
    transfer_bytes_max: u32,
    kept_alive: Instant,
}

/// What Identify Controller says, as far as this host cares.
struct Capabilities {
    in_capsule_max: u32,
    transfer_bytes_max: u32,
}

impl Session {
    /// Connects the admin queue, enables the controller, asks for the namespace, and connects the IO queues.
    ///
    /// # Errors
    /// When any of that fails.
    ///
    /// # Panics
    /// If the configuration is out of bounds: a depth of 1 to 256, 1 to 64 queues, commands of up to 1 MiB.
    pub fn connect(target: &Target, config: SessionConfig) -> Result<Self, HostError> {
        assert!((1..=IO_DEPTH_MAX).contains(&config.depth), "depth is 1 to {IO_DEPTH_MAX}");
        assert!((1..=IO_QUEUES_MAX).contains(&config.queues), "1 to {IO_QUEUES_MAX} queues");
        assert!(
            config.io_bytes_max <= TRANSFER_BYTES_MAX,
            "a command carries at most {TRANSFER_BYTES_MAX} bytes"
        );
        let base = QueueConfig {
            depth: ADMIN_DEPTH,
            buffer_bytes: PAGE_BYTES,
            digests: config.digests,
            timeout: config.timeout,
        };
        let mut admin = Queue::open(target.portal, base)?;
        let controller_id = connect_queue(&mut admin, target, CNTLID_DYNAMIC, (0, ADMIN_ENTRIES - 1))?;
        let cap = Cap::from_bits(get_property(&mut admin, offset::CAP, true)?);
        enable(&mut admin, target.portal, &cap)?;
        let capabilities = identify_controller(&mut admin)?;
        let namespace = identify_namespace(&mut admin, target)?;
        ask_for_queues(&mut admin, target.portal, config.queues)?;

        let buffer_bytes = config.io_bytes_max.max(CONNECT_BYTES);
        // An entry more than commands: a full queue is told from an empty one by it (Base 2.1 §3.3.1.1).
        let entries_z = config.depth.min(cap.mqes_z());
        let depth = entries_z.max(1);
        let mut io = Vec::with_capacity(usize::from(config.queues));
        for qid in 1..=config.queues {
            let mut queue = Queue::open(target.portal, QueueConfig { depth, buffer_bytes, ..base })?;
            connect_queue(&mut queue, target, controller_id, (qid, entries_z))?;
            if config.in_capsule {
                queue.set_in_capsule_max(capabilities.in_capsule_max);
            }
            io.push(queue);
        }
        let transfer_bytes_max = capabilities.transfer_bytes_max.min(config.io_bytes_max);
        Ok(Self { admin, io, namespace, controller_id, transfer_bytes_max, kept_alive: Instant::now() })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Identifier of the controller.
    #[must_use]
    pub fn controller_id(&self) -> u16 {
        self.controller_id
    }

    /// Bytes of the largest command that both sides can do.
    #[must_use]
    pub fn transfer_bytes_max(&self) -> u32 {
        self.transfer_bytes_max
    }

    /// An IO queue, to be driven without waiting.
    ///
    /// # Panics
    /// If there is no such queue; they are counted from 0.
    #[inline]
    pub fn queue(&mut self, index: usize) -> IoQueue<'_> {
        let Self { io, namespace, transfer_bytes_max, .. } = self;
        IoQueue { queue: &mut io[index], namespace, transfer_bytes_max: *transfer_bytes_max }
    }

    /// Commands in flight on the first IO queue.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.io[0].in_flight()
    }

    /// Begins a read on the first IO queue.
    ///
    /// # Errors
    /// [`HostError::BadRange`], [`HostError::Full`].
    pub fn begin_read(&mut self, offset: u64, len: u32) -> Result<Slot, HostError> {
        self.queue(0).begin_read(offset, len)
    }

    /// Begins a write of what `fill` puts into the buffer, on the first IO queue.
    ///
    /// # Errors
    /// As [`Self::begin_read`].
    pub fn begin_write(
        &mut self,
        offset: u64,
        len: u32,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Slot, HostError> {
        self.queue(0).begin_write(offset, len, WriteOptions::default(), fill)
    }

    /// Begins to make everything durable that has been written.
    ///
    /// # Errors
    /// [`HostError::Full`].
    pub fn begin_flush(&mut self) -> Result<Slot, HostError> {
        self.queue(0).begin_flush()
    }

    /// Data of a read of the first IO queue that has ended, until the next command is begun.
    #[must_use]
    pub fn data(&self, slot: Slot, len: u32) -> &[u8] {
        self.io[0].data(slot, len)
    }

    /// Waits until a command of the first IO queue has ended; keeps the controller alive meanwhile.
    ///
    /// # Errors
    /// When the connection fails, or nothing happens for too long.
    pub fn wait(&mut self) -> Result<Completion, HostError> {
        self.keep_alive()?;
        self.io[0].wait()
    }

    /// Sends a Keep Alive if it is time for one. Whoever only turns queues calls this every few seconds.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn keep_alive(&mut self) -> Result<(), HostError> {
        if self.kept_alive.elapsed() > KEEP_ALIVE_INTERVAL {
            self.admin.call("Keep Alive", Sqe::new(AdminOpcode::KEEP_ALIVE.0, 0), Data::None, |_| {})?;
            self.kept_alive = Instant::now();
        }
        Ok(())
    }

    /// The next command of the first IO queue that has ended already.
    pub fn poll(&mut self) -> Option<Completion> {
        self.io[0].poll()
    }

    /// Asks for the namespace again: it may have grown.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn refresh(&mut self) -> Result<Namespace, HostError> {
        self.namespace = namespace(&mut self.admin, self.namespace.nsid)?;
        Ok(self.namespace)
    }

    /// Shuts the controller down and closes the connections.
    pub fn close(mut self) {
        // The controller notices a closed connection as well, only later; so a failure here is nothing to report.
        let cc = running().with_shn(1);
        let sqe = Property { offset: offset::CC, is_wide: false }.set(u64::from(cc.into_bits()));
        let _ = self.admin.call("Property Set (CC)", sqe, Data::None, |_| {});
    }
}

/// One IO queue of a session.
#[derive(Debug)]
pub struct IoQueue<'a> {
    queue: &'a mut Queue,
    namespace: &'a Namespace,
    transfer_bytes_max: u32,
}

impl IoQueue<'_> {
    /// Commands that fit in flight: what was asked for, or what the controller allows.
    #[must_use]
    pub fn depth(&self) -> u16 {
        self.queue.depth()
    }

    /// Commands in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    /// Begins a read.
    ///
    /// # Errors
    /// [`HostError::BadRange`], [`HostError::Full`].
    pub fn begin_read(&mut self, offset: u64, len: u32) -> Result<Slot, HostError> {
        let sqe = self.command(NvmOpcode::READ, offset, len)?;
        self.queue.begin(sqe, Data::Read(len), |_| {})
    }

    /// Begins a write of what `fill` puts into the buffer, which holds what was there before.
    ///
    /// # Errors
    /// As [`Self::begin_read`].
    pub fn begin_write(
        &mut self,
        offset: u64,
        len: u32,
        options: WriteOptions,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Slot, HostError> {
        let mut sqe = self.command(NvmOpcode::WRITE, offset, len)?;
        if options.is_durable {
            sqe.cdw12 |= U32::new(1 << 30); // FUA: NVM 1.1 §3.2.6, figure 80
        }
        self.queue.begin(sqe, Data::Write(len), fill)
    }

    /// Begins to make everything durable that has been written.
    ///
    /// # Errors
    /// [`HostError::Full`].
    pub fn begin_flush(&mut self) -> Result<Slot, HostError> {
        self.queue.begin(Sqe::new(NvmOpcode::FLUSH.0, self.namespace.nsid), Data::None, |_| {})
    }

    /// As [`Queue::turn`].
    ///
    /// # Errors
    /// When the connection fails.
    pub fn turn(&mut self) -> Result<bool, HostError> {
        self.queue.turn()
    }

    /// The next command that has ended already.
    pub fn poll(&mut self) -> Option<Completion> {
        self.queue.poll()
    }

    /// Data of a read that has ended, until the next command is begun.
    #[must_use]
    pub fn data(&self, slot: Slot, len: u32) -> &[u8] {
        self.queue.data(slot, len)
    }

    fn command(&self, opcode: NvmOpcode, offset: u64, len: u32) -> Result<Sqe, HostError> {
        let Namespace { nsid, block_bytes, .. } = *self.namespace;
        let size = self.namespace.size_bytes();
        let is_whole = offset.is_multiple_of(u64::from(block_bytes)) && len.is_multiple_of(block_bytes);
        let ends_inside = offset.checked_add(u64::from(len)).is_some_and(|end| end <= size);
        if len == 0 || len > self.transfer_bytes_max || !is_whole || !ends_inside {
            return Err(HostError::BadRange { offset, len: u64::from(len), block_bytes, size });
        }
        let mut sqe = Sqe::new(opcode.0, nsid);
        sqe.set_slba(offset / u64::from(block_bytes));
        sqe.cdw12 = U32::new(len / block_bytes - 1); // NLB is 0's based
        Ok(sqe)
    }
}

/// Set Features, Number of Queues; both numbers are 0's based (Base 2.1 §5.1.25.1.2).
fn ask_for_queues(admin: &mut Queue, portal: SocketAddr, queues: u16) -> Result<(), HostError> {
    let wanted_z = u32::from(queues - 1);
    let mut sqe = Sqe::new(AdminOpcode::SET_FEATURES.0, 0);
    sqe.cdw10 = U32::new(0x07);
    sqe.cdw11 = U32::new(wanted_z << 16 | wanted_z);
    let granted = admin.call("Set Features (Number of Queues)", sqe, Data::None, |_| {})?.cqe.dw0.get();
    if granted & 0xffff < wanted_z || granted >> 16 < wanted_z {
        return Err(HostError::Unsupported { portal, what: "the controller grants fewer IO queues" });
    }
    Ok(())
}

/// Connect for queue `qid` with `entries_z` + 1 entries; gives the controller identifier.
fn connect_queue(
    queue: &mut Queue,
    target: &Target,
    cntlid: u16,
    (qid, entries_z): (u16, u16),
) -> Result<u16, HostError> {
    let nqns = Nqns { host: &target.host_nqn, subsystem: &target.subsystem_nqn };
    let data = ConnectData::new(*target.host_id.as_bytes(), cntlid, nqns)
        .ok_or_else(|| HostError::BadNqn { nqn: target.subsystem_nqn.clone() })?;
    let kato_ms = if qid == 0 { KEEP_ALIVE_MS } else { 0 };
    let command = Connect { recfmt: 0, qid, sqsize_z: entries_z, cattr: 0, kato_ms };
    let done = queue.call("Connect", command.to_sqe(), Data::Write(CONNECT_BYTES), |buffer| {
        buffer.copy_from_slice(data.as_bytes());
    })?;
    let result = done.cqe.dw0.get();
    // AUTHREQ (Base 2.1 §6.3, figure 548): bits 17 and 18.
    if result & (0b11 << 17) != 0 {
        return Err(HostError::Unsupported {
            portal: target.portal,
            what: "the controller wants authentication",
        });
    }
    let [low, high, ..] = result.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

fn get_property(admin: &mut Queue, offset: u32, is_wide: bool) -> Result<u64, HostError> {
    Ok(admin.call("Property Get", Property { offset, is_wide }.get(), Data::None, |_| {})?.cqe.result())
}

/// CC of a controller at work: NVM command set, entries of 64 and 16 bytes.
fn running() -> Cc {
    Cc::new().with_en(true).with_iosqes(6).with_iocqes(4)
}

fn enable(admin: &mut Queue, portal: SocketAddr, cap: &Cap) -> Result<(), HostError> {
    let sqe = Property { offset: offset::CC, is_wide: false }.set(u64::from(running().into_bits()));
    admin.call("Property Set (CC)", sqe, Data::None, |_| {})?;
    let limit = Duration::from_millis(500) * u32::from(cap.to().max(1));
    let began = Instant::now();
    loop {
        // A property of four bytes: the upper half is reserved.
        let value = get_property(admin, offset::CSTS, false)? & u64::from(u32::MAX);
        let csts = Csts::from_bits(u32::try_from(value).unwrap_or_default());
        if csts.rdy() {
            return Ok(());
        }
        if csts.cfs() {
            return Err(HostError::Unsupported { portal, what: "the controller reports a fatal status" });
        }
        if began.elapsed() > limit {
            return Err(HostError::TimedOut { portal, limit });
        }
        std::thread::sleep(READY_INTERVAL);
    }
}

fn identify(admin: &mut Queue, cns: Cns, nsid: u32) -> Result<Slot, HostError> {
    let mut sqe = Sqe::new(AdminOpcode::IDENTIFY.0, nsid);
    sqe.cdw10 = U32::new(u32::from(cns.0));
    Ok(admin.call("Identify", sqe, Data::Read(PAGE_BYTES), |_| {})?.slot)
}

fn identify_controller(admin: &mut Queue) -> Result<Capabilities, HostError> {
    let slot = identify(admin, Cns::CONTROLLER, 0)?;
    let page = admin.data(slot, PAGE_BYTES);
    let (ioccsz, icdoff, mdts) = match IdentifyController::ref_from_bytes(page) {
        Ok(page) => (page.ioccsz.get(), page.icdoff.get(), page.mdts),
        Err(_) => (0, 0, 0),
    };
    // TCP 1.1 §3.4: the capsule is 64 bytes of entry and the rest data; an offset is not supported here.
    let capsule = ioccsz.saturating_mul(16).saturating_sub(64);
    Ok(Capabilities {
        in_capsule_max: if icdoff == 0 { capsule } else { 0 },
        transfer_bytes_max: match mdts {
            0 => TRANSFER_BYTES_MAX,
            mdts => 4096u32
                .checked_shl(u32::from(mdts))
                .unwrap_or(TRANSFER_BYTES_MAX)
                .clamp(4096, TRANSFER_BYTES_MAX),
        },
    })
}

fn identify_namespace(admin: &mut Queue, target: &Target) -> Result<Namespace, HostError> {
    let nsid = target.nsid;
    namespace(admin, nsid).map_err(|error| {
        let is_invalid = |status: Status| status.is(Status::INVALID_NAMESPACE);
        let is_missing = matches!(error, HostError::Refused { status, .. } if is_invalid(status));
        if is_missing { HostError::NoNamespace { nsid } } else { error }
    })
}

fn namespace(admin: &mut Queue, nsid: u32) -> Result<Namespace, HostError> {
    let slot = identify(admin, Cns::NAMESPACE, nsid)?;
    let page = admin.data(slot, PAGE_BYTES);
    let Ok(page) = IdentifyNamespace::ref_from_bytes(page) else {
        return Err(HostError::NoNamespace { nsid });
    };
    let lbads = page.format().map_or(0, |format| format.lbads);
    // An inactive namespace is all zeroes (Base 2.1 §5.1.13.2).
    if page.nsze.get() == 0 || !(9..=20).contains(&lbads) {
        return Err(HostError::NoNamespace { nsid });
    }
    Ok(Namespace { nsid, block_bytes: 1 << lbads, blocks: page.nsze.get(), nguid: page.nguid })
}
