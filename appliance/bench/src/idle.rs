//! What an idle node costs: hosts are connected and do nothing.

use crate::machine::{Clock, pin_process};
use crate::node::Node;
use anyhow::Result;
use nvme_host::{Session, SessionConfig};
use std::time::{Duration, Instant};

/// Hosts that are connected, each with two IO queues.
pub(crate) const HOSTS: usize = 8;
/// Time for the node to notice that nothing comes any more.
const SETTLE: Duration = Duration::from_millis(500);

/// Share of one core that the node uses.
pub(crate) fn measure(node: &Node, core: usize, time: Duration) -> Result<f64> {
    let pid = node.pid()?;
    pin_process(pid, core)?;
    let connect = || Session::connect(&node.target, SessionConfig { queues: 2, ..SessionConfig::default() });
    let sessions = (0..HOSTS).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    std::thread::sleep(SETTLE);
    let (before, began) = (Clock::look(Some(pid)), Instant::now());
    std::thread::sleep(time);
    let (passed, elapsed) = (Clock::look(Some(pid)).since(&before), began.elapsed());
    sessions.into_iter().for_each(Session::close);
    Ok(passed.ran.as_secs_f64() / elapsed.as_secs_f64())
}
