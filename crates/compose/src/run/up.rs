//! A project brought to what its files say: made, changed, started, in the order of what needs what.

use super::create::Plan;
use super::images::Policy;
use super::networks::futures;
use super::provider::{Variable, Verb};
use super::report::Status;
use super::wait::Condition;
use super::{Run, all_done, container, state};
use crate::error::Error;
use crate::plan::{self, Action, Observed, Recreate, Wanted, label};
use crate::project::service::Provider;
use crate::project::{Service, hash};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::Inspect;
use wharf_docker_api::types::image::Inspect as Image;

/// Flags of `up` and `create`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// When the named services' containers are made anew.
    pub recreate: Recreate,
    /// And those of the services that they need.
    pub recreate_needed: Recreate,
    /// The services that were named; empty for all.
    pub services: Vec<String>,
    /// Do not start: `create`.
    pub no_start: bool,
    /// `--remove-orphans`.
    pub remove_orphans: bool,
    /// Say nothing of orphans.
    pub ignore_orphans: bool,
    /// `--timeout`.
    pub timeout: Option<i64>,
    /// `--renew-anon-volumes`.
    pub renew_volumes: bool,
    /// `--wait`.
    pub wait: bool,
    /// `--wait-timeout`.
    pub wait_timeout: Option<std::time::Duration>,
    /// `--yes`.
    pub yes: bool,
    /// Pull and build.
    pub images: Policy,
}

/// What is said of containers whose service is not in the files.
pub(super) fn orphans_warning(names: &[String]) -> String {
    format!(
        "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, \
         you can run this command with the --remove-orphans flag to clean it up.",
        names.join(" ")
    )
}

/// What one `up` knows while it goes.
struct Going<'a> {
    options: &'a Options,
    images: BTreeMap<String, Image>,
    networks: BTreeMap<String, String>,
    before: BTreeMap<String, Vec<Observed>>,
    /// Each service's containers, once they are made.
    made: RefCell<BTreeMap<String, Vec<Observed>>>,
    /// How far each service is; those that need it wait for that.
    stages: BTreeMap<String, watch::Sender<Stage>>,
    /// Services that were started by somebody who needs them anew.
    replaced: RefCell<BTreeSet<String>>,
    /// What services are given for the models that they use.
    models: BTreeMap<String, Vec<Variable>>,
    /// What providers have told, each by its service.
    provided: RefCell<BTreeMap<String, Vec<Variable>>>,
}

/// What an `up` has made.
pub(super) struct Made {
    /// Containers, by service.
    pub(super) containers: BTreeMap<String, Vec<Observed>>,
    /// What providers have told, each by its service.
    pub(super) provided: BTreeMap<String, Vec<Variable>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Waiting,
    Made,
    Started,
    Failed,
}

