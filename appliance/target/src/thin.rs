//! Pools of the thin engine: their servers between commands and drives.
//!
//! ```text
//!  advance ─▶ Thin::submit ─ no place: waits ─▶ server ─▶ run_pools ─▶ devices (tags with POOL_TAG)
//!  on_completion ◀── next_completion ◀── server ◀───────────────────────┘
//! ```
//!
//! Invariants
//! - A server runs when completions of a round were given to it, and before drives are kicked; after that it has nothing new. So the
//!   core may sleep if drives may.
//! - Buffers that an engine takes for itself were set aside for it ([`Target::reserve_for`]).

use crate::Target;
use crate::limits::CHUNK_BYTES;
use block::{Completion, Op, Tag};
use dma::{Arena, DmaBuf};
use pool::DriveId;
use std::collections::VecDeque;
use thin::Server;
use thin::limits::{OPERATIONS_MAX, SLOTS, TRANSFER_BLOCKS_MAX};
use uuid::Uuid;

/// Tags of what engines want of drives have this bit.
const POOL_TAG: u64 = 1 << 62;

/// Room in a tag for the engine's own; which pool it is stands above.
const POOL_TAG_BITS: u32 = 32;

const _: () = assert!(TRANSFER_BLOCKS_MAX == (CHUNK_BYTES / block::BLOCK_SIZE) as u64);
const _: () = assert!(CHUNK_BYTES <= dma::limits::SLOT_LARGE);

/// Sets aside what the engine of one pool takes for itself; `None` if the arena has not so much now.
fn reserve(arena: &Arena) -> Option<Arena> {
    arena.set_aside([SLOTS.0, 0, SLOTS.1])
}

/// Buffers of what was set aside ([`Target::reserve_for`]).
pub fn memory(reserve: Arena) -> impl Fn(usize) -> DmaBuf + 'static {
    move |len| reserve.alloc(len).expect("as many were set aside as an engine takes")
}

/// A pool of the thin engine on its drive.
#[derive(Debug)]
pub struct Thin {
    pool: Uuid,
    drive: DriveId,
    server: Server<DmaBuf>,
    /// Numbers that the engine has for volumes, by namespace, in ascending order.
    numbers: Vec<(u32, u32)>,
    /// Operations that found no place.
    waiting: VecDeque<(Tag, u32, Op<DmaBuf>)>,
}

impl Thin {
    /// A pool that is being made or opened.
    #[must_use]
    pub fn new(pool: Uuid, drive: DriveId, server: Server<DmaBuf>) -> Self {
        let waiting = VecDeque::with_capacity(OPERATIONS_MAX);
        Self { pool, drive, server, numbers: Vec::new(), waiting }
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &Server<DmaBuf> {
        &self.server
    }

    /// Its server, for changes.
    pub fn server_mut(&mut self) -> &mut Server<DmaBuf> {
        &mut self.server
    }

    /// A volume is there, under this number of the engine.
    pub fn add_volume(&mut self, nsid: u32, number: u32) {
        let at = self.numbers.partition_point(|(other, _)| *other < nsid);
        self.numbers.insert(at, (nsid, number));
    }

    /// A volume is gone.
    pub fn remove_volume(&mut self, nsid: u32) {
        self.numbers.retain(|(other, _)| *other != nsid);
    }

    /// The engine's number of a volume.
    #[must_use]
    pub fn number_of(&self, nsid: u32) -> Option<u32> {
        let at = self.numbers.binary_search_by_key(&nsid, |(nsid, _)| *nsid).ok()?;
        Some(self.numbers[at].1)
    }

    pub(crate) fn submit(&mut self, tag: Tag, number: u32, op: Op<DmaBuf>) {
        // Nobody overtakes.
        let refused =
            if self.waiting.is_empty() { self.server.submit(tag, number, op).err() } else { Some(op) };
        self.waiting.extend(refused.map(|op| (tag, number, op)));
    }

    fn run(&mut self) -> bool {
        while let Some((tag, number, op)) = self.waiting.pop_front() {
            if let Err(op) = self.server.submit(tag, number, op) {
                self.waiting.push_front((tag, number, op));
                break;
            }
        }
        self.server.run()
    }

    /// Nothing is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.server.is_quiet()
    }
}

