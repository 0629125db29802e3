//! The PORTS column: `0.0.0.0:8080->80/tcp, 9000-9001/tcp`.

use wharf_docker_api::types::container::Port;

/// Ports of a container, with neighbours joined to ranges where host and container agree.
pub(crate) fn show(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.kind).cmp(&(b.private_port, &b.ip, b.public_port, &b.kind))
    });
    let mut finished = Vec::new();
    let mut mapped = Vec::new();
    // Open ranges in the order they began: address, protocol, first and last port.
    let mut open: Vec<(&str, &str, u16, u16)> = Vec::new();
    for port in sorted {
        let (ip, kind, number) = (port.ip.as_str(), port.kind.as_str(), port.private_port);
        if !ip.is_empty() && port.public_port != number {
            mapped.push(format!("{}->{number}/{kind}", join(ip, &port.public_port.to_string())));
            continue;
        }
        match open.iter_mut().find(|(known_ip, known_kind, ..)| *known_ip == ip && *known_kind == kind) {
            Some((.., last)) if number == *last || number == *last + 1 => *last = number,
            Some(range) => {
                finished.push(group(*range));
                *range = (ip, kind, number, number);
            }
            None => open.push((ip, kind, number, number)),
        }
    }
    finished.extend(open.into_iter().map(group));
    finished.extend(mapped);
    finished.join(", ")
}

fn group((ip, kind, first, last): (&str, &str, u16, u16)) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if ip.is_empty() { format!("{range}/{kind}") } else { format!("{}->{range}/{kind}", join(ip, &range)) }
}

fn join(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, public_port: u16, private_port: u16) -> Port {
        Port { ip: ip.into(), private_port, public_port, kind: "tcp".into() }
    }

    #[test]
    fn ranges_join() {
        assert_eq!(show(&[port("", 0, 80)]), "80/tcp");
        assert_eq!(
            show(&[port("::", 8080, 80), port("0.0.0.0", 8080, 80)]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        let range = [port("0.0.0.0", 90, 90), port("0.0.0.0", 91, 91), port("", 0, 70)];
        assert_eq!(show(&range), "70/tcp, 0.0.0.0:90-91->90-91/tcp");
        assert_eq!(show(&[]), "");
    }
}