impl Run<'_> {
    /// Brings the project to what its files say; its containers, by service.
    pub async fn up(&self, options: &Options) -> Result<BTreeMap<String, Vec<Observed>>, Error> {
        self.make(options).await.map(|made| made.containers)
    }

    /// The same, and what services were given.
    pub(super) async fn make(&self, options: &Options) -> Result<Made, Error> {
        let project = &self.loaded.project;
        for (name, service) in &project.services {
            check(name, service)?;
        }
        let (images, containers) = tokio::try_join!(
            self.ensure_images(&options.images),
            state::containers(self.client, &project.name)
        )?;
        let (networks, ()) = tokio::try_join!(
            self.ensure_networks(&containers),
            self.ensure_volumes(&containers, options.yes)
        )?;
        self.orphans(&containers, options).await?;
        let models = self.ensure_models().await?;
        let mut before: BTreeMap<String, Vec<Observed>> = BTreeMap::new();
        for one in containers.into_iter().filter(|one| !one.is_one_off()) {
            before.entry(one.service().to_owned()).or_default().push(one);
        }
        let stage = |name: &String| (name.clone(), watch::Sender::new(Stage::Waiting));
        let going = Going {
            options,
            images,
            networks,
            before,
            made: RefCell::default(),
            stages: project.services.keys().map(stage).collect(),
            replaced: RefCell::default(),
            models,
            provided: RefCell::default(),
        };
        let each = project.services.iter().map(|(name, service)| self.one_service(&going, name, service));
        if let Err(error) = all_done(futures(each).await) {
            self.tell_what_is_left().await?;
            return Err(error);
        }
        let containers = going.made.into_inner();
        if options.wait && !options.no_start {
            self.all_healthy(&containers, options).await?;
        }
        Ok(Made { containers, provided: going.provided.into_inner() })
    }

    /// What a failed `up` leaves, for whoever has to mend it.
    async fn tell_what_is_left(&self) -> Result<(), Error> {
        let left = state::containers(self.client, &self.loaded.project.name).await?;
        let left: Vec<String> = left
            .iter()
            .filter(|one| !one.is_one_off())
            .map(|one| format!("{} ({})", one.name, one.state))
            .collect();
        if !left.is_empty() {
            self.report.warn(&format!(
                "up did not get through; there are: {}. `up` goes on from here, `down` removes them",
                left.join(", ")
            ));
        }
        Ok(())
    }

    /// Starts what is there, in the order of what needs what.
    pub async fn start_services(&self, options: &Options) -> Result<(), Error> {
        let mut before: BTreeMap<String, Vec<Observed>> = BTreeMap::new();
        for one in self.of_services(&[]).await? {
            before.entry(one.service().to_owned()).or_default().push(one);
        }
        let project = &self.loaded.project;
        let going = Going {
            options,
            images: BTreeMap::new(),
            networks: BTreeMap::new(),
            stages: project
                .services
                .keys()
                .map(|name| (name.clone(), watch::Sender::new(Stage::Waiting)))
                .collect(),
            made: RefCell::new(before.clone()),
            before,
            replaced: RefCell::default(),
            models: BTreeMap::new(),
            provided: RefCell::default(),
        };
        let each = project.services.iter().map(async |(name, service)| {
            let there = going.before.get(name).cloned().unwrap_or_default();
            let result = async {
                let starts = there.iter().any(|one| !one.is_running());
                if !self.needs_are_met(&going, name, service, starts).await? {
                    return Ok(Stage::Failed);
                }
                let stopped = there.iter().filter(|one| !one.is_running());
                all_done(futures(stopped.map(|one| self.start(one, service))).await)?;
                Ok::<_, Error>(Stage::Started)
            };
            let result = result.await;
            going.tell(name, *result.as_ref().unwrap_or(&Stage::Failed));
            result.map(drop)
        });
        all_done(futures(each).await)?;
        if options.wait {
            self.all_healthy(&going.before, options).await?;
        }
        Ok(())
    }

    pub(super) async fn orphans(&self, containers: &[Observed], options: &Options) -> Result<(), Error> {
        let orphans: Vec<&Observed> = containers
            .iter()
            .filter(|one| !one.is_one_off() && !self.loaded.whole.services.contains_key(one.service()))
            .collect();
        if orphans.is_empty() || options.ignore_orphans {
            return Ok(());
        }
        if !options.remove_orphans {
            let names: Vec<String> = orphans.iter().map(|one| one.name.clone()).collect();
            self.report.warn(&orphans_warning(&names));
            return Ok(());
        }
        let away = orphans.into_iter().map(async |one| {
            self.stop(one, options.timeout).await?;
            self.remove(one, false).await
        });
        all_done(futures(away).await)
    }

    /// A service on its way. Whoever needs it hears of each stage, and of its failure.
    async fn one_service(&self, going: &Going<'_>, name: &str, service: &Service) -> Result<(), Error> {
        self.service_stages(going, name, service).await.map_err(|error| {
            going.tell(name, Stage::Failed);
            match error {
                Error::Exit(..) => error,
                error => Error::project(format!("service {name:?}: {error}")),
            }
        })
    }

    async fn service_stages(&self, going: &Going<'_>, name: &str, service: &Service) -> Result<(), Error> {
        // Containers whose parts are shared, or that links name, are made before; and what gives variables is.
        for other in borrowed(service).iter().chain(self.providers(service)) {
            if going.reaches(other, Stage::Made).await == Stage::Failed {
                going.tell(name, Stage::Failed);
                return Ok(());
            }
        }
        if let Some(provider) = &service.provider {
            return self.provide_for(going, name, provider, service).await;
        }
        let (mut resolved, volumes_from) = going.resolve(service)?;
        self.give(&mut resolved, name, &going.models, &going.provided.borrow());
        let linked = going.linked(service);
        let made = self.converge(going, name, &resolved, linked, &volumes_from).await?;
        going.made.borrow_mut().insert(name.to_owned(), made.clone());
        going.tell(name, Stage::Made);
        if going.options.no_start {
            return Ok(());
        }
        let starts = made.iter().any(|one| !one.is_running());
        if !self.needs_are_met(going, name, service, starts).await? {
            going.tell(name, Stage::Failed);
            return Ok(());
        }
        let started = made.iter().map(|one| self.start_one(going, one, service));
        all_done(futures(started).await)?;
        going.tell(name, Stage::Started);
        Ok(())
    }

    /// Services that a provider makes, of those that one needs.
    fn providers<'s>(&'s self, service: &'s Service) -> impl Iterator<Item = &'s String> {
        let services = &self.loaded.project.services;
        service.depends_on.keys().filter(|name| services.get(*name).is_some_and(|one| one.provider.is_some()))
    }

    /// A service that a provider makes, once what it needs itself is there; its dependents get what it tells.
    async fn provide_for(
        &self,
        going: &Going<'_>,
        name: &str,
        provider: &Provider,
        service: &Service,
    ) -> Result<(), Error> {
        if !going.options.no_start && !self.needs_are_met(going, name, service, true).await? {
            going.tell(name, Stage::Failed);
            return Ok(());
        }
        let told = self.provide(name, provider, Verb::Up).await?;
        going.provided.borrow_mut().insert(name.to_owned(), told);
        going.tell(name, Stage::Started);
        Ok(())
    }

    /// Gives a service the variables of its models, and of the providers of what it needs.
    pub(super) fn give(
        &self,
        service: &mut Service,
        name: &str,
        models: &BTreeMap<String, Vec<Variable>>,
        provided: &BTreeMap<String, Vec<Variable>>,
    ) {
        let needed = service.depends_on.keys().filter_map(|needed| provided.get(needed));
        let all: Vec<&Variable> = models.get(name).into_iter().chain(needed).flatten().collect();
        for Variable { name: key, value, is_raw } in all {
            let before = service.environment.insert(key.clone(), Some(value.clone()));
            if *is_raw && before.is_some_and(|before| before.as_ref() != Some(value)) {
                self.report
                    .warn(&format!("a provider overrides environment variable {key:?} in service {name:?}"));
            }
        }
    }

    /// Waits for what a service needs; whether it came to be. What is optional may fail.
    async fn needs_are_met(
        &self,
        going: &Going<'_>,
        name: &str,
        service: &Service,
        starts: bool,
    ) -> Result<bool, Error> {
        for (needed, how) in
            service.depends_on.iter().filter(|(needed, _)| self.loaded.project.services.contains_key(*needed))
        {
            let failed = going.reaches(needed, Stage::Started).await == Stage::Failed;
            if failed && how.required.0 {
                return Ok(false);
            }
            let Some(condition) = Condition::of(&how.condition).filter(|_| starts && !failed) else {
                continue;
            };
            let there = going.made.borrow().get(needed).cloned().unwrap_or_default();
            let waits = futures(there.iter().map(|one| self.await_condition(one, condition))).await;
            match all_done(waits) {
                Ok(()) => {}
                Err(error) if how.required.0 => {
                    let status = error.status();
                    return Err(Error::Exit(
                        status,
                        format!("dependency {needed} of {name} failed to start: {error}"),
                    ));
                }
                Err(error) => {
                    self.report.warn(&format!("optional dependency {needed:?} failed to start: {error}"));
                }
            }
        }
        Ok(true)
    }

    async fn start_one(&self, going: &Going<'_>, one: &Observed, service: &Service) -> Result<(), Error> {
        if one.is_running() {
            // What it needs was replaced, and it is to notice.
            let replaced = going.replaced.borrow().clone();
            let restart =
                service.depends_on.iter().any(|(needed, how)| how.restart && replaced.contains(needed));
            if restart {
                let call = Call::post(container(&one.id, "/restart"))
                    .query(Query::new().maybe("t", going.options.timeout));
                self.act(&one.name, ("Restarting", "Started"), call).await?;
                return self.hooks(one, &service.post_start).await;
            }
            self.report.step(&format!("Container {}", one.name), "Running", Status::Done);
            return Ok(());
        }
        self.start(one, service).await
    }

    /// Starts a container, and its hooks after it.
    pub async fn start(&self, one: &Observed, service: &Service) -> Result<(), Error> {
        if let Some(starting) = self.starting.filter(|_| !self.dry_run) {
            starting.before(one).await?;
        }
        let call = if one.state == "paused" { "/unpause" } else { "/start" };
        self.act(&one.name, ("Starting", "Started"), Call::post(container(&one.id, call))).await?;
        self.hooks(one, &service.post_start).await
    }

    /// Makes a service's containers what they should be; those that are there then.
    async fn converge(
        &self,
        going: &Going<'_>,
        name: &str,
        service: &Service,
        linked: Vec<(String, Observed)>,
        volumes_from: &[String],
    ) -> Result<Vec<Observed>, Error> {
        let project = &self.loaded.project;
        let image = going.images.get(&self.loaded.image_of(name, service));
        let volumes = service.volumes.iter().filter(|volume| volume.kind == "volume");
        let wanted = Wanted {
            service,
            hash: hash::service(service),
            image: image.map(|image| image.id.clone()).unwrap_or_default(),
            replicas: service.replicas(),
            networks: service.networks.keys().filter_map(|key| going.networks.get(key).cloned()).collect(),
            volumes: volumes
                .filter_map(|volume| Some(project.volumes.get(&volume.source)?.name.clone()))
                .collect(),
        };
        let is_named =
            going.options.services.is_empty() || going.options.services.iter().any(|named| named == name);
        let how = if is_named { going.options.recreate } else { going.options.recreate_needed };
        let actions = plan::service(&wanted, going.before.get(name).cloned().unwrap_or_default(), how);
        let base = |number: i64| Plan {
            name,
            service,
            container: self.loaded.container_name(name, service, number),
            number,
            image,
            replaced: None,
            inherited: BTreeMap::new(),
            linked: linked.clone(),
            volumes_from: volumes_from.to_vec(),
            one_off: None,
            auto_remove: false,
        };
        if actions.iter().any(|action| matches!(action, Action::Replace(_))) {
            going.replaced.borrow_mut().insert(name.to_owned());
        }
        let rolling = Rolling::of(service);
        let mut result = Ok(());
        let mut made = Vec::new();
        // New ones come together; old ones go as many at a time as the update says.
        let (replaced, others): (Vec<Action>, Vec<Action>) =
            actions.into_iter().partition(|action| matches!(action, Action::Replace(_)));
        let done = futures(others.into_iter().map(async |action| match action {
            Action::Keep(one) => Ok(Some(one)),
            Action::Create(number) => self.create_one(&base(number)).await.map(Some),
            Action::Remove(one) | Action::Replace(one) => {
                self.stop(&one, going.options.timeout).await?;
                self.remove(&one, false).await.map(|()| None)
            }
        }))
        .await;
        for one in done {
            match one {
                Ok(one) => made.extend(one),
                Err(error) => result = result.and(Err(error)),
            }
        }
        for group in replaced.chunks(rolling.at_a_time.max(1)) {
            let done = futures(group.iter().filter_map(|action| match action {
                Action::Replace(one) => Some(self.replace(going, base(one.number()), one, &rolling)),
                _ => None,
            }))
            .await;
            for one in done {
                match one {
                    Ok(one) => made.push(one),
                    Err(error) => result = result.and(Err(error)),
                }
            }
            if rolling.delay > std::time::Duration::ZERO && result.is_ok() {
                // The pause between two groups is the user's.
                tokio::time::sleep(rolling.delay).await;
            }
            result.as_ref().map_err(|error| Error::project(error.to_string()))?;
        }
        result?;
        made.sort_by_key(Observed::number);
        Ok(made)
    }

    async fn create_one(&self, plan: &Plan<'_>) -> Result<Observed, Error> {
        let what = format!("Container {}", plan.container);
        let (begins, ends) =
            if plan.replaced.is_some() { ("Recreate", "Recreated") } else { ("Creating", "Created") };
        self.report.step(&what, begins, Status::Working);
        match self.create(plan).await {
            Ok(id) => {
                if plan.replaced.is_none() {
                    self.report.step(&what, ends, Status::Done);
                }
                let number = (label::NUMBER.to_owned(), plan.number.to_string());
                let own = (label::SERVICE.to_owned(), plan.name.to_owned());
                let project = (label::PROJECT.to_owned(), self.loaded.project.name.clone());
                let labels = [number, own, project].into_iter().collect();
                Ok(Observed {
                    id,
                    name: plan.container.clone(),
                    labels,
                    state: "created".into(),
                    ..Observed::default()
                })
            }
            Err(error) => {
                self.report.step(&what, &error.to_string(), Status::Failed);
                Err(error)
            }
        }
    }

    /// A new container in the place of an old one: made beside it, then the old one goes, then it gets the name.
    async fn replace(
        &self,
        going: &Going<'_>,
        mut plan: Plan<'_>,
        old: &Observed,
        rolling: &Rolling,
    ) -> Result<Observed, Error> {
        let name = std::mem::take(&mut plan.container);
        let short = old.id.get(..12).unwrap_or(&old.id);
        plan.container = format!("{short}_{name}");
        plan.replaced = Some(old);
        if !going.options.renew_volumes {
            plan.inherited = self.anonymous_volumes(old).await?;
        }
        let what = format!("Container {name}");
        self.report.step(&what, "Recreate", Status::Working);
        let id = self.create(&plan).await.inspect_err(|error| {
            self.report.step(&what, &error.to_string(), Status::Failed);
        })?;
        let mut new = Observed {
            id,
            name: plan.container.clone(),
            labels: old.labels.clone(),
            state: "created".into(),
            ..Observed::default()
        };
        if rolling.start_first && old.is_running() && !going.options.no_start {
            self.start_before(&new, plan.service).await?;
            new.state = "running".into();
        }
        if old.is_running() || old.state == "restarting" || old.state == "paused" {
            let quiet = super::stop_call(&old.id, going.options.timeout);
            self.change(&what, quiet).await?;
        }
        self.change(&what, Call::delete(container(&old.id, "")).query(Query::new().with("force", 1))).await?;
        let rename = Call::post(container(&new.id, "/rename")).query(Query::new().with("name", &name));
        self.change(&what, rename).await?;
        self.report.step(&what, "Recreated", Status::Done);
        new.name = name;
        Ok(new)
    }

    /// The new one answers before the old one goes; when it does not, it goes itself.
    async fn start_before(&self, new: &Observed, service: &Service) -> Result<(), Error> {
        let started = async {
            if let Some(starting) = self.starting {
                starting.before(new).await?;
            }
            self.change("", Call::post(container(&new.id, "/start"))).await?;
            self.hooks(new, &service.post_start).await?;
            self.await_condition(new, Condition::RunningOrHealthy).await
        };
        if let Err(error) = started.await {
            self.change(
                "",
                Call::delete(container(&new.id, "")).query(Query::new().with("force", 1).with("v", 1)),
            )
            .await?;
            return Err(Error::project(format!("{error}; the old container goes on")));
        }
        Ok(())
    }

    async fn anonymous_volumes(&self, old: &Observed) -> Result<BTreeMap<String, String>, Error> {
        let there: Inspect = self.client.json(Call::get(container(&old.id, "/json"))).await?;
        let volumes = there.mounts.into_iter().filter(|mount| mount.kind == "volume");
        Ok(volumes.map(|mount| (mount.destination, mount.name)).collect())
    }

    /// Waits for all that was started to run, and to be healthy where that is known.
    pub async fn all_healthy(
        &self,
        made: &BTreeMap<String, Vec<Observed>>,
        options: &Options,
    ) -> Result<(), Error> {
        let ends = |name: &str| {
            let needs =
                self.loaded.project.services.values().filter_map(|service| service.depends_on.get(name));
            needs.into_iter().any(|how| how.condition == "service_completed_successfully")
        };
        let all = made.iter().flat_map(|(name, containers)| {
            let condition = if ends(name) { Condition::Completed } else { Condition::RunningOrHealthy };
            containers.iter().map(move |one| self.await_condition(one, condition))
        });
        let all = futures(all);
        match options.wait_timeout {
            Some(limit) => match tokio::time::timeout(limit, all).await {
                Ok(results) => all_done(results),
                Err(_) => Err(Error::project("timeout waiting for dependencies")),
            },
            None => all_done(all.await),
        }
    }
}

