//! What every implementation of the `Network` seam must do, as checks that panic.

use super::{Driver, Endpoint, EndpointRequest, Network, NetworkSpec, Subnet};
use crate::error::ErrorKind;
use crate::ids::{ContainerId, NetworkId};
use crate::ports::{ContainerPort, PortMapping, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

/// Runs all checks. `make` gives an engine without networks, which sees what an earlier one left in the
/// kernel; `netns` gives an empty network namespace.
pub fn run(make: &dyn Fn() -> Box<dyn Network>, netns: &dyn Fn() -> OwnedFd) {
    networks_come_and_go(&*make());
    addresses_are_given_once(&*make());
    dual_stack(&*make());
    internal_networks_have_no_way_out(&*make());
    endpoints_come_and_go(&*make(), netns);
    ports_are_published_once(&*make());
    a_successor_adopts(make, netns);
    free_subnets_are_free(&*make());
}

/// A network specification for tests: bridge `cf<n>`, subnet `10.231.<n>.0/24`.
pub fn spec(n: u8) -> NetworkSpec {
    NetworkSpec {
        id: NetworkId::from_bytes([n; 32]),
        name: format!("net{n}"),
        driver: Driver::Bridge,
        bridge: format!("cf{n}"),
        parent: String::new(),
        subnets: vec![Subnet {
            base: Ipv4Addr::new(10, 231, n, 0).into(),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 231, n, 1).into(),
            range: None,
            auxiliary: Default::default(),
        }],
        internal: false,
        icc: true,
        masquerade: true,
        mtu: 0,
        gateway_modes: Default::default(),
        binding: None,
    }
}

/// A request of container `container` for network `network` of [`spec`].
pub fn request(network: u8, container: u8) -> EndpointRequest {
    EndpointRequest {
        network: NetworkId::from_bytes([network; 32]),
        container: ContainerId::from_bytes([container; 32]),
        interface: "eth0".into(),
        ipv4: None,
        ipv6: None,
        mac: None,
        names: vec![format!("c{container}")],
        default_route: true,
        extras: Default::default(),
    }
}

