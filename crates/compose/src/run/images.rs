//! Images that the project needs: there, pulled or built.

use super::Run;
use super::networks::futures;
use super::report::Status;
use crate::error::Error;
use crate::files::units;
use crate::project::Service;
use std::collections::BTreeMap;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::build::Message;
use wharf_docker_api::types::image::{Inspect, Summary};

/// When images are fetched or made, whatever services say.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `--pull`: always, missing, never, or empty for what services say.
    pub pull: String,
    /// `--build`: make all that can be made.
    pub build: bool,
    /// `--no-build`.
    pub no_build: bool,
    /// Say nothing of how pulls go on.
    pub quiet_pull: bool,
    /// Say nothing of how builds go on.
    pub quiet_build: bool,
}

impl Run<'_> {
    /// Sees to it that services' images are there; what is known of them, by name.
    pub(super) async fn ensure_images(&self, policy: &Policy) -> Result<BTreeMap<String, Inspect>, Error> {
        let project = &self.loaded.project;
        let services: Vec<(&String, &Service, String)> = project
            .services
            .iter()
            .filter(|(_, service)| service.provider.is_none())
            .map(|(name, service)| (name, service, self.loaded.image_of(name, service)))
            .collect();
        let mut wanted: Vec<&str> = services.iter().map(|(_, _, image)| image.as_str()).collect();
        // Images that are mounted are needed too.
        let mounted = project.services.values().flat_map(|service| &service.volumes);
        let mounted: Vec<&str> =
            mounted.filter(|volume| volume.kind == "image").map(|volume| volume.source.as_str()).collect();
        wanted.extend(&mounted);
        wanted.sort_unstable();
        wanted.dedup();
        let mut known: BTreeMap<String, Inspect> = BTreeMap::new();
        for (image, found) in wanted.iter().zip(futures(wanted.iter().map(|image| self.image(image))).await) {
            if let Some(found) = found? {
                known.insert((*image).to_owned(), found);
            }
        }
        let mut pulls: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        let mut builds: Vec<&str> = Vec::new();
        for (name, service, image) in &services {
            let there = known.get(image);
            match what_to_do(service, there, policy)? {
                Need::Nothing => {}
                Need::Build => builds.push(name),
                Need::Pull => drop(pulls.insert(image, (name, &service.platform))),
                Need::Missing => {
                    return Err(Error::NotFound(format!(
                        "service {name:?}: no such image: {image}, and it is not to be pulled or built"
                    )));
                }
            }
        }
        for image in mounted.iter().filter(|image| !known.contains_key(**image)) {
            pulls.entry(image).or_insert((image, ""));
        }
        let pulled = futures(
            pulls
                .iter()
                .map(|(image, (name, platform))| self.pull_or(name, image, platform, policy.quiet_pull)),
        )
        .await;
        for ((_, (name, _)), result) in pulls.iter().zip(pulled) {
            // What cannot be had is made, where it can be made.
            match result {
                Err(error)
                    if !project
                        .services
                        .get(*name)
                        .is_some_and(|service| service.build.is_some() && !policy.no_build) =>
                {
                    return Err(error);
                }
                Err(_) => builds.push(name),
                Ok(()) => {}
            }
        }
        if !builds.is_empty() {
            let options = super::build::Options { quiet: policy.quiet_build, ..Default::default() };
            self.build_services(&builds, &options).await?;
        }
        let changed: Vec<String> = pulls
            .keys()
            .map(|image| (*image).to_owned())
            .chain(
                builds
                    .iter()
                    .filter_map(|name| Some(self.loaded.image_of(name, project.services.get(*name)?))),
            )
            .collect();
        for (image, found) in changed.iter().zip(futures(changed.iter().map(|image| self.image(image))).await)
        {
            if let Some(found) = found? {
                known.insert(image.clone(), found);
            }
        }
        Ok(known)
    }

    /// What is known of an image, if it is there.
    pub async fn image(&self, name: &str) -> Result<Option<Inspect>, Error> {
        match self.client.json(Call::get(format!("/images/{}/json", encoded_image(name)))).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the project's images that have lost their names to newer ones.
    pub async fn remove_dangling(&self) -> Result<(), Error> {
        let of = format!("{}={}", crate::plan::label::PROJECT, self.loaded.project.name);
        let query = Query::new().filters([("dangling", "true"), ("label", of.as_str())]);
        let found: Vec<Summary> = self.client.json(Call::get("/images/json").query(query)).await?;
        for image in &found {
            let call = Call::delete(format!("/images/{}", encoded_image(&image.id)));
            match self.change(&format!("Image {}", image.id), call).await {
                // A container that was not replaced still runs from it.
                Err(Error::Engine { source, .. })
                    if source.is_not_found() || source.status() == Some(409) => {}
                other => other?,
            }
        }
        Ok(())
    }

    async fn pull_or(&self, name: &str, image: &str, platform: &str, quiet: bool) -> Result<(), Error> {
        self.report.step(name, "Pulling", Status::Working);
        let result = self.pull(name, image, platform, quiet).await;
        let (state, status) = match &result {
            Ok(()) => ("Pulled".to_owned(), Status::Done),
            Err(error) => (format!("Error {error}"), Status::Failed),
        };
        self.report.step(name, &state, status);
        result
    }

    /// Fetches an image, telling how it goes.
    pub async fn pull(&self, name: &str, image: &str, platform: &str, quiet: bool) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let (from, tag) = reference(image);
        let query = Query::new()
            .with("fromImage", from)
            .with("tag", tag)
            .maybe("platform", Some(platform).filter(|platform| !platform.is_empty()));
        let call = Call::post("/images/create")
            .query(query)
            .header("x-registry-auth", &self.outside.auth(image)?)?;
        let _turn = self.limit.acquire().await;
        let mut messages = self.client.stream(call).await?.json::<Message>();
        while let Some(message) = messages.next().await? {
            if !message.error.is_empty() {
                return Err(Error::Project(message.error));
            }
            if !quiet && !message.id.is_empty() {
                self.report.step(&format!("{name} {}", message.id), &message.status, Status::Working);
            }
        }
        Ok(())
    }
}

