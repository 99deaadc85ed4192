//! System calls that have no safe wrapper, and nothing else.
#![allow(
    unsafe_code,
    reason = "nix has no safe constructor of link-layer addresses, tokio none of watched files"
)]

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, sendto, socket,
};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::unix::AsyncFd;

/// Longest link-layer address that `sockaddr_ll` holds.
const LINK_ADDRESS_BYTES: usize = 8;

/// A link-layer address: interface `index`, protocol IPv4, and the hardware address for sending.
fn link_address(index: u32, hardware: Option<[u8; 6]>) -> Result<LinkAddr, Errno> {
    let mut destination = [0; LINK_ADDRESS_BYTES];
    for (to, from) in destination.iter_mut().zip(hardware.unwrap_or_default()) {
        *to = from;
    }
    let raw = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?,
        sll_protocol: u16::try_from(libc::ETH_P_IP).map_err(|_| Errno::EINVAL)?.to_be(),
        sll_ifindex: i32::try_from(index).map_err(|_| Errno::EINVAL)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if hardware.is_some() { 6 } else { 0 },
        sll_addr: destination,
    };
    let size = libc::socklen_t::try_from(size_of_val(&raw)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `raw` is a complete sockaddr_ll that lives until the end of this call, `size` is its size, and its
    // family is AF_PACKET as LinkAddr requires; the call copies it.
    unsafe { LinkAddr::from_raw((&raw const raw).cast(), Some(size)) }.ok_or(Errno::EINVAL)
}

/// A socket for IPv4 packets below the IP layer of one interface: works before the interface has an address.
///
/// # Errors
/// What the kernel says.
pub fn packet_socket(index: u32) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthIp)?;
    bind(fd.as_raw_fd(), &link_address(index, None)?)?;
    Ok(fd)
}

/// Sends one IPv4 packet, header included, to a hardware address.
///
/// # Errors
/// What the kernel says.
pub fn packet_send(fd: &OwnedFd, index: u32, hardware: [u8; 6], packet: &[u8]) -> Result<(), Errno> {
    let to = link_address(index, Some(hardware))?;
    sendto(fd.as_raw_fd(), packet, &to, MsgFlags::empty()).map(drop)
}

/// Watches a device that was opened without blocking.
///
/// # Errors
/// The kernel cannot watch this kind of file.
pub fn watch(file: File) -> std::io::Result<AsyncFd<File>> {
    // SAFETY: the File owns its descriptor, and nobody can replace or close it: AsyncFd owns the File, and gives out
    // shared references only as long as no method that needs a mutable one is called, which we never do.
    Ok(unsafe { AsyncFd::register(file) }?)
}
