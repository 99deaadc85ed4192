//! Listening sockets.

use crate::limits::{PROBE_AFTER_S, PROBE_PERIOD_S, UNCONFIRMED_MS_MAX};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getpeername, getsockname, listen,
    setsockopt, socket, sockopt,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Names a listener; numbered from 0 in the order of [`Net::listen`](crate::Net::listen).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub usize);

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) fd: OwnedFd,
    /// The kernel holds an accept operation for it.
    pub(crate) is_armed: bool,
}

impl Listener {
    pub(crate) fn open(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        // Connections inherit these.
        setsockopt(&fd, sockopt::KeepAlive, &true)?;
        setsockopt(&fd, sockopt::TcpKeepIdle, &PROBE_AFTER_S)?;
        setsockopt(&fd, sockopt::TcpKeepInterval, &PROBE_PERIOD_S)?;
        setsockopt(&fd, sockopt::TcpUserTimeout, &UNCONFIRMED_MS_MAX)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        // As many waiting connections as the system allows (net.core.somaxconn): after a restart all hosts come at once.
        listen(&fd, Backlog::MAXALLOWABLE)?;
        let local = local_address(fd.as_raw_fd())?;
        Ok((Self { fd, is_armed: false }, local))
    }
}

/// The address of this end.
pub(crate) fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    to_std(&getsockname::<SockaddrStorage>(fd)?)
}

/// The address of the other end.
pub(crate) fn peer_address(fd: RawFd) -> io::Result<SocketAddr> {
    to_std(&getpeername::<SockaddrStorage>(fd)?)
}

/// Small PDUs must not wait for acknowledgements of earlier ones.
pub(crate) fn set_no_delay(fd: &OwnedFd) -> io::Result<()> {
    Ok(setsockopt(fd, sockopt::TcpNoDelay, &true)?)
}

fn to_std(address: &SockaddrStorage) -> io::Result<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Ok(SocketAddr::V4((*v4).into()));
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Ok(SocketAddr::V6((*v6).into()));
    }
    Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}
