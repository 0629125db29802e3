//! Networks on an interface of the host.

use super::fixture::{
    Container, DOUBT, PATIENCE, engine, inside, leftovers, neighbour, netns, network, on_a_host, own_netns,
    relaying_engine, runtime, seen_by, serve,
};
use crate::link;
use crate::link::child::is_known;
use crate::namespace::within;
use crate::netlink::socket::Socket;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use wharf_model::ErrorKind;
use wharf_model::network::conformance::{request, spec};
use wharf_model::network::parent::{IpvlanFlag, IpvlanLayer, MacvlanMode};
use wharf_model::network::{Driver, Network, NetworkSpec};

fn sits_on(parent: &str, mode: MacvlanMode) -> impl FnOnce(&mut NetworkSpec) {
    let parent = parent.to_owned();
    move |spec| {
        spec.bridge.clear();
        spec.driver = Driver::Macvlan(mode);
        spec.parent = parent;
    }
}

fn knows(kind: &str) -> bool {
    let known = is_known(&mut Socket::route().unwrap(), kind).unwrap();
    if !known {
        eprintln!("skipped: this kernel has no {kind} interfaces");
    }
    known
}

#[test]
fn macvlan_reaches_the_parents_neighbours_and_not_the_host() {
    on_a_host(|| {
        if !knows("macvlan") {
            return;
        }
        // The bridge `wire` has its far end in `outside`, of the containers' subnet.
        let outside = neighbour("wire", ("10.231.1.199", 24), ("10.231.1.200", 24));
        let engine = engine("wharf");
        network(&engine, 1, sits_on("wire", MacvlanMode::Bridge));
        let [a, b] = [1, 2].map(|n| Container::new(&engine, 1, n));
        let _server = serve(&a.netns, (Ipv4Addr::UNSPECIFIED, 80), 3);
        assert_eq!(seen_by(&b.netns, (a.ip(), 80), PATIENCE), Some(b.ip()), "each other");
        assert_eq!(seen_by(&outside, (a.ip(), 80), PATIENCE), Some("10.231.1.200".parse().unwrap()));
        assert_eq!(seen_by(&own_netns(), (a.ip(), 80), DOUBT), None, "the host");
        assert!(engine.traffic(&a.endpoint).unwrap().rx_packets > 0);
        engine.disconnect(&a.endpoint).unwrap();
        let left = within(a.netns.as_fd(), || link::find(&mut Socket::route()?, "eth0")).unwrap();
        assert_eq!(left, None, "a live disconnect takes the interface");
        engine.disconnect(&b.endpoint).unwrap();
        engine.remove(&spec(1).id).unwrap();
        let (links, _) = leftovers("wharf");
        assert!(links.contains(&"wire".to_owned()), "the parent is not ours: {links:?}");
    });
}

#[test]
fn private_macvlans_keep_apart() {
    on_a_host(|| {
        if !knows("macvlan") {
            return;
        }
        let outside = neighbour("wire", ("10.231.1.199", 24), ("10.231.1.200", 24));
        let engine = engine("wharf");
        network(&engine, 1, sits_on("wire", MacvlanMode::Private));
        let [a, b] = [1, 2].map(|n| Container::new(&engine, 1, n));
        let _server = serve(&a.netns, (Ipv4Addr::UNSPECIFIED, 80), 2);
        assert_eq!(seen_by(&b.netns, (a.ip(), 80), DOUBT), None);
        assert!(seen_by(&outside, (a.ip(), 80), PATIENCE).is_some());
    });
}

