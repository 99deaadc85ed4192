//! Tests of the executor: order, fairness, equal runs, nothing given up half way.

mod claims;
mod devices;
mod order;

use crate::{Core, Executor};
use core::cell::RefCell;
use std::rc::Rc;

/// What happened, in order.
type Log = Rc<RefCell<Vec<String>>>;

fn bench() -> (Rc<Core>, Executor, Log) {
    let core = Core::new();
    let executor = Executor::new(&core);
    (core, executor, Log::default())
}

fn note(log: &Log, what: impl Into<String>) {
    log.borrow_mut().push(what.into());
}

fn taken(log: &Log) -> String {
    core::mem::take(&mut *log.borrow_mut()).join(" ")
}