/// A mapping of `container` (TCP) to a host port, or to any.
pub fn mapping(container: u16, host: Option<u16>) -> PortMapping {
    PortMapping {
        container: ContainerPort { port: container, protocol: Protocol::Tcp },
        host_ip: None,
        host_ports: host.map(|port| (port, port)),
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: crate::Result<T>, kind: ErrorKind) -> String {
    let error = result.expect_err("must fail");
    assert_eq!(error.kind(), kind, "{}", error.full());
    error.full()
}

fn networks_come_and_go(network: &dyn Network) {
    let spec = spec(1);
    fails(network.remove(&spec.id), ErrorKind::NotFound);
    fails(network.reserve(&request(1, 1)), ErrorKind::NotFound);
    network.ensure(&spec).expect("ensure");
    network.ensure(&spec).expect("ensure is idempotent");
    let mut clash = self::spec(2);
    clash.subnets = spec.subnets.clone();
    fails(network.ensure(&clash), ErrorKind::Conflict);
    let endpoint = network.reserve(&request(1, 1)).expect("reserve");
    let text = fails(network.remove(&spec.id), ErrorKind::Conflict);
    assert!(text.contains("net1"), "{text}");
    network.disconnect(&endpoint).expect("disconnect");
    network.remove(&spec.id).expect("remove");
    fails(network.remove(&spec.id), ErrorKind::NotFound);
    network.teardown().expect("teardown");
}

fn addresses_are_given_once(network: &dyn Network) {
    network.ensure(&spec(1)).expect("ensure");
    let first = network.reserve(&request(1, 1)).expect("reserve");
    fails(network.reserve(&request(1, 1)), ErrorKind::Conflict);
    let (ip, prefix) = first.ipv4.expect("an IPv4 address");
    assert_eq!((ip, prefix), (Ipv4Addr::new(10, 231, 1, 2), 24));
    assert_eq!(first.mac, [2, 0x42, 10, 231, 1, 2]);
    assert_eq!(first.gateway4, Some(Ipv4Addr::new(10, 231, 1, 1)));
    assert!(first.host_interface.len() <= 15);
    let fixed = |last| EndpointRequest { ipv4: Some(Ipv4Addr::new(10, 231, 1, last)), ..request(1, 9) };
    fails(network.reserve(&fixed(2)), ErrorKind::Conflict);
    fails(network.reserve(&fixed(1)), ErrorKind::Conflict);
    let outside = EndpointRequest { ipv4: Some(Ipv4Addr::new(10, 99, 0, 1)), ..request(1, 9) };
    fails(network.reserve(&outside), ErrorKind::Invalid);
    let chosen = network.reserve(&fixed(77)).expect("a fixed address");
    assert_eq!(chosen.ipv4.map(|(ip, _)| ip), Some(Ipv4Addr::new(10, 231, 1, 77)));
    network.disconnect(&first).expect("disconnect");
    network.disconnect(&first).expect("disconnect is idempotent");
    let next = network.reserve(&request(1, 2)).expect("reserve");
    assert_ne!(next.ipv4, first.ipv4, "a freed address rests");
    network.teardown().expect("teardown");
}

fn dual_stack(network: &dyn Network) {
    let mut spec = spec(1);
    let base: Ipv6Addr = "fd00:231::".parse().expect("an address");
    spec.subnets.push(Subnet {
        base: base.into(),
        prefix: 64,
        gateway: "fd00:231::1".parse().expect("an address"),
        range: None,
        auxiliary: Default::default(),
    });
    network.ensure(&spec).expect("ensure");
    let endpoint = network.reserve(&request(1, 1)).expect("reserve");
    let (ip, prefix) = endpoint.ipv6.expect("an IPv6 address");
    assert_eq!((ip.segments()[..2].to_vec(), prefix), (base.segments()[..2].to_vec(), 64));
    assert!(endpoint.gateway6.is_some());
    let published = network.publish(&endpoint, &[mapping(80, Some(18_931))]).expect("publish");
    let ips: Vec<IpAddr> = published.iter().map(|port| port.host_ip).collect();
    assert_eq!(ips, [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()]);
    network.teardown().expect("teardown");
}

fn internal_networks_have_no_way_out(network: &dyn Network) {
    let spec = NetworkSpec { internal: true, ..spec(1) };
    network.ensure(&spec).expect("ensure");
    let endpoint = network.reserve(&request(1, 1)).expect("reserve");
    assert_eq!(endpoint.gateway4, None);
    assert_eq!(network.publish(&endpoint, &[mapping(80, None)]).expect("publish"), []);
    network.teardown().expect("teardown");
}

fn endpoints_come_and_go(network: &dyn Network, netns: &dyn Fn() -> OwnedFd) {
    network.ensure(&spec(1)).expect("ensure");
    let endpoint = network.reserve(&request(1, 1)).expect("reserve");
    fails(network.traffic(&endpoint), ErrorKind::NotFound);
    network.connect(&endpoint, netns().as_fd()).expect("connect");
    // The namespace above is gone by now, and the interface with it or not: both are allowed.
    network.disconnect(&endpoint).expect("disconnect");
    let inside = netns();
    let endpoint = network.reserve(&request(1, 1)).expect("reserve again");
    network.connect(&endpoint, inside.as_fd()).expect("connect again");
    network.traffic(&endpoint).expect("traffic");
    network.disconnect(&endpoint).expect("disconnect");
    fails(network.traffic(&endpoint), ErrorKind::NotFound);
    fails(network.connect(&endpoint, inside.as_fd()), ErrorKind::NotFound);
    network.teardown().expect("teardown");
}

fn ports_are_published_once(network: &dyn Network) {
    network.ensure(&spec(1)).expect("ensure");
    let endpoints: Vec<Endpoint> =
        (1..=2).map(|n| network.reserve(&request(1, n)).expect("reserve")).collect();
    let [first, second] = endpoints.as_slice() else { unreachable!("two were reserved") };
    let published = network.publish(first, &[mapping(80, Some(18_080))]).expect("publish");
    assert_eq!(published.len(), 1);
    assert_eq!((published[0].host_port, published[0].container.port), (18_080, 80));
    let text = fails(network.publish(second, &[mapping(80, Some(18_080))]), ErrorKind::Conflict);
    assert!(text.contains("Bind for 0.0.0.0:18080 failed: port is already allocated"), "{text}");
    // All or none: the free port of a refused request stays free.
    let both = [mapping(81, Some(18_081)), mapping(80, Some(18_080))];
    fails(network.publish(second, &both), ErrorKind::Conflict);
    let again = network.publish(second, &both[..1]).expect("the free port");
    let range = PortMapping { host_ports: Some((18_080, 18_082)), ..mapping(82, None) };
    let ranged = network.publish(second, &[range]).expect("a range");
    assert_eq!(ranged[0].host_port, 18_082);
    let any = network.publish(second, &[mapping(83, None), mapping(84, None)]).expect("any port");
    assert_ne!(any[0].host_port, any[1].host_port);
    let local = PortMapping { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..mapping(85, Some(18_080)) };
    fails(network.publish(second, std::slice::from_ref(&local)), ErrorKind::Conflict);
    // Another's ports are not given up.
    network.unpublish(second, &published).expect("unpublish");
    fails(network.publish(second, &[mapping(80, Some(18_080))]), ErrorKind::Conflict);
    network.unpublish(first, &published).expect("unpublish");
    network.unpublish(first, &published).expect("unpublish is idempotent");
    network.publish(second, &[local]).expect("the freed port");
    network.unpublish(second, &again).expect("unpublish");
    network.teardown().expect("teardown");
}

fn a_successor_adopts(make: &dyn Fn() -> Box<dyn Network>, netns: &dyn Fn() -> OwnedFd) {
    let inside = netns();
    let first = make();
    first.ensure(&spec(1)).expect("ensure");
    let endpoint = first.reserve(&request(1, 1)).expect("reserve");
    first.connect(&endpoint, inside.as_fd()).expect("connect");
    let published = first.publish(&endpoint, &[mapping(80, Some(18_080))]).expect("publish");
    drop(first);
    let successor = make();
    successor.ensure(&spec(1)).expect("ensure");
    successor.adopt(&endpoint, &published, inside.as_fd()).expect("adopt");
    successor.adopt(&endpoint, &published, inside.as_fd()).expect("adopt is idempotent");
    successor.sweep(&[spec(1)], std::slice::from_ref(&endpoint)).expect("sweep");
    successor.traffic(&endpoint).expect("the interface is still there");
    let other = successor.reserve(&request(1, 2)).expect("reserve");
    assert_ne!(other.ipv4, endpoint.ipv4);
    fails(successor.publish(&other, &[mapping(80, Some(18_080))]), ErrorKind::Conflict);
    successor.unpublish(&endpoint, &published).expect("unpublish");
    successor.disconnect(&endpoint).expect("disconnect");
    successor.teardown().expect("teardown");
    successor.teardown().expect("teardown is idempotent");
}

fn free_subnets_are_free(network: &dyn Network) {
    let subnet = network.free_subnet().expect("a free subnet");
    network.ensure(&NetworkSpec { subnets: vec![subnet.clone()], ..spec(1) }).expect("ensure");
    let other = network.free_subnet().expect("another free subnet");
    assert_ne!(other.base, subnet.base);
    network.ensure(&NetworkSpec { subnets: vec![other], ..spec(2) }).expect("ensure");
    network.teardown().expect("teardown");
}
