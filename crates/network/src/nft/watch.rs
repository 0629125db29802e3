//! Notices when somebody else removes our table or parts of it, as a firewall reload does.

use crate::netlink::message::{attribute, replies, text};
use crate::netlink::socket::open;
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{RecvFlags, SocketFlags};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `NFNLGRP_NFTABLES` as a bit of the group mask.
const GROUP: u32 = 1 << 6;
const SUBSYSTEM: u16 = 10;
/// `NFT_MSG_DELTABLE`, `DELCHAIN`, `DELRULE`, `DELSET`, `DELSETELEM`.
const REMOVALS: [u16; 5] = [2, 5, 8, 11, 14];
/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;
/// One notification is at most a page; several may share a datagram.
const RECEIVE_BYTES: usize = 32 * 1024;

/// A subscription to the changes of all tables, in the network namespace of the thread that made it.
#[derive(Debug)]
pub(crate) struct Watch {
    fd: OwnedFd,
}

impl Watch {
    /// Begins to listen.
    pub(crate) fn new() -> Result<Self, Errno> {
        open(Some(NETFILTER), SocketFlags::NONBLOCK, GROUP).map(|fd| Self { fd })
    }

    /// Calls `damaged` whenever something was removed from `table` by a socket other than `own`.
    /// Must run inside a tokio runtime; ends with an error of the socket.
    pub(crate) async fn run(self, table: &str, own: u32, mut damaged: impl FnMut()) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor may change; ours cannot"
        )]
        let fd = AsyncFd::with_interest(self.fd, Interest::READABLE)?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let mut ready = fd.readable().await?;
            let mut hit = false;
            loop {
                match rustix::net::recv(&fd, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                    Ok((received, _)) => hit |= removes(&buffer[..received], table, own),
                    Err(Errno::INTR) => {}
                    // Notifications were lost: take the worst.
                    Err(Errno::NOBUFS) => hit = true,
                    Err(Errno::AGAIN) => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
            ready.clear_ready();
            if hit {
                damaged();
            }
        }
    }
}

fn removes(datagram: &[u8], table: &str, own: u32) -> bool {
    replies(datagram).any(|reply| {
        reply.kind >> 8 == SUBSYSTEM
            && REMOVALS.contains(&(reply.kind & 0xff))
            && reply.port != own
            && reply.payload.len() > FAMILY_HEADER
            && attribute(&reply.payload[FAMILY_HEADER..], 1).is_some_and(|name| text(name) == table)
    })
}
