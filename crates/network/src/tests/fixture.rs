//! Network namespaces that play the host, containers and neighbours.

use crate::bridge::{BridgeNetwork, Config};
use crate::link::{self, InsideWish, VethWish};
use crate::namespace::within;
use crate::netlink::socket::Socket;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wharf_model::network::conformance::{request, spec};
use wharf_model::network::{Endpoint, Network, NetworkSpec};

/// How long a connection that must succeed may take. Longer than one lost ARP request (1 s).
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection that must fail is tried.
pub(super) const DOUBT: Duration = Duration::from_millis(400);

/// Runs a test on a thread in a fresh network namespace with loopback up: the host of the test.
pub(super) fn on_a_host(test: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let thread = std::thread::spawn(|| {
        wharf_sys::netns::unshare_network().unwrap();
        link::loopback_only(&mut Socket::route().unwrap()).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Whether bridges of this host hand their packets to IP's hooks (`br_netfilter`); without the module never.
pub(super) fn bridge_netfilter(on: bool) {
    for sysctl in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        let path = Path::new("/proc/sys/net/bridge").join(sysctl);
        if path.exists() {
            std::fs::write(path, if on { "1" } else { "0" }).unwrap();
        }
    }
}

/// A fresh network namespace.
pub(super) fn netns() -> OwnedFd {
    std::thread::spawn(|| {
        wharf_sys::netns::unshare_network().unwrap();
        own_netns()
    })
    .join()
    .unwrap()
}

/// The namespace of the calling thread.
pub(super) fn own_netns() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// Runs something inside a namespace.
pub(super) fn inside<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    within(netns.as_fd(), || Ok(work())).unwrap()
}

/// An engine in the namespace of the calling thread, without DNS.
pub(super) fn engine(table: &str) -> BridgeNetwork {
    let config =
        Config { table: table.into(), resolv_conf: Path::new("/etc/resolv.conf").into(), runtime: None };
    BridgeNetwork::new(config).unwrap()
}

/// An engine with tasks, which relays what the kernel cannot lead and mends its rules.
pub(super) fn relaying_engine(runtime: &Runtime) -> BridgeNetwork {
    let config = Config {
        table: "wharf".into(),
        resolv_conf: "/dev/null".into(),
        runtime: Some(runtime.handle().clone()),
    };
    BridgeNetwork::new(config).unwrap()
}

/// A tokio runtime whose threads live in the namespace of the calling thread.
pub(super) fn runtime() -> Runtime {
    let netns = own_netns();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(move || {
            rustix::thread::move_into_link_name_space(
                netns.as_fd(),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .unwrap();
        })
        .build()
        .unwrap()
}

/// A connected container of the test.
pub(super) struct Container {
    pub(super) netns: OwnedFd,
    pub(super) endpoint: Endpoint,
}

impl Container {
    pub(super) fn new(engine: &BridgeNetwork, network: u8, container: u8) -> Self {
        let netns = netns();
        let endpoint = engine.reserve(&request(network, container)).unwrap();
        engine.connect(&endpoint, netns.as_fd()).unwrap();
        Self { netns, endpoint }
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.endpoint.ipv4.unwrap().0.into()
    }

    pub(super) fn ip6(&self) -> IpAddr {
        self.endpoint.ipv6.unwrap().0.into()
    }
}

/// A network of [`spec`], made.
pub(super) fn network(engine: &BridgeNetwork, n: u8, change: impl FnOnce(&mut NetworkSpec)) -> NetworkSpec {
    let mut spec = spec(n);
    change(&mut spec);
    engine.ensure(&spec).unwrap();
    spec
}

/// A namespace at the other end of a wire: it is `outside`, the host has `host`.
pub(super) fn neighbour(wire: &str, host: (&str, u8), outside: (&str, u8)) -> OwnedFd {
    let far = netns();
    let parse = |(ip, prefix): (&str, u8)| (ip.parse::<IpAddr>().unwrap(), prefix);
    let mut route = Socket::route().unwrap();
    let (gateway, prefix) = parse(host);
    let subnet = [subnet_of(gateway, prefix)];
    let wish = wire_wish(wire, &subnet);
    link::create_bridge(&mut route, &wish).unwrap();
    let bridge = link::find(&mut route, wire).unwrap().unwrap();
    link::configure_bridge(&mut route, bridge.index, &wish).unwrap();
    let veth = VethWish {
        host_name: &format!("{wire}p"),
        alias: "test",
        bridge: bridge.index,
        isolated: false,
        mtu: 0,
        peer_name: "eth0",
        peer_mac: [2, 0, 0, 0, 0, 2],
        netns: far.as_fd(),
    };
    link::create_veth(&mut route, &veth).unwrap();
    let addresses = [parse(outside)];
    let wish = InsideWish { name: "eth0", addresses: &addresses, gateways: &[gateway] };
    within(far.as_fd(), || link::configure_inside(&mut Socket::route()?, &wish)).unwrap();
    far
}

/// One more address of the host's on the wire of a [`neighbour`].
pub(super) fn second_address(wire: &str, gateway: IpAddr, prefix: u8) {
    let mut route = Socket::route().unwrap();
    let bridge = link::find(&mut route, wire).unwrap().unwrap();
    let subnet = [subnet_of(gateway, prefix)];
    link::configure_bridge(&mut route, bridge.index, &wire_wish(wire, &subnet)).unwrap();
}

fn subnet_of(gateway: IpAddr, prefix: u8) -> wharf_model::network::Subnet {
    wharf_model::network::Subnet {
        base: gateway,
        prefix,
        gateway,
        range: None,
        auxiliary: Default::default(),
    }
}

fn wire_wish<'a>(wire: &'a str, subnets: &'a [wharf_model::network::Subnet]) -> link::BridgeWish<'a> {
    link::BridgeWish { name: wire, alias: "test", mac: [2, 0, 0, 0, 0, 1], mtu: 0, subnets }
}

/// A server that answers each connection with the address it came from. Ends with its last connection.
pub(super) fn serve(netns: &OwnedFd, at: impl Into<SocketAddr>, connections: usize) -> JoinHandle<()> {
    let at = at.into();
    let listener = inside(netns, || TcpListener::bind(at).unwrap());
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, from) = listener.accept().unwrap();
            stream.write_all(from.ip().to_string().as_bytes()).unwrap();
        }
    })
}

/// Connects and reads what a server of [`serve`] says: the address it sees.
pub(super) fn seen_by(netns: &OwnedFd, to: impl Into<SocketAddr>, limit: Duration) -> Option<IpAddr> {
    let to = to.into();
    inside(netns, || {
        let deadline = Instant::now() + limit;
        let mut stream = TcpStream::connect_timeout(&to, limit).ok()?;
        stream.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now()).max(DOUBT))).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.parse().ok()
    })
}

/// Every link, and whether the table is there: what an engine may leave.
pub(super) fn leftovers(table: &str) -> (Vec<String>, bool) {
    let links = link::list(&mut Socket::route().unwrap()).unwrap();
    let names = links.into_iter().map(|link| link.name).filter(|name| name != "lo").collect();
    (names, crate::nft::table::exists(table).unwrap())
}
