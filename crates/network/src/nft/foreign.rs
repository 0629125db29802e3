//! What other tables say about forwarded packets. Looked at, never touched.

use crate::netlink::message::{Batch, DUMP, REQUEST, attribute, text};
use crate::netlink::socket::Socket;
use rustix::io::Errno;

/// `NFT_MSG_GETCHAIN` of the nf_tables subsystem.
const GETCHAIN: u16 = 10 << 8 | 4;
/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const HOOK_FORWARD: [u8; 4] = [0, 0, 0, 2];
const POLICY_DROP: [u8; 4] = [0; 4];
/// Families whose chains see IP packets: inet, IPv4, IPv6.
const FAMILIES: [u8; 3] = [1, 2, 10];

/// Chains that drop every forwarded packet which their own rules do not accept, as `table chain`.
pub(crate) fn chains_that_drop_forwarded() -> Result<Vec<String>, Errno> {
    let mut batch = Batch::default();
    batch.message(GETCHAIN, REQUEST | DUMP, &[0; FAMILY_HEADER]);
    let mut found = Vec::new();
    Socket::netfilter()?.query(&batch, |_, payload| {
        let Some(chain) = payload.get(FAMILY_HEADER..) else { return };
        let hook = attribute(chain, CHAIN_HOOK).and_then(|hook| attribute(hook, HOOK_NUMBER));
        if FAMILIES.contains(&payload[0])
            && hook == Some(&HOOK_FORWARD[..])
            && attribute(chain, CHAIN_POLICY) == Some(&POLICY_DROP[..])
        {
            let name = |kind| attribute(chain, kind).map(text).unwrap_or_default();
            found.push(format!("{} {}", name(CHAIN_TABLE), name(CHAIN_NAME)));
        }
    })?;
    Ok(found)
}

/// Makes a table as a host's firewall might have, whose chain drops every new TCP packet that is forwarded.
#[cfg(test)]
pub(crate) fn drop_forwarded(table: &str) -> Result<(), Errno> {
    use super::expression::{Expression as E, Meta, REG, Verdict};
    use super::transaction::{Hook, Transaction};
    let mut transaction = Transaction::new(table);
    transaction.add_table();
    transaction.add_chain("forward", Some(&Hook { kind: "filter", number: 2, priority: 10 }));
    let rule = [
        E::Meta { key: Meta::Protocol, register: REG },
        E::Equal { register: REG, value: vec![6] },
        E::Verdict(Verdict::Drop),
    ];
    transaction.add_rule("forward", &rule);
    transaction.commit(&mut Socket::netfilter()?)
}
