//! Ways out, isolation, and the table's own survival.

use super::fixture::{
    Container, DOUBT, PATIENCE, bridge_netfilter, engine, inside, leftovers, neighbour, network, on_a_host,
    own_netns, relaying_engine, runtime, seen_by, serve,
};
use crate::link;
use crate::netlink::socket::Socket;
use crate::nft::table::Table;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wharf_model::network::conformance::{mapping, request, spec};
use wharf_model::network::{GatewayMode, Network, NetworkSpec, Subnet};

#[test]
fn ways_out() {
    on_a_host(|| {
        let engine = engine("wharf");
        let outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        network(&engine, 1, |_| {});
        network(&engine, 2, |spec| spec.masquerade = false);
        network(&engine, 3, |spec| spec.internal = true);
        let [nat, routed, locked] = [1, 2, 3].map(|n| Container::new(&engine, n, 1));
        let any = (Ipv4Addr::UNSPECIFIED, 90);
        let server = serve(&outside, any, 2);
        let to = SocketAddr::from(([192, 0, 2, 9], 90));
        assert_eq!(seen_by(&nat.netns, to, PATIENCE), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(seen_by(&routed.netns, to, PATIENCE), Some(routed.ip()));
        server.join().unwrap();
        let _server = serve(&outside, any, 1);
        assert_eq!(seen_by(&locked.netns, to, DOUBT), None);
        // Inside an internal network everything works.
        let friend = Container::new(&engine, 3, 2);
        let _inner = serve(&locked.netns, any, 1);
        assert_eq!(seen_by(&friend.netns, (locked.ip(), 90), PATIENCE), Some(friend.ip()));
    });
}

#[test]
fn closed_networks_keep_containers_apart() {
    on_a_host(|| {
        // With it the bridge itself would lead translated packets from port to port, which are isolated.
        bridge_netfilter(false);
        let engine = engine("wharf");
        network(&engine, 1, |spec| spec.icc = false);
        let [a, b] = [1, 2].map(|n| Container::new(&engine, 1, n));
        let _server = serve(&a.netns, (Ipv4Addr::UNSPECIFIED, 80), 2);
        assert_eq!(seen_by(&b.netns, (a.ip(), 80), DOUBT), None);
        assert!(seen_by(&own_netns(), (a.ip(), 80), PATIENCE).is_some(), "the host may");
        engine.publish(&a.endpoint, &[mapping(80, Some(8080))]).unwrap();
        let gateway: IpAddr = "10.231.1.1".parse().unwrap();
        assert!(seen_by(&b.netns, (gateway, 8080), PATIENCE).is_some(), "published is published");
    });
}

#[test]
fn loopback_services_stay_out_of_reach() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        let container = Container::new(&engine, 1, 1);
        let _server = serve(&own_netns(), (Ipv4Addr::LOCALHOST, 70), 1);
        // Without a loopback of its own, 127.0.0.1 lies behind the hostile container's gateway.
        inside(&container.netns, || {
            let loopback = Ipv4Addr::LOCALHOST.into();
            link::remove_address(&mut Socket::route().unwrap(), 1, loopback, 8).unwrap();
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        });
        assert_eq!(seen_by(&container.netns, ([127, 0, 0, 1], 70), DOUBT), None);
        // The test means something: without our table it succeeds.
        Table::new("wharf").unwrap().remove().unwrap();
        assert!(seen_by(&container.netns, ([127, 0, 0, 1], 70), PATIENCE).is_some());
    });
}

#[test]
fn two_engines_side_by_side() {
    on_a_host(|| {
        let (first, second) = (engine("wharf-a"), engine("wharf-b"));
        network(&first, 1, |_| {});
        network(&second, 2, |_| {});
        let a = Container::new(&first, 1, 1);
        let b = Container::new(&second, 2, 2);
        first.publish(&a.endpoint, &[mapping(80, Some(8080))]).unwrap();
        assert!(second.publish(&b.endpoint, &[mapping(80, Some(8080))]).is_err());
        second.publish(&b.endpoint, &[mapping(80, Some(8081))]).unwrap();
        let _servers = [&a, &b].map(|c| serve(&c.netns, (Ipv4Addr::UNSPECIFIED, 80), 3));
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(seen_by(&own_netns(), at(8080), PATIENCE).is_some());
        assert!(seen_by(&own_netns(), at(8081), PATIENCE).is_some());
        let gateway: IpAddr = "10.231.2.1".parse().unwrap();
        assert!(seen_by(&a.netns, (gateway, 8081), PATIENCE).is_some(), "through the other's port");
        assert_eq!(seen_by(&a.netns, (b.ip(), 80), DOUBT), None);
        first.sweep(&[], &[]).unwrap();
        first.teardown().unwrap();
        assert!(seen_by(&own_netns(), at(8081), PATIENCE).is_some(), "the other engine is untouched");
        let (links, table) = leftovers("wharf-b");
        assert!(links.contains(&"cf2".to_owned()) && table);
    });
}

