//! Netlink: messages built and read as bytes, and synchronous request sockets (netlink(7)).

pub(crate) mod message;
pub(crate) mod socket;
