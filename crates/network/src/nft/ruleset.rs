//! The fixed sets, chains and rules of the engine's table.
//!
//! What each rule is for stands beside it in the notation of the `nft` program.

use super::expression::{Conntrack, Expression as E, Header, Meta, REG, Verdict};
use super::transaction::{Hook, SetShape, Transaction};

/// Types as the `nft` program numbers them; a concatenation has six bits for each.
const ADDRESS4: u32 = 7;
const ADDRESS6: u32 = 8;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;
const INTERFACE: u32 = 41;

const fn concat(types: &[u32]) -> u32 {
    let mut all = 0;
    let mut index = 0;
    while index < types.len() {
        all = all << 6 | types[index];
        index += 1;
    }
    all
}

/// Bytes of an interface name.
pub(super) const IFNAME_LEN: u32 = 16;

pub(super) const BRIDGES: &str = "bridges";
pub(super) const PAIRS: &str = "pairs";
pub(super) const CLOSED: &str = "closed";
pub(super) const INTERNAL: &str = "internal";
pub(super) const MASQUERADE4: &str = "masquerade4";
pub(super) const MASQUERADE6: &str = "masquerade6";
pub(super) const ROUTED4: &str = "routed4";
pub(super) const ROUTED6: &str = "routed6";
pub(super) const OPEN4: &str = "open4";
pub(super) const OPEN6: &str = "open6";
pub(super) const HOME4: &str = "home4";
pub(super) const HOME6: &str = "home6";
pub(super) const ADDR4: &str = "addr4";
pub(super) const ADDR6: &str = "addr6";
pub(super) const ANY4: &str = "any4";
pub(super) const ANY6: &str = "any6";

/// A set of names of interfaces.
const fn interfaces(name: &'static str) -> SetShape {
    SetShape { name, key_type: INTERFACE, key_len: IFNAME_LEN, data: None, ranges: &[], host_order: true }
}

/// A set of ports of addresses.
const fn services(name: &'static str, address: u32, len: u32) -> SetShape {
    SetShape {
        name,
        key_type: concat(&[address, PROTOCOL, SERVICE]),
        key_len: len + 8,
        data: None,
        ranges: &[],
        host_order: false,
    }
}

const SETS: [SetShape; 16] = [
    interfaces(BRIDGES),
    SetShape {
        name: PAIRS,
        key_type: concat(&[INTERFACE, INTERFACE]),
        key_len: 2 * IFNAME_LEN,
        data: None,
        ranges: &[],
        host_order: false,
    },
    interfaces(CLOSED),
    interfaces(INTERNAL),
    interfaces(MASQUERADE4),
    interfaces(MASQUERADE6),
    interfaces(ROUTED4),
    interfaces(ROUTED6),
    services(OPEN4, ADDRESS4, 4),
    services(OPEN6, ADDRESS6, 16),
    SetShape {
        name: HOME4,
        key_type: concat(&[INTERFACE, ADDRESS4]),
        key_len: IFNAME_LEN + 4,
        data: None,
        ranges: &[IFNAME_LEN, 4],
        host_order: false,
    },
    SetShape {
        name: HOME6,
        key_type: concat(&[INTERFACE, ADDRESS6]),
        key_len: IFNAME_LEN + 16,
        data: None,
        ranges: &[IFNAME_LEN, 16],
        host_order: false,
    },
    SetShape {
        name: ADDR4,
        key_type: concat(&[ADDRESS4, PROTOCOL, SERVICE]),
        key_len: 12,
        data: Some((concat(&[ADDRESS4, SERVICE]), 8)),
        ranges: &[],
        host_order: false,
    },
    SetShape {
        name: ADDR6,
        key_type: concat(&[ADDRESS6, PROTOCOL, SERVICE]),
        key_len: 24,
        data: Some((concat(&[ADDRESS6, SERVICE]), 20)),
        ranges: &[],
        host_order: false,
    },
    SetShape {
        name: ANY4,
        key_type: concat(&[PROTOCOL, SERVICE]),
        key_len: 8,
        data: Some((concat(&[ADDRESS4, SERVICE]), 8)),
        ranges: &[],
        host_order: false,
    },
    SetShape {
        name: ANY6,
        key_type: concat(&[PROTOCOL, SERVICE]),
        key_len: 8,
        data: Some((concat(&[ADDRESS6, SERVICE]), 20)),
        ranges: &[],
        host_order: false,
    },
];

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// The local routing type of an address (`RTN_LOCAL`).
const RTN_LOCAL: u32 = 2;
/// `IPS_DST_NAT`.
const STATUS_DNAT: u32 = 1 << 5;
/// Established and related, as `nft` numbers connection states.
const STATE_KNOWN: u32 = 2 | 4;