#[test]
fn a_flushed_table_is_restored() {
    on_a_host(|| {
        let runtime = runtime();
        let engine = relaying_engine(&runtime);
        network(&engine, 1, |_| {});
        let web = Container::new(&engine, 1, 1);
        engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        // What `nft flush ruleset` does to our table, through another socket.
        Table::new("wharf").unwrap().remove().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !leftovers("wharf").1 {
            assert!(Instant::now() < deadline, "the table was not restored");
            std::thread::yield_now();
        }
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 1);
        assert!(seen_by(&own_netns(), ([127, 0, 0, 1], 8080), PATIENCE).is_some());
        engine.teardown().unwrap();
        drop(engine);
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert_eq!(leftovers("wharf"), (vec![], false));
    });
}

#[test]
fn publishing_after_a_flush_restores_too() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        let web = Container::new(&engine, 1, 1);
        let published = engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        Table::new("wharf").unwrap().remove().unwrap();
        engine.unpublish(&web.endpoint, &published).unwrap();
        engine.publish(&web.endpoint, &[mapping(80, Some(8081))]).unwrap();
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 1);
        assert!(seen_by(&own_netns(), ([127, 0, 0, 1], 8081), PATIENCE).is_some());
    });
}

#[test]
fn failures_leave_nothing() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        let before = leftovers("wharf");
        let netns = super::fixture::netns();
        let mut endpoint = engine.reserve(&request(1, 1)).unwrap();
        engine.connect(&endpoint, netns.as_fd()).unwrap();
        let second = engine.reserve(&request(1, 2)).unwrap();
        // The name eth0 is taken in this namespace.
        engine.connect(&second, netns.as_fd()).unwrap_err();
        engine.disconnect(&endpoint).unwrap();
        // A gateway nobody can reach: the interface exists already when the route is refused.
        endpoint.gateway4 = Some([198, 51, 100, 1].into());
        endpoint = engine
            .reserve(&request(1, 1))
            .map(|e| wharf_model::network::Endpoint { gateway4: endpoint.gateway4, ..e })
            .unwrap();
        engine.connect(&endpoint, netns.as_fd()).unwrap_err();
        assert_eq!(leftovers("wharf"), before);
        // A foreign interface of the bridge's name is not touched.
        neighbour("cf7", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let error = engine.ensure(&spec(7)).unwrap_err();
        assert!(error.to_string().contains("is not ours"), "{error}");
    });
}

#[test]
fn sweep_removes_what_nobody_knows() {
    on_a_host(|| {
        let first = engine("wharf");
        network(&first, 1, |_| {});
        network(&first, 2, |_| {});
        let kept = Container::new(&first, 1, 1);
        let lost = Container::new(&first, 1, 2);
        let published = first.publish(&kept.endpoint, &[mapping(80, Some(8080))]).unwrap();
        first.publish(&lost.endpoint, &[mapping(80, Some(8081))]).unwrap();
        drop(first);
        let second = engine("wharf");
        second.ensure(&spec(1)).unwrap();
        second.adopt(&kept.endpoint, &published, kept.netns.as_fd()).unwrap();
        second.sweep(&[spec(1)], std::slice::from_ref(&kept.endpoint)).unwrap();
        let (mut links, _) = leftovers("wharf");
        links.sort();
        assert_eq!(links, ["cf1".to_owned(), kept.endpoint.host_interface.clone()]);
        let _servers = [&kept].map(|c| serve(&c.netns, (Ipv4Addr::UNSPECIFIED, 80), 1));
        assert!(seen_by(&own_netns(), ([127, 0, 0, 1], 8080), PATIENCE).is_some());
        assert_eq!(seen_by(&own_netns(), ([127, 0, 0, 1], 8081), DOUBT), None);
        second.teardown().unwrap();
        assert_eq!(leftovers("wharf"), (vec![], false));
    });
}

#[test]
fn routed_containers_are_reached_by_their_own_addresses() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |spec| spec.gateway_modes.0 = GatewayMode::Routed);
        let outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let web = Container::new(&engine, 1, 1);
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 2);
        assert_eq!(seen_by(&outside, (web.ip(), 80), DOUBT), None, "not published");
        let published = engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        assert!(published.iter().all(|port| port.host_port == 0), "{published:?}");
        assert_eq!(seen_by(&outside, (web.ip(), 80), PATIENCE), Some("192.0.2.9".parse().unwrap()));
        assert_eq!(seen_by(&outside, ([192, 0, 2, 1], 8080), DOUBT), None, "no port of the host");
        let out = serve(&outside, (Ipv4Addr::UNSPECIFIED, 90), 1);
        assert_eq!(seen_by(&web.netns, ([192, 0, 2, 9], 90), PATIENCE), Some(web.ip()), "not masqueraded");
        out.join().unwrap();
        let second = super::fixture::engine("wharf");
        second.ensure(&network_spec(GatewayMode::Routed)).unwrap();
        second.adopt(&web.endpoint, &published, web.netns.as_fd()).unwrap();
        second.sweep(&[network_spec(GatewayMode::Routed)], std::slice::from_ref(&web.endpoint)).unwrap();
        assert!(seen_by(&outside, (web.ip(), 80), PATIENCE).is_some(), "a successor keeps it open");
        second.unpublish(&web.endpoint, &published).unwrap();
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 81), 1);
        assert_eq!(seen_by(&outside, (web.ip(), 80), DOUBT), None);
    });
}

