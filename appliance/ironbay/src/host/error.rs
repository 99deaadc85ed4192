//! Why a host does not get what it wants.

use nvme_spec::Status;
use nvme_tcp::ConnectionError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// An error of a host. After one other than `Refused` or `Full` the session is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No connection.
    #[error("cannot connect to {portal}")]
    Connect {
        /// Where.
        portal: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket failed.
    #[error("the connection to {portal} failed")]
    Socket {
        /// Where.
        portal: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The controller closed the connection.
    #[error("{portal} closed the connection")]
    Closed {
        /// Where.
        portal: SocketAddr,
    },
    /// The protocol was broken, by either side.
    #[error("the connection to {portal} ended")]
    Protocol {
        /// Where.
        portal: SocketAddr,
        /// How.
        source: ConnectionError,
    },
    /// Nothing came for too long.
    #[error("{portal} did not answer within {limit:?}")]
    TimedOut {
        /// Where.
        portal: SocketAddr,
        /// How long we waited.
        limit: Duration,
    },
    /// A command ended with an error.
    #[error("{command} was refused: {status}")]
    Refused {
        /// Which.
        command: &'static str,
        /// How.
        status: Status,
    },
    /// As many commands are in flight as the queue is deep.
    #[error("the queue is full")]
    Full,
    /// A name is longer than an NQN may be.
    #[error("\"{nqn}\" is no NQN: it has 1 to 223 bytes")]
    BadNqn {
        /// The name.
        nqn: String,
    },
    /// The namespace is not there.
    #[error("the subsystem has no namespace {nsid}")]
    NoNamespace {
        /// Which.
        nsid: u32,
    },
    /// The controller wants or offers something that this host cannot do.
    #[error("{portal}: {what}")]
    Unsupported {
        /// Where.
        portal: SocketAddr,
        /// What.
        what: &'static str,
    },
    /// A request of the caller does not fit the namespace.
    #[error(
        "{len} bytes at {offset} are not whole blocks of {block_bytes} bytes within the namespace's {size} bytes"
    )]
    BadRange {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Block size.
        block_bytes: u32,
        /// Size of the namespace.
        size: u64,
    },
}
