//! `ports` in its short form: `8080:80`, `127.0.0.1:9000-9001:90-91/udp`, `[::1]:80:80`.

use super::node::{Node, Value};
use crate::error::Error;

/// Ports of one range; the whole of a protocol's.
const MAX_RANGE: u32 = 65_536;

/// The long forms of one short one, in the order of Docker's (sorted as texts by container port).
pub fn expand(text: &str, at: &Node) -> Result<Vec<Node>, Error> {
    let wrong = |what: &str| at.wrong(format!("invalid port {text:?}: {what}"));
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, protocol)) => (rest, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(wrong(&format!("invalid protocol {protocol:?}")));
    }
    let (host_ip, host, container) = split(rest).ok_or_else(|| wrong("it is not [[IP:]HOST:]CONTAINER"))?;
    let container = range(container).ok_or_else(|| wrong("invalid container port"))?;
    if !host_ip.is_empty() && host_ip.parse::<std::net::IpAddr>().is_err() {
        return Err(wrong(&format!("invalid IP address {host_ip:?}")));
    }
    let count = container.1 - container.0 + 1;
    let host = match host {
        "" => None,
        text => Some(range(text).ok_or_else(|| wrong("invalid host port"))?),
    };
    // Several host ports for one container port: one of them, whichever is free.
    let one_of = host.is_some_and(|host| count == 1 && host.1 != host.0);
    if let Some(host) = host
        && !one_of
        && host.1 - host.0 + 1 != count
    {
        return Err(wrong("container and host port ranges have different lengths"));
    }
    let mut found: Vec<(String, Node)> = (0..count)
        .map(|index| {
            let target = container.0 + index;
            let published = match host {
                Some(host) if one_of => format!("{}-{}", host.0, host.1),
                Some(host) => (host.0 + index).to_string(),
                None => String::new(),
            };
            let mut entries = vec![("mode", Value::Text("ingress".into()))];
            if !host_ip.is_empty() {
                entries.push(("host_ip", Value::Text(host_ip.to_owned())));
            }
            entries.push(("target", Value::Int(target.into())));
            if !published.is_empty() {
                entries.push(("published", Value::Text(published)));
            }
            entries.push(("protocol", Value::Text(protocol.clone())));
            (format!("{target}/{protocol}"), Node::map(entries, &at.at))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found.into_iter().map(|(_, node)| node).collect())
}

/// Address, host port and container port.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once("]:")?;
        let (host, container) = rest.split_once(':')?;
        return Some((ip, host, container));
    }
    let Some((left, container)) = text.rsplit_once(':') else { return Some(("", "", text)) };
    match left.rsplit_once(':') {
        // One of IPv6 stands in brackets.
        Some((ip, _)) if ip.contains(':') => None,
        Some((ip, host)) => Some((ip, host, container)),
        None => Some(("", left, container)),
    }
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    let (first, last) = (u32::from(first), u32::from(last));
    (first <= last && last - first < MAX_RANGE).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let found = match expand(text, &Node::default()) {
            Ok(found) => found,
            Err(error) => return error.to_string(),
        };
        let get = |node: &Node, key: &str| node.get(key).and_then(Node::scalar).unwrap_or_default();
        let one = |node: &Node| {
            format!(
                "{}|{}|{}|{}",
                get(node, "host_ip"),
                get(node, "published"),
                get(node, "target"),
                get(node, "protocol")
            )
        };
        found.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn short_forms() {
        for (text, expected) in [
            ("80", "||80|tcp"),
            ("8080:80", "|8080|80|tcp"),
            ("127.0.0.1::80/UDP", "127.0.0.1||80|udp"),
            ("[::1]:1:2", "::1|1|2|tcp"),
            ("90-91:90-91", "|90|90|tcp |91|91|tcp"),
            ("9-10:9-10", "|10|10|tcp |9|9|tcp"),
            ("8000-9000:80", "|8000-9000|80|tcp"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for text in ["", "x", "80/x", "1-2:1-3", "70000", "a:80:80", "2-1", "::1:80:80"] {
            assert!(shown(text).contains("invalid port"), "{text}: {}", shown(text));
        }
    }
}
