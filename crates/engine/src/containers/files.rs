//! The engine's files in a container: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use super::Collaborators;
use super::links::Linked;
use super::spec::hostname;
use std::fmt::Write;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use wharf_model::container::{ContainerRecord, NetworkMode};
use wharf_model::network::{Endpoint, ResolverConfig};
use wharf_model::{Error, ErrorKind, Result};

/// Their names in the run directory, and where they are inside.
const FILES: [(&str, &str); 3] =
    [("hostname", "/etc/hostname"), ("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")];

impl Collaborators {
    /// Writes the files and returns them with their destinations.
    pub(super) fn write_files(
        &self,
        record: &ContainerRecord,
        linked: &[Linked],
    ) -> Result<Vec<(PathBuf, &'static str)>> {
        let directory = self.launcher.run_directory(&record.id);
        match std::fs::create_dir(&directory) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                let text = format!("make {}", directory.display());
                return Err(Error::wrap(ErrorKind::Internal, text, e));
            }
            _ => {}
        }
        let resolver = self.networks.resolver(record)?;
        let gateway = self.networks.host_gateway();
        let texts = [
            format!("{}\n", hostname(record)),
            hosts(record, gateway, linked)?,
            resolv_conf(record, resolver),
        ];
        let owner =
            self.remap.as_ref().filter(|_| !record.spec.host_users).and_then(|map| map.outside((0, 0)));
        let mut written = Vec::new();
        for ((name, destination), text) in FILES.into_iter().zip(texts) {
            let path = directory.join(name);
            std::fs::write(&path, text)
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))?;
            // Not by a mapped mount, as a volume: run directories are on tmpfs, which has those from Linux 6.3 on.
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(|e| {
                    Error::wrap(ErrorKind::Internal, format!("set the owner of {}", path.display()), e)
                })?;
            }
            written.push((path, destination));
        }
        Ok(written)
    }

    /// The files of a running container, for who shares its network.
    pub(super) fn files_of(&self, donor: &ContainerRecord) -> Vec<(PathBuf, &'static str)> {
        let directory = self.launcher.run_directory(&donor.id);
        FILES.iter().map(|(name, destination)| (directory.join(name), *destination)).collect()
    }

    /// Brings the files of a running container in line with its networks. What the container itself wrote stays.
    pub(super) fn rewrite_files(&self, before: &ContainerRecord, after: &ContainerRecord) -> Result<()> {
        let directory = self.launcher.run_directory(&after.id);
        if !directory.exists() || before.endpoints == after.endpoints {
            return Ok(());
        }
        let hosts = directory.join("hosts");
        if let Some(text) = read_short(&hosts)? {
            write(&hosts, &changed_hosts(&text, before, after))?;
        }
        let resolv = directory.join("resolv.conf");
        let (old, new) = (self.networks.resolver(before).ok(), self.networks.resolver(after)?);
        let ours = old.map(|old| resolv_conf(before, old));
        if read_short(&resolv)?.is_some_and(|text| Some(text) == ours) {
            write(&resolv, &resolv_conf(after, new))?;
        }
        Ok(())
    }
}

/// Replaces the line with a certain end; nothing happens when the container's file has none.
pub(super) fn replace_line(path: &Path, end: &str, line: &str) -> Result<()> {
    let Some(text) = read_short(path)? else { return Ok(()) };
    let changed: String =
        text.lines().map(|old| format!("{}\n", if old.ends_with(end) { line } else { old })).collect();
    if changed == text { Ok(()) } else { write(path, &changed) }
}

/// A container may write its files: longer ones are its own.
const LONGEST: u64 = 1 << 20;

fn read_short(path: &Path) -> Result<Option<String>> {
    let failed = |e| Error::wrap(ErrorKind::Internal, format!("read {}", path.display()), e);
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > LONGEST {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8(bytes).ok())
}

/// In place: the file is mounted into the container.
fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))
}

fn addresses(record: &ContainerRecord) -> Vec<IpAddr> {
    let of = |(_, e): &(String, Endpoint)| {
        [e.ipv4.map(|(a, _)| IpAddr::V4(a)), e.ipv6.map(|(a, _)| IpAddr::V6(a))]
    };
    record.endpoints.iter().flat_map(of).flatten().collect()
}

fn own_names(record: &ContainerRecord) -> String {
    match (hostname(record), record.spec.domainname.as_str()) {
        (host, "") => host,
        (host, domain) => format!("{host}.{domain} {host}"),
    }
}

fn changed_hosts(text: &str, before: &ContainerRecord, after: &ContainerRecord) -> String {
    let (old, new) = (addresses(before), addresses(after));
    let is_gone = |line: &&str| {
        let address = line.split_whitespace().next().and_then(|a| a.parse::<IpAddr>().ok());
        address.is_some_and(|a| old.contains(&a) && !new.contains(&a))
    };
    let mut text: String = text.lines().filter(|l| !is_gone(l)).map(|l| format!("{l}\n")).collect();
    for address in new.iter().filter(|a| !old.contains(a)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}\t{}", own_names(after));
    }
    text
}

fn hosts(record: &ContainerRecord, gateway: Option<IpAddr>, linked: &[Linked]) -> Result<String> {
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
    for other in linked {
        let _ = writeln!(text, "{}", other.hosts_line());
    }
    for address in addresses(record) {
        let _ = writeln!(text, "{address}\t{}", own_names(record));
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
    let served = network.nameservers.iter().map(ToString::to_string).collect();
    // Where names of containers are served, the engine asks the others' servers, as Docker does.
    let passed_on = network.knows_names && !spec.name_servers().is_empty();
    let servers = if passed_on { served } else { own(&spec.dns, served) };
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