#[test]
fn a_parent_is_shared_but_not_passed_through() {
    on_a_host(|| {
        if !knows("macvlan") {
            return;
        }
        let _outside = neighbour("wire", ("10.231.1.199", 24), ("10.231.1.200", 24));
        let engine = engine("wharf");
        network(&engine, 1, sits_on("wire", MacvlanMode::Bridge));
        network(&engine, 2, sits_on("wire", MacvlanMode::Vepa));
        let mut third = spec(3);
        sits_on("wire", MacvlanMode::Passthru)(&mut third);
        let text = engine.ensure(&third).unwrap_err().to_string();
        assert!(text.starts_with("cannot use mode passthru, macvlan network "), "{text}");
        assert!(text.ends_with(" is already using parent interface wire"), "{text}");
        for n in [1, 2] {
            engine.remove(&spec(n).id).unwrap();
        }
        engine.ensure(&third).unwrap();
        Container::new(&engine, 3, 1);
        let mut fourth = spec(4);
        sits_on("wire", MacvlanMode::Bridge)(&mut fourth);
        let text = engine.ensure(&fourth).unwrap_err().to_string();
        assert!(text.ends_with("is already using parent interface wire in mode passthru"), "{text}");
    });
}

#[test]
fn without_a_parent_there_is_a_dead_end() {
    on_a_host(|| {
        if !knows("macvlan") {
            return;
        }
        let first = engine("wharf");
        let id = spec(1).id;
        let parent = format!("dm-{}", &id.as_str()[..12]);
        let made = network(&first, 1, sits_on(&parent, MacvlanMode::Bridge));
        let a = Container::new(&first, 1, 1);
        drop(first);
        // A successor finds it, and keeps it.
        let second = engine("wharf");
        second.ensure(&made).unwrap();
        second.adopt(&a.endpoint, &[], a.netns.as_fd()).unwrap();
        second.sweep(std::slice::from_ref(&made), std::slice::from_ref(&a.endpoint)).unwrap();
        let b = Container::new(&second, 1, 2);
        let _server = serve(&a.netns, (Ipv4Addr::UNSPECIFIED, 80), 1);
        assert_eq!(seen_by(&b.netns, (a.ip(), 80), PATIENCE), Some(b.ip()));
        for container in [&a, &b] {
            second.disconnect(&container.endpoint).unwrap();
        }
        second.remove(&id).unwrap();
        assert_eq!(leftovers("wharf").0, Vec::<String>::new());
    });
}

#[test]
fn vlans_come_and_go() {
    on_a_host(|| {
        let _outside = neighbour("wire", ("192.0.2.1", 24), ("192.0.2.9", 24));
        let engine = engine("wharf");
        let refusal = |parent: &str| {
            let mut wish = spec(1);
            sits_on(parent, MacvlanMode::Bridge)(&mut wish);
            engine.ensure(&wish).unwrap_err().to_string()
        };
        if !knows("macvlan") {
            return;
        }
        assert_eq!(refusal("nope0"), "invalid subinterface vlan name nope0, example formatting is eth0.10");
        assert_eq!(refusal("zz0.50"), "-o parent interface was not found on the host: zz0");
        assert_eq!(refusal("wire.5000"), "vlan id must be between 1-4094, received: 5000");
        if !knows("vlan") {
            let text = refusal("wire.50");
            assert!(text.contains("CONFIG_VLAN_8021Q") && text.contains("module 8021q"), "{text}");
            return;
        }
        network(&engine, 1, sits_on("wire.50", MacvlanMode::Bridge));
        network(&engine, 2, sits_on("wire.50", MacvlanMode::Bridge));
        let has = || leftovers("wharf").0.contains(&"wire.50".to_owned());
        engine.remove(&spec(1).id).unwrap();
        assert!(has(), "another network still sits on it");
        engine.remove(&spec(2).id).unwrap();
        assert!(!has());
    });
}

