//! Removing what no record speaks of, and removing everything.

use super::{BridgeNetwork, kernel, lock};
use crate::link;
use std::collections::HashSet;
use wharf_model::error::{Error, Result};
use wharf_model::network::{Endpoint, NetworkSpec};

impl BridgeNetwork {
    pub(super) fn sweep_leftovers(&self, networks: &[NetworkSpec], endpoints: &[Endpoint]) -> Result<()> {
        let known: HashSet<&str> = networks
            .iter()
            .flat_map(|network| [network.bridge.as_str(), network.parent.as_str()])
            .chain(endpoints.iter().map(|endpoint| endpoint.host_interface.as_str()))
            .collect();
        let failures = self.delete_links(|name| !known.contains(name))?;
        // What is remembered is what was ensured, adopted and published: everything else goes.
        let restored = lock(&self.table)
            .restore()
            .map_err(|errno| kernel(format!("restore nftables table {}", self.table_name), errno));
        all(failures, restored)
    }

    pub(super) fn remove_everything(&self) -> Result<()> {
        {
            let mut state = lock(&self.state);
            for id in state.networks.keys() {
                self.dns.update(|directory| directory.remove_network(id));
            }
            *state = Default::default();
        }
        *lock(&self.ports) = Default::default();
        let failures = self.delete_links(|_| true)?;
        let removed = lock(&self.table)
            .remove()
            .map_err(|errno| kernel(format!("remove nftables table {}", self.table_name), errno));
        all(failures, removed)
    }

    /// Deletes links that are ours and that `unwanted` names. Goes on after a failure.
    fn delete_links(&self, unwanted: impl Fn(&str) -> bool) -> Result<Vec<Error>> {
        let mut route = lock(&self.route);
        let links = link::list(&mut route).map_err(|errno| kernel("list the host's interfaces", errno))?;
        let mut failures = Vec::new();
        for link in links.iter().filter(|link| link.alias == self.mark && unwanted(&link.name)) {
            if let Err(errno) = link::delete(&mut route, &link.name) {
                failures.push(kernel(format!("remove interface {}", link.name), errno));
            }
        }
        Ok(failures)
    }
}

/// One error that tells of all.
fn all(mut failures: Vec<Error>, last: Result<()>) -> Result<()> {
    failures.extend(last.err());
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let text: Vec<String> = failures.iter().map(Error::full).collect();
            Err(Error::new(failures[0].kind(), text.join("; ")))
        }
    }
}
