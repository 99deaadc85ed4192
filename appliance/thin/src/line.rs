//! A drive as the tasks of a pool see it: what they submit waits here until the owner of the drive takes it.

use crate::limits::{DEPTH_MAX, TRANSFER_BLOCKS_MAX};
use block::{BlockDevice, Blocks, Completion, Geometry, IoBuf, Op, Tag};
use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What lies between the tasks and the owner of a drive.
#[derive(Debug)]
pub(crate) struct Line<B> {
    submitted: RefCell<VecDeque<(Tag, Op<B>)>>,
    completed: RefCell<VecDeque<Completion<B>>>,
}

impl<B: IoBuf> Line<B> {
    pub(crate) fn new() -> Rc<Self> {
        let room = DEPTH_MAX as usize;
        let (submitted, completed) = (VecDeque::with_capacity(room), VecDeque::with_capacity(room));
        Rc::new(Self { submitted: RefCell::new(submitted), completed: RefCell::new(completed) })
    }

    /// The next operation for the drive.
    pub(crate) fn take(&self) -> Option<(Tag, Op<B>)> {
        self.submitted.borrow_mut().pop_front()
    }

    /// The drive is done with one.
    pub(crate) fn give_back(&self, completion: Completion<B>) {
        self.completed.borrow_mut().push_back(completion);
    }
}

/// The tasks' end of it.
#[derive(Debug)]
pub struct LineDevice<B> {
    line: Rc<Line<B>>,
    geometry: Geometry,
}

impl<B: IoBuf> LineDevice<B> {
    pub(crate) fn new(line: Rc<Line<B>>, drive: Geometry) -> Self {
        let transfer_max = Blocks(drive.transfer_max.0.min(TRANSFER_BLOCKS_MAX));
        let depth_max = drive.depth_max.min(DEPTH_MAX);
        Self { line, geometry: Geometry { transfer_max, depth_max, ..drive } }
    }
}

impl<B: IoBuf> BlockDevice for LineDevice<B> {
    type Buf = B;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, tag: Tag, op: Op<B>) -> Result<(), Op<B>> {
        self.line.submitted.borrow_mut().push_back((tag, op));
        Ok(())
    }

    fn kick(&mut self) {}

    fn poll(&mut self) -> Option<Completion<B>> {
        self.line.completed.borrow_mut().pop_front()
    }
}
