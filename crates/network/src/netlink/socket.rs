//! A synchronous netlink socket: send a batch, wait for what the kernel says about it.

use super::message::{Batch, HEADER_LEN, TYPE_DONE, TYPE_ERROR, read_u32, replies};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The kernel answers while `sendto` runs; a wait this long means a broken socket.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Dumps fill at most 32 KiB; acknowledgements of errors repeat the request, which our batches keep smaller.
const RECEIVE_BYTES: usize = 32 * 1024;
/// Room for a table with tens of thousands of published ports in one transaction.
const SEND_BYTES: usize = 16 * 1024 * 1024;

/// A request refused by the kernel: the position of the message in the batch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Counts from 0. The last message for errors of the whole batch.
    pub(crate) message: u32,
    /// The reason.
    pub(crate) errno: Errno,
}

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket for links, addresses and routes (rtnetlink(7)).
    pub(crate) fn route() -> Result<Self, Errno> {
        Self::open(None)
    }

    /// A socket for nf_tables.
    pub(crate) fn netfilter() -> Result<Self, Errno> {
        let socket = Self::open(Some(NETFILTER))?;
        // Refused without CAP_NET_ADMIN in the initial user namespace; the default then holds about
        // three thousand ports in one transaction.
        match set_socket_send_buffer_size_force(&socket.fd, SEND_BYTES) {
            Ok(()) | Err(Errno::PERM) => Ok(socket),
            Err(errno) => Err(errno),
        }
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, Errno> {
        let fd = open(protocol, SocketFlags::CLOEXEC, 0)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(REPLY_TIMEOUT))?;
        Ok(Self { fd, seq: 0, buffer: Vec::new() })
    }

    /// The number that notifications name this socket by.
    pub(crate) fn port(&self) -> Result<u32, Errno> {
        let address = rustix::net::getsockname(&self.fd)?;
        Ok(SocketAddrNetlink::try_from(address)?.pid())
    }

    /// Sends a batch whose messages all ask for an acknowledgement, and waits for all of them.
    /// The kernel goes on after a refused message; every refusal is returned.
    pub(crate) fn each(&mut self, batch: &Batch) -> Result<Vec<Refusal>, Errno> {
        let first = self.send(batch)?;
        let mut refusals = Vec::new();
        let mut left = batch.len();
        while left > 0 {
            let received = self.receive()?;
            for reply in replies(&self.buffer[..received]) {
                let index = reply.seq.wrapping_sub(first);
                if reply.kind != TYPE_ERROR || index >= batch.len() || reply.payload.len() < 4 {
                    continue;
                }
                left = left.saturating_sub(1);
                if let Some(errno) = error_of(reply.payload) {
                    refusals.push(Refusal { message: index, errno });
                }
            }
        }
        Ok(refusals)
    }

    /// Sends a batch of which only the message at `last` is acknowledged, as nf_tables transactions are.
    pub(crate) fn transaction(&mut self, batch: &Batch, last: u32) -> Result<(), Refusal> {
        let whole = |errno| Refusal { message: last, errno };
        let first = self.send(batch).map_err(whole)?;
        let mut refusal: Option<Refusal> = None;
        let mut done = false;
        loop {
            let received = match self.receive() {
                Ok(received) => received,
                // A transaction refused as a whole acknowledges nothing else.
                Err(errno) => return Err(refusal.unwrap_or(whole(errno))),
            };
            for reply in replies(&self.buffer[..received]) {
                let index = reply.seq.wrapping_sub(first);
                if reply.kind != TYPE_ERROR || index >= batch.len() || reply.payload.len() < 4 {
                    continue;
                }
                if let Some(errno) = error_of(reply.payload) {
                    refusal.get_or_insert(Refusal { message: index, errno });
                }
                done |= index == last || index == 0;
            }
            if done {
                return refusal.map_or(Ok(()), Err);
            }
        }
    }

    /// Sends one request and calls `each` with every reply until the acknowledgement or the end of the dump.
    pub(crate) fn query(&mut self, batch: &Batch, mut each: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        let first = self.send(batch)?;
        loop {
            let received = self.receive()?;
            for reply in replies(&self.buffer[..received]) {
                if reply.seq != first {
                    continue;
                }
                match reply.kind {
                    TYPE_DONE => return Ok(()),
                    TYPE_ERROR if reply.payload.len() >= 4 => {
                        return error_of(reply.payload).map_or(Ok(()), Err);
                    }
                    kind => each(kind, reply.payload),
                }
            }
        }
    }

    /// Sends and returns the sequence number of the first message.
    fn send(&mut self, batch: &Batch) -> Result<u32, Errno> {
        // What an earlier, failed exchange left must not be taken for an answer.
        while self.receive_now().is_ok_and(|received| received.is_some()) {}
        let bytes = batch.numbered(self.seq);
        let first = self.seq.wrapping_add(1);
        self.seq = self.seq.wrapping_add(batch.len());
        let kernel = SocketAddrNetlink::new(0, 0);
        let sent = rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &kernel)?;
        if sent == bytes.len() { Ok(first) } else { Err(Errno::IO) }
    }

    fn receive(&mut self) -> Result<usize, Errno> {
        self.buffer.resize(RECEIVE_BYTES, 0);
        loop {
            match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((received, whole)) if whole <= received && received >= HEADER_LEN => return Ok(received),
                Ok(_) => return Err(Errno::MSGSIZE),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive_now(&mut self) -> Result<Option<usize>, Errno> {
        self.buffer.resize(RECEIVE_BYTES, 0);
        loop {
            match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((received, _)) => return Ok(Some(received)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Opens a netlink socket that hears the multicast `groups` (a bit mask, groups count from 1).
pub(crate) fn open(protocol: Option<Protocol>, flags: SocketFlags, groups: u32) -> Result<OwnedFd, Errno> {
    let fd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags | SocketFlags::CLOEXEC,
        protocol,
    )?;
    rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

/// The error in an `NLMSG_ERROR` payload; zero is success.
fn error_of(payload: &[u8]) -> Option<Errno> {
    let code = read_u32(payload, 0) as i32;
    (code != 0).then(|| Errno::from_raw_os_error(-code))
}
