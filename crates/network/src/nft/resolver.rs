//! A table inside a container's namespace that leads its questions about names to the engine's sockets there.

use super::content::number;
use super::expression::{Expression as E, Header, Meta, REG};
use super::transaction::{Hook, Transaction};
use crate::netlink::socket::Socket;
use rustix::io::Errno;
use std::net::Ipv4Addr;
use wharf_model::ports::Protocol;

const NFPROTO_IPV4: u8 = 2;
const LOCAL_OUT: u32 = 3;
const PORT: u16 = 53;

/// Leads port 53 of `address` to the ports `udp` and `tcp` of it, in the namespace of the calling thread, in place of
/// whatever table has the name.
pub(crate) fn lead(table: &str, address: Ipv4Addr, udp: u16, tcp: u16) -> Result<(), Errno> {
    let mut transaction = Transaction::new(table);
    transaction.add_table().delete_table().add_table();
    transaction.add_chain("resolver", Some(&Hook { kind: "nat", number: LOCAL_OUT, priority: -100 }));
    for (protocol, port) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
        // ip daddr ADDRESS meta l4proto PROTOCOL th dport 53 dnat ip to ADDRESS:PORT
        let rule = [
            E::Meta { key: Meta::Family, register: REG },
            E::Equal { register: REG, value: vec![NFPROTO_IPV4] },
            E::Payload { header: Header::Network, offset: 16, len: 4, register: REG },
            E::Equal { register: REG, value: address.octets().to_vec() },
            E::Meta { key: Meta::Protocol, register: REG },
            E::Equal { register: REG, value: vec![number(protocol)] },
            E::Payload { header: Header::Transport, offset: 2, len: 2, register: REG },
            E::Equal { register: REG, value: PORT.to_be_bytes().to_vec() },
            E::Load { register: REG, value: address.octets().to_vec() },
            E::Load { register: REG + 1, value: port.to_be_bytes().to_vec() },
            E::DestinationNat { family: u32::from(NFPROTO_IPV4), address: REG, port: REG + 1 },
        ];
        transaction.add_rule("resolver", &rule);
    }
    transaction.commit(&mut Socket::netfilter()?)
}

/// Removes the table; nothing happens when there is none.
pub(crate) fn remove(table: &str) -> Result<(), Errno> {
    let mut transaction = Transaction::new(table);
    // Deleting what was just made never fails for want of it.
    transaction.add_table().delete_table();
    transaction.commit(&mut Socket::netfilter()?)
}
