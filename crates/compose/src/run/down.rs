//! Stopping, killing, removing: one container, services, or all of a project.

use super::networks::futures;
use super::provider::Verb;
use super::{Run, all_done, container, state, stop_call};
use crate::error::Error;
use crate::plan::{Observed, label, order};
use crate::project::service::Provider;
use std::collections::BTreeMap;
use tokio::sync::watch;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::network::Inspect as Network;
use wharf_docker_api::types::volume::ListResponse;

/// Flags of `down`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--remove-orphans`.
    pub orphans: bool,
    /// `--volumes`.
    pub volumes: bool,
    /// `--rmi`: local, all or empty.
    pub images: String,
    /// `--timeout`.
    pub timeout: Option<i64>,
    /// Services to take down, all where none is named.
    pub services: Vec<String>,
    /// The files are known, and so whether a container is an orphan.
    pub has_files: bool,
}

impl Run<'_> {
    /// Stops a container, its hooks first.
    pub(super) async fn stop(&self, one: &Observed, timeout: Option<i64>) -> Result<(), Error> {
        if let Some(service) = self.loaded.project.services.get(one.service())
            && one.is_running()
            && !service.pre_stop.is_empty()
        {
            self.hooks(one, &service.pre_stop).await?;
        }
        self.act(&one.name, ("Stopping", "Stopped"), stop_call(&one.id, timeout)).await
    }

    /// Removes a container.
    pub(super) async fn remove(&self, one: &Observed, volumes: bool) -> Result<(), Error> {
        let query = Query::new().with("force", 1).flag("v", volumes);
        let call = Call::delete(container(&one.id, "")).query(query);
        match self.act(&one.name, ("Removing", "Removed"), call).await {
            Err(Error::Engine { source, .. }) if source.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Stops containers: a service's before those that it needs, services that need nothing of each other side by side.
    pub async fn stop_services(&self, containers: &[Observed], timeout: Option<i64>) -> Result<(), Error> {
        self.backwards(containers, async |one: &Observed| self.stop(one, timeout).await).await
    }

    /// Does something to containers in reverse order of dependency; those of no known service first.
    pub async fn backwards(
        &self,
        containers: &[Observed],
        each: impl AsyncFn(&Observed) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut levels = order::levels(&self.loaded.project);
        levels.reverse();
        let known = |one: &Observed| self.loaded.project.services.contains_key(one.service());
        let strangers: Vec<&Observed> = containers.iter().filter(|one| !known(one)).collect();
        let mut result = all_done(futures(stranger_levels(&strangers, &each)).await);
        for level in levels {
            let these = containers.iter().filter(|one| level.contains(&one.service()));
            result = result.and(all_done(futures(these.map(|one| each(one))).await));
        }
        result
    }

    /// One call for a container, told before and after.
    pub async fn one(
        &self,
        one: &Observed,
        verbs: (&'static str, &'static str),
        call: Call,
    ) -> Result<(), Error> {
        self.act(&one.name, verbs, call).await
    }

    /// Removes containers.
    pub async fn remove_all(&self, containers: &[Observed], volumes: bool) -> Result<(), Error> {
        all_done(futures(containers.iter().map(|one| self.remove(one, volumes))).await)
    }

    /// Removes containers of services that are not in the files.
    pub async fn remove_orphans(&self) -> Result<(), Error> {
        let all = state::containers(self.client, &self.loaded.project.name).await?;
        let orphans: Vec<Observed> =
            all.into_iter().filter(|one| !self.loaded.whole.services.contains_key(one.service())).collect();
        self.remove_all(&orphans, false).await
    }

    /// Stops services' containers and starts them again, those that others need first; all where none is named.
    pub async fn restart_services(&self, names: &[String], timeout: Option<i64>) -> Result<(), Error> {
        let found = self.of_services(names).await?;
        for level in order::levels(&self.loaded.project) {
            let each = found.iter().filter(|one| level.contains(&one.service())).map(async |one| {
                let call = Call::post(container(&one.id, "/restart")).query(Query::new().maybe("t", timeout));
                if let Some(service) = self.loaded.project.services.get(one.service()) {
                    if one.is_running() {
                        self.hooks(one, &service.pre_stop).await?;
                    }
                    self.act(&one.name, ("Restarting", "Started"), call).await?;
                    return self.hooks(one, &service.post_start).await;
                }
                self.act(&one.name, ("Restarting", "Started"), call).await
            });
            all_done(futures(each).await)?;
        }
        Ok(())
    }

    /// Takes a project away.
    pub async fn down(&self, options: &Options) -> Result<(), Error> {
        let project = &self.loaded.project;
        let mut all = state::containers(self.client, &project.name).await?;
        let named = |one: &Observed| {
            options.services.is_empty() || options.services.iter().any(|name| name == one.service())
        };
        let is_known =
            |one: &Observed| !options.has_files || self.loaded.whole.services.contains_key(one.service());
        let orphans: Vec<String> =
            all.iter().filter(|one| !is_known(one)).map(|one| one.name.clone()).collect();
        all.retain(|one| named(one) && (is_known(one) || options.orphans));
        if !orphans.is_empty() && !options.orphans {
            self.report.warn(&super::up::orphans_warning(&orphans));
        }
        self.take_away(&all, options).await?;
        if !options.services.is_empty() {
            return self.images_away(options).await;
        }
        self.networks_away().await?;
        if options.volumes {
            self.volumes_away().await?;
        }
        self.images_away(options).await
    }

    /// Stops containers, each when those that need it are stopped, and removes each while others still stop.
    async fn take_away(&self, all: &[Observed], options: &Options) -> Result<(), Error> {
        let timeout = options.timeout;
        let project = &self.loaded.project;
        let is_named = |name: &String| options.services.is_empty() || options.services.contains(name);
        let provided: Vec<(&str, &Provider)> = project
            .services
            .iter()
            .filter(|(name, _)| is_named(name))
            .filter_map(|(name, service)| Some((name.as_str(), service.provider.as_ref()?)))
            .collect();
        let mut left: BTreeMap<&str, watch::Sender<usize>> = BTreeMap::new();
        for one in all {
            left.entry(one.service())
                .or_insert_with(|| watch::Sender::new(0))
                .send_modify(|count| *count += 1);
        }
        for (name, _) in &provided {
            left.insert(name, watch::Sender::new(1));
        }
        let dependents_gone = async |name: &str| {
            for dependent in project.dependents(name) {
                if let Some(count) = left.get(dependent).filter(|_| dependent != name) {
                    // The sender is ours: it lives as long as we wait.
                    let _ = count.subscribe().wait_for(|count| *count == 0).await;
                }
            }
        };
        let gone = |name: &str| {
            if let Some(count) = left.get(name) {
                count.send_modify(|count| *count -= 1);
            }
        };
        let each = all.iter().map(async |one| {
            dependents_gone(one.service()).await;
            let stopped = if one.is_alive() { self.stop(one, timeout).await } else { Ok(()) };
            gone(one.service());
            stopped?;
            self.remove(one, true).await
        });
        let unprovided = provided.iter().map(async |(name, provider)| {
            dependents_gone(name).await;
            let done = self.provide(name, provider, Verb::Down).await;
            gone(name);
            done.map(drop)
        });
        let (containers, unprovided) = futures_util::future::join(futures(each), futures(unprovided)).await;
        all_done(containers.into_iter().chain(unprovided))
    }

    async fn networks_away(&self) -> Result<(), Error> {
        let of = format!("{}={}", label::PROJECT, self.loaded.project.name);
        let query = Query::new().filters([("label", of.as_str())]);
        let networks: Vec<Network> = self.client.json(Call::get("/networks").query(query)).await?;
        let own = networks.iter().filter(|network| {
            let key = network.labels.get(label::NETWORK);
            !key.and_then(|key| self.loaded.project.networks.get(key)).is_some_and(|network| network.external)
        });
        all_done(futures(own.map(|network| self.remove_network(&network.name, &network.id))).await)
    }

    async fn volumes_away(&self) -> Result<(), Error> {
        let of = format!("{}={}", label::PROJECT, self.loaded.project.name);
        let query = Query::new().filters([("label", of.as_str())]);
        let found: ListResponse = self.client.json(Call::get("/volumes").query(query)).await?;
        all_done(futures(found.volumes.iter().map(|volume| self.remove_volume(&volume.name))).await)
    }

    async fn images_away(&self, options: &Options) -> Result<(), Error> {
        let project = &self.loaded.project;
        let mut names: Vec<String> = project
            .services
            .iter()
            .filter(|(name, _)| options.services.is_empty() || options.services.contains(name))
            .filter(|(_, service)| match options.images.as_str() {
                "all" => true,
                // Those that nobody gave a name to.
                "local" => service.image.is_empty(),
                _ => false,
            })
            .map(|(name, service)| self.loaded.image_of(name, service))
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let path = format!("/images/{}", super::images::encoded_image(&name));
            self.remove_named(&format!("Image {name}"), path).await?;
        }
        Ok(())
    }
}

fn stranger_levels<'a, F>(
    strangers: &'a [&'a Observed],
    each: &'a F,
) -> impl Iterator<Item = impl Future<Output = Result<(), Error>>>
where
    F: AsyncFn(&Observed) -> Result<(), Error>,
{
    strangers.iter().map(move |one| each(one))
}