// NF_INET_*
const PRE_ROUTING: u32 = 0;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
const POST_ROUTING: u32 = 4;

type Rule = Vec<E>;

/// All chains: name, where the kernel calls it, rules.
fn chains() -> Vec<(&'static str, Option<Hook>, Vec<Rule>)> {
    let hook = |kind, number, priority| Some(Hook { kind, number, priority });
    vec![
        ("guard", hook("filter", PRE_ROUTING, -300), guard()),
        ("published", None, published()),
        ("incoming", hook("nat", PRE_ROUTING, -100), incoming()),
        ("outgoing", hook("nat", LOCAL_OUT, -100), vec![vec![E::Verdict(Verdict::Jump("published"))]]),
        ("leaving", hook("nat", POST_ROUTING, 100), leaving()),
        ("forward", hook("filter", FORWARD, 0), forward()),
    ]
}

/// Bridges route 127.0.0.0/8 so that published ports answer on 127.0.0.1; nobody behind a bridge may
/// reach the host's own loopback services by it.
fn guard() -> Vec<Vec<E>> {
    // iifname @bridges ip daddr 127.0.0.0/8 drop
    let mut rule = in_set(Meta::InName, BRIDGES);
    rule.extend(loopback4(Address::Destination));
    rule.push(E::Verdict(Verdict::Drop));
    vec![rule]
}

fn incoming() -> Vec<Vec<E>> {
    // A port published on 127.0.0.1 is not for those who send such packets over a wire.
    // ip daddr 127.0.0.0/8 return
    let mut loopback = loopback4(Address::Destination);
    loopback.push(E::Verdict(Verdict::Return));
    vec![loopback, vec![E::Verdict(Verdict::Jump("published"))]]
}

fn published() -> Vec<Vec<E>> {
    // IPv6 has no way to route ::1 off the host: answers that are translated back to it find no route, as it must be
    // that of the interface they came in by, and no setting like IPv4's route_localnet says otherwise. Refused at once, a client goes on to 127.0.0.1.
    // ip6 daddr ::1 return
    let mut loopback = loopback6();
    loopback.push(E::Verdict(Verdict::Return));
    let mut rules = vec![loopback];
    for (family, address_offset, address_len, specific, any) in
        [(NFPROTO_IPV4, 16, 4, ADDR4, ANY4), (NFPROTO_IPV6, 24, 16, ADDR6, ANY6)]
    {
        let words = address_len / 4;
        let nat = E::DestinationNat { family: u32::from(family), address: REG, port: REG + words };
        let service = |register| {
            [
                E::Meta { key: Meta::Protocol, register },
                E::Payload { header: Header::Transport, offset: 2, len: 2, register: register + 1 },
            ]
        };
        // dnat ip to ip daddr . meta l4proto . th dport map @addr4
        let mut rule = of_family(family);
        rule.push(E::Payload {
            header: Header::Network,
            offset: address_offset,
            len: address_len,
            register: REG,
        });
        rule.extend(service(REG + words));
        rule.push(E::Map { map: specific, key: REG, data: REG });
        rule.push(nat.clone());
        rules.push(rule);
        // fib daddr type local dnat ip to meta l4proto . th dport map @any4
        let mut rule = of_family(family);
        rule.push(E::DestinationKind { register: REG });
        rule.push(E::Equal { register: REG, value: RTN_LOCAL.to_ne_bytes().to_vec() });
        rule.extend(service(REG));
        rule.push(E::Map { map: any, key: REG, data: REG });
        rule.push(nat);
        rules.push(rule);
    }
    rules
}

