//! Published ports, from everywhere they are reached from.

use super::fixture::{
    Container, DOUBT, PATIENCE, bridge_netfilter, engine, inside, leftovers, neighbour, network, on_a_host,
    own_netns, relaying_engine, runtime, second_address, seen_by, serve,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use wharf_model::network::conformance::{mapping, spec};
use wharf_model::network::{Network, Subnet};
use wharf_model::ports::{ContainerPort, PortMapping, Protocol};

#[test]
fn from_the_host_neighbours_and_containers() {
    everywhere(false);
}

#[test]
fn from_everywhere_with_bridge_netfilter() {
    everywhere(true);
}

fn everywhere(with_bridge_netfilter: bool) {
    on_a_host(move || {
        bridge_netfilter(with_bridge_netfilter);
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        network(&engine, 2, |_| {});
        let outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let web = Container::new(&engine, 1, 1);
        let friend = Container::new(&engine, 1, 2);
        let stranger = Container::new(&engine, 2, 3);
        let host = own_netns();
        let published = engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        let server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 7);
        let port = |ip: [u8; 4]| SocketAddr::from((ip, 8080));

        let bridge: IpAddr = "10.231.1.1".parse().unwrap();
        assert_eq!(seen_by(&host, (web.ip(), 80), PATIENCE), Some(bridge), "directly");
        assert_eq!(seen_by(&host, port([127, 0, 0, 1]), PATIENCE), Some(bridge), "127.0.0.1");
        let own = seen_by(&host, port([192, 0, 2, 1]), PATIENCE);
        assert_eq!(own, Some("192.0.2.1".parse().unwrap()), "the host's own address");
        let neighbour_ip = Some("192.0.2.9".parse().unwrap());
        assert_eq!(seen_by(&outside, port([192, 0, 2, 1]), PATIENCE), neighbour_ip, "a neighbour, unmasked");
        assert_eq!(seen_by(&friend.netns, port([192, 0, 2, 1]), PATIENCE), Some(bridge), "hairpin");
        assert_eq!(seen_by(&web.netns, port([192, 0, 2, 1]), PATIENCE), Some(bridge), "itself");
        let across = seen_by(&stranger.netns, port([192, 0, 2, 1]), PATIENCE);
        assert_eq!(across, Some(stranger.ip()), "another network");
        server.join().unwrap();

        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 81), 1);
        assert_eq!(seen_by(&outside, (web.ip(), 81), DOUBT), None, "unpublished, routed from outside");
        assert_eq!(seen_by(&stranger.netns, (web.ip(), 81), DOUBT), None, "unpublished, other network");
        assert!(seen_by(&friend.netns, (web.ip(), 81), PATIENCE).is_some(), "the same network");

        engine.unpublish(&web.endpoint, &published).unwrap();
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 82), 1);
        assert_eq!(seen_by(&host, port([127, 0, 0, 1]), DOUBT), None, "no longer published");
        assert!(seen_by(&host, (web.ip(), 82), PATIENCE).is_some());
        engine.teardown().unwrap();
        assert_eq!(leftovers("wharf"), (vec!["wire".into(), "wirep".into()], false));
    });
}

#[test]
fn on_one_address() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        let outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let web = Container::new(&engine, 1, 1);
        let on = |ip: [u8; 4], port| PortMapping { host_ip: Some(ip.into()), ..mapping(80, Some(port)) };
        engine.publish(&web.endpoint, &[on([127, 0, 0, 1], 8081), on([192, 0, 2, 1], 8082)]).unwrap();
        let host = own_netns();
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 3);
        let at = |ip: [u8; 4], port: u16| SocketAddr::from((ip, port));
        assert!(seen_by(&host, at([127, 0, 0, 1], 8081), PATIENCE).is_some());
        assert!(seen_by(&outside, at([192, 0, 2, 1], 8082), PATIENCE).is_some());
        assert!(seen_by(&host, at([192, 0, 2, 1], 8082), PATIENCE).is_some());
        assert_eq!(seen_by(&outside, at([192, 0, 2, 1], 8081), DOUBT), None);
        assert_eq!(seen_by(&host, at([127, 0, 0, 1], 8082), DOUBT), None);
    });
}

#[test]
fn ipv6() {
    on_a_host(|| {
        let engine = engine("wharf");
        let subnet = Subnet {
            base: "fd00:231::".parse().unwrap(),
            prefix: 64,
            gateway: "fd00:231::1".parse().unwrap(),
            range: None,
            auxiliary: Default::default(),
        };
        network(&engine, 1, |spec| spec.subnets.push(subnet));
        let outside = neighbour("wire", ("fd00:9::1", 64), ("fd00:9::9", 64));
        let web = Container::new(&engine, 1, 1);
        let friend = Container::new(&engine, 1, 2);
        engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        let host = own_netns();
        let any: IpAddr = "::".parse().unwrap();
        let _server = serve(&web.netns, (any, 80), 6);
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 8080);
        let bridge: IpAddr = "fd00:231::1".parse().unwrap();
        assert_eq!(seen_by(&host, (web.ip6(), 80), PATIENCE), Some(bridge), "directly");
        assert_eq!(seen_by(&host, at("fd00:9::1"), PATIENCE), Some("fd00:9::1".parse().unwrap()));
        assert_eq!(seen_by(&outside, at("fd00:9::1"), PATIENCE), Some("fd00:9::9".parse().unwrap()));
        assert_eq!(seen_by(&friend.netns, at("fd00:9::1"), PATIENCE), Some(bridge), "hairpin");
        let refused = std::net::TcpStream::connect(at("::1")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "::1 is refused at once");
        assert_eq!(seen_by(&outside, (web.ip6(), 80), DOUBT), None, "routed from outside");
        let out = serve(&outside, (any, 90), 1);
        let to = SocketAddr::new("fd00:9::9".parse().unwrap(), 90);
        assert_eq!(seen_by(&web.netns, to, PATIENCE), Some("fd00:9::1".parse().unwrap()), "masqueraded");
        out.join().unwrap();
    });
}

