//! The `Network` seam: bridges, endpoints, published ports, names.
//!
//! *Network*: a bridge of the host with its subnets, an interface of the host that containers sit on (`macvlan`,
//! `ipvlan`), or a driver without either (`host`, `none`).
//! *Endpoint*: one container's place in a network: interface, addresses, names. Lifecycle: `ensure` makes the
//! kernel agree with a network's specification (at creation and after every restart, idempotent); `connect`
//! gives a network namespace an endpoint; `publish` leads host ports to it; `unpublish` and `disconnect` undo
//! those; `adopt` tells a new process about endpoints that are already there.
//!
//! All operations block on the kernel for at most a few milliseconds; asynchronous callers use a blocking
//! thread.

pub mod conformance;
pub mod fake;
pub mod parent;

use crate::error::Result;
use crate::ids::{ContainerId, NetworkId};
use crate::ports::{PortMapping, PublishedPort};
use parent::{IpvlanFlag, IpvlanLayer, MacvlanMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// An address block with the address of the gateway in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// First address of the block.
    pub base: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
    /// The bridge's own address.
    pub gateway: IpAddr,
    /// Addresses are allocated from this narrower block when set (`--ip-range`): base and prefix.
    pub range: Option<(IpAddr, u8)>,
    /// Addresses that are others' (`--aux-address`), by the names the user gave them: they are not allocated.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// Whether an address lies in a block.
pub fn in_block(base: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let (base, address, bits) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (base.to_bits().into(), address.to_bits().into(), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let shift = bits - u32::from(prefix).min(bits);
    u128::checked_shr(base, shift).unwrap_or(0) == u128::checked_shr(address, shift).unwrap_or(0)
}

/// What makes a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge with NAT.
    Bridge,
    /// The host's own network namespace.
    Host,
    /// A namespace with nothing but loopback.
    None,
    /// Interfaces with MAC addresses of their own on an interface of the host.
    Macvlan(MacvlanMode),
    /// Interfaces that share the MAC address of an interface of the host.
    Ipvlan(IpvlanLayer, IpvlanFlag),
}

impl Driver {
    /// Whether containers sit on an interface of the host.
    pub fn has_parent(&self) -> bool {
        matches!(self, Self::Macvlan(_) | Self::Ipvlan(..))
    }
}

/// How a bridge's containers are reached from beyond it (`com.docker.network.bridge.gateway_mode_ipv4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayMode {
    /// By published ports of the host; what they send carries the host's address.
    #[default]
    Nat,
    /// By their own addresses, at the ports that are published; nothing is translated.
    Routed,
    /// Not at all: the bridge of an internal network has no address.
    Isolated,
}

/// A network as the user wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique within the engine.
    pub name: String,
    /// What makes it.
    pub driver: Driver,
    /// Name of the bridge interface, at most 15 bytes. Empty unless the driver is a bridge.
    pub bridge: String,
    /// The interface of the host that containers sit on; empty unless the driver has one. The engine makes it where
    /// it is missing: a VLAN's by its name `eth0.50`, one without anything behind it by a name of the engine's own.
    #[serde(default)]
    pub parent: String,
    /// IPv4 first. Empty for `host` and `none`.
    pub subnets: Vec<Subnet>,
    /// No way out of the bridge, no published ports.
    pub internal: bool,
    /// Containers may talk to each other (`com.docker.network.bridge.enable_icc`).
    pub icc: bool,
    /// Source addresses are rewritten on the way out (`com.docker.network.bridge.enable_ip_masquerade`).
    pub masquerade: bool,
    /// Largest packet in bytes; 0 leaves the kernel's default.
    pub mtu: u32,
    /// How IPv4 and IPv6 are reached from beyond a bridge.
    #[serde(default)]
    pub gateway_modes: (GatewayMode, GatewayMode),
    /// Where ports are published that name no address; `None` is every address of both families.
    #[serde(default)]
    pub binding: Option<IpAddr>,
}

/// A wish for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRequest {
    /// The network to join.
    pub network: NetworkId,
    /// The container that joins.
    pub container: ContainerId,
    /// Name of the interface inside, such as `eth0`.
    pub interface: String,
    /// A fixed IPv4 address, else the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed IPv6 address, else one is derived when the network has an IPv6 subnet.
    pub ipv6: Option<Ipv6Addr>,
    /// A fixed MAC address, else one is derived from the IPv4 address.
    pub mac: Option<[u8; 6]>,
    /// Names that the network's DNS answers with this endpoint: container name, short id, aliases.
    pub names: Vec<String>,
    /// Whether the default routes go through this network.
    pub default_route: bool,
    /// What else it has.
    pub extras: Extras,
}

/// What few endpoints have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// Names by which it alone knows others, and their names in the network.
    pub links: BTreeMap<String, String>,
    /// Addresses beyond the network's subnets: of `169.254.0.0/16` and `fe80::/64`.
    pub link_local: Vec<IpAddr>,
    /// Kernel parameters of the interface below `net.`, in which `IFNAME` stands for its name.
    pub sysctls: BTreeMap<String, String>,
    /// Who is asked for names that are nobody's in its networks; the host's name servers where there are none.
    pub dns: Vec<IpAddr>,
}