fn leaving() -> Vec<Vec<E>> {
    // A container that reaches a neighbour, or itself, through a published port would get the answer from
    // an address it did not ask. With br_netfilter such a packet has no input interface here.
    // ct status dnat oifname . ip saddr @home4 masquerade
    let hairpin =
        [(NFPROTO_IPV4, 12, 4, HOME4), (NFPROTO_IPV6, 8, 16, HOME6)].map(|(family, offset, len, home)| {
            let mut rule = of_family(family);
            rule.extend(status_dnat());
            rule.extend([
                E::Meta { key: Meta::OutName, register: REG },
                E::Payload { header: Header::Network, offset, len, register: REG + IFNAME_LEN / 4 },
                E::In { set: home, register: REG },
                E::Masquerade,
            ]);
            rule
        });
    // The answer to 127.0.0.1 would never leave the container.
    // ip saddr 127.0.0.0/8 oifname @bridges masquerade
    let mut loopback = loopback4(Address::Source);
    loopback.extend(in_set(Meta::OutName, BRIDGES));
    loopback.push(E::Masquerade);
    // meta nfproto ipv4 iifname @masquerade4 oifname != @bridges masquerade
    let [out4, out6] = [(NFPROTO_IPV4, MASQUERADE4), (NFPROTO_IPV6, MASQUERADE6)].map(|(family, set)| {
        let mut out = of_family(family);
        out.extend(in_set(Meta::InName, set));
        out.push(E::Meta { key: Meta::OutName, register: REG });
        out.push(E::NotIn { set: BRIDGES, register: REG });
        out.push(E::Masquerade);
        out
    });
    let [hairpin4, hairpin6] = hairpin;
    vec![hairpin4, hairpin6, loopback, out4, out6]
}

fn forward() -> Vec<Vec<E>> {
    // ct state established,related accept
    let known = vec![
        E::Conntrack { key: Conntrack::State, register: REG },
        E::And { register: REG, mask: STATE_KNOWN.to_ne_bytes().to_vec() },
        E::NotEqual { register: REG, value: vec![0; 4] },
        E::Verdict(Verdict::Accept),
    ];
    // iifname . oifname @pairs iifname @closed ct status & dnat == 0 drop
    let mut closed = in_pairs();
    closed.extend(in_set(Meta::InName, CLOSED));
    closed.extend([
        E::Conntrack { key: Conntrack::Status, register: REG },
        E::And { register: REG, mask: STATUS_DNAT.to_ne_bytes().to_vec() },
        E::Equal { register: REG, value: vec![0; 4] },
        E::Verdict(Verdict::Drop),
    ]);
    // iifname . oifname @pairs accept
    let mut pair = in_pairs();
    pair.push(E::Verdict(Verdict::Accept));
    // iifname @internal drop
    let mut from_internal = in_set(Meta::InName, INTERNAL);
    from_internal.push(E::Verdict(Verdict::Drop));
    // oifname @internal drop
    let mut to_internal = in_set(Meta::OutName, INTERNAL);
    to_internal.push(E::Verdict(Verdict::Drop));
    // ct status dnat accept
    let mut dnat = status_dnat();
    dnat.push(E::Verdict(Verdict::Accept));
    // Neither another bridge nor anybody outside reaches a port that is not published.
    // oifname @bridges drop
    let mut unpublished = in_set(Meta::OutName, BRIDGES);
    unpublished.push(E::Verdict(Verdict::Drop));
    let mut rules = vec![known, closed, pair, from_internal, to_internal, dnat];
    rules.extend(routed());
    rules.push(unpublished);
    rules
}

