//! The project's networks.

use super::report::Status;
use super::{Run, all_done};
use crate::error::Error;
use crate::plan::{Observed, VERSION, label};
use crate::project::{Network, hash};
use std::collections::BTreeMap;
use wharf_docker_api::client::{Call, Query, segment};
use wharf_docker_api::types::network::{
    CreateRequest, CreateResponse, DisconnectRequest, Inspect, Ipam, IpamConfig,
};

impl Run<'_> {
    /// Makes the networks that are not there; ids by the names they have in the file.
    pub(super) async fn ensure_networks(
        &self,
        containers: &[Observed],
    ) -> Result<BTreeMap<String, String>, Error> {
        let project = &self.loaded.project;
        if project.networks.is_empty() {
            return Ok(BTreeMap::new());
        }
        let query =
            Query::new().filters(project.networks.values().map(|network| ("name", network.name.as_str())));
        let known: Vec<Inspect> = self.client.json(Call::get("/networks").query(query)).await?;
        let each = project.networks.iter().map(async |(key, network)| {
            let there = known.iter().find(|known| known.name == network.name || known.id == network.name);
            let id = self.ensure_network(key, network, there, containers).await?;
            Ok::<_, Error>((key.clone(), id))
        });
        futures(each).await.into_iter().collect()
    }

    async fn ensure_network(
        &self,
        key: &str,
        network: &Network,
        there: Option<&Inspect>,
        containers: &[Observed],
    ) -> Result<String, Error> {
        let project = &self.loaded.project.name;
        match there {
            Some(there) if network.external => return Ok(there.id.clone()),
            None if network.external => {
                if network.driver == "overlay" || is_predefined(&network.name) {
                    return Ok(network.name.clone());
                }
                return Err(Error::NotFound(format!(
                    "network {} declared as external, but could not be found",
                    network.name
                )));
            }
            Some(there) => {
                let owner = there.labels.get(label::PROJECT);
                let whose = there.labels.get(label::NETWORK);
                if owner != Some(project) {
                    self.report.warn(&format!(
                        "a network with name {} exists but was not created for project {project:?}.\n\
                         Set `external: true` to use an existing network",
                        network.name
                    ));
                    return Ok(there.id.clone());
                }
                if whose.is_some_and(|whose| whose != key) {
                    return Err(Error::project(format!(
                        "network {} was found but has incorrect label {} set to {:?} (expected: {key:?})",
                        network.name,
                        label::NETWORK,
                        whose.map_or("", String::as_str)
                    )));
                }
                let hash = there.labels.get(label::HASH);
                if hash.is_none_or(|known| *known == hash::network(network)) {
                    return Ok(there.id.clone());
                }
                self.remove_diverged(network, there, containers).await?;
            }
            None => {}
        }
        self.create_network(key, network).await
    }

    /// Takes away a network that is configured otherwise now, with the containers in it stopped.
    async fn remove_diverged(
        &self,
        network: &Network,
        there: &Inspect,
        containers: &[Observed],
    ) -> Result<(), Error> {
        let inside: Vec<&Observed> =
            containers.iter().filter(|one| one.networks.contains(&there.id)).collect();
        let stops = inside.iter().filter(|one| one.is_running()).map(|one| self.stop(one, None));
        all_done(futures(stops).await)?;
        for one in inside {
            let body = DisconnectRequest { container: one.id.clone(), force: true };
            let call = Call::post(format!("/networks/{}/disconnect", segment(&there.id))).json(&body)?;
            self.change(&format!("Network {}", network.name), call).await?;
        }
        self.remove_network(&network.name, &there.id).await
    }

    async fn create_network(&self, key: &str, network: &Network) -> Result<String, Error> {
        let what = format!("Network {}", network.name);
        self.report.step(&what, "Creating", Status::Working);
        if self.dry_run {
            self.report.step(&what, "Created", Status::Done);
            return Ok(network.name.clone());
        }
        let call = Call::post("/networks/create").json(&request(&self.loaded.project.name, key, network))?;
        let made: Result<CreateResponse, _> = self.client.json(call).await;
        match made {
            Ok(made) => {
                self.report.step(&what, "Created", Status::Done);
                Ok(made.id)
            }
            Err(source) => {
                self.report.step(&what, "Error", Status::Failed);
                Err(Error::engine(format!("failed to create network {}", network.name), source))
            }
        }
    }

    pub(super) async fn remove_network(&self, name: &str, id: &str) -> Result<(), Error> {
        let what = format!("Network {name}");
        self.report.step(&what, "Removing", Status::Working);
        match self.change("", Call::delete(format!("/networks/{}", segment(id)))).await {
            Ok(()) => self.report.step(&what, "Removed", Status::Done),
            Err(Error::Engine { source, .. }) if source.is_not_found() => {
                self.report.step(&what, "Warning: No resource found to remove", Status::Warning);
            }
            Err(Error::Engine { source, .. }) if source.to_string().contains("active endpoints") => {
                self.report.step(&what, "Resource is still in use", Status::Warning);
            }
            Err(error) => {
                self.report.step(&what, "Error", Status::Failed);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn is_predefined(name: &str) -> bool {
    ["bridge", "host", "none"].contains(&name)
}

/// The body of the call that makes a network.
fn request(project: &str, key: &str, network: &Network) -> CreateRequest {
    let ipam = &network.ipam;
    let pools = ipam.config.iter().map(|pool| IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: (!pool.aux_addresses.is_empty()).then(|| pool.aux_addresses.clone()),
    });
    let said = !ipam.driver.is_empty() || !ipam.config.is_empty() || !ipam.options.is_empty();
    let options = (!ipam.options.is_empty()).then(|| ipam.options.clone());
    let mut labels = network.labels.clone();
    let ours = [
        (label::HASH, hash::network(network)),
        (label::NETWORK, key.to_owned()),
        (label::PROJECT, project.to_owned()),
        (label::VERSION, VERSION.to_owned()),
    ];
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    CreateRequest {
        name: network.name.clone(),
        driver: network.driver.clone(),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: said.then(|| Ipam { driver: ipam.driver.clone(), options, config: Some(pools.collect()) }),
        internal: network.internal,
        attachable: network.attachable,
        options: (!network.driver_opts.is_empty()).then(|| network.driver_opts.clone().into()),
        labels: Some(labels.into()),
        ..CreateRequest::default()
    }
}

/// All at once, their results in order.
pub(crate) async fn futures<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(all).await
}
