//! A container of a service as a request to the engine.

mod host;
pub(super) mod mounts;
mod network;

use super::Run;
use crate::error::Error;
use crate::plan::{Observed, VERSION, label};
use crate::project::service::HealthCheck;
use crate::project::{Service, hash};
use std::collections::BTreeMap;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::{Config, CreateRequest, CreateResponse, HealthConfig};
use wharf_docker_api::types::host_config::HostConfig;
use wharf_docker_api::types::image::Inspect as Image;
use wharf_docker_api::types::{Empty, Map, StrSlice};

/// One container that is to be.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The service's name.
    pub name: &'a str,
    /// The service, with other services' containers in place of their names.
    pub service: &'a Service,
    /// What the container is called.
    pub container: String,
    /// Which of the service's it is.
    pub number: i64,
    /// The image's id and settings, where they are known.
    pub image: Option<&'a Image>,
    /// The container that this one replaces.
    pub replaced: Option<&'a Observed>,
    /// Its anonymous volumes, by where they are mounted.
    pub inherited: BTreeMap<String, String>,
    /// Containers of services that this one has links to: each with its service's name.
    pub linked: Vec<(String, Observed)>,
    /// Containers whose volumes it has, each with a mode: the service has them without, for its hash.
    pub volumes_from: Vec<String>,
    /// Of `run`: its labels, and no names of the service in networks.
    pub one_off: Option<OneOff>,
    /// Containers of `run` that go by themselves.
    pub auto_remove: bool,
}

/// What containers of `run` have that others have not.
#[derive(Debug, Clone, Default)]
pub struct OneOff {
    /// The end of its name.
    pub slug: String,
    /// Let it have the service's names.
    pub aliases: bool,
}

impl Run<'_> {
    /// Makes a container; its id.
    pub(super) async fn create(&self, plan: &Plan<'_>) -> Result<String, Error> {
        let request = self.request(plan)?;
        if self.dry_run {
            return Ok(format!("dry-run-{}", plan.container));
        }
        let platform = Some(&plan.service.platform).filter(|platform| !platform.is_empty());
        let query = Query::new().with("name", &plan.container).maybe("platform", platform);
        let _turn = self.limit.acquire().await;
        let made: CreateResponse =
            self.client.json(Call::post("/containers/create").query(query).json(&request)?).await?;
        made.warnings.iter().for_each(|warning| self.report.warn(warning));
        self.put_files(plan, &made.id).await?;
        Ok(made.id)
    }

    fn request(&self, plan: &Plan<'_>) -> Result<CreateRequest, Error> {
        let project = &self.loaded.project;
        let service = plan.service;
        let links = network::links(self.loaded, plan);
        let words = |words: &crate::project::scalars::Words| words.0.clone().map(StrSlice);
        let mut env: BTreeMap<String, Option<String>> =
            self.outside.proxies().into_iter().map(|(name, value)| (name, Some(value))).collect();
        env.extend(service.environment.clone());
        let env: Vec<String> = env
            .into_iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name,
            })
            .collect();
        let config = Config {
            hostname: service.hostname.clone(),
            domainname: service.domainname.clone(),
            user: service.user.clone(),
            attach_stdout: true,
            attach_stderr: true,
            exposed_ports: exposed(service),
            tty: service.tty,
            open_stdin: service.stdin_open,
            env: (!env.is_empty()).then_some(env),
            cmd: words(&service.command),
            healthcheck: service.healthcheck.as_ref().map(health),
            image: self.loaded.image_of(plan.name, service),
            working_dir: service.working_dir.clone(),
            entrypoint: words(&service.entrypoint),
            labels: Some(self.labels(plan).into()),
            stop_signal: service.stop_signal.clone(),
            stop_timeout: service.stop_grace_period.map(|grace| grace.0 / 1_000_000_000),
            ..Config::default()
        };
        let (mode, networking) = network::networking(self.loaded, plan, &links);
        let mut host_config: HostConfig = host::host_config(service)?;
        host_config.auto_remove = plan.auto_remove;
        host_config.network_mode = mode;
        if !plan.volumes_from.is_empty() {
            host_config.volumes_from = Some(plan.volumes_from.clone());
        }
        host_config.links = (!links.is_empty()).then_some(links);
        mounts::add(project, plan, &mut host_config)?;
        Ok(CreateRequest { config, host_config, networking_config: networking })
    }

    fn labels(&self, plan: &Plan<'_>) -> Map<String> {
        let project = &self.loaded.project;
        let service = plan.service;
        let files: Vec<String> = self.loaded.files.iter().map(|file| file.display().to_string()).collect();
        let needed = |(name, how): (&String, &crate::project::service::Dependency)| {
            format!("{name}:{}:{}", how.condition, how.restart)
        };
        let needed: Vec<String> = service.depends_on.iter().map(needed).collect();
        let mut labels = service.labels.clone();
        let mut ours = vec![
            (label::HASH, hash::service(service)),
            (label::PROJECT, project.name.clone()),
            (label::SERVICE, plan.name.to_owned()),
            (label::WORKING_DIR, self.loaded.dir.display().to_string()),
            (label::CONFIG_FILES, files.join(",")),
            (label::VERSION, VERSION.to_owned()),
            (label::ONE_OFF, if plan.one_off.is_some() { "True" } else { "False" }.to_owned()),
            (label::DEPENDS_ON, needed.join(",")),
        ];
        if let Some(image) = plan.image {
            ours.push((label::IMAGE, image.id.clone()));
        }
        if !self.loaded.env_files.is_empty() {
            let files: Vec<String> =
                self.loaded.env_files.iter().map(|file| file.display().to_string()).collect();
            ours.push((label::ENVIRONMENT_FILE, files.join(",")));
        }
        match &plan.one_off {
            Some(one_off) => ours.push((label::SLUG, one_off.slug.clone())),
            None => ours.push((label::NUMBER, plan.number.to_string())),
        }
        if let Some(replaced) = plan.replaced {
            ours.push((label::REPLACE, replaced.name.clone()));
        }
        labels.extend(ours.into_iter().map(|(name, value)| (name.to_owned(), value)));
        labels
    }
}

/// What is exposed, what is published among it.
fn exposed(service: &Service) -> Option<Map<Option<Empty>>> {
    let mut ports: Map<Option<Empty>> = Map::new();
    for port in &service.ports {
        ports.insert(format!("{}/{}", port.target, port.protocol), Some(Empty {}));
    }
    // As they are written: engines know ranges, and ports without a protocol.
    ports.extend(service.expose.iter().map(|port| (port.clone(), Some(Empty {}))));
    (!ports.is_empty()).then_some(ports)
}

fn health(check: &HealthCheck) -> HealthConfig {
    if check.disable {
        return HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() };
    }
    let time = |time: Option<crate::project::Duration>| time.map_or(0, |time| time.0);
    HealthConfig {
        test: (!check.test.is_empty()).then(|| check.test.clone()),
        interval: time(check.interval),
        timeout: time(check.timeout),
        start_period: time(check.start_period),
        start_interval: time(check.start_interval),
        retries: check.retries.map_or(0, |retries| i64::try_from(retries).unwrap_or(i64::MAX)),
    }
}