#[test]
fn ipvlan_or_a_refusal_that_names_the_mend() {
    on_a_host(|| {
        let outside = neighbour("wire", ("10.231.1.199", 24), ("10.231.1.200", 24));
        let engine = engine("wharf");
        let wish = |n, layer| {
            let mut wish = spec(n);
            wish.bridge.clear();
            wish.driver = Driver::Ipvlan(layer, IpvlanFlag::Bridge);
            wish.parent = "wire".into();
            wish
        };
        if !knows("ipvlan") {
            let error = engine.ensure(&wish(1, IpvlanLayer::L2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("CONFIG_IPVLAN"), "{error}");
            return;
        }
        engine.ensure(&wish(1, IpvlanLayer::L2)).unwrap();
        let a = Container::new(&engine, 1, 1);
        let _server = serve(&a.netns, (Ipv4Addr::UNSPECIFIED, 80), 2);
        assert!(seen_by(&outside, (a.ip(), 80), PATIENCE).is_some());
        let text = engine.ensure(&wish(2, IpvlanLayer::L3)).unwrap_err().to_string();
        assert!(text.ends_with("is already using parent interface wire"), "{text}");
        engine.disconnect(&a.endpoint).unwrap();
        engine.remove(&spec(1).id).unwrap();
        engine.ensure(&wish(2, IpvlanLayer::L3)).unwrap();
        let [b, c] = [1, 2].map(|n| Container::new(&engine, 2, n));
        let _server = serve(&b.netns, (Ipv4Addr::UNSPECIFIED, 80), 1);
        assert_eq!(seen_by(&c.netns, (b.ip(), 80), PATIENCE), Some(c.ip()));
    });
}

/// Asks 127.0.0.11 for the address of a name.
fn ask(container: &Container, name: &str) -> Option<IpAddr> {
    inside(&container.netns, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
        query.extend(name.as_bytes());
        query.extend([0, 0, 1, 0, 1]);
        socket.send_to(&query, "127.0.0.11:53").unwrap();
        let mut answer = [0; 512];
        let (len, from) = socket.recv_from(&mut answer).ok()?;
        assert_eq!(from, "127.0.0.11:53".parse().unwrap(), "where it was asked");
        let address: [u8; 4] = answer[len - 4..len].try_into().unwrap();
        (answer[3] & 15 == 0).then(|| address.into())
    })
}

#[test]
fn names_are_served_inside() {
    on_a_host(|| {
        if !knows("macvlan") {
            return;
        }
        let runtime = runtime();
        let start = || relaying_engine(&runtime);
        let engine = start();
        let parent = format!("dm-{}", &spec(1).id.as_str()[..12]);
        let made = network(&engine, 1, sits_on(&parent, MacvlanMode::Bridge));
        let [a, b] = [1, 2].map(|n| Container::new(&engine, 1, n));
        assert_eq!(engine.resolver(&made.id).unwrap().nameservers, ["127.0.0.11".parse::<IpAddr>().unwrap()]);
        // Port 53 stays the container's own.
        let _own = inside(&b.netns, || UdpSocket::bind("0.0.0.0:53").unwrap());
        assert_eq!(ask(&b, "c1"), Some(a.ip()));
        drop(engine);
        let successor = start();
        successor.ensure(&made).unwrap();
        for container in [&a, &b] {
            successor.adopt(&container.endpoint, &[], container.netns.as_fd()).unwrap();
        }
        assert_eq!(ask(&b, "c1"), Some(a.ip()), "a successor serves again");
        successor.disconnect(&a.endpoint).unwrap();
        assert_eq!(ask(&b, "c1"), None);
        successor.teardown().unwrap();
        drop(successor);
        runtime.shutdown_timeout(PATIENCE);
    });
}

#[test]
fn failures_leave_nothing_inside() {
    on_a_host(|| {
        if !knows("macvlan") {
            return;
        }
        let engine = engine("wharf");
        let parent = format!("dm-{}", &spec(1).id.as_str()[..12]);
        network(&engine, 1, sits_on(&parent, MacvlanMode::Bridge));
        let netns = netns();
        let mut endpoint = engine.reserve(&request(1, 1)).unwrap();
        endpoint.gateway4 = Some([198, 51, 100, 1].into());
        engine.connect(&endpoint, netns.as_fd()).unwrap_err();
        let left = within(netns.as_fd(), || link::find(&mut Socket::route()?, "eth0")).unwrap();
        assert_eq!(left, None);
    });
}
