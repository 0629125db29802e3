//! Places that running containers get and lose.

use super::{Networks, leading, mappings};
use std::fs::File;
use std::os::fd::AsFd;
use wharf_model::container::ContainerRecord;
use wharf_model::ports::{PortMapping, PublishedPort};
use wharf_model::{Error, ErrorKind, Result};

impl Networks {
    /// Gives a running container a place in one more network, which its specification names. On failure it has none
    /// there.
    pub(crate) fn join(&self, record: &mut ContainerRecord, name: &str) -> Result<()> {
        let namespace = namespace_of(record)?;
        let is_free = |interface: &String| record.endpoints.iter().all(|(_, e)| e.interface != *interface);
        let interface = (0..).map(|n| format!("eth{n}")).find(is_free).unwrap_or_default();
        let (name, endpoint) = self.reserve_one(record, name, interface)?;
        if let Err(e) = self.driver.connect(&endpoint, namespace.as_fd()) {
            // The first failure is what the caller must see.
            if let Err(e) = self.driver.disconnect_live(&endpoint) {
                tracing::warn!("{}", e.full());
            }
            return Err(e);
        }
        if let Ok(network) = self.find(&name) {
            self.publish("connect", &network, Some(record.id.as_str()));
        }
        record.endpoints.push((name, endpoint));
        let wanted = mappings(record);
        self.settle(record, &namespace, wanted)
    }

    /// Takes a running container's place in a network.
    pub(crate) fn leave(&self, record: &mut ContainerRecord, name: &str) -> Result<()> {
        let namespace = namespace_of(record)?;
        let Some(at) = record.endpoints.iter().position(|(n, _)| n == name) else { return Ok(()) };
        let mut wanted = mappings(record);
        if at == 0 {
            wanted = self.take_ports(record)?.unwrap_or(wanted);
        }
        self.driver.disconnect_live(&record.endpoints[at].1)?;
        record.endpoints.remove(at);
        if let Ok(network) = self.find(name) {
            self.publish("disconnect", &network, Some(record.id.as_str()));
        }
        self.settle(record, &namespace, wanted)
    }

    /// Ends what the first place has published; returns how to publish the same again.
    fn take_ports(&self, record: &mut ContainerRecord) -> Result<Option<Vec<PortMapping>>> {
        if record.published.is_empty() {
            return Ok(None);
        }
        self.driver.unpublish(&record.endpoints[0].1, &record.published)?;
        Ok(Some(again(&std::mem::take(&mut record.published))))
    }

    /// Moves the default routes to the places that lead out now, and puts the one with the published ports first.
    fn settle(
        &self,
        record: &mut ContainerRecord,
        namespace: &File,
        mut wanted: Vec<PortMapping>,
    ) -> Result<()> {
        let leading = leading::names(&record.endpoints, |name| self.gateway_priority(record, name));
        let best = record.endpoints.iter().position(|(name, _)| leading.first() == Some(name));
        if let Some(best) = best.filter(|best| *best != 0) {
            wanted = self.take_ports(record)?.unwrap_or(wanted);
            let place = record.endpoints.remove(best);
            record.endpoints.insert(0, place);
        }
        // The old way first: there is one default route of a family.
        for on in [false, true] {
            for (name, endpoint) in &mut record.endpoints {
                if endpoint.default_route != on && leading.contains(name) == on {
                    self.driver.route(endpoint, namespace.as_fd(), on)?;
                    endpoint.default_route = on;
                }
            }
        }
        match record.endpoints.first() {
            Some((_, endpoint)) if record.published.is_empty() && !wanted.is_empty() => {
                record.published = self.driver.publish(endpoint, &wanted)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn namespace_of(record: &ContainerRecord) -> Result<File> {
    File::open(format!("/proc/{}/ns/net", record.pid))
        .map_err(|e| Error::wrap(ErrorKind::Internal, "open the container's network namespace", e))
}

/// Mappings to the same host ports. Without an address a mapping stands for both families.
pub(super) fn again(published: &[PublishedPort]) -> Vec<PortMapping> {
    let mut mappings: Vec<PortMapping> = Vec::new();
    for port in published {
        let mapping = PortMapping {
            container: port.container,
            host_ip: Some(port.host_ip).filter(|ip| !ip.is_unspecified()),
            host_ports: Some((port.host_port, port.host_port)),
        };
        if !mappings.contains(&mapping) {
            mappings.push(mapping);
        }
    }
    mappings
}
