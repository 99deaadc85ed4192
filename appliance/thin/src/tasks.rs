//! The tasks of a pool: some work on pieces of operations, one makes changes.

use crate::erase::erase;
use crate::line::LineDevice;
use crate::pieces::{Ended, Piece, Work};
use block::{Blocks, IoBuf};
use core::cell::Cell;
use std::rc::Rc;
use task::{Devices, Mailbox};
use volume::{Engine, EngineError, Memory, NewVolume};

/// A change of the volumes of a pool.
#[derive(Debug)]
pub enum Change {
    /// A new volume.
    Create {
        /// How long.
        blocks: Blocks,
        /// What it is.
        new: NewVolume,
    },
    /// A volume carries something else for its owner, and may get longer.
    Set {
        /// Its number.
        volume: u32,
        /// What it carries.
        attributes: Box<[u8]>,
        /// How long it gets.
        blocks: Option<Blocks>,
    },
    /// A volume goes.
    Delete {
        /// Its number.
        volume: u32,
    },
    /// The pool goes: its drives are blank afterwards. Nothing else may be under way, then or later.
    Erase,
}

/// How a change ended: with the number of the new volume, if there is one. It is durable then.
pub type Changed = Result<Option<u32>, EngineError>;

pub(crate) type PoolEngine<B> = Engine<LineDevice<B>>;

pub(crate) async fn serve<B: IoBuf>(
    engine: Rc<PoolEngine<B>>,
    pieces: Rc<Mailbox<Piece<B>>>,
    ended: Rc<Mailbox<Ended<B>>>,
) {
    loop {
        let Piece { at, volume, work } = pieces.take().await;
        let result = match work {
            Work::Read { first, buf } => engine.read(volume, first, buf).await.map(Some),
            Work::Write { first, buf, fua } => {
                let written = engine.write(volume, first, buf).await;
                let kept = if fua && written.is_ok() { engine.flush().await } else { Ok(()) };
                kept.and(written).map(Some)
            }
            Work::Trim { first, blocks, fua } => {
                let trimmed = engine.trim(volume, first, blocks).await;
                let kept = if fua && trimmed.is_ok() { engine.flush().await } else { Ok(()) };
                trimmed.and(kept).map(|()| None)
            }
            Work::Flush => engine.flush().await.map(|()| None),
        };
        assert!(ended.put(Ended { at, result }).is_ok(), "there is room for the pieces of all operations");
    }
}

/// What the task for changes needs.
pub(crate) struct Changing<B: IoBuf> {
    pub(crate) engine: Rc<PoolEngine<B>>,
    pub(crate) devices: Rc<Devices<LineDevice<B>>>,
    pub(crate) memory: Rc<Memory<B>>,
    pub(crate) begun: Rc<Mailbox<Change>>,
    pub(crate) ended: Rc<Cell<Option<Changed>>>,
}

pub(crate) async fn change<B: IoBuf>(changing: Changing<B>) {
    let Changing { engine, devices, memory, begun, ended } = changing;
    loop {
        let changed = match begun.take().await {
            Change::Create { blocks, new } => engine.create(blocks, new).await.map(Some),
            Change::Set { volume, attributes, blocks } => {
                set(&engine, volume, &attributes, blocks).await.map(|()| None)
            }
            Change::Delete { volume } => engine.delete(volume).await.map(|()| None),
            Change::Erase => {
                // None is due afterwards, so nothing is written behind the back of this.
                let _ = engine.checkpoint().await;
                erase(&devices, memory.as_ref()).await.map(|()| None).map_err(EngineError::Media)
            }
        };
        ended.set(Some(changed));
    }
}

/// What it carries first: it may say more than is there, and not less.
async fn set<B: IoBuf>(
    engine: &PoolEngine<B>,
    volume: u32,
    attributes: &[u8],
    blocks: Option<Blocks>,
) -> Result<(), EngineError> {
    engine.set_attributes(volume, attributes).await?;
    match blocks {
        Some(blocks) => engine.grow(volume, blocks).await,
        None => Ok(()),
    }
}
