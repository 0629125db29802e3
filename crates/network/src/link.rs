//! Links, addresses and routes of the kernel, as requests of rtnetlink(7).

pub(crate) mod child;

use crate::netlink::message::{
    ACK, Batch, CREATE, DUMP, EXCL, REQUEST, attribute, attributes, read_u32, text,
};
use crate::netlink::socket::{Refusal, Socket};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use wharf_model::network::{Subnet, Traffic};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

// linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_HAIRPIN: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_EUI64: u8 = 0;
const ADDR_GEN_MODE_NONE: u8 = 1;
const VETH_INFO_PEER: u16 = 1;
// linux/ip.h
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
// linux/if_addr.h, linux/rtnetlink.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 0x02;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_LINK: u8 = 253;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A link as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: String,
    /// `bridge`, `veth` and so on; empty for hardware.
    pub(crate) kind: String,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) traffic: Traffic,
}

/// What a bridge shall be like.
#[derive(Debug)]
pub(crate) struct BridgeWish<'a> {
    pub(crate) name: &'a str,
    pub(crate) alias: &'a str,
    pub(crate) mac: [u8; 6],
    /// 0 leaves the kernel's default.
    pub(crate) mtu: u32,
    pub(crate) subnets: &'a [Subnet],
}

/// What a veth pair shall be like; the peer begins its life in the other namespace.
#[derive(Debug)]
pub(crate) struct VethWish<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) alias: &'a str,
    pub(crate) bridge: u32,
    /// Ports of a bridge that are isolated reach the bridge itself but not each other.
    pub(crate) isolated: bool,
    pub(crate) mtu: u32,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_mac: [u8; 6],
    pub(crate) netns: BorrowedFd<'a>,
}

/// What the interface inside a container shall be like.
#[derive(Debug)]
pub(crate) struct InsideWish<'a> {
    pub(crate) name: &'a str,
    pub(crate) addresses: &'a [(IpAddr, u8)],
    /// Default routes.
    pub(crate) gateways: &'a [IpAddr],
}

/// Creates a bridge, down and without addresses.
pub(crate) fn create_bridge(socket: &mut Socket, wish: &BridgeWish<'_>) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch
        .message(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &link_header(0, 0))
        .text(IFLA_IFNAME, wish.name)
        .attr(IFLA_ADDRESS, &wish.mac);
    if wish.mtu > 0 {
        batch.u32(IFLA_MTU, wish.mtu);
    }
    batch.nest(IFLA_LINKINFO, |b| {
        b.text(IFLA_INFO_KIND, "bridge");
    });
    all(socket.each(&batch)?)
}

/// Gives a bridge its alias, addresses and settings, and brings it up. Repeating it does no harm.
pub(crate) fn configure_bridge(socket: &mut Socket, index: u32, wish: &BridgeWish<'_>) -> Result<(), Errno> {
    let mut batch = Batch::default();
    let has_ipv6 = wish.subnets.iter().any(|s| s.gateway.is_ipv6());
    batch
        .message(RTM_NEWLINK, REQUEST | ACK, &link_header(index, IFF_UP))
        .text(IFLA_IFALIAS, wish.alias)
        .nest(IFLA_AF_SPEC, |b| {
            b.nest(u16::from(AF_INET), |b| {
                b.nest(IFLA_INET_CONF, |b| {
                    // Connections from 127.0.0.1 to a published port leave through the bridge.
                    b.u32(IPV4_DEVCONF_ROUTE_LOCALNET, 1);
                });
            });
            address_generation(b, has_ipv6);
        });
    for subnet in wish.subnets {
        add_address(&mut batch, index, subnet.gateway, subnet.prefix);
    }
    let refusals = socket.each(&batch)?;
    all(refusals.into_iter().filter(|r| r.message == 0 || r.errno != Errno::EXIST))
}

/// Creates a veth pair whose peer is born in `netns`, enslaves the host's end and brings it up.
/// Nothing is left when it fails.
pub(crate) fn create_veth(socket: &mut Socket, wish: &VethWish<'_>) -> Result<(), Errno> {
    let mut batch = Batch::default();
    let mtu = |b: &mut Batch| {
        if wish.mtu > 0 {
            b.u32(IFLA_MTU, wish.mtu);
        }
    };
    batch
        .message(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &link_header(0, 0))
        .text(IFLA_IFNAME, wish.host_name);
    mtu(&mut batch);
    batch.u32(IFLA_MASTER, wish.bridge).nest(IFLA_LINKINFO, |b| {
        b.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |b| {
            b.nest(VETH_INFO_PEER, |b| {
                b.raw(&link_header(0, 0))
                    .text(IFLA_IFNAME, wish.peer_name)
                    .attr(IFLA_ADDRESS, &wish.peer_mac);
                mtu(b);
                b.attr(IFLA_NET_NS_FD, &wish.netns.as_raw_fd().to_ne_bytes());
            });
        });
    });
    batch
        .message(RTM_NEWLINK, REQUEST | ACK, &link_header(0, IFF_UP))
        .text(IFLA_IFNAME, wish.host_name)
        .text(IFLA_IFALIAS, wish.alias)
        .nest(IFLA_AF_SPEC, |b| address_generation(b, false));
    batch.nest(IFLA_LINKINFO, |b| {
        b.text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |b| {
            // Where br_netfilter is on, the bridge itself turns round packets to a container's own
            // published port.
            b.attr(IFLA_BRPORT_HAIRPIN, &[1]).attr(IFLA_BRPORT_ISOLATED, &[u8::from(wish.isolated)]);
        });
    });
    let refusals = socket.each(&batch)?;
    let Some(first) = refusals.first() else { return Ok(()) };
    if first.message > 0 {
        // The link exists: only the second request was refused. Its own refusal is what matters.
        delete(socket, wish.host_name)?;
    }
    Err(first.errno)
}

