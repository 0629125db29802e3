//! Datagrams over IPv6 with the address that they were sent to (ipv6(7), IPV6_PKTINFO): who answers for many addresses has
//! to answer from the one that was asked.

use crate::process::check;
use rustix::fd::{AsFd, AsRawFd};
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};

/// The two ends of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The other's.
    pub peer: SocketAddrV6,
    /// Ours.
    pub own: Ipv6Addr,
    /// The interface that it came by.
    pub interface: u32,
}

/// Room for one control message with a `struct in6_pktinfo`, as aligned as the kernel's headers have to be.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Has the kernel say of each datagram which address it was sent to.
pub fn ask_for_destination(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = size_of_val(&on) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `size` bytes of an int that lives.
    check(unsafe {
        libc::setsockopt(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, (&raw const on).cast(), size)
    })
}

/// Receives a datagram without waiting; what is longer than `buffer` is cut.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    // SAFETY: both are plain numbers and pointers, of which all zero bytes are values.
    let (mut name, mut message): (libc::sockaddr_in6, libc::msghdr) = unsafe { std::mem::zeroed() };
    let mut control = Control([0; 64]);
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    fill(&mut message, &mut name, &mut piece, &mut control);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the message points to a name, a piece and a control buffer that live through the call, with their lengths.
    let received = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_DONTWAIT) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let info =
        packet_info(&message).ok_or_else(|| io::Error::other("a datagram came without its destination"))?;
    let ends = Ends {
        peer: SocketAddrV6::new(
            Ipv6Addr::from(name.sin6_addr.s6_addr),
            u16::from_be(name.sin6_port),
            name.sin6_flowinfo,
            name.sin6_scope_id,
        ),
        own: Ipv6Addr::from(info.ipi6_addr.s6_addr),
        interface: info.ipi6_ifindex,
    };
    Ok((received, ends))
}

/// Sends a datagram from `ends.own` without waiting. The kernel chooses the way but for addresses of one link.
pub fn send(socket: impl AsFd, datagram: &[u8], ends: &Ends) -> io::Result<()> {
    // SAFETY: as above.
    let (mut name, mut message): (libc::sockaddr_in6, libc::msghdr) = unsafe { std::mem::zeroed() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_addr.s6_addr = ends.peer.ip().octets();
    name.sin6_port = ends.peer.port().to_be();
    name.sin6_scope_id = ends.peer.scope_id();
    let mut control = Control([0; 64]);
    let mut piece = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    fill(&mut message, &mut name, &mut piece, &mut control);
    let is_of_link = ends.own.is_unicast_link_local() || ends.own.is_multicast();
    let info = libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: ends.own.octets() },
        ipi6_ifindex: if is_of_link { ends.interface } else { 0 },
    };
    put_packet_info(&mut message, info);
    let fd = socket.as_fd().as_raw_fd();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: as above; the kernel only reads.
    let sent = unsafe { libc::sendmsg(fd, &raw const message, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn fill(
    message: &mut libc::msghdr,
    name: &mut libc::sockaddr_in6,
    piece: &mut libc::iovec,
    control: &mut Control,
) {
    message.msg_name = (&raw mut *name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
}

fn packet_info(message: &libc::msghdr) -> Option<libc::in6_pktinfo> {
    // SAFETY: the kernel has filled the control buffer that the message points to; the macros stay within its length, and
    // a header of this kind is followed by the structure, which need not be aligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
                return Some(libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned());
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

/// Makes the control buffer one message.
fn put_packet_info(message: &mut libc::msghdr, info: libc::in6_pktinfo) {
    let size = size_of::<libc::in6_pktinfo>() as u32;
    // SAFETY: the buffer has 64 aligned bytes; a header and the structure take 40 of them.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = libc::IPPROTO_IPV6;
        (*header).cmsg_type = libc::IPV6_PKTINFO;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().write_unaligned(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn answers_come_from_the_address_that_was_asked() {
        let Ok(server) = UdpSocket::bind("[::]:0") else { return };
        ask_for_destination(&server).unwrap();
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.connect(("::1", server.local_addr().unwrap().port())).unwrap();
        let mut buffer = [0; 16];
        let nothing = receive(&server, &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        client.send(b"ask").unwrap();
        let (n, ends) = receive(&server, &mut buffer).unwrap();
        assert_eq!((&buffer[..n], ends.own), (&b"ask"[..], Ipv6Addr::LOCALHOST));
        assert_eq!(std::net::SocketAddr::from(ends.peer), client.local_addr().unwrap());
        send(&server, b"answer", &ends).unwrap();
        let n = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"answer");
    }
}