/// An endpoint as it stands. Serialised into the container's record, so that it can be adopted later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkId,
    /// The container.
    pub container: ContainerId,
    /// Name of the interface inside.
    pub interface: String,
    /// Name of the host's end of the veth pair; empty without one.
    pub host_interface: String,
    /// IPv4 address and prefix length.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// IPv6 address and prefix length.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// MAC address; zeros where it is the parent's.
    pub mac: [u8; 6],
    /// IPv4 gateway; unspecified where the default route leads through the interface itself.
    pub gateway4: Option<Ipv4Addr>,
    /// IPv6 gateway; unspecified where the default route leads through the interface itself.
    pub gateway6: Option<Ipv6Addr>,
    /// Names that the network's DNS answers with this endpoint.
    pub names: Vec<String>,
    /// Whether the default routes go through this network.
    #[serde(default)]
    pub default_route: bool,
    /// What else it has.
    #[serde(default)]
    pub extras: Extras,
}

/// Networks of one engine. Every engine on a host has its own bridges and its own nftables table.
///
/// Errors: `NotFound` for an unknown network; `Conflict` when an address, subnet, interface or host port is
/// taken (the message names it and says `port is already allocated` for ports); `Invalid` for an address
/// outside the subnets; `Unsupported` when the kernel lacks a feature (the message names it); `Internal` else.
pub trait Network: Send + Sync {
    /// Makes the kernel agree with the specification; nothing happens where it already does.
    fn ensure(&self, spec: &NetworkSpec) -> Result<()>;
    /// Removes the bridge and its rules. `Conflict` while endpoints remain.
    fn remove(&self, id: &NetworkId) -> Result<()>;
    /// A subnet no interface or route of the host uses, from the engine's default pools
    /// (172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/20 blocks).
    fn free_subnet(&self) -> Result<Subnet>;

    /// Reserves addresses for an endpoint without touching the kernel. The reservation ends with `disconnect`.
    fn reserve(&self, request: &EndpointRequest) -> Result<Endpoint>;
    /// Creates the interface of a reserved endpoint inside a network namespace, with addresses, routes and
    /// link up; loopback is brought up too. Nothing is left behind on failure.
    fn connect(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()>;
    /// Removes the interface (nothing happens if the kernel already did) and frees the addresses.
    fn disconnect(&self, endpoint: &Endpoint) -> Result<()>;
    /// The same where the container goes on: nothing of the network is left in its namespace.
    fn disconnect_live(&self, endpoint: &Endpoint) -> Result<()> {
        self.disconnect(endpoint)
    }
    /// Leads the default routes of a network namespace through a connected endpoint's gateways, or no longer. Nothing
    /// happens where it is so already.
    fn route(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>, on: bool) -> Result<()>;
    /// Takes over an endpoint and its published ports that an earlier process made: addresses stay reserved,
    /// host ports are held again, missing rules are restored. `netns` is where its interface is.
    fn adopt(&self, endpoint: &Endpoint, published: &[PublishedPort], netns: BorrowedFd<'_>) -> Result<()>;

    /// Leads host ports to an endpoint, all of them or none. Without an explicit address, one entry for
    /// IPv4 and, where the host has IPv6, one for IPv6 with the same port.
    fn publish(&self, endpoint: &Endpoint, mappings: &[PortMapping]) -> Result<Vec<PublishedPort>>;
    /// Ends what `publish` began.
    fn unpublish(&self, endpoint: &Endpoint, published: &[PublishedPort]) -> Result<()>;

    /// Bytes, packets, errors and drops of the endpoint, as the container sees them.
    fn traffic(&self, endpoint: &Endpoint) -> Result<Traffic>;
    /// Name servers, search domains and options for a container's `/etc/resolv.conf` in this network.
    fn resolver(&self, network: &NetworkId) -> Result<ResolverConfig>;
    /// Removes whatever an earlier process left that no record speaks of: interfaces, bridges, table elements.
    fn sweep(&self, networks: &[NetworkSpec], endpoints: &[Endpoint]) -> Result<()>;
    /// Removes everything this engine made in the kernel: its bridges and its nftables table.
    fn teardown(&self) -> Result<()>;
}

/// Counters of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Received bytes.
    pub rx_bytes: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Received and dropped.
    pub rx_dropped: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Dropped while sending.
    pub tx_dropped: u64,
}

/// Content of a container's `/etc/resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResolverConfig {
    /// `nameserver` lines, the network's own gateway first.
    pub nameservers: Vec<IpAddr>,
    /// The `search` line.
    pub search: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
    /// Whether containers of the network call each other by names, which only these servers know.
    #[serde(default)]
    pub knows_names: bool,
}

/// Labels and driver options of a network, kept beside its specification.
pub type Labels = BTreeMap<String, String>;