#[test]
fn udp_flows_follow_the_port() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        let outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let containers = [1, 2].map(|n| Container::new(&engine, 1, n));
        let client = inside(&outside, || UdpSocket::bind("0.0.0.0:0").unwrap());
        client.set_read_timeout(Some(DOUBT)).unwrap();
        let servers =
            containers.each_ref().map(|c| inside(&c.netns, || UdpSocket::bind("0.0.0.0:53").unwrap()));
        let udp = ContainerPort { port: 53, protocol: Protocol::Udp };
        let mapping = PortMapping { container: udp, ..mapping(53, Some(5300)) };
        let mut buffer = [0; 16];
        // A flow that nobody answers begins before the port is published.
        client.send_to(b"early", "192.0.2.1:5300").unwrap();
        assert!(client.recv(&mut buffer).is_err());
        for (container, server) in containers.iter().zip(&servers) {
            let published = engine.publish(&container.endpoint, std::slice::from_ref(&mapping)).unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            client.send_to(b"ask", "192.0.2.1:5300").unwrap();
            let (_, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip(), "192.0.2.9".parse::<IpAddr>().unwrap());
            server.send_to(b"answer", from).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"answer"[..], "192.0.2.1:5300".parse().unwrap()));
            engine.unpublish(&container.endpoint, &published).unwrap();
        }
    });
}

#[test]
fn ipv6_reaches_containers_without_it() {
    on_a_host(|| {
        let runtime = runtime();
        let engine = relaying_engine(&runtime);
        network(&engine, 1, |_| {});
        let outside = neighbour("wire", ("fd00:9::1", 64), ("fd00:9::9", 64));
        let web = Container::new(&engine, 1, 1);
        let published = engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        let ips: Vec<String> = published.iter().map(|port| port.host_ip.to_string()).collect();
        assert_eq!(ips, ["0.0.0.0", "::"]);
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 4);
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 8080);
        assert!(seen_by(&own_netns(), at("::1"), PATIENCE).is_some());
        assert!(seen_by(&own_netns(), at("fd00:9::1"), PATIENCE).is_some());
        assert!(seen_by(&outside, at("fd00:9::1"), PATIENCE).is_some());
        engine.unpublish(&web.endpoint, &published).unwrap();
        let refused = std::net::TcpStream::connect(at("::1")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let again = engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        drop(engine);
        let successor = relaying_engine(&runtime);
        successor.ensure(&spec(1)).unwrap();
        successor.adopt(&web.endpoint, &again, web.netns.as_fd()).unwrap();
        assert!(seen_by(&own_netns(), at("::1"), PATIENCE).is_some(), "a successor relays again");
        successor.teardown().unwrap();
        drop(successor);
        runtime.shutdown_timeout(PATIENCE);
    });
}

/// What a server of UDP at port 53 of a container sees, and where its answer comes from.
fn asked(client: &UdpSocket, at: &str, server: &UdpSocket) -> (SocketAddr, SocketAddr) {
    let mut buffer = [0; 16];
    client.send_to(b"ask", at).unwrap();
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"answer", from).unwrap();
    let (len, answerer) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"answer");
    (from, answerer)
}

#[test]
fn udp_over_ipv6_reaches_containers_without_it() {
    on_a_host(|| {
        let runtime = runtime();
        let engine = relaying_engine(&runtime);
        network(&engine, 1, |_| {});
        let outside = neighbour("wire", ("fd00:9::1", 64), ("fd00:9::9", 64));
        second_address("wire", "fd00:9::2".parse().unwrap(), 64);
        let container = Container::new(&engine, 1, 1);
        let server = inside(&container.netns, || UdpSocket::bind("0.0.0.0:53").unwrap());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let udp = ContainerPort { port: 53, protocol: Protocol::Udp };
        let mapping = PortMapping { container: udp, ..mapping(53, Some(5300)) };
        let client = |netns, at: &str| {
            let client = inside(netns, || UdpSocket::bind(at).unwrap());
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        };
        let (near, far) = (client(&own_netns(), "[::1]:0"), client(&outside, "[::]:0"));
        // The port is free at once: published again, it is the same one.
        for _ in 0..3 {
            let published = engine.publish(&container.endpoint, std::slice::from_ref(&mapping)).unwrap();
            let ips: Vec<String> = published.iter().map(|port| port.host_ip.to_string()).collect();
            assert_eq!(ips, ["0.0.0.0", "::"]);
            let (from, answerer) = asked(&near, "[::1]:5300", &server);
            assert_eq!(
                (from.ip(), answerer.to_string()),
                ("10.231.1.1".parse().unwrap(), "[::1]:5300".into())
            );
            assert_eq!(asked(&near, "[::1]:5300", &server).0, from, "one socket for a client");
            // Each address answers for itself.
            for address in ["[fd00:9::1]:5300", "[fd00:9::2]:5300"] {
                let (of_far, answerer) = asked(&far, address, &server);
                assert_eq!(answerer.to_string(), address);
                assert_ne!(of_far, from, "clients are told apart");
            }
            engine.unpublish(&container.endpoint, &published).unwrap();
        }
        engine.teardown().unwrap();
        drop(engine);
        runtime.shutdown_timeout(PATIENCE);
    });
}
