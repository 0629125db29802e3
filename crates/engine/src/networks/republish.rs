//! Other ports for a container that runs.

use super::live::again;
use super::{Networks, mappings, unpublished};
use wharf_model::container::ContainerRecord;
use wharf_model::network::Endpoint;
use wharf_model::ports::{PortMapping, PublishedPort};
use wharf_model::{Error, ErrorKind, Result};

impl Networks {
    /// Publishes what `after` asks for in place of what `before` did, all of it or nothing. What both ask for stays as it
    /// is, with the host's port that it has, and connections that are open go on.
    pub(crate) fn republish(&self, before: &ContainerRecord, after: &mut ContainerRecord) -> Result<()> {
        let Some((_, endpoint)) = before.endpoints.first() else { return Ok(()) };
        let change = Change::between(&mappings(before), &before.published, &mappings(after));
        let failed = |e: Error| Error::wrap(e.kind(), unpublished(before, endpoint), e);
        let added = match self.driver.publish(endpoint, &change.added) {
            // It may be an old port of this container that is in the way.
            Err(e) if e.kind() == ErrorKind::Conflict && !change.gone.is_empty() => {
                match self.exchange(endpoint, &change) {
                    Ok(added) => added,
                    Err((e, lost)) => {
                        after.published.retain(|port| !lost.contains(port));
                        return Err(failed(e));
                    }
                }
            }
            Err(e) => return Err(failed(e)),
            Ok(added) => {
                if let Err(e) = self.driver.unpublish(endpoint, &change.gone) {
                    self.driver.unpublish(endpoint, &added)?;
                    return Err(failed(e));
                }
                added
            }
        };
        after.published = change.merged(added);
        Ok(())
    }

    /// Gives up the old ports before it takes the new; on failure the error, and what of the old is lost by it.
    fn exchange(
        &self,
        endpoint: &Endpoint,
        change: &Change,
    ) -> std::result::Result<Vec<PublishedPort>, (Error, Vec<PublishedPort>)> {
        self.driver.unpublish(endpoint, &change.gone).map_err(|e| (e, Vec::new()))?;
        self.driver.publish(endpoint, &change.added).map_err(|e| {
            match self.driver.publish(endpoint, &again(&change.gone)) {
                Ok(_) => (e, Vec::new()),
                Err(second) => {
                    let what = format!("{} (and the old ports are lost: {})", e.full(), second.full());
                    (Error::new(e.kind(), what), change.gone.clone())
                }
            }
        })
    }
}

/// What has to happen for one list of mappings to become another.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// To be published.
    added: Vec<PortMapping>,
    /// To be given up.
    gone: Vec<PublishedPort>,
    /// For each new mapping what it has already; `None` where it is to be published.
    kept: Vec<Option<Vec<PublishedPort>>>,
}

impl Change {
    fn between(old: &[PortMapping], published: &[PublishedPort], new: &[PortMapping]) -> Self {
        let mut have = assigned(old, published);
        let mut change = Self { added: Vec::new(), gone: Vec::new(), kept: Vec::new() };
        for mapping in new {
            match have.iter().position(|(known, _)| known == mapping) {
                Some(at) => change.kept.push(Some(have.remove(at).1)),
                None => {
                    change.added.push(mapping.clone());
                    change.kept.push(None);
                }
            }
        }
        change.gone = have.into_iter().flat_map(|(_, ports)| ports).collect();
        change
    }

    /// All that is published afterwards, in the order of the mappings.
    fn merged(self, added: Vec<PublishedPort>) -> Vec<PublishedPort> {
        let mut added = assigned(&self.added, &added).into_iter();
        let mut next = || added.next().map(|(_, ports)| ports).unwrap_or_default();
        self.kept.into_iter().flat_map(|kept| kept.unwrap_or_else(&mut next)).collect()
    }
}

/// Each mapping with what is published for it: entries follow each other in the order of the mappings, those of one with the
/// same port of the host.
fn assigned(mappings: &[PortMapping], published: &[PublishedPort]) -> Vec<(PortMapping, Vec<PublishedPort>)> {
    let mut rest = published.to_vec();
    mappings
        .iter()
        .map(|mapping| {
            let serves = |port: &PublishedPort| {
                port.container == mapping.container
                    && mapping.host_ip.is_none_or(|ip| ip == port.host_ip)
                    && mapping.host_ports.is_none_or(|(first, last)| {
                        (first..=last).contains(&port.host_port) || port.host_port == 0
                    })
            };
            let mut own: Vec<PublishedPort> = Vec::new();
            rest.retain(|port| {
                // One address of a family, all with one port.
                let fits = serves(port)
                    && own.iter().all(|o| {
                        o.host_port == port.host_port && o.host_ip.is_ipv4() != port.host_ip.is_ipv4()
                    });
                if fits {
                    own.push(port.clone());
                }
                !fits
            });
            (mapping.clone(), own)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn mapping(container: u16, host: Option<u16>) -> PortMapping {
        wharf_model::network::conformance::mapping(container, host)
    }

    fn port(container: u16, ip: &str, host: u16) -> PublishedPort {
        let ip: IpAddr = ip.parse().unwrap();
        PublishedPort { container: mapping(container, None).container, host_ip: ip, host_port: host }
    }

    #[test]
    fn what_stays_keeps_its_port() {
        let old = [mapping(80, None), mapping(80, None), mapping(81, Some(8081))];
        let published = [
            port(80, "0.0.0.0", 32_768),
            port(80, "::", 32_768),
            port(80, "0.0.0.0", 32_769),
            port(80, "::", 32_769),
            port(81, "0.0.0.0", 8081),
        ];
        let new = [mapping(80, None), mapping(82, Some(8082)), mapping(81, Some(8081))];
        let change = Change::between(&old, &published, &new);
        assert_eq!(change.added, [mapping(82, Some(8082))]);
        assert_eq!(change.gone, published[2..4]);
        let merged = change.merged(vec![port(82, "0.0.0.0", 8082), port(82, "::", 8082)]);
        assert_eq!(
            merged.iter().map(|p| p.host_port).collect::<Vec<_>>(),
            [32_768, 32_768, 8082, 8082, 8081]
        );
    }

    #[test]
    fn the_same_is_no_change() {
        let old = [mapping(80, Some(8080))];
        let published = [port(80, "0.0.0.0", 8080)];
        let change = Change::between(&old, &published, &old);
        assert!(change.added.is_empty() && change.gone.is_empty());
        assert_eq!(change.merged(vec![]), published);
    }
}
