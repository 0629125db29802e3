//! What the verbs of a project begin with: its files, or what the engine has of it.

use super::outside::Machine;
use super::screen::Screen;
use crate::context::{Context, note};
use crate::failure::Failure;
use std::collections::BTreeMap;
use tokio::sync::Semaphore;
use wharf_compose::Error;
use wharf_compose::plan::{Observed, label};
use wharf_compose::project::service::Dependency;
use wharf_compose::project::{self, Loaded, Project, Service, profiles};
use wharf_compose::run::{Run, state};

/// Calls of the engine at a time when nobody says how many: enough for any project, and no flood.
const CALLS: usize = 64;

/// A project and those who work on it.
pub(crate) struct Work {
    pub(crate) loaded: Loaded,
    pub(crate) screen: Screen,
    machine: Machine,
    limit: Semaphore,
    dry_run: bool,
    /// Whether there were files.
    pub(crate) has_files: bool,
}

impl Work {
    /// Reads the project; its files must be there.
    pub(crate) fn load(context: &Context) -> Result<Self, Failure> {
        let loaded = super::load(context, |_| {})?;
        let mut work = Self::of(context, loaded, true)?;
        let socket = context.engine_socket();
        project::api_socket::apply(&mut work.loaded.project, &socket, || work.machine.credentials())?;
        Ok(work)
    }

    /// Reads the project, or where no files are found makes it of its containers.
    pub(crate) async fn known(context: &Context) -> Result<Self, Failure> {
        let options = &super::options(context);
        let place = project::load::place(options)?;
        let named = options.name.is_some() || place.environment.get("COMPOSE_PROJECT_NAME").is_some();
        if named && options.files.is_empty() && place.files.is_empty() {
            let name = project::load::name(options, &place)?;
            let containers = state::containers(&context.client, &name).await?;
            let project = of_containers(name, &containers);
            let loaded = Loaded {
                separator: project::load::separator(options, &place.environment),
                whole: project.clone(),
                project,
                disabled: BTreeMap::new(),
                dir: place.dir,
                files: Vec::new(),
                env_files: Vec::new(),
                environment: place.environment,
                warnings: Vec::new(),
                raw: project::tree::Tree::Null,
            };
            return Self::of(context, loaded, false);
        }
        let loaded = project::load::load_from(options, place)?;
        loaded.warnings.iter().for_each(|warning| note(format!("WARN[0000] {warning}")));
        let mut work = Self::of(context, loaded, true)?;
        // Containers of services whose profile is off are the project's as well.
        work.loaded.project.services.append(&mut work.loaded.disabled);
        Ok(work)
    }

    fn of(context: &Context, loaded: Loaded, has_files: bool) -> Result<Self, Failure> {
        let globals = &context.compose;
        let named = std::env::var("COMPOSE_PARALLEL_LIMIT").ok().and_then(|limit| limit.parse().ok());
        let calls = globals
            .parallel
            .or(named)
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        Ok(Self {
            loaded,
            screen: Screen::new(globals),
            machine: Machine::new(context)?,
            limit: Semaphore::new(calls.unwrap_or(CALLS)),
            dry_run: globals.dry_run,
            has_files,
        })
    }

    /// What heads the steps, where it is not `Running`.
    pub(crate) fn titled(mut self, title: &'static str) -> Self {
        self.screen = self.screen.titled(title);
        self
    }

    /// For calls to the engine.
    pub(crate) fn run<'a>(&'a self, context: &'a Context) -> Run<'a> {
        Run {
            client: &context.client,
            loaded: &self.loaded,
            report: &self.screen,
            outside: &self.machine,
            limit: &self.limit,
            dry_run: self.dry_run,
            starting: None,
        }
    }

    /// Leaves the named services, with what they need where `needed` says so, and resources that those use.
    pub(crate) fn select(&mut self, names: &[String], needed: bool) -> Result<(), Error> {
        let Loaded { project, disabled, .. } = &mut self.loaded;
        profiles::enable(project, disabled, names)?;
        profiles::select(project, names, needed)?;
        profiles::settle(project, disabled)?;
        Ok(())
    }

    /// Takes out resources that nobody uses now.
    pub(crate) fn prune(&mut self) {
        project::normalize::prune(&mut self.loaded.project);
    }

    /// Refuses services that are not there.
    pub(crate) fn check(&self, names: &[String]) -> Result<(), Error> {
        names.iter().try_for_each(|name| match self.loaded.project.services.contains_key(name) {
            true => Ok(()),
            false => Err(Error::NotFound(format!("no such service: {name}"))),
        })
    }

    /// One of a service's containers: the one with a number, or the first.
    pub(crate) async fn container(
        &self,
        context: &Context,
        service: &str,
        index: i64,
    ) -> Result<Observed, Failure> {
        self.check(&[service.to_owned()])?;
        let found = self.run(context).of_services(&[service.to_owned()]).await?;
        let mut found: Vec<Observed> =
            found.into_iter().filter(|one| index == 0 || one.number() == index).collect();
        found.sort_by_key(|one| (!one.is_running(), one.number()));
        match found.into_iter().next() {
            Some(one) => Ok(one),
            None if index > 0 => {
                Err(Failure::new(format!("service {service:?} is not running container #{index}")))
            }
            None => Err(Failure::new(format!("service {service:?} is not running"))),
        }
    }
}

/// A project as its containers' labels tell it.
fn of_containers(name: String, containers: &[Observed]) -> Project {
    let mut project = Project { name, ..Project::default() };
    for one in containers.iter().filter(|one| !one.service().is_empty()) {
        let mut service = Service::default();
        let needed = one.labels.get(label::DEPENDS_ON).map_or("", String::as_str);
        for needed in
            needed.split(',').filter_map(|text| text.split(':').next()).filter(|name| !name.is_empty())
        {
            service.depends_on.insert(needed.to_owned(), Dependency::default());
        }
        project.services.entry(one.service().to_owned()).or_insert(service);
    }
    project
}