impl Target {
    /// The memory that is set aside for the pool of a drive: the same whenever it is asked for. `None` if there is not enough now;
    /// so this is asked for before hosts come.
    pub fn reserve_for(&mut self, drive: DriveId) -> Option<Arena> {
        if let Some((_, reserve)) = self.reserves.iter().find(|(other, _)| *other == drive) {
            return Some(reserve.clone());
        }
        let reserve = reserve(&self.arena)?;
        self.reserves.push((drive, reserve.clone()));
        Some(reserve)
    }

    /// Takes over a pool of the thin engine; it works from now on, and is exported by [`Target::add_pool`].
    pub fn add_thin(&mut self, thin: Thin) {
        match self.thin.iter().position(Option::is_none) {
            Some(place) => self.thin[place] = Some(thin),
            None => self.thin.push(Some(thin)),
        }
    }

    /// A pool of the thin engine.
    #[must_use]
    pub fn thin(&self, pool: Uuid) -> Option<&Thin> {
        self.thin.iter().flatten().find(|thin| thin.pool == pool)
    }

    /// A pool of the thin engine, to change it.
    pub fn thin_mut(&mut self, pool: Uuid) -> Option<&mut Thin> {
        self.thin.iter_mut().flatten().find(|thin| thin.pool == pool)
    }

    /// A pool of the thin engine is gone, or was never opened. What it has at its drive must have ended.
    pub fn remove_thin(&mut self, pool: Uuid) {
        for place in &mut self.thin {
            place.take_if(|thin| thin.pool == pool);
        }
    }

    pub(crate) fn thin_place(&self, pool: Uuid) -> Option<usize> {
        self.thin.iter().position(|thin| thin.as_ref().is_some_and(|thin| thin.pool == pool))
    }

    /// Lets pools work with what is new, and hands on what they want of their drives; says whether there was anything.
    pub(crate) fn run_pools(&mut self) -> bool {
        let mut has_worked = false;
        for (place, thin) in self.thin.iter_mut().enumerate() {
            let Some(thin) = thin else { continue };
            has_worked |= thin.run();
            while let Some((_, tag, op)) = thin.server.poll_op() {
                assert!(tag.0 < 1 << POOL_TAG_BITS, "an engine has few commands");
                let tag = Tag(POOL_TAG | ((place as u64) << POOL_TAG_BITS) | tag.0);
                self.devices.submit(thin.drive, tag, op);
            }
        }
        has_worked
    }

    /// The next operation that has ended, of a drive or a volume.
    pub(crate) fn next_completion(&mut self) -> Option<Completion<DmaBuf>> {
        loop {
            let of_volume = self.thin.iter_mut().flatten().find_map(|thin| thin.server.poll());
            if of_volume.is_some() {
                return of_volume;
            }
            match self.devices.poll() {
                Some(completion) if is_pools(completion.tag) => self.on_pool_completion(completion),
                Some(completion) => return Some(completion),
                None if self.run_pools() => {}
                None => return None,
            }
        }
    }

    fn on_pool_completion(&mut self, completion: Completion<DmaBuf>) {
        let bits = completion.tag.0 & !POOL_TAG;
        let place = usize::try_from(bits >> POOL_TAG_BITS).unwrap_or(usize::MAX);
        let thin = self.thin.get_mut(place).and_then(Option::as_mut);
        let tag = Tag(bits & ((1 << POOL_TAG_BITS) - 1));
        let thin = thin.expect("a pool stays until its operations have ended");
        thin.server.on_completion(0, Completion { tag, ..completion });
    }

    /// No pool has anything under way.
    pub(crate) fn are_pools_quiet(&self) -> bool {
        self.thin.iter().flatten().all(Thin::is_quiet)
    }
}

fn is_pools(tag: Tag) -> bool {
    tag.0 & (POOL_TAG | crate::io::JOB_TAG) == POOL_TAG
}
