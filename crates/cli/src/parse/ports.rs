//! `-p` and `--expose`.

use std::collections::BTreeMap;
use wharf_docker_api::types::container::PortBinding;

/// Container ports (`80/tcp`) with what is published for them.
pub(crate) type Published = BTreeMap<String, Vec<PortBinding>>;

/// Adds a `-p` value: `[[ip:][host[-host]]:]container[-container][/protocol]`, or the long form
/// `target=80,published=8080,protocol=tcp`.
pub(crate) fn publish(text: &str, published: &mut Published) -> Result<(), String> {
    let long;
    let text = if text.contains('=') {
        long = from_long(text)?;
        &long
    } else {
        text
    };
    let (rest, protocol) = split_protocol(text)?;
    let (ip, host, container) = split(rest, text)?;
    let invalid_container = || format!("Invalid containerPort: {container}");
    let (first, last) = range(container).ok_or_else(invalid_container)?;
    let count = u32::from(last) - u32::from(first) + 1;
    let host_range = match host {
        "" => None,
        // Any port, as without one.
        "0" => None,
        host => Some(range(host).ok_or_else(|| format!("Invalid hostPort: {host}"))?),
    };
    if let Some((low, high)) = host_range {
        let hosts = u32::from(high) - u32::from(low) + 1;
        // One container port may have a range to choose from.
        if hosts != count && count != 1 {
            return Err(format!(
                "Invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
    }
    for offset in 0..count {
        let port = u32::from(first) + offset;
        let host_port = match host_range {
            None => String::new(),
            Some((low, high)) if count == 1 && low != high => format!("{low}-{high}"),
            Some((low, _)) => (u32::from(low) + offset).to_string(),
        };
        let binding = PortBinding { host_ip: ip.to_owned(), host_port };
        published.entry(format!("{port}/{protocol}")).or_default().push(binding);
    }
    Ok(())
}

/// Takes what a `-p` value names out again. A mapping whose host port the engine chose is also named by that port; `actual` is
/// what is published. Without a host port, all of the container's port are meant; without an address, those of every one.
pub(crate) fn unpublish(text: &str, published: &mut Published, actual: &Published) -> Result<(), String> {
    let mut wanted = Published::new();
    publish(text, &mut wanted)?;
    for (port, bindings) in wanted {
        for binding in bindings {
            let list = published.get_mut(&port).map(|list| (list.len(), list));
            let is_meant = |known: &PortBinding| {
                let chosen = matches!(known.host_port.as_str(), "" | "0") || known.host_port.contains('-');
                let has = |b: &PortBinding| b.host_port == binding.host_port;
                let by_choice = chosen && actual.get(&port).is_some_and(|all| all.iter().any(has));
                let same_port = binding.host_port.is_empty() || has(known) || by_choice;
                same_port && (binding.host_ip.is_empty() || binding.host_ip == known.host_ip)
            };
            match list {
                Some((before, list)) => {
                    list.retain(|known| !is_meant(known));
                    if list.len() == before {
                        return Err(format!("{text} is not published"));
                    }
                }
                None => return Err(format!("{text} is not published")),
            }
        }
    }
    published.retain(|_, list| !list.is_empty());
    Ok(())
}

/// The ports of an `--expose` value: `80`, `80-90/udp`.
pub(crate) fn expose(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = split_protocol(text)?;
    let (first, last) = range(ports).ok_or_else(|| format!("invalid range format for --expose: {text}"))?;
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn split_protocol(text: &str) -> Result<(&str, String), String> {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    match protocol.to_ascii_lowercase().as_str() {
        protocol @ ("tcp" | "udp" | "sctp") => Ok((rest, protocol.to_owned())),
        _ => Err(format!("invalid proto: {protocol}")),
    }
}

fn split<'a>(rest: &'a str, whole: &str) -> Result<(&'a str, &'a str, &'a str), String> {
    let (before, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    if container.is_empty() {
        return Err(format!("no port specified: {whole}<empty>"));
    }
    // An IPv6 address is written in brackets.
    let (ip, host) = match before.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, after) =
                bracketed.split_once(']').ok_or_else(|| format!("invalid IP address: {before}"))?;
            (ip, after.strip_prefix(':').unwrap_or_default())
        }
        None => before.rsplit_once(':').unwrap_or(("", before)),
    };
    if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    Ok((ip, host, container))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && first > 0).then_some((first, last))
}