/// Brings loopback and the interface up and gives it addresses and routes. `socket` belongs to the
/// container's namespace.
pub(crate) fn configure_inside(socket: &mut Socket, wish: &InsideWish<'_>) -> Result<(), Errno> {
    let has_ipv6 = wish.addresses.iter().any(|(address, _)| address.is_ipv6());
    let mut batch = Batch::default();
    loopback_up(&mut batch);
    batch
        .message(RTM_NEWLINK, REQUEST | ACK, &link_header(0, IFF_UP))
        .text(IFLA_IFNAME, wish.name)
        .nest(IFLA_AF_SPEC, |b| address_generation(b, has_ipv6));
    all(socket.each(&batch)?)?;
    let link = find(socket, wish.name)?.ok_or(Errno::NODEV)?;
    let mut batch = Batch::default();
    for (address, prefix) in wish.addresses {
        add_address(&mut batch, link.index, *address, *prefix);
    }
    for gateway in wish.gateways {
        default_route(&mut batch, RTM_NEWROUTE, REQUEST | ACK | CREATE | EXCL, *gateway, link.index);
    }
    all(socket.each(&batch)?)
}

/// Adds default routes through an interface of the namespace of `socket`, or removes them. Nothing happens where it is so
/// already.
pub(crate) fn default_routes(
    socket: &mut Socket,
    name: &str,
    gateways: &[IpAddr],
    on: bool,
) -> Result<(), Errno> {
    let link = find(socket, name)?.ok_or(Errno::NODEV)?;
    let (kind, flags, so_already) =
        if on { (RTM_NEWROUTE, CREATE | EXCL, Errno::EXIST) } else { (RTM_DELROUTE, 0, Errno::SRCH) };
    let mut batch = Batch::default();
    for gateway in gateways {
        default_route(&mut batch, kind, REQUEST | ACK | flags, *gateway, link.index);
    }
    all(socket.each(&batch)?.into_iter().filter(|r| r.errno != so_already))
}

/// Brings loopback up in the namespace of `socket`.
pub(crate) fn loopback_only(socket: &mut Socket) -> Result<(), Errno> {
    let mut batch = Batch::default();
    loopback_up(&mut batch);
    all(socket.each(&batch)?)
}

/// Removes a link; nothing happens when there is none of this name.
pub(crate) fn delete(socket: &mut Socket, name: &str) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_DELLINK, REQUEST | ACK, &link_header(0, 0)).text(IFLA_IFNAME, name);
    all(socket.each(&batch)?.into_iter().filter(|r| r.errno != Errno::NODEV))
}

/// Removes an address of a link.
pub(crate) fn remove_address(
    socket: &mut Socket,
    index: u32,
    address: IpAddr,
    prefix: u8,
) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch
        .message(RTM_DELADDR, REQUEST | ACK, &address_header(index, address, prefix))
        .attr(IFA_LOCAL, &octets(address));
    all(socket.each(&batch)?)
}

/// The link of a name.
pub(crate) fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>, Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_GETLINK, REQUEST | ACK, &link_header(0, 0)).text(IFLA_IFNAME, name);
    let mut found = None;
    match socket.query(&batch, |kind, payload| {
        if kind == RTM_NEWLINK {
            found = found.take().or_else(|| parse_link(payload));
        }
    }) {
        Ok(()) => Ok(found),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Every link.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<Link>, Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_GETLINK, REQUEST | DUMP, &link_header(0, 0));
    let mut links = Vec::new();
    socket.query(&batch, |kind, payload| {
        if kind == RTM_NEWLINK {
            links.extend(parse_link(payload));
        }
    })?;
    Ok(links)
}

/// Every address with the index of its link and its prefix.
pub(crate) fn addresses(socket: &mut Socket) -> Result<Vec<(u32, IpAddr, u8)>, Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_GETADDR, REQUEST | DUMP, &[0; 8]);
    let mut found = Vec::new();
    socket.query(&batch, |kind, payload| {
        if kind != RTM_NEWADDR || payload.len() < 8 {
            return;
        }
        let content = attribute(&payload[8..], IFA_LOCAL).or_else(|| attribute(&payload[8..], IFA_ADDRESS));
        if let Some(address) = content.and_then(parse_ip) {
            found.push((read_u32(payload, 4), address, payload[1]));
        }
    })?;
    Ok(found)
}

