//! The project's volumes.

use super::Run;
use super::networks::futures;
use super::report::Status;
use crate::error::Error;
use crate::plan::{Observed, VERSION, label};
use crate::project::{Volume, hash};
use wharf_docker_api::client::{Call, Query, segment};
use wharf_docker_api::types::volume::{CreateRequest, ListResponse, Volume as There};

impl Run<'_> {
    /// Makes the volumes that are not there.
    pub(super) async fn ensure_volumes(&self, containers: &[Observed], yes: bool) -> Result<(), Error> {
        let project = &self.loaded.project;
        if project.volumes.is_empty() {
            return Ok(());
        }
        let query =
            Query::new().filters(project.volumes.values().map(|volume| ("name", volume.name.as_str())));
        let known: ListResponse = self.client.json(Call::get("/volumes").query(query)).await?;
        let each = project.volumes.iter().map(|(key, volume)| {
            let there = known.volumes.iter().find(|known| known.name == volume.name);
            self.ensure_volume(key, volume, there, containers, yes)
        });
        super::all_done(futures(each).await)
    }

    async fn ensure_volume(
        &self,
        key: &str,
        volume: &Volume,
        there: Option<&There>,
        containers: &[Observed],
        yes: bool,
    ) -> Result<(), Error> {
        match there {
            Some(_) if volume.external => return Ok(()),
            None if volume.external => {
                return Err(Error::NotFound(format!("external volume {:?} not found", volume.name)));
            }
            Some(there) => {
                let labels = there.labels.clone().unwrap_or_default();
                let project = &self.loaded.project.name;
                match labels.get(label::PROJECT) {
                    None => self.report.warn(&format!(
                        "volume {:?} already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
                        volume.name
                    )),
                    Some(owner) if owner != project => self.report.warn(&format!(
                        "volume {:?} already exists but was created for project {owner:?} (expected {project:?}). \
                         Use `external: true` to use an existing volume",
                        volume.name
                    )),
                    Some(_) => {
                        let same = labels.get(label::HASH).is_none_or(|known| *known == hash::volume(volume));
                        if !same && self.may_lose(volume, yes) {
                            self.lose(volume, containers).await?;
                            return self.create_volume(key, volume).await;
                        }
                    }
                }
                return Ok(());
            }
            None => {}
        }
        self.create_volume(key, volume).await
    }

    fn may_lose(&self, volume: &Volume, yes: bool) -> bool {
        yes || self.report.confirm(&format!(
            "Volume {:?} exists but doesn't match configuration in compose file. Recreate (data will be lost)?",
            volume.name
        ))
    }

    async fn lose(&self, volume: &Volume, containers: &[Observed]) -> Result<(), Error> {
        for one in containers.iter().filter(|one| one.volumes.contains(&volume.name)) {
            self.stop(one, None).await?;
            self.remove(one, false).await?;
        }
        self.remove_volume(&volume.name).await
    }

    async fn create_volume(&self, key: &str, volume: &Volume) -> Result<(), Error> {
        let what = format!("Volume {}", volume.name);
        self.report.step(&what, "Creating", Status::Working);
        let mut labels = volume.labels.clone();
        let ours = [
            (label::HASH, hash::volume(volume)),
            (label::VOLUME, key.to_owned()),
            (label::PROJECT, self.loaded.project.name.clone()),
            (label::VERSION, VERSION.to_owned()),
        ];
        labels.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        let body = CreateRequest {
            name: volume.name.clone(),
            driver: volume.driver.clone(),
            driver_opts: (!volume.driver_opts.is_empty()).then(|| volume.driver_opts.clone().into()),
            labels: Some(labels.into()),
        };
        let done = self.change(&what, Call::post("/volumes/create").json(&body)?).await;
        let (state, status) =
            if done.is_ok() { ("Created", Status::Done) } else { ("Error", Status::Failed) };
        self.report.step(&what, state, status);
        done
    }

    pub(super) async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        self.remove_named(&format!("Volume {name}"), format!("/volumes/{}", segment(name))).await
    }

    /// Removes what may be gone already, or in use: both are told, and no failure.
    pub(super) async fn remove_named(&self, what: &str, path: String) -> Result<(), Error> {
        self.report.step(what, "Removing", Status::Working);
        match self.change("", Call::delete(path)).await {
            Ok(()) => self.report.step(what, "Removed", Status::Done),
            Err(Error::Engine { source, .. }) if source.is_not_found() => {
                self.report.step(what, "Warning: No resource found to remove", Status::Warning);
            }
            Err(Error::Engine { source, .. }) if source.status() == Some(409) => {
                self.report.step(what, "Resource is still in use", Status::Warning);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
