//! The DHCPv4 client: a state machine without sockets or clock, its codec, and the process that drives it.
//!
//! ```text
//!  role      sockets, interfaces, addresses, /run/ironbay/net.json      (impure)
//!  client    RFC 2131 §4.4 as a machine: on_link/on_message/on_deadline in, poll_* out
//!  message   the DHCP message: fixed part and options
//!  frame     IPv4 and UDP around it, for an interface that has no address yet
//! ```
//!
//! The client runs in a process of its own, because it reads what strangers on the network send: should it ever fail on
//! that, PID 1 starts it again.

pub mod client;
pub mod frame;
pub mod message;
pub mod role;
#[cfg(test)]
mod tests;