fn from_long(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol, mut ip) =
        (String::new(), String::new(), "tcp".into(), String::new());
    for field in super::csv(text)? {
        match super::pair(&field) {
            (key, value) if key == "target" => target = value,
            (key, value) if key == "published" => published = value,
            (key, value) if key == "protocol" => protocol = value,
            (key, value) if key == "host_ip" => ip = value,
            (key, _) if key == "mode" || key == "name" => {}
            (key, _) => return Err(format!("invalid field key {key} in {text}")),
        }
    }
    if target.is_empty() {
        return Err(format!("missing mandatory field \"target\" in {text}"));
    }
    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip };
    Ok(match (ip.is_empty(), published.is_empty()) {
        (true, true) => format!("{target}/{protocol}"),
        (true, false) => format!("{published}:{target}/{protocol}"),
        (false, _) => format!("{ip}:{published}:{target}/{protocol}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, String, String)>, String> {
        let mut published = Published::new();
        publish(text, &mut published)?;
        Ok(published
            .into_iter()
            .flat_map(|(port, all)| all.into_iter().map(move |b| (port.clone(), b.host_ip, b.host_port)))
            .collect())
    }

    fn one(port: &str, ip: &str, host: &str) -> Vec<(String, String, String)> {
        vec![(port.into(), ip.into(), host.into())]
    }

    #[test]
    fn forms() {
        assert_eq!(parse("80").unwrap(), one("80/tcp", "", ""));
        assert_eq!(parse("8080:80").unwrap(), one("80/tcp", "", "8080"));
        assert_eq!(parse("127.0.0.1:8080:80/udp").unwrap(), one("80/udp", "127.0.0.1", "8080"));
        assert_eq!(parse("127.0.0.1::80").unwrap(), one("80/tcp", "127.0.0.1", ""));
        assert_eq!(parse("[::1]:8080:80").unwrap(), one("80/tcp", "::1", "8080"));
        assert_eq!(parse("8000-9000:80").unwrap(), one("80/tcp", "", "8000-9000"));
        assert_eq!(parse("8080-8081:80-81").unwrap().len(), 2);
        assert_eq!(parse("80-81").unwrap().len(), 2);
        assert_eq!(parse("0:80").unwrap(), one("80/tcp", "", ""));
        assert_eq!(parse("target=80,published=8080,protocol=udp").unwrap(), one("80/udp", "", "8080"));
        assert_eq!(expose("80-81/udp").unwrap(), ["80/udp", "81/udp"]);
    }

    #[test]
    fn taken_out_again() {
        let all = |texts: &[&str]| {
            let mut published = Published::new();
            texts.iter().for_each(|text| publish(text, &mut published).unwrap());
            published
        };
        let after = |texts: &[&str], gone: &str, actual: &[&str]| {
            let mut published = all(texts);
            unpublish(gone, &mut published, &all(actual)).map(|()| published.into_values().flatten().count())
        };
        assert_eq!(after(&["8080:80", "8081:80"], "8080:80", &[]), Ok(1));
        assert_eq!(after(&["8080:80", "8081:80"], "80", &[]), Ok(0));
        assert_eq!(after(&["127.0.0.1:8080:80", "8080:80/udp"], "8080:80", &[]), Ok(1));
        assert_eq!(after(&["80"], "32768:80", &["32768:80"]), Ok(0));
        assert_eq!(after(&["8000-8001:80-81"], "8000-8001:80-81", &[]), Ok(0));
        assert!(after(&["8080:80"], "8081:80", &[]).is_err());
        assert!(after(&["8080:80"], "127.0.0.1:8080:80", &[]).is_err());
    }

    #[test]
    fn mistakes() {
        for bad in ["", ":", "x", "80/icmp", "99999", "8080:", "1.2.3:80:80", "8000-8002:80-81", "90-80"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
