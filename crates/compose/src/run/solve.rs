//! Builds by BuildKit's API: what the classic call cannot carry.

use super::build::{Options, attests, bounds, dockerfile};
use super::{Dockerfile, Run};
use crate::error::Error;
use crate::files::paths::{is_remote, join};
use crate::project::Project;
use crate::project::build::Build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a secret of a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable.
    Variable(String),
}

/// One build.
#[derive(Debug, Clone)]
pub struct Solve<'a> {
    /// What the frontend is told besides what the rest says.
    pub attributes: BTreeMap<String, String>,
    /// A directory, or an address.
    pub context: &'a str,
    /// Not for an address that is a repository.
    pub dockerfile: Dockerfile<'a>,
    /// Further contexts: directories and addresses by their names.
    pub contexts: BTreeMap<String, String>,
    /// Secrets by their names.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Agents, as `--ssh` has them.
    pub agents: Vec<String>,
    /// What the build may.
    pub entitlements: Vec<String>,
    /// Names of the image.
    pub names: Vec<String>,
    /// Caches elsewhere, as `--cache-from` has them.
    pub cache_from: Vec<String>,
    /// As `--cache-to` has them.
    pub cache_to: Vec<String>,
}

/// Whether the classic call cannot carry it.
pub(super) fn is_needed(build: &Build, options: &Options) -> bool {
    !build.secrets.is_empty()
        || !options.ssh.is_empty()
        || !build.ssh.0.is_empty()
        || !build.additional_contexts.is_empty()
        || !build.cache_to.is_empty()
        || !build.entitlements.is_empty()
        || build.platforms.len() > 1
        || build.privileged
        || attests(&build.provenance)
        || attests(&build.sbom)
}

/// The service whose image a context is.
pub(super) fn service_of(context: &str) -> Option<&str> {
    context.strip_prefix("service:")
}

impl Run<'_> {
    pub(super) async fn solve(
        &self,
        name: &str,
        build: &Build,
        image: &str,
        options: &Options,
    ) -> Result<(), Error> {
        if options.memory.is_some() {
            return Err(Error::project("--memory does not go with what only BuildKit builds"));
        }
        let context = Path::new(&build.context);
        let full = if is_remote(&build.context) {
            PathBuf::from(&build.dockerfile)
        } else {
            join(context, &build.dockerfile)
        };
        let mut entitlements = build.entitlements.clone();
        entitlements.extend(build.privileged.then(|| "security.insecure".to_owned()));
        let ssh = build.ssh.0.iter().map(|(id, path)| match path {
            Some(path) => format!("{id}={path}"),
            None => id.clone(),
        });
        let solve = Solve {
            attributes: self.attributes(name, build, options),
            context: &build.context,
            dockerfile: dockerfile(build, &full),
            contexts: self.contexts(build)?,
            secrets: secrets(&self.loaded.whole, build)?,
            agents: ssh.chain(options.ssh.iter().cloned()).collect(),
            entitlements,
            names: std::iter::once(image.to_owned()).chain(build.tags.iter().cloned()).collect(),
            cache_from: build.cache_from.clone(),
            cache_to: build.cache_to.clone(),
        };
        let quiet = options.quiet;
        let mut say = |lines: &str| {
            if !quiet {
                self.report.output(lines);
            }
        };
        self.outside.solve(self.client, solve, &mut say).await
    }

    fn contexts(&self, build: &Build) -> Result<BTreeMap<String, String>, Error> {
        let place = |source: &String| match service_of(source) {
            Some(other) => {
                let service = self.loaded.whole.service(other)?;
                Ok::<_, Error>(format!("docker-image://{}", self.loaded.image_of(other, service)))
            }
            None => Ok(source.clone()),
        };
        build.additional_contexts.iter().map(|(name, source)| Ok((name.clone(), place(source)?))).collect()
    }

    fn attributes(&self, name: &str, build: &Build, options: &Options) -> BTreeMap<String, String> {
        let mut given = BTreeMap::new();
        let (args, labels) = self.args_and_labels(name, build, options);
        given.extend(args.into_iter().filter_map(|(key, value)| Some((format!("build-arg:{key}"), value?))));
        given.extend(labels.into_iter().map(|(key, value)| (format!("label:{key}"), value)));
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let limits = build.ulimits.iter().map(|(name, limit)| {
            let (soft, hard) = bounds(limit);
            format!("{name}={soft}:{hard}")
        });
        let attest = |kind: &str, asked: &str| {
            let value = if asked == "true" { "" } else { asked };
            attests(asked).then(|| (format!("attest:{kind}"), value.to_owned()))
        };
        let platform = match build.platforms.join(",") {
            none if none.is_empty() => {
                self.loaded.whole.services.get(name).map(|s| s.platform.clone()).unwrap_or_default()
            }
            some => some,
        };
        let more = [
            ("target", text(&build.target)),
            ("platform", text(&platform)),
            ("force-network-mode", text(&build.network)),
            ("add-hosts", text(&build.extra_hosts.lines("=").join(","))),
            ("ulimit", text(&limits.collect::<Vec<_>>().join(","))),
            ("shm-size", Some(build.shm_size.0).filter(|size| *size > 0).map(|size| size.to_string())),
            ("no-cache", (options.no_cache || build.no_cache).then(String::new)),
            ("image-resolve-mode", (options.pull || build.pull).then(|| "pull".to_owned())),
        ];
        given.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        given.extend(
            [attest("provenance", &build.provenance), attest("sbom", &build.sbom)].into_iter().flatten(),
        );
        given
    }
}

fn secrets(project: &Project, build: &Build) -> Result<BTreeMap<String, SecretSource>, Error> {
    let mut found = BTreeMap::new();
    for secret in &build.secrets {
        // Where a service would see it is what a build calls it.
        let usual = format!("/run/secrets/{}", secret.source);
        let id = match secret.target.as_str() {
            "" => secret.source.clone(),
            target if target == usual => secret.source.clone(),
            target => target.to_owned(),
        };
        let about = project
            .secrets
            .get(&secret.source)
            .ok_or_else(|| Error::project(format!("undefined build secret {:?}", secret.source)))?;
        let source = match (about.file.as_str(), about.environment.as_str()) {
            ("", "") => {
                return Err(Error::project(format!(
                    "build secret {:?}: only secrets from a file or the environment can be given to a build",
                    secret.source
                )));
            }
            ("", name) => SecretSource::Variable(name.to_owned()),
            (path, _) => SecretSource::File(path.into()),
        };
        found.insert(id, source);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_buildkit_is_needed() {
        assert!(!is_needed(&Build::default(), &Options::default()));
        let with = |change: fn(&mut Build)| {
            let mut build = Build::default();
            change(&mut build);
            is_needed(&build, &Options::default())
        };
        assert!(with(|build| build.privileged = true));
        assert!(with(|build| build.cache_to.push("type=inline".into())));
        assert!(with(|build| build.provenance = "mode=max".into()));
        assert!(!with(|build| build.provenance = "false".into()));
        assert_eq!(service_of("service:base"), Some("base"));
    }
}
