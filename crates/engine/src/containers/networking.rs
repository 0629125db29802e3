//! Connecting a container to networks, and taking it out of them, whether it runs or not.

use super::actor::Actor;
use super::blocking;
use crate::networks::settings;
use wharf_model::container::{EndpointSpec, NetworkMode};
use wharf_model::network::Driver;
use wharf_model::ports::PortMapping;
use wharf_model::state::Status;
use wharf_model::{Error, ErrorKind, Result};

const HOST: &str = "container cannot be disconnected from host network or connected to host network";
const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";
const PRIVATE: &str =
    "container cannot be connected to multiple networks with one of the networks in private (none) mode";

impl Actor {
    /// Connects to one more network: at once when it runs, else with the next start.
    pub(super) async fn connect_network(&mut self, network: &str, wish: EndpointSpec) -> Result<()> {
        let found = self.shared.networks.find(network)?;
        let (network, real) = (found.spec, !found.config_only);
        match (&self.record.spec.network, &network.driver) {
            (NetworkMode::Host, _) | (_, Driver::Host) => return Err(Error::invalid(HOST)),
            (NetworkMode::Container(_), _) => return Err(Error::invalid(SHARED)),
            (NetworkMode::None, _) if !self.record.spec.left.contains("none") => {
                return Err(Error::invalid(PRIVATE));
            }
            (_, Driver::None) if real => return Err(Error::invalid(PRIVATE)),
            _ => {}
        }
        settings::check(&network, &wish)?;
        if self.shared.networks.names(&self.record.spec)?.contains(&network.name) {
            let message =
                format!("endpoint with name {} already exists in network {}", self.record.name, network.name);
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let before = self.record.clone();
        self.record.spec.left.remove(&network.name);
        self.record.spec.endpoints.insert(network.name.clone(), wish);
        let joined = self.change_live(&network.name, true).await;
        if joined.is_err() && !self.record.endpoints.iter().any(|(name, _)| *name == network.name) {
            self.record.spec = before.spec.clone();
        }
        let followed = self.shared.rewrite_files(&before, &self.record);
        joined.and(self.commit()).and(followed)
    }

    /// Takes it out of a network. With `force` also of one that is not there any more.
    pub(super) async fn disconnect_network(&mut self, network: &str, force: bool) -> Result<()> {
        let name = match self.shared.networks.find(network) {
            Ok(found) if found.spec.driver == Driver::Host => return Err(Error::invalid(HOST)),
            Ok(found) => found.spec.name,
            Err(_) if force => network.to_owned(),
            Err(e) => return Err(e),
        };
        let is_none = name == "none" && self.record.spec.network == NetworkMode::None;
        let is_in = if is_none {
            !self.record.spec.left.contains("none")
        } else {
            self.shared.networks.names(&self.record.spec)?.contains(&name)
        };
        if !is_in {
            return Err(Error::internal(format!(
                "container {} is not connected to the network {name}",
                self.record.id
            )));
        }
        let before = self.record.clone();
        let mut after = before.clone();
        after.spec.endpoints.retain(|key, _| *key != name && *key != network);
        after.spec.left.insert(name.clone());
        after.endpoints.retain(|(place, _)| *place != name);
        // Intent first: after a crash an interface that no record names is removed.
        self.shared.save(&after)?;
        let left = self.change_live(&name, false).await;
        if left.is_ok() {
            self.record.spec = after.spec;
        }
        let followed = self.shared.rewrite_files(&before, &self.record);
        left.and(self.commit()).and(followed)
    }

    /// Publishes other ports than before: at once when it runs, else with the next start. On failure the old ones stay.
    pub(super) async fn republish(&mut self, ports: Vec<PortMapping>) -> Result<()> {
        let mut record = self.record.clone();
        record.spec.ports = ports;
        if matches!(record.status, Status::Running | Status::Paused) {
            let (networks, before) = (self.shared.networks.clone(), self.record.clone());
            let (changed, result) = blocking(move || {
                let result = networks.republish(&before, &mut record);
                Ok((record, result))
            })
            .await?;
            // Where the old state could not be had back, what is true is kept.
            self.record.published = changed.published.clone();
            result?;
            record = changed;
        }
        self.record.spec.ports = record.spec.ports;
        self.commit()
    }

    async fn change_live(&mut self, name: &str, join: bool) -> Result<()> {
        if !matches!(self.record.status, Status::Running | Status::Paused) {
            return Ok(());
        }
        let (networks, mut record, name) =
            (self.shared.networks.clone(), self.record.clone(), name.to_owned());
        let (record, result) = blocking(move || {
            let result =
                if join { networks.join(&mut record, &name) } else { networks.leave(&mut record, &name) };
            // What was changed before a failure is as true as the rest.
            Ok((record, result))
        })
        .await?;
        (self.record.endpoints, self.record.published) = (record.endpoints, record.published);
        result
    }
}