enum Need {
    Nothing,
    Build,
    Pull,
    Missing,
}

fn what_to_do(service: &Service, there: Option<&Inspect>, policy: &Policy) -> Result<Need, Error> {
    let can_build = service.build.is_some() && !policy.no_build;
    if can_build && (policy.build || service.pull_policy == "build") {
        return Ok(Need::Build);
    }
    let pull = if policy.pull.is_empty() { service.pull_policy.as_str() } else { &policy.pull };
    let missing = there.is_none();
    Ok(match pull {
        "always" if can_build && service.image.is_empty() => {
            if missing {
                Need::Build
            } else {
                Need::Nothing
            }
        }
        "always" => Need::Pull,
        "never" | "build" if missing && can_build => Need::Build,
        "never" | "build" if missing => Need::Missing,
        "never" | "build" | "" | "missing" | "if_not_present" if !missing => Need::Nothing,
        "" | "missing" | "if_not_present" if can_build => Need::Build,
        "" | "missing" | "if_not_present" => Need::Pull,
        // Without an age there is nothing to be older than.
        "refresh" if !missing && service.pull_refresh_after.is_empty() => Need::Nothing,
        "refresh" => stale(there, units::nanoseconds(&service.pull_refresh_after)),
        "daily" => stale(there, units::nanoseconds("1d")),
        "weekly" => stale(there, units::nanoseconds("1w")),
        other => match other.strip_prefix("every_").and_then(units::nanoseconds) {
            Some(age) => stale(there, Some(age)),
            None => {
                return Err(Error::project(format!(
                    "unsupported pull policy {other:?}: always, never, missing, build, refresh, daily, weekly, every_<duration>"
                )));
            }
        },
    })
}

/// Pulled again when it was last pulled or tagged before that age.
fn stale(there: Option<&Inspect>, age: Option<i64>) -> Need {
    let tagged = there.map(|image| image.metadata.last_tag_time.clone());
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let then = tagged.as_deref().and_then(super::wait::seconds);
    match (then, age) {
        (Some(then), Some(age)) if i64::try_from(now).unwrap_or(i64::MAX) - then < age / 1_000_000_000 => {
            Need::Nothing
        }
        _ => Need::Pull,
    }
}

/// The name without its tag, and the tag or digest.
pub fn reference(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// An image's name in a path: its slashes stay, for Docker's routes have them.
pub(super) fn encoded_image(name: &str) -> String {
    name.split('/').map(wharf_docker_api::client::segment).collect::<Vec<_>>().join("/")
}