impl Going<'_> {
    fn tell(&self, name: &str, stage: Stage) {
        if let Some(sender) = self.stages.get(name) {
            sender.send_if_modified(|known| {
                let further = *known < stage;
                if further {
                    *known = stage;
                }
                further
            });
        }
    }

    /// Waits until a service has come so far, or has failed; which of the two.
    async fn reaches(&self, name: &str, stage: Stage) -> Stage {
        let Some(sender) = self.stages.get(name) else { return stage };
        let mut receiver = sender.subscribe();
        // The sender is ours: it lives as long as we wait.
        receiver.wait_for(|known| *known >= stage).await.map_or(Stage::Failed, |known| *known)
    }

    /// A service with other services' containers in place of their names; and those whose volumes it has, with a mode each.
    fn resolve(&self, service: &Service) -> Result<(Service, Vec<String>), Error> {
        let mut resolved = service.clone();
        let first = |name: &str, what: &str| {
            let made = self.made.borrow();
            let one = made.get(name).or_else(|| self.before.get(name)).and_then(|all| all.first());
            one.map(|one| one.id.clone()).ok_or_else(|| {
                Error::project(format!("cannot share {what} with service {name}: container missing"))
            })
        };
        for (mode, what) in [
            (&mut resolved.network_mode, "network namespace"),
            (&mut resolved.ipc, "IPC namespace"),
            (&mut resolved.pid, "PID namespace"),
        ] {
            if let Some(name) = mode.strip_prefix("service:") {
                *mode = format!("container:{}", first(name, what)?);
            }
        }
        let mut modes = Vec::new();
        for from in &mut resolved.volumes_from {
            let (name, rest) =
                from.split_once(':').map_or((from.as_str(), None), |(name, rest)| (name, Some(rest)));
            let (container, mode) = match (name, rest) {
                ("container", Some(rest)) => rest
                    .split_once(':')
                    .map_or((rest.to_owned(), None), |(id, mode)| (id.to_owned(), Some(mode.to_owned()))),
                (name, mode) => (first(name, "volume")?, mode.map(str::to_owned)),
            };
            modes.push(mode.map_or_else(|| container.clone(), |mode| format!("{container}:{mode}")));
            // Docker's tool forgets the mode, in the hash as well.
            *from = container;
        }
        Ok((resolved, modes))
    }

    fn linked(&self, service: &Service) -> Vec<(String, Observed)> {
        let made = self.made.borrow();
        let names = service.links.iter().map(|link| link.split(':').next().unwrap_or_default());
        names
            .flat_map(|name| {
                made.get(name).into_iter().flatten().map(move |one| (name.to_owned(), one.clone()))
            })
            .collect()
    }
}

