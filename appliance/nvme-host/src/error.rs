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
    #[error("{command} was refused: {}", told(command, *status))]
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

/// The status in words. Codes of Connect overlap with those of other commands (Base 2.1 figure 105).
fn told(command: &str, status: Status) -> String {
    let of_connect = [
        (Status::CONNECT_INCOMPATIBLE_FORMAT, "the format of Connect is not understood"),
        (Status::CONNECT_CONTROLLER_BUSY, "the controller is busy"),
        (Status::CONNECT_INVALID_PARAMETERS, "no such subsystem, or it is not served now"),
        (Status::CONNECT_RESTART_DISCOVERY, "discovery has to be repeated"),
        (Status::CONNECT_INVALID_HOST, "this host may not connect"),
    ];
    let meaning = of_connect.iter().find(|(code, _)| command == "Connect" && status.is(*code));
    match meaning {
        Some((_, words)) => format!("{words} ({:x}h/{:02x}h)", status.sct(), status.sc()),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a refused Connect is not told in the words of another command with the same code.
    #[test]
    fn codes_of_connect_have_their_own_words() {
        let refused =
            |command| HostError::Refused { command, status: Status::CONNECT_INVALID_PARAMETERS.dnr() };
        assert_eq!(
            refused("Connect").to_string(),
            "Connect was refused: no such subsystem, or it is not served now (1h/82h)"
        );
        assert_eq!(
            refused("Write").to_string(),
            "Write was refused: attempted write to read only range (1h/82h), do not retry"
        );
    }
}
