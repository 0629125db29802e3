//! The engine's files in a container: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use super::Collaborators;
use super::spec::hostname;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use wharf_model::container::{ContainerRecord, NetworkMode};
use wharf_model::network::ResolverConfig;
use wharf_model::{Error, ErrorKind, Result};

impl Collaborators {
    /// Writes the files and returns them with their destinations.
    pub(super) fn write_files(&self, record: &ContainerRecord) -> Result<Vec<(PathBuf, &'static str)>> {
        let directory = self.launcher.run_directory(&record.id);
        match std::fs::create_dir(&directory) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                let text = format!("make {}", directory.display());
                return Err(Error::wrap(ErrorKind::Internal, text, e));
            }
            _ => {}
        }
        let resolver = self.networks.resolver(record)?;
        let gateway = record.endpoints.iter().find_map(|(_, e)| e.gateway4.map(IpAddr::V4));
        let files = [
            ("hostname", "/etc/hostname", format!("{}\n", hostname(record))),
            ("hosts", "/etc/hosts", hosts(record, gateway)?),
            ("resolv.conf", "/etc/resolv.conf", resolv_conf(record, resolver)),
        ];
        let mut written = Vec::new();
        for (name, destination, text) in files {
            let path = directory.join(name);
            std::fs::write(&path, text)
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))?;
            written.push((path, destination));
        }
        Ok(written)
    }
}

fn hosts(record: &ContainerRecord, gateway: Option<IpAddr>) -> Result<String> {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    if record.spec.network == NetworkMode::Host {
        text = std::fs::read_to_string("/etc/hosts").unwrap_or(text);
    }
    for entry in &record.spec.extra_hosts {
        let (name, address) = entry.split_once([':', '=']).ok_or_else(|| {
            Error::invalid(format!("bad format for add-host: {entry:?}: expected name:address"))
        })?;
        let address = match (address, gateway) {
            ("host-gateway", Some(gateway)) => gateway.to_string(),
            ("host-gateway", None) => "127.0.0.1".to_owned(),
            (address, _) => address.trim_matches(['[', ']']).to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    let own = match (hostname(record), record.spec.domainname.as_str()) {
        (host, "") => host,
        (host, domain) => format!("{host}.{domain} {host}"),
    };
    for (_, endpoint) in &record.endpoints {
        let addresses =
            [endpoint.ipv4.map(|(a, _)| IpAddr::V4(a)), endpoint.ipv6.map(|(a, _)| IpAddr::V6(a))];
        for address in addresses.into_iter().flatten() {
            let _ = writeln!(text, "{address}\t{own}");
        }
    }
    Ok(text)
}

fn resolv_conf(record: &ContainerRecord, network: Option<ResolverConfig>) -> String {
    let spec = &record.spec;
    let Some(network) = network.filter(|_| spec.network != NetworkMode::Host || !spec.dns.is_empty()) else {
        return std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    };
    let own =
        |list: &[String], otherwise: Vec<String>| if list.is_empty() { otherwise } else { list.to_vec() };
    let servers = own(&spec.dns, network.nameservers.iter().map(ToString::to_string).collect());
    let search = own(&spec.dns_search, network.search);
    let options = own(&spec.dns_options, network.options);
    let mut text: String = servers.iter().map(|s| format!("nameserver {s}\n")).collect();
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}
