//! Bounds of this crate, and why.

use core::time::Duration;

/// Largest namespace identifier, reported as NN and MNAN. A pool holds at most 256 volumes; Linux sizes its ANA log buffer
/// from it (16 + 64·32 + 4·MNAN bytes), which must stay below MDTS.
pub const NSID_MAX: u32 = 1024;

/// ANA groups of a subsystem, fixed: a namespace keeps its group for life, ownership of groups will move between nodes.
pub const ANA_GROUPS: u32 = 64;

/// Hosts that register a key with one namespace. Owners keep as many; the largest clusters that share a volume have 64
/// nodes (Windows Server).
pub const REGISTRANTS_MAX: usize = 64;

/// Changes of one namespace's reservation or write protection that wait for the one before: as many as registrants.
pub const GUARD_WAITING_MAX: usize = 64;

/// Reservation notifications that a controller keeps for its host. Guessed: each needs a change of a reservation, which
/// people or a cluster's manager make one by one.
pub const RESERVATION_EVENTS_MAX: usize = 64;

/// Entries of a queue less one: CAP.MQES.
pub const MQES_Z: u16 = 1023;

/// I/O queues of one controller: one per processor of the host is what Linux asks for.
pub const IO_QUEUES_MAX: u16 = 64;

/// Controllers of all subsystems on a node. Guessed: 256 hosts with four associations each.
pub const CONTROLLERS_MAX: usize = 1024;

/// Connections: every queue of half of the controllers with eight queues, and some that are not associated yet. Guessed.
pub const CONNECTIONS_MAX: usize = 8192;

/// Subsystems on a node: one per pool. Guessed.
pub const SUBSYSTEMS_MAX: usize = 64;

/// Controller identifiers of one node: node *i* has *i*·2048+1 to *i*·2048+2047, so that nodes that export the same subsystem
/// never give the same one.
pub const CNTLIDS_PER_NODE: u16 = 2048;
/// Nodes that the identifiers of the dynamic model are enough for (Base 2.1 §3.1.2: FFF0h and above are reserved).
pub const NODES_MAX: u16 = 0xfff0 / CNTLIDS_PER_NODE;
const _: () = assert!(CONTROLLERS_MAX < CNTLIDS_PER_NODE as usize);

/// How long a Connect waits for its queue identifier before it is tried again. A closed socket is noticed much sooner.
pub const CONNECT_HOLD: Duration = Duration::from_millis(1);
/// Connects that wait so; each keeps its 1 KiB of data. One more is refused at once. Guessed: a host with all its queues.
pub const HELD_CONNECTS_MAX: usize = 64;

/// Referrals to other discovery subsystems: one for each other node, and some.
pub const REFERRALS_MAX: usize = 64;

/// MDTS as a power of two of 4 KiB pages: 1 MiB.
pub const MDTS: u8 = 8;
/// The same in bytes.
pub const TRANSFER_MAX: u32 = 4096 << MDTS;

/// MDTS of discovery controllers: 16 KiB, the header and fifteen records. Anybody may ask for such pages, and they are kept until
/// they are sent; hosts read the log in parts anyway, most of them 4 KiB at a time.
pub const DISCOVERY_MDTS: u8 = 2;
/// The same in bytes.
pub const DISCOVERY_TRANSFER_MAX: u32 = 4096 << DISCOVERY_MDTS;
const _: () = assert!(DISCOVERY_MDTS <= MDTS);

/// Memory for the discovery log of one controller: the name and the address of each subsystem. NQNs have 223 bytes at most.
pub const DISCOVERY_LOG_MEMORY_MAX: usize = (1 + SUBSYSTEMS_MAX + REFERRALS_MAX) * (64 + 223);

/// Write Zeroes: what hosts are asked to keep to (WZSL), as a power of two of 4 KiB pages: 32 MiB. With zero Linux takes MDTS
/// instead and needs 32 times as many commands; with more its 16-bit block count would wrap on 512-byte blocks, silently.
pub const WRITE_ZEROES_LIMIT: u8 = 13;

/// Dataset Management: logical blocks of one command that hosts are asked to keep to (DMRSL, DMSL): 1 GiB of 4 KiB blocks.
/// A drive without Write Zeroes of its own writes that in a second or two, well inside the 30 seconds after which Linux
/// resets the controller. Longer ones are executed, too.
pub const DATASET_BLOCKS_LIMIT: u32 = 1 << 18;

/// Copy: ranges of one command (MSRC). The list then fits into one block of memory.
pub const COPY_RANGES_MAX: u16 = 128;

/// Copy: logical blocks of one range (MSSRL): 4 MiB of 4 KiB blocks. Guessed.
pub const COPY_RANGE_BLOCKS_MAX: u16 = 1024;

/// Copy: logical blocks of one command (MCL): 64 MiB of 4 KiB blocks, half a second for a drive that reads and writes one
/// buffer after the other at 250 MB/s. Of 512-byte blocks it is 8 MiB: a copy that starts or ends within the drives' blocks has
/// its part of the volume for itself, so it must be short.
pub const COPY_BLOCKS_MAX: u32 = 16 * 1024;

/// Longest fused Compare and Write: one block of the drives, which is written at once. ESXi compares single blocks.
pub const FUSED_BYTES_MAX: u32 = 4096;

/// Asynchronous Event Requests that are held per controller (AERL is this less one). The standard recommends 4 at least.
pub const AER_MAX: usize = 4;

/// Abort commands that a host may have outstanding (ACL is this less one); we answer each at once.
pub const ABORT_MAX: u8 = 4;

/// Errors that the error log keeps per controller, 8 KiB. Guessed; hosts ask for all of them at once.
pub const ERRORS_MAX: usize = 127;

/// In-capsule data of I/O queues, announced as IOCCSZ. The transport (`nvme-tcp`) accepts as much; `target` asserts it.
pub const IN_CAPSULE_MAX: u32 = 16 * 1024;

/// Granularity of the keep alive timer (KAS), and the shortest timeout.
pub const KEEP_ALIVE_GRANULARITY_MS: u32 = 1000;

/// CAP.TO and CRTO.CRWMT in 500 ms units. We are ready at once; Linux only wants them nonzero.
pub const READY_TIMEOUT: u8 = 15;

/// RTD3E: a host waits at least so long for a shutdown. It is complete at once; a second is for the way. Guessed.
pub const SHUTDOWN_US: u32 = 1_000_000;

/// An association whose controller is disabled or shut down is kept this long (Base 2.1 §3.3.2.3: two minutes at least).
pub const IDLE_ASSOCIATION: Duration = Duration::from_secs(125);

/// A discovery controller without keep alive timeout is dropped after so long without a command (Base 2.1 §3.1.3.3).
pub const DISCOVERY_IDLE: Duration = Duration::from_secs(125);

/// Data of an admin command from the host: the largest is Connect with 1024 bytes.
pub const ADMIN_DATA_MAX: u32 = 4096;
