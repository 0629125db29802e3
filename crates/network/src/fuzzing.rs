//! Doors for `tests/fuzz` to what reads messages of the kernel and queries for names.

use crate::netlink::message::{Reply, attributes, replies, text};
use std::net::IpAddr;

/// How deep attributes of the kernel lie in each other.
const DEPTH: u32 = 8;

/// A datagram of a netlink socket.
pub fn netlink(datagram: &[u8]) {
    for Reply { payload, .. } in replies(datagram) {
        let _ = crate::link::parse_link(payload);
        walk(payload, DEPTH);
    }
}

fn walk(bytes: &[u8], depth: u32) {
    for (_, content) in attributes(bytes) {
        let _ = text(content);
        if depth > 0 {
            walk(content, depth - 1);
        }
    }
}

/// A query that a container sends.
pub fn dns(query: &[u8]) {
    crate::dns::fuzzing(query, IpAddr::from([10, 0, 1, 7]));
}
