//! Images of services, made from their `build`.

use super::report::Status;
use super::{Dockerfile, Run, solve};
use crate::error::Error;
use crate::files::paths::{is_remote, join};
use crate::plan::{VERSION, label};
use crate::project::build::Build;
use crate::project::scalars::Map;
use crate::project::service::Ulimit;
use std::path::Path;
use wharf_docker_api::client::{Body, Call, Query};
use wharf_docker_api::types::build::Message;

/// Flags of `build`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`.
    pub pull: bool,
    /// `--build-arg`.
    pub args: Vec<(String, Option<String>)>,
    /// `--memory`.
    pub memory: Option<i64>,
    /// `--quiet`.
    pub quiet: bool,
    /// `--push`.
    pub push: bool,
    /// `--ssh`.
    pub ssh: Vec<String>,
    /// `--provenance`.
    pub provenance: Option<String>,
    /// `--sbom`.
    pub sbom: Option<String>,
}

impl Run<'_> {
    /// Makes the images of some services, each once.
    pub async fn build_services(&self, names: &[&str], options: &Options) -> Result<(), Error> {
        for name in self.in_order(names)? {
            if let Some(build) = &self.loaded.whole.service(name)?.build {
                self.build_one(name, build, options).await?;
            }
        }
        Ok(())
    }

    /// Services with those whose images they are built from before them.
    fn in_order<'n>(&'n self, names: &[&'n str]) -> Result<Vec<&'n str>, Error> {
        let (mut order, mut open) = (Vec::new(), Vec::new());
        for name in names {
            self.before(name, &mut order, &mut open)?;
        }
        Ok(order)
    }

    fn before<'n>(
        &'n self,
        name: &'n str,
        order: &mut Vec<&'n str>,
        open: &mut Vec<&'n str>,
    ) -> Result<(), Error> {
        if order.contains(&name) {
            return Ok(());
        }
        if open.contains(&name) {
            return Err(Error::project(format!("service {name:?} is built from its own image")));
        }
        open.push(name);
        let build = self.loaded.whole.service(name)?.build.as_ref();
        for other in build.iter().flat_map(|build| build.additional_contexts.values()) {
            if let Some(other) = solve::service_of(other) {
                self.before(other, order, open)?;
            }
        }
        open.pop();
        order.push(name);
        Ok(())
    }

    async fn build_one(&self, name: &str, build: &Build, options: &Options) -> Result<(), Error> {
        let service = self.loaded.whole.service(name)?;
        let image = self.loaded.image_of(name, service);
        let what = format!("Service {name}");
        self.report.step(&what, "Building", Status::Working);
        if self.dry_run {
            self.report.step(&what, "Built", Status::Done);
            return Ok(());
        }
        let result = self.send_build(name, build, &image, options).await;
        let (state, status) =
            if result.is_ok() { ("Built", Status::Done) } else { ("Error", Status::Failed) };
        self.report.step(&what, state, status);
        result.map_err(|error| Error::project(format!("service {name:?}: failed to build: {error}")))?;
        if options.push {
            self.push(name, &image, options.quiet).await?;
        }
        Ok(())
    }

    async fn send_build(
        &self,
        name: &str,
        build: &Build,
        image: &str,
        options: &Options,
    ) -> Result<(), Error> {
        check_isolation(build)?;
        let mut build = build.clone();
        build.provenance = options.provenance.clone().unwrap_or(build.provenance);
        build.sbom = options.sbom.clone().unwrap_or(build.sbom);
        let build = &build;
        if solve::is_needed(build, options) {
            return self.solve(name, build, image, options).await;
        }
        let (dockerfile, remote, body) = if is_remote(&build.context) {
            (build.dockerfile.clone(), Some(build.context.clone()), Body::empty())
        } else {
            let context = Path::new(&build.context);
            let full = join(context, &build.dockerfile);
            let (dockerfile, body) = self.outside.pack(context, dockerfile(build, &full))?;
            (dockerfile, None, body)
        };
        let query = self
            .build_query(name, build, image, options)
            .with("dockerfile", dockerfile)
            .maybe("remote", remote);
        let call = Call::post("/build")
            .query(query)
            .header("x-registry-config", &self.outside.all_auth()?)?
            .body("application/x-tar", body);
        let mut messages = self.client.stream(call).await?.json::<Message>();
        while let Some(message) = messages.next().await? {
            if !message.error.is_empty() {
                return Err(Error::Project(message.error));
            }
            if !options.quiet && !message.stream.is_empty() {
                self.report.output(&message.stream);
            }
        }
        Ok(())
    }

    pub(super) fn args_and_labels(
        &self,
        name: &str,
        build: &Build,
        options: &Options,
    ) -> (Map<Option<String>>, Map<String>) {
        let mut args = build.args.clone();
        for (key, value) in self.outside.proxies() {
            args.entry(key).or_insert(Some(value));
        }
        args.extend(options.args.iter().cloned());
        let mut labels = build.labels.clone();
        let ours = [
            (label::PROJECT, self.loaded.project.name.as_str()),
            (label::SERVICE, name),
            (label::VERSION, VERSION),
        ];
        labels.extend(ours.map(|(key, value)| (key.to_owned(), value.to_owned())));
        (args, labels)
    }

    fn build_query(&self, name: &str, build: &Build, image: &str, options: &Options) -> Query {
        let (args, labels) = self.args_and_labels(name, build, options);
        let ulimits: Vec<serde_json::Value> = build
            .ulimits
            .iter()
            .map(|(name, limit)| {
                let (soft, hard) = bounds(limit);
                serde_json::json!({"Name": name, "Soft": soft, "Hard": hard})
            })
            .collect();
        let mut query = Query::new().with("t", image);
        for tag in &build.tags {
            query = query.with("t", tag);
        }
        for host in build.extra_hosts.lines(":") {
            query = query.with("extrahosts", host);
        }
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let platform = build
            .platforms
            .first()
            .cloned()
            .or_else(|| self.loaded.whole.services.get(name).and_then(|s| text(&s.platform)));
        query
            .with("buildargs", serde_json::json!(args))
            .with("labels", serde_json::json!(labels))
            .maybe("cachefrom", (!build.cache_from.is_empty()).then(|| serde_json::json!(build.cache_from)))
            .maybe("ulimits", (!ulimits.is_empty()).then(|| serde_json::json!(ulimits)))
            .maybe("networkmode", text(&build.network))
            .maybe("target", text(&build.target))
            .maybe("platform", platform)
            .maybe("shmsize", Some(build.shm_size.0).filter(|size| *size > 0))
            .maybe("memory", options.memory)
            .flag("nocache", options.no_cache || build.no_cache)
            .flag("pull", options.pull || build.pull)
            .with("rm", 1)
            .with("version", 1)
    }

    /// Sends an image to its registry.
    pub async fn push(&self, name: &str, image: &str, quiet: bool) -> Result<(), Error> {
        self.report.step(name, "Pushing", Status::Working);
        let (repository, tag) = super::images::reference(image);
        let path = format!("/images/{}/push", super::images::encoded_image(repository));
        let call = Call::post(path)
            .query(Query::new().with("tag", tag))
            .header("x-registry-auth", &self.outside.auth(image)?)?;
        if self.dry_run {
            self.report.step(name, "Pushed", Status::Done);
            return Ok(());
        }
        let mut messages = self.client.stream(call).await?.json::<Message>();
        while let Some(message) = messages.next().await? {
            if !message.error.is_empty() {
                self.report.step(name, "Error", Status::Failed);
                return Err(Error::project(format!("failed to push {image}: {}", message.error)));
            }
            if !quiet && !message.id.is_empty() {
                self.report.step(&format!("{name} {}", message.id), &message.status, Status::Working);
            }
        }
        self.report.step(name, "Pushed", Status::Done);
        Ok(())
    }
}

/// The Dockerfile that a build means; `full` is where it is unless the project has its text.
pub(super) fn dockerfile<'a>(build: &'a Build, full: &'a Path) -> Dockerfile<'a> {
    match build.dockerfile_inline.as_str() {
        "" => Dockerfile::File(full),
        text => Dockerfile::Inline(text),
    }
}

/// The soft and the hard bound of a limit.
pub(super) fn bounds(limit: &Ulimit) -> (i64, i64) {
    if limit.single == 0 { (limit.soft, limit.hard) } else { (limit.single, limit.single) }
}

/// Whether an attestation is asked for: `false` says that there is to be none, which there is not anyway.
pub fn attests(asked: &str) -> bool {
    !["", "false", "0"].contains(&asked)
}

/// Windows has other kinds.
fn check_isolation(build: &Build) -> Result<(), Error> {
    match build.isolation.as_str() {
        "" | "default" => Ok(()),
        other => Err(Error::project(format!("unsupported isolation: {other:?}: it is for Windows"))),
    }
}
