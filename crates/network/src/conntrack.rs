//! Forgetting connections of UDP ports (linux/netfilter/nfnetlink_conntrack.h).
//!
//! The kernel decides about translation at a flow's first packet and remembers it. UDP has no end that would
//! make it forget: a client that keeps sending from one socket would go on reaching the old container, or
//! nobody, after a port changed hands.

use crate::link::octets;
use crate::netlink::message::{ACK, Batch, DUMP, REQUEST, attribute};
use crate::netlink::socket::Socket;
use crate::nft::content::HostPort;
use rustix::io::Errno;
use std::collections::HashSet;
use std::net::IpAddr;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const UDP: u8 = 17;
/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// Forgets all flows to these host ports. A kernel that cannot list flows has none to forget for us.
pub(crate) fn forget(ports: &[HostPort]) -> Result<(), Errno> {
    let mut socket = Socket::netfilter()?;
    let wanted: HashSet<(IpAddr, u16)> = ports.iter().map(|port| (port.ip, port.port)).collect();
    let mut batch = Batch::default();
    batch.message(GET, REQUEST | DUMP, &[0; FAMILY_HEADER]);
    let mut found: Vec<(u8, Vec<u8>)> = Vec::new();
    match socket.query(&batch, |_, payload| found.extend(flow_to(payload, &wanted))) {
        Ok(()) => {}
        // Without nf_conntrack_netlink; the flows then end after their half minute of silence.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOENT | Errno::PROTONOSUPPORT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    for (family, tuple) in &found {
        batch.message(DELETE, REQUEST | ACK, &[*family, 0, 0, 0]);
        batch.attr(CTA_TUPLE_ORIG | 0x8000, tuple);
    }
    // A flow may have ended by itself meanwhile.
    let refusals = socket.each(&batch)?;
    refusals.into_iter().find(|r| r.errno != Errno::NOENT).map_or(Ok(()), |refusal| Err(refusal.errno))
}

/// Family and original tuple of a UDP flow to one of the ports.
fn flow_to(payload: &[u8], wanted: &HashSet<(IpAddr, u16)>) -> Option<(u8, Vec<u8>)> {
    let tuple = attribute(payload.get(FAMILY_HEADER..)?, CTA_TUPLE_ORIG)?;
    let protocol = attribute(tuple, CTA_TUPLE_PROTO)?;
    if attribute(protocol, CTA_PROTO_NUM)? != [UDP] {
        return None;
    }
    let port: [u8; 2] = attribute(protocol, CTA_PROTO_DST_PORT)?.try_into().ok()?;
    let port = u16::from_be_bytes(port);
    let addresses = attribute(tuple, CTA_TUPLE_IP)?;
    let to = attribute(addresses, CTA_IP_V4_DST).or_else(|| attribute(addresses, CTA_IP_V6_DST))?;
    let is_wanted = wanted.iter().any(|(ip, wanted)| {
        *wanted == port && (octets(*ip) == to || (ip.is_unspecified() && octets(*ip).len() == to.len()))
    });
    is_wanted.then(|| (payload[0], tuple.to_vec()))
}
