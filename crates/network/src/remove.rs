//! Removing an interface without waiting for the kernel's last clean-up of it.
//!
//! The kernel makes the one who removes an interface wait until nobody can hold a reference to it any more,
//! some 40 ms after it is gone for everybody else. A thread of its own waits; the caller goes on as soon as
//! the interface is gone.

use crate::link;
use crate::netlink::message::{attribute, replies, text};
use crate::netlink::socket::{Socket, open};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

/// `RTMGRP_LINK`, the links' changes.
const GROUP_LINK: u32 = 1;
const RTM_DELLINK: u16 = 17;
const IFLA_IFNAME: u16 = 3;
/// Length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// A notification is at most a page or two.
const RECEIVE_BYTES: usize = 16 * 1024;
/// The kernel needs a millisecond or two; a whole host of interfaces going down at once needs longer.
const LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Removes a link of the calling thread's namespace; nothing happens when there is none of this name.
/// Returns when it is gone.
pub(crate) fn remove(name: &str) -> Result<(), Errno> {
    let changes = open(None, SocketFlags::NONBLOCK, GROUP_LINK)?;
    let done = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let outcome = Arc::new(OnceLock::new());
    let worker = {
        let (name, done, outcome) = (name.to_owned(), Arc::clone(&done), Arc::clone(&outcome));
        move || {
            // Set once, here only.
            let _ = outcome.set(Socket::route().and_then(|mut socket| link::delete(&mut socket, &name)));
            // An event counter takes 2^64 - 2 of these.
            let _ = rustix::io::write(&done, &1u64.to_ne_bytes());
        }
    };
    std::thread::Builder::new()
        .name("unlink".into())
        .stack_size(64 * 1024)
        .spawn(worker)
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::AGAIN))?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(changes.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(done.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&LIMIT)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if let Some(result) = outcome.get() {
            return *result;
        }
        match rustix::net::recv(&changes, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((received, _)) if is_gone(&buffer[..received], name) => return Ok(()),
            // Lost notifications: the worker's word remains.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn is_gone(datagram: &[u8], name: &str) -> bool {
    replies(datagram).any(|reply| {
        reply.kind == RTM_DELLINK
            && reply.payload.len() > LINK_HEADER
            // Leaving a bridge is told in the same words, for the bridge's family.
            && reply.payload[0] == 0
            && attribute(&reply.payload[LINK_HEADER..], IFLA_IFNAME).is_some_and(|found| text(found) == name)
    })
}