/// Every destination block that a route other than a default route leads to.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<(IpAddr, u8)>, Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_GETROUTE, REQUEST | DUMP, &[0; 12]);
    let mut found = Vec::new();
    socket.query(&batch, |kind, payload| {
        if kind != RTM_NEWROUTE || payload.len() < 12 {
            return;
        }
        if let Some(address) = attribute(&payload[12..], RTA_DST).and_then(parse_ip) {
            found.push((address, payload[1]));
        }
    })?;
    Ok(found)
}

fn loopback_up(batch: &mut Batch) {
    // Loopback is link 1 in every namespace.
    batch.message(RTM_NEWLINK, REQUEST | ACK, &link_header(1, IFF_UP));
}

/// Without IPv6 in a network no link-local address is made, so that nothing waits for its uniqueness.
fn address_generation(batch: &mut Batch, ipv6: bool) {
    let mode = if ipv6 { ADDR_GEN_MODE_EUI64 } else { ADDR_GEN_MODE_NONE };
    batch.nest(u16::from(AF_INET6), |b| {
        b.attr(IFLA_INET6_ADDR_GEN_MODE, &[mode]);
    });
}

fn add_address(batch: &mut Batch, index: u32, address: IpAddr, prefix: u8) {
    batch
        .message(RTM_NEWADDR, REQUEST | ACK | CREATE | EXCL, &address_header(index, address, prefix))
        .attr(IFA_LOCAL, &octets(address))
        .attr(IFA_ADDRESS, &octets(address));
    if let (IpAddr::V4(address), true) = (address, prefix < 31) {
        let broadcast = address.to_bits() | (u32::MAX >> prefix);
        batch.attr(IFA_BROADCAST, &broadcast.to_be_bytes());
    }
}

/// `struct ifinfomsg` that brings the link up when `flags` says so.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// `struct ifaddrmsg`.
fn address_header(index: u32, address: IpAddr, prefix: u8) -> [u8; 8] {
    // The engine hands out every address once, so nothing waits for duplicates to be found.
    let (family, flags) = if address.is_ipv6() { (AF_INET6, IFA_F_NODAD) } else { (AF_INET, 0) };
    let mut header = [family, prefix, flags, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

/// `struct rtmsg` of a default route.
fn route_header(gateway: IpAddr) -> [u8; 12] {
    let family = if gateway.is_ipv6() { AF_INET6 } else { AF_INET };
    [family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0]
}

/// A default route; with an unspecified gateway one through the interface itself.
fn default_route(batch: &mut Batch, kind: u16, flags: u16, gateway: IpAddr, interface: u32) {
    let mut header = route_header(gateway);
    if gateway.is_unspecified() {
        header[6] = RT_SCOPE_LINK;
        batch.message(kind, flags, &header);
    } else {
        batch.message(kind, flags, &header).attr(RTA_GATEWAY, &octets(gateway));
    }
    batch.u32(RTA_OIF, interface);
}

/// The bytes of an address in network order.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn parse_ip(content: &[u8]) -> Option<IpAddr> {
    match content.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(content).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(content).ok()?).into()),
        _ => None,
    }
}

pub(crate) fn parse_link(payload: &[u8]) -> Option<Link> {
    if payload.len() < 16 {
        return None;
    }
    let mut link = Link {
        index: read_u32(payload, 4),
        name: String::new(),
        alias: String::new(),
        kind: String::new(),
        mtu: 0,
        up: read_u32(payload, 8) & IFF_UP != 0,
        traffic: Traffic::default(),
    };
    for (kind, content) in attributes(&payload[16..]) {
        match kind {
            IFLA_IFNAME => link.name = text(content),
            IFLA_IFALIAS => link.alias = text(content),
            IFLA_MTU if content.len() >= 4 => link.mtu = read_u32(content, 0),
            IFLA_LINKINFO => link.kind = attribute(content, IFLA_INFO_KIND).map(text).unwrap_or_default(),
            IFLA_STATS64 if content.len() >= 64 => link.traffic = parse_traffic(content),
            _ => {}
        }
    }
    Some(link)
}

/// `struct rtnl_link_stats64`, as the link itself counts.
fn parse_traffic(content: &[u8]) -> Traffic {
    let field = |index: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&content[index * 8..index * 8 + 8]);
        u64::from_ne_bytes(bytes)
    };
    Traffic {
        rx_packets: field(0),
        tx_packets: field(1),
        rx_bytes: field(2),
        tx_bytes: field(3),
        rx_errors: field(4),
        tx_errors: field(5),
        rx_dropped: field(6),
        tx_dropped: field(7),
    }
}

/// The first refusal, if any.
fn all(refusals: impl IntoIterator<Item = Refusal>) -> Result<(), Errno> {
    refusals.into_iter().next().map_or(Ok(()), |refusal| Err(refusal.errno))
}
