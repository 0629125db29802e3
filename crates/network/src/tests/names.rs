//! DNS through the real sockets.

use super::fixture::{Container, inside, network, on_a_host, own_netns, runtime};
use crate::bridge::{BridgeNetwork, Config};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;
use wharf_model::network::Network;

const LIMIT: Duration = Duration::from_secs(10);

fn question(name: &str) -> Message {
    // A fixed id: a random one may have to wait for entropy.
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    query
}

fn ask_udp(netns: &OwnedFd, server: SocketAddr, name: &str) -> Message {
    let query = question(name).to_vec().unwrap();
    inside(netns, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.send_to(&query, server).unwrap();
        let mut answer = [0; 1500];
        let (len, from) = socket.recv_from(&mut answer).unwrap();
        assert_eq!(from, server);
        Message::from_vec(&answer[..len]).unwrap()
    })
}

fn ask_tcp(netns: &OwnedFd, server: SocketAddr, name: &str) -> Message {
    let query = question(name).to_vec().unwrap();
    inside(netns, || {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&query).unwrap();
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    })
}

/// A resolver of the world on 127.0.0.1 of the host: every name is 198.51.100.1. Answers `count` queries.
fn world(count: usize) -> std::thread::JoinHandle<()> {
    let socket = inside(&own_netns(), || UdpSocket::bind("127.0.0.1:53").unwrap());
    std::thread::spawn(move || {
        for _ in 0..count {
            let mut buffer = [0; 1500];
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            let query = Message::from_vec(&buffer[..len]).unwrap();
            let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
            let name = query.queries[0].name.clone();
            reply.queries = query.queries.clone();
            reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(198, 51, 100, 1))));
            socket.send_to(&reply.to_vec().unwrap(), from).unwrap();
        }
    })
}

#[test]
fn names_resolve_on_the_gateway() {
    on_a_host(|| {
        let dir = tempfile::tempdir().unwrap();
        let resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\nsearch example.org\n").unwrap();
        let runtime = runtime();
        let engine = BridgeNetwork::new(Config {
            table: "wharf".into(),
            resolv_conf: resolv_conf.clone(),
            runtime: Some(runtime.handle().clone()),
        })
        .unwrap();
        let spec = network(&engine, 1, |_| {});
        let web = Container::new(&engine, 1, 1);
        let friend = Container::new(&engine, 1, 2);
        let server: SocketAddr = "10.231.1.1:53".parse().unwrap();
        let resolver = engine.resolver(&spec.id).unwrap();
        assert_eq!((resolver.nameservers, resolver.search), (vec![server.ip()], vec!["example.org".into()]));

        let address = |reply: &Message| reply.answers.first().map(|a| a.data.to_string());
        for reply in [ask_udp(&friend.netns, server, "c1."), ask_tcp(&friend.netns, server, "C1.")] {
            assert_eq!(address(&reply), Some(web.ip().to_string()));
        }
        let upstream = world(1);
        assert_eq!(address(&ask_udp(&friend.netns, server, "example.org.")), Some("198.51.100.1".into()));
        upstream.join().unwrap();
        // The host moves to a resolver that refuses: the asker hears a failure at once.
        std::fs::write(&resolv_conf, "nameserver 127.0.0.2\n").unwrap();
        let reply = ask_udp(&friend.netns, server, "example.org.");
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        let reply = ask_tcp(&friend.netns, server, "example.org.");
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);

        engine.disconnect(&web.endpoint).unwrap();
        let reply = ask_udp(&friend.netns, server, "c1.");
        assert_eq!(address(&reply), None);
        engine.disconnect(&friend.endpoint).unwrap();
        engine.remove(&spec.id).unwrap();
        engine.ensure(&spec).unwrap();
        assert_eq!(engine.resolver(&spec.id).unwrap().nameservers.len(), 1, "port 53 was free again");
        engine.teardown().unwrap();
        drop(engine);
        runtime.shutdown_timeout(LIMIT);
    });
}