fn network_spec(mode: GatewayMode) -> NetworkSpec {
    NetworkSpec { gateway_modes: (mode, GatewayMode::Nat), ..spec(1) }
}

#[test]
fn isolated_bridges_have_no_address() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |spec| {
            spec.internal = true;
            spec.gateway_modes.0 = GatewayMode::Isolated;
        });
        let [a, b] = [1, 2].map(|n| Container::new(&engine, 1, n));
        let _server = serve(&a.netns, (Ipv4Addr::UNSPECIFIED, 80), 1);
        let addresses = link::addresses(&mut Socket::route().unwrap()).unwrap();
        assert!(addresses.iter().all(|(_, ip, _)| *ip != IpAddr::from([10, 231, 1, 1])));
        assert_eq!(seen_by(&b.netns, (a.ip(), 80), PATIENCE), Some(b.ip()));
    });
}

#[test]
fn a_binding_is_where_ports_without_an_address_go() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |spec| spec.binding = Some(Ipv4Addr::LOCALHOST.into()));
        let web = Container::new(&engine, 1, 1);
        let published = engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        assert_eq!(
            published.iter().map(|p| p.host_ip).collect::<Vec<_>>(),
            [IpAddr::from(Ipv4Addr::LOCALHOST)]
        );
    });
}

/// `nft flush ruleset` with hundreds of ports of both families, while an engine runs.
#[test]
fn a_large_table_is_restored_within_a_second() {
    on_a_host(|| {
        let runtime = runtime();
        let engine = relaying_engine(&runtime);
        let ipv6 = Subnet {
            base: "fd00:231::".parse().unwrap(),
            prefix: 64,
            gateway: "fd00:231::1".parse().unwrap(),
            range: None,
            auxiliary: Default::default(),
        };
        network(&engine, 1, |spec| spec.subnets.push(ipv6));
        let outside = neighbour("wire", ("fd00:9::1", 64), ("fd00:9::9", 64));
        let web = Container::new(&engine, 1, 1);
        let mappings: Vec<_> = (0..400).map(|n| mapping(80, Some(20_000 + n))).collect();
        engine.publish(&web.endpoint, &mappings).unwrap();
        Table::new("wharf").unwrap().remove().unwrap();
        let flushed = Instant::now();
        while !leftovers("wharf").1 {
            assert!(flushed.elapsed() < Duration::from_secs(1), "not within a second");
            std::thread::yield_now();
        }
        let _server = serve(&web.netns, (std::net::Ipv6Addr::UNSPECIFIED, 80), 3);
        assert!(seen_by(&own_netns(), ([127, 0, 0, 1], 20_399), PATIENCE).is_some());
        let far = SocketAddr::new("fd00:9::1".parse().unwrap(), 20_200);
        assert_eq!(seen_by(&outside, far, PATIENCE), Some("fd00:9::9".parse().unwrap()));
        engine.teardown().unwrap();
        drop(engine);
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
}

#[test]
fn what_was_flushed_while_no_engine_ran_comes_back_with_the_next() {
    on_a_host(|| {
        let first = engine("wharf");
        network(&first, 1, |_| {});
        let web = Container::new(&first, 1, 1);
        let published = first.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 2);
        drop(first);
        assert!(seen_by(&own_netns(), ([127, 0, 0, 1], 8080), PATIENCE).is_some(), "no engine is needed");
        Table::new("wharf").unwrap().remove().unwrap();
        assert_eq!(seen_by(&own_netns(), ([127, 0, 0, 1], 8080), DOUBT), None);
        let second = engine("wharf");
        second.ensure(&spec(1)).unwrap();
        second.adopt(&web.endpoint, &published, web.netns.as_fd()).unwrap();
        assert!(seen_by(&own_netns(), ([127, 0, 0, 1], 8080), PATIENCE).is_some());
    });
}

#[test]
fn the_hosts_own_drop_is_obeyed() {
    on_a_host(|| {
        let engine = engine("wharf");
        network(&engine, 1, |_| {});
        let outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let web = Container::new(&engine, 1, 1);
        engine.publish(&web.endpoint, &[mapping(80, Some(8080))]).unwrap();
        let _server = serve(&web.netns, (Ipv4Addr::UNSPECIFIED, 80), 2);
        assert!(seen_by(&outside, ([192, 0, 2, 1], 8080), PATIENCE).is_some());
        crate::nft::foreign::drop_forwarded("host").unwrap();
        assert_eq!(seen_by(&outside, ([192, 0, 2, 1], 8080), DOUBT), None);
        Table::new("host").unwrap().remove().unwrap();
        assert!(seen_by(&outside, ([192, 0, 2, 1], 8080), PATIENCE).is_some());
    });
}
