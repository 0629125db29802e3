//! What to say to a query: an own answer, an error, or nothing, which sends it on to the host's resolvers.

use super::directory::Directory;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;
use wharf_model::ids::NetworkId;

/// Seconds that an answer may be remembered. Containers come and go, so not for long.
const TTL_SECONDS: u32 = 10;
/// What a client without EDNS takes over UDP, in bytes (RFC 1035).
const PLAIN_UDP_BYTES: u16 = 512;
/// The largest answer over UDP in bytes: fits any usual MTU (RFC 9715).
const MAX_UDP_BYTES: u16 = 1232;

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// These bytes are the answer.
    Reply(Vec<u8>),
    /// These name servers are asked; the host's where there are none.
    Forward(Vec<IpAddr>),
    /// Not a query at all.
    Ignore,
}

/// How the query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Decides about a query that `asker` sent to the gateway of `network`. `turn` varies from query to query
/// and rotates the addresses of names with several.
pub(super) fn decide(
    directory: &Directory,
    network: &NetworkId,
    asker: IpAddr,
    query: &[u8],
    transport: Transport,
    turn: usize,
) -> Decision {
    let Ok(message) = Message::from_vec(query) else { return malformed(query) };
    if message.metadata.message_type != MessageType::Query {
        return Decision::Ignore;
    }
    if message.metadata.op_code != OpCode::Query {
        return refuse(&message, ResponseCode::NotImp);
    }
    let [question] = message.queries.as_slice() else {
        return refuse(&message, ResponseCode::FormErr);
    };
    match answers(directory, network, asker, question, turn) {
        Some(answers) => {
            let mut reply = reply_to(&message);
            reply.metadata.authoritative = true;
            reply.answers = answers;
            encode(&reply, &message, transport)
        }
        None => match directory.others(network, asker) {
            Some(servers) => Decision::Forward(servers),
            None => refuse(&message, ResponseCode::ServFail),
        },
    }
}

/// The answer to a query that no resolver could be asked about.
pub(super) fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(query).ok()?;
    match refuse(&message, ResponseCode::ServFail) {
        Decision::Reply(bytes) => Some(bytes),
        Decision::Forward(_) | Decision::Ignore => None,
    }
}

/// Our own records for the question; an empty list says that the name exists without such a record.
fn answers(
    directory: &Directory,
    network: &NetworkId,
    asker: IpAddr,
    question: &Query,
    turn: usize,
) -> Option<Vec<Record>> {
    if question.query_class != DNSClass::IN {
        return None;
    }
    let name = &question.name;
    let record = |data| Record::from_rdata(name.clone(), TTL_SECONDS, data);
    if question.query_type == RecordType::PTR {
        let block = name.parse_arpa_name().ok()?;
        if block.prefix_len() != block.max_prefix_len() {
            return None;
        }
        let owner = directory.reverse(network, asker, block.addr())?;
        let owner = Name::from_ascii(format!("{owner}.")).ok()?;
        return Some(vec![record(RData::PTR(PTR(owner)))]);
    }
    let text = name.to_ascii();
    let addresses = directory.lookup(network, asker, text.trim_end_matches('.'))?;
    let mut records: Vec<Record> = match question.query_type {
        RecordType::A => addresses.ipv4.into_iter().map(|ip| record(RData::A(A(ip)))).collect(),
        RecordType::AAAA => addresses.ipv6.into_iter().map(|ip| record(RData::AAAA(AAAA(ip)))).collect(),
        _ => Vec::new(),
    };
    if !records.is_empty() {
        let count = records.len();
        records.rotate_left(turn % count);
    }
    Some(records)
}

fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.queries = query.queries.clone();
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_BYTES);
        reply.edns = Some(edns);
    }
    reply
}

fn refuse(query: &Message, code: ResponseCode) -> Decision {
    let mut reply = reply_to(query);
    reply.metadata.response_code = code;
    encode(&reply, query, Transport::Tcp)
}

