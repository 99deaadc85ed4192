//! A pool on a simulated drive. Method: the test is the owner of the drive and of the volumes.

mod operations;
mod troubles;

use crate::{Change, Changed, Server};
use block::{BLOCK_SIZE, BlockDevice, Blocks, Completion, Lba, MediaError, Op, Tag};
use core::cell::Cell;
use ondisk::Name;
use ondisk::thin::{ThinIdentity, VolumeKind};
use sim::{Drive, Random, SimDrive};
use std::rc::Rc;
use uuid::Uuid;
use volume::{ImportError, NewVolume};

/// A pool and its drive.
struct Bench {
    drive: SimDrive,
    server: Server<Vec<u8>>,
    random: Random,
    next_tag: u64,
    /// Buffers that the pool took for itself, by their blocks.
    longest: Rc<Cell<usize>>,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn identity() -> ThinIdentity {
    ThinIdentity { pool: Uuid::from_u128(1), drive: Uuid::from_u128(2) }
}

fn volume(number: u128) -> NewVolume {
    let (uuid, name) = (Uuid::from_u128(100 + number), name(&format!("v{number}")));
    NewVolume { uuid, name, kind: VolumeKind::Volume, attributes: Box::default() }
}

/// So many blocks, each of which says which one it is.
fn data(seed: u64, blocks: u64) -> Vec<u8> {
    (0..blocks).flat_map(|block| (seed * 1000 + block).to_le_bytes().repeat(BLOCK_SIZE / 8)).collect()
}

fn write(lba: u64, buf: Vec<u8>) -> Op<Vec<u8>> {
    Op::Write { lba: Lba(lba), buf, fua: false }
}

fn read(lba: u64, blocks: u64) -> Op<Vec<u8>> {
    Op::Read { lba: Lba(lba), buf: vec![0xaa; Blocks(blocks).buffer_len().expect("short")] }
}

fn zeroes(lba: u64, blocks: u64) -> Op<Vec<u8>> {
    Op::WriteZeroes { lba: Lba(lba), blocks: Blocks(blocks), fua: false }
}

impl Bench {
    /// A new pool on a drive.
    fn new(drive: Drive) -> Self {
        let (drive, longest) = (SimDrive::new(drive), Rc::default());
        let memory = memory(&longest);
        let server = Server::format(identity(), name("tank"), drive.geometry(), memory);
        Self::open(drive, server, longest).expect("a blank drive")
    }

    /// The same drive, without power for a moment, and another life of the pool.
    fn restart(mut self) -> Result<Self, ImportError> {
        self.drive.power_cut(&mut self.random);
        let Self { drive, longest, .. } = self;
        let server = Server::import(drive.geometry(), memory(&longest));
        Self::open(drive, server, longest)
    }

    fn open(drive: SimDrive, server: Server<Vec<u8>>, longest: Rc<Cell<usize>>) -> Result<Self, ImportError> {
        let mut bench = Self { drive, server, random: Random(7), next_tag: 0, longest };
        loop {
            bench.turn();
            if let Some(opened) = bench.server.opened() {
                return opened.map(|()| bench);
            }
        }
    }

    /// What the loop of a core does in a round; the drive ends one command.
    fn turn(&mut self) {
        self.server.run();
        while let Some((member, tag, op)) = self.server.poll_op() {
            assert_eq!(member, 0, "a pool of one drive");
            self.drive.submit(tag, op).expect("the pool knows the depth of its drive");
        }
        if !self.drive.is_idle() {
            self.drive.step(&mut self.random);
        }
        while let Some(completion) = self.drive.poll() {
            self.server.on_completion(0, completion);
        }
    }

    fn change(&mut self, change: Change) -> Changed {
        self.server.begin(change);
        loop {
            self.turn();
            if let Some(changed) = self.server.poll_change() {
                return changed;
            }
        }
    }

    fn create(&mut self, number: u128, blocks: u64) -> u32 {
        let created = self.change(Change::Create { blocks: Blocks(blocks), new: volume(number) });
        created.expect("created").expect("it has a number")
    }

    fn submit(&mut self, volume: u32, op: Op<Vec<u8>>) -> Tag {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        self.server.submit(tag, volume, op).expect("there is a place");
        tag
    }

    /// Until the next operation ends.
    fn next(&mut self) -> Completion<Vec<u8>> {
        for _ in 0..100_000 {
            if let Some(completion) = self.server.poll() {
                return completion;
            }
            self.turn();
        }
        panic!("an operation does not end");
    }

    /// One operation alone.
    fn run(&mut self, volume: u32, op: Op<Vec<u8>>) -> Result<Option<Vec<u8>>, MediaError> {
        let tag = self.submit(volume, op);
        let completion = self.next();
        assert_eq!(completion.tag, tag);
        completion.result.map(|()| completion.buf)
    }
}

fn memory(longest: &Rc<Cell<usize>>) -> impl Fn(usize) -> Vec<u8> + 'static {
    let longest = Rc::clone(longest);
    move |len| {
        longest.set(longest.get().max(len));
        vec![0xaa; len]
    }
}
