//! What there is of a project.

use super::Run;
use crate::error::Error;
use crate::plan::{Observed, label};
use wharf_docker_api::client::{Call, Client, Query};
use wharf_docker_api::types::container::Summary;

/// The containers of a project, those of `run` too.
pub async fn containers(client: &Client, project: &str) -> Result<Vec<Observed>, Error> {
    Ok(summaries(client, project).await?.iter().map(observed).collect())
}

/// The same as the engine says it.
pub async fn summaries(client: &Client, project: &str) -> Result<Vec<Summary>, Error> {
    let of = format!("{}={project}", label::PROJECT);
    let query = Query::new().with("all", 1).filters([("label", of.as_str()), ("label", label::HASH)]);
    let mut found: Vec<Summary> = client.json(Call::get("/containers/json").query(query)).await?;
    found.sort_by(|a, b| a.names.cmp(&b.names));
    Ok(found)
}

/// A container as plans see it.
pub fn observed(summary: &Summary) -> Observed {
    let name = summary.names.iter().find(|name| name.matches('/').count() == 1).or(summary.names.first());
    Observed {
        id: summary.id.clone(),
        name: name.map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
        labels: summary.labels.clone(),
        state: summary.state.clone(),
        networks: summary
            .network_settings
            .networks
            .values()
            .map(|network| network.network_id.clone())
            .collect(),
        volumes: summary
            .mounts
            .iter()
            .filter(|mount| mount.kind == "volume")
            .map(|mount| mount.name.clone())
            .collect(),
        created: summary.created,
    }
}

impl Run<'_> {
    /// The project's containers that belong to services, of those named alone, or of all.
    pub async fn of_services(&self, names: &[String]) -> Result<Vec<Observed>, Error> {
        let all = containers(self.client, &self.loaded.project.name).await?;
        let wanted = |one: &Observed| {
            !one.is_one_off() && (names.is_empty() || names.iter().any(|name| name == one.service()))
        };
        Ok(all.into_iter().filter(wanted).collect())
    }
}