fn encode(reply: &Message, query: &Message, transport: Transport) -> Decision {
    let Ok(bytes) = reply.to_vec() else { return Decision::Ignore };
    let asked = query.edns.as_ref().map_or(PLAIN_UDP_BYTES, Edns::max_payload);
    let limit = asked.clamp(PLAIN_UDP_BYTES, MAX_UDP_BYTES);
    if transport == Transport::Tcp || bytes.len() <= usize::from(limit) {
        return Decision::Reply(bytes);
    }
    // The client comes again over TCP.
    reply.truncate().to_vec().map_or(Decision::Ignore, Decision::Reply)
}

/// A format error, as far as there is an id to answer to.
fn malformed(query: &[u8]) -> Decision {
    const FLAG_RESPONSE: u8 = 0x80;
    match query {
        [a, b, flags, ..] if query.len() >= 12 && flags & FLAG_RESPONSE == 0 => {
            let id = u16::from_be_bytes([*a, *b]);
            let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            reply.to_vec().map_or(Decision::Ignore, Decision::Reply)
        }
        _ => Decision::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::tests::{endpoint, network};
    use super::*;

    fn directory() -> Directory {
        let mut directory = Directory::default();
        directory.set_network(&network(1, "front", false));
        directory.set_network(&network(2, "back", true));
        for container in 1..=100 {
            directory.add(&endpoint(1, container, &[&format!("c{container}"), "many"]));
        }
        directory.add(&endpoint(2, 1, &["db"]));
        directory
    }

    fn ask_as(network: u8, last: u8, name: &str, kind: RecordType, transport: Transport) -> Decision {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let id = NetworkId::from_bytes([network; 32]);
        let asker = IpAddr::from([10, 0, network, last]);
        decide(&directory(), &id, asker, &query.to_vec().unwrap(), transport, 1)
    }

    fn ask(name: &str, kind: RecordType) -> Message {
        match ask_as(1, 2, name, kind, Transport::Udp) {
            Decision::Reply(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_and_names() {
        let reply = ask("C7.", RecordType::A);
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.answers[0].data, RData::A(A::new(10, 0, 1, 7)));
        assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
        let reply = ask("c7.front.", RecordType::AAAA);
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
        let reply = ask("7.1.0.10.in-addr.arpa.", RecordType::PTR);
        assert_eq!(reply.answers[0].data.to_string(), "c7.front.");
    }

    #[test]
    fn many_addresses_rotate_and_truncate() {
        let reply = ask("many.", RecordType::A);
        assert!(reply.metadata.truncation && reply.answers.is_empty());
        let Decision::Reply(bytes) = ask_as(1, 2, "many.", RecordType::A, Transport::Tcp) else { panic!() };
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!(reply.answers.len(), 100);
        assert_eq!(reply.answers[0].data, RData::A(A::new(10, 0, 1, 2)));
    }

    #[test]
    fn the_rest_is_forwarded_where_there_is_a_way_out() {
        for (name, kind) in [("example.org.", RecordType::A), ("4.4.8.8.in-addr.arpa.", RecordType::PTR)] {
            assert_eq!(ask_as(1, 2, name, kind, Transport::Udp), Decision::Forward(vec![]));
        }
        let Decision::Reply(bytes) = ask_as(2, 9, "example.org.", RecordType::A, Transport::Udp) else {
            panic!()
        };
        assert_eq!(Message::from_vec(&bytes).unwrap().metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn nonsense_is_answered_or_ignored() {
        let id = NetworkId::from_bytes([1; 32]);
        let asker = IpAddr::from([10, 0, 1, 2]);
        let decide = |bytes: &[u8]| decide(&directory(), &id, asker, bytes, Transport::Udp, 0);
        assert_eq!(decide(&[]), Decision::Ignore);
        assert_eq!(decide(&[0; 5]), Decision::Ignore);
        assert_eq!(decide(&[0xff; 40]), Decision::Ignore);
        let Decision::Reply(bytes) = decide(&[1, 2, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0, 63]) else { panic!() };
        assert_eq!(&bytes[..2], [1, 2]);
        assert_eq!(Message::from_vec(&bytes).unwrap().metadata.response_code, ResponseCode::FormErr);
    }
}