/// How a service's containers are replaced.
struct Rolling {
    start_first: bool,
    at_a_time: usize,
    delay: std::time::Duration,
}

impl Rolling {
    fn of(service: &Service) -> Self {
        let update = service.deploy.as_ref().and_then(|deploy| deploy.update_config.as_ref());
        let all = usize::MAX;
        Self {
            start_first: update.is_some_and(|update| update.order == "start-first"),
            at_a_time: update.and_then(|update| update.parallelism).map_or(
                if update.is_some() { 1 } else { all },
                |most| {
                    if most == 0 { all } else { usize::try_from(most).unwrap_or(all) }
                },
            ),
            delay: update.map(|update| update.delay.std()).unwrap_or_default(),
        }
    }
}

/// Services whose containers must be there before one is made.
fn borrowed(service: &Service) -> BTreeSet<String> {
    let modes = [&service.network_mode, &service.ipc, &service.pid];
    let shared = modes.into_iter().filter_map(|mode| mode.strip_prefix("service:"));
    let links = service.links.iter().filter_map(|link| link.split(':').next());
    let volumes = service
        .volumes_from
        .iter()
        .filter_map(|from| from.split(':').next())
        .filter(|name| *name != "container");
    shared.chain(links).chain(volumes).map(str::to_owned).collect()
}

/// What cannot be had here is said before anything is done.
fn check(name: &str, service: &Service) -> Result<(), Error> {
    if service.replicas() > 1 && !service.container_name.is_empty() {
        return Err(Error::project(format!(
            "the service {name:?} has the container name {:?}, and names are for one container: remove it to scale the service",
            service.container_name
        )));
    }
    if service.credential_spec.is_some() {
        return Err(Error::project(format!("service {name:?}: credential_spec is for Windows")));
    }
    Ok(())
}
