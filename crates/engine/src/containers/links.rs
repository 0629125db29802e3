//! Links between containers of the default bridge: further names in `/etc/hosts`, and variables that tell of the other
//! container. Elsewhere the network's DNS answers to the names of links.

use super::files::replace_line;
use super::{Collaborators, Registry};
use std::net::Ipv4Addr;
use std::sync::Arc;
use wharf_model::container::{ContainerRecord, Link, NetworkMode};
use wharf_model::ports::ContainerPort;
use wharf_model::state::Status;
use wharf_model::{Error, Result};

/// A container that another is linked to, while both run.
pub(super) struct Linked {
    alias: String,
    address: Ipv4Addr,
    record: Arc<ContainerRecord>,
}

impl Linked {
    /// The line of `/etc/hosts`, without its end.
    pub(super) fn hosts_line(&self) -> String {
        format!("{}\t{} {} {}", self.address, self.alias, self.record.id.short(), self.record.name)
    }

    /// `ALIAS_PORT=tcp://172.17.0.2:80` and the like, in the form Docker gives them.
    fn variables(&self, parent: &str) -> Vec<String> {
        let prefix = self.alias.to_ascii_uppercase().replace('-', "_");
        let mut all = vec![format!("{prefix}_NAME=/{parent}/{}", self.alias)];
        let ports = ports(&self.record);
        if let Some(first) = ports.first() {
            all.push(format!("{prefix}_PORT={}://{}:{}", first.protocol, self.address, first.port));
        }
        for port in &ports {
            let (number, protocol) = (port.port, port.protocol.to_string());
            let name = format!("{prefix}_PORT_{number}_{}", protocol.to_ascii_uppercase());
            all.push(format!("{name}={protocol}://{}:{number}", self.address));
            all.push(format!("{name}_ADDR={}", self.address));
            all.push(format!("{name}_PORT={number}"));
            all.push(format!("{name}_PROTO={protocol}"));
        }
        let own = self.record.env();
        let told = own.iter().filter(|v| !v.starts_with("HOME=") && !v.starts_with("PATH="));
        all.extend(told.map(|variable| format!("{prefix}_ENV_{variable}")));
        all
    }
}

/// The documented ports, lowest first.
fn ports(record: &ContainerRecord) -> Vec<ContainerPort> {
    let image = record.image_config.exposed_ports.iter().filter_map(|p| p.parse().ok());
    let published = record.spec.ports.iter().map(|m| m.container);
    let mut ports: Vec<ContainerPort> =
        record.spec.exposed.iter().copied().chain(image).chain(published).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The containers that a container is linked to.
///
/// # Errors
/// `Conflict` when one does not run.
pub(super) fn linked(registry: &Registry, record: &ContainerRecord) -> Result<Vec<Linked>> {
    record.spec.links.iter().map(|link| find(registry, record, link)).collect()
}

fn find(registry: &Registry, record: &ContainerRecord, link: &Link) -> Result<Linked> {
    let other = registry.find(&link.container)?.record();
    match address(&other).filter(|_| other.status.is_running()) {
        Some(address) => Ok(Linked { alias: link.alias.clone(), address, record: other }),
        None => Err(Error::conflict(format!(
            "Cannot link to a non running container: /{} AS /{}/{}",
            other.name, record.name, link.alias
        ))),
    }
}

fn address(record: &ContainerRecord) -> Option<Ipv4Addr> {
    let (_, endpoint) = record.endpoints.iter().find(|(network, _)| network == "bridge")?;
    endpoint.ipv4.map(|(address, _)| address)
}

/// What the links of a container add to its environment.
pub(super) fn environment(registry: &Registry, record: &ContainerRecord) -> Result<Vec<String>> {
    Ok(linked(registry, record)?.iter().flat_map(|l| l.variables(&record.name)).collect())
}

/// Sees that the links of a new container lead somewhere.
pub(super) fn check(registry: &Registry, links: &[Link]) -> Result<()> {
    for link in links {
        // Not absent: clients of Docker's take that for the image.
        let other = registry
            .find(&link.container)
            .map_err(|e| Error::invalid(format!("could not get container for {}: {e}", link.container)))?;
        if other.record().spec.network == NetworkMode::Host {
            return Err(Error::invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
    }
    Ok(())
}

impl Collaborators {
    /// Tells the running containers that are linked to a container, which has just started, of its address.
    pub(super) fn tell_linked(&self, registry: &Registry, started: &ContainerRecord) -> Result<()> {
        let Some(address) = address(started) else { return Ok(()) };
        for record in registry.list().iter().map(|h| h.record()) {
            let linked =
                record.spec.links.iter().filter(|l| is_named(started, &l.container)).collect::<Vec<_>>();
            if linked.is_empty() || record.status != Status::Running {
                continue;
            }
            let hosts = self.launcher.run_directory(&record.id).join("hosts");
            for link in linked {
                let other = Arc::new(started.clone());
                let line = Linked { alias: link.alias.clone(), address, record: other }.hosts_line();
                let names = line.split_once('\t').map_or("", |(_, names)| names);
                replace_line(&hosts, &format!("\t{names}"), &line)?;
            }
        }
        Ok(())
    }
}

/// Whether a container goes by this name or id.
fn is_named(record: &ContainerRecord, name: &str) -> bool {
    record.name == name || (name.len() >= 12 && record.id.as_str().starts_with(name))
}
