//! `run`: a container of a service for one command.

use super::create::{OneOff, Plan};
use super::images::Policy;
use super::{Run, state, up};
use crate::error::Error;
use crate::plan::{Observed, Recreate};
use crate::project::Service;
use std::collections::BTreeMap;

/// What `run` asks for beyond the service.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The service, as it was changed by flags.
    pub service: Service,
    /// Its name.
    pub name: String,
    /// `--name`.
    pub container: Option<String>,
    /// `--use-aliases`.
    pub aliases: bool,
    /// `--rm`.
    pub remove: bool,
    /// `--no-deps`.
    pub no_deps: bool,
    /// Random digits for the name.
    pub slug: String,
    /// Pull and build.
    pub images: Policy,
    /// `--remove-orphans`.
    pub remove_orphans: bool,
    /// Say nothing of orphans.
    pub ignore_orphans: bool,
}

impl Run<'_> {
    /// Makes the container, what its service needs running before it; it is not started.
    pub async fn one_off(&self, options: &Options) -> Result<Observed, Error> {
        let project = &self.loaded.project;
        let orphans = up::Options {
            remove_orphans: options.remove_orphans,
            ignore_orphans: options.ignore_orphans,
            ..up::Options::default()
        };
        self.orphans(&state::containers(self.client, &project.name).await?, &orphans).await?;
        if options.service.provider.is_some() {
            return Err(Error::project(format!("service {:?} has no container to start", options.name)));
        }
        let mut provided = BTreeMap::new();
        if !options.no_deps && project.services.keys().any(|name| *name != options.name) {
            let mut loaded = self.loaded.clone();
            loaded.project.services.remove(&options.name);
            let needed = Run { loaded: &loaded, ..*self };
            let up = up::Options {
                recreate: Recreate::Never,
                recreate_needed: Recreate::Never,
                // They were seen to above.
                ignore_orphans: true,
                images: Policy {
                    quiet_pull: options.images.quiet_pull,
                    quiet_build: options.images.quiet_build,
                    ..Policy::default()
                },
                ..up::Options::default()
            };
            let made = needed.make(&up).await?;
            self.conditions(options, &made.containers).await?;
            provided = made.provided;
        }
        let models = self.ensure_models().await?;
        let mut loaded = self.loaded.clone();
        loaded.project.services.retain(|name, _| *name == options.name);
        let alone = Run { loaded: &loaded, ..*self };
        let images = alone.ensure_images(&options.images).await?;
        let containers = state::containers(self.client, &project.name).await?;
        tokio::try_join!(self.ensure_networks(&containers), self.ensure_volumes(&containers, false))?;
        let mut service = options.service.clone();
        service.container_name.clear();
        self.give(&mut service, &options.name, &models, &provided);
        share(&mut service, &containers)?;
        let name = options
            .container
            .clone()
            .unwrap_or_else(|| self.loaded.one_off_name(&options.name, &options.slug));
        let plan = Plan {
            name: &options.name,
            service: &service,
            container: name.clone(),
            number: 1,
            image: images.get(&self.loaded.image_of(&options.name, &service)),
            replaced: None,
            inherited: BTreeMap::new(),
            linked: Vec::new(),
            volumes_from: service.volumes_from.clone(),
            one_off: Some(OneOff { slug: options.slug.clone(), aliases: options.aliases }),
            auto_remove: false,
        };
        let id = self.create(&plan).await?;
        Ok(Observed { id, name, state: "created".into(), ..Observed::default() })
    }

    async fn conditions(
        &self,
        options: &Options,
        made: &BTreeMap<String, Vec<Observed>>,
    ) -> Result<(), Error> {
        for (needed, how) in &options.service.depends_on {
            let Some(condition) = super::wait::Condition::of(&how.condition) else { continue };
            for one in made.get(needed).into_iter().flatten() {
                self.await_condition(one, condition).await?;
            }
        }
        Ok(())
    }
}

/// Puts containers in place of the services whose parts are shared.
fn share(service: &mut Service, containers: &[Observed]) -> Result<(), Error> {
    let first = |name: &str| {
        let one = containers.iter().find(|one| one.service() == name && !one.is_one_off());
        one.map(|one| one.id.clone())
            .ok_or_else(|| Error::project(format!("no container of service {name} to share with")))
    };
    for mode in [&mut service.network_mode, &mut service.ipc, &mut service.pid] {
        if let Some(name) = mode.strip_prefix("service:") {
            *mode = format!("container:{}", first(name)?);
        }
    }
    for from in &mut service.volumes_from {
        let (name, rest) = from.split_once(':').map_or((from.as_str(), ""), |(name, rest)| (name, rest));
        *from = if name == "container" { rest.to_owned() } else { first(name)? };
    }
    Ok(())
}