/// Containers that are reached by their own addresses: at published ports, and by ICMP, which carries the sizes of packets.
fn routed() -> Vec<Vec<E>> {
    let mut rules = Vec::new();
    for (family, offset, len, open, bridges, icmp) in
        [(NFPROTO_IPV4, 16, 4, OPEN4, ROUTED4, 1), (NFPROTO_IPV6, 24, 16, OPEN6, ROUTED6, 58)]
    {
        // ip daddr . meta l4proto . th dport @open4 accept
        let after = REG + len / 4;
        let mut port = of_family(family);
        port.extend([
            E::Payload { header: Header::Network, offset, len, register: REG },
            E::Meta { key: Meta::Protocol, register: after },
            E::Payload { header: Header::Transport, offset: 2, len: 2, register: after + 1 },
            E::In { set: open, register: REG },
            E::Verdict(Verdict::Accept),
        ]);
        // oifname @routed4 meta l4proto icmp accept
        let mut ping = of_family(family);
        ping.extend(in_set(Meta::OutName, bridges));
        ping.extend([
            E::Meta { key: Meta::Protocol, register: REG },
            E::Equal { register: REG, value: vec![icmp] },
            E::Verdict(Verdict::Accept),
        ]);
        rules.extend([port, ping]);
    }
    rules
}

#[derive(Debug, Clone, Copy)]
enum Address {
    Source,
    Destination,
}

fn of_family(family: u8) -> Vec<E> {
    vec![E::Meta { key: Meta::Family, register: REG }, E::Equal { register: REG, value: vec![family] }]
}

fn loopback4(address: Address) -> Vec<E> {
    let offset = match address {
        Address::Source => 12,
        Address::Destination => 16,
    };
    let mut rule = of_family(NFPROTO_IPV4);
    // The first byte decides about 127.0.0.0/8.
    rule.push(E::Payload { header: Header::Network, offset, len: 1, register: REG });
    rule.push(E::Equal { register: REG, value: vec![127] });
    rule
}

fn loopback6() -> Vec<E> {
    let mut rule = of_family(NFPROTO_IPV6);
    rule.push(E::Payload { header: Header::Network, offset: 24, len: 16, register: REG });
    rule.push(E::Equal { register: REG, value: std::net::Ipv6Addr::LOCALHOST.octets().to_vec() });
    rule
}

fn in_set(name: Meta, set: &'static str) -> Vec<E> {
    vec![E::Meta { key: name, register: REG }, E::In { set, register: REG }]
}

fn in_pairs() -> Vec<E> {
    vec![
        E::Meta { key: Meta::InName, register: REG },
        E::Meta { key: Meta::OutName, register: REG + IFNAME_LEN / 4 },
        E::In { set: PAIRS, register: REG },
    ]
}

fn status_dnat() -> Vec<E> {
    vec![
        E::Conntrack { key: Conntrack::Status, register: REG },
        E::And { register: REG, mask: STATUS_DNAT.to_ne_bytes().to_vec() },
        E::NotEqual { register: REG, value: vec![0; 4] },
    ]
}

/// Adds every set, chain and rule, and the marker chain.
pub(super) fn add_all(transaction: &mut Transaction<'_>) {
    add_rules(transaction);
    transaction.add_chain(&marker(), None);
}

fn add_rules(transaction: &mut Transaction<'_>) {
    for set in &SETS {
        transaction.add_set(set);
    }
    let chains = chains();
    for (name, hook, _) in &chains {
        transaction.add_chain(name, hook.as_ref());
    }
    for (name, _, rules) in &chains {
        for rule in rules {
            transaction.add_rule(name, rule);
        }
    }
}

/// The name of an empty chain that tells which version of the rules a table holds: a hash (FNV-1a) of
/// their encoding, so that another version of the program notices another table.
pub(super) fn marker() -> String {
    let mut transaction = Transaction::new("");
    add_rules(&mut transaction);
    let hash = transaction.bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("rules-{hash:016x}")
}
