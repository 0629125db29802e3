//! Models that services use, as Docker's Model plugin has them.

use super::Run;
use super::provider::Variable;
use super::report::Status;
use crate::error::Error;
use crate::project::resources::Model;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// A model that is there.
#[derive(Debug, Deserialize)]
struct There {
    #[serde(default)]
    tags: Vec<String>,
}

/// Where models answer.
#[derive(Debug, Deserialize)]
struct Answering {
    #[serde(default)]
    endpoint: String,
}

impl Run<'_> {
    /// Sees to it that models are there and set up; the variables of each service that uses one.
    pub(super) async fn ensure_models(&self) -> Result<BTreeMap<String, Vec<Variable>>, Error> {
        let project = &self.loaded.project;
        if project.models.is_empty() || self.dry_run {
            return Ok(BTreeMap::new());
        }
        let program = self.outside.plugin("model").ok_or_else(|| {
            let names: Vec<&str> = project.models.keys().map(String::as_str).collect();
            Error::project(format!(
                "'models' support requires Docker Model plugin: install docker-model beside Docker's plugins for {}",
                names.join(", ")
            ))
        })?;
        let there: Vec<There> = self.asked(&program, &["ls", "--json"], "available models").await?;
        let answering: Answering = self.asked(&program, &["status", "--json"], "docker-model status").await?;
        for (key, model) in &project.models {
            let name = if model.name.is_empty() { key } else { &model.name };
            if !there.iter().any(|there| there.tags.contains(&model.model)) {
                self.told(&program, name, ("Pulling", "Pulled"), vec!["pull".into(), model.model.clone()])
                    .await?;
            }
            self.told(&program, name, ("Configuring", "Configured"), configuration(model)).await?;
        }
        Ok(self.variables(&answering.endpoint))
    }

    fn variables(&self, endpoint: &str) -> BTreeMap<String, Vec<Variable>> {
        let project = &self.loaded.project;
        let of = |used: &crate::project::Service| {
            let each = used.models.iter().filter_map(|(key, how)| {
                let prefix = key.to_uppercase().replace('-', "_");
                let how = how.clone().unwrap_or_default();
                let named =
                    |own: String, usual: &str| if own.is_empty() { format!("{prefix}_{usual}") } else { own };
                let model = project.models.get(key)?.model.clone();
                let pairs = [
                    (named(how.model_var, "MODEL"), model),
                    (named(how.endpoint_var, "URL"), endpoint.to_owned()),
                ];
                Some(pairs.map(|(name, value)| Variable { name, value, is_raw: false }))
            });
            each.flatten().collect()
        };
        let using = project.services.iter().filter(|(_, service)| !service.models.is_empty());
        using.map(|(name, service)| (name.clone(), of(service))).collect()
    }

    async fn asked<T: DeserializeOwned>(
        &self,
        program: &Path,
        words: &[&str],
        what: &str,
    ) -> Result<T, Error> {
        let failed = |source| Error::Read { path: program.to_owned(), source };
        let output = self.command(program).args(words).output().await.map_err(failed)?;
        if !output.status.success() {
            return Err(Error::project(format!("error checking {what}: {}", output.status)));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::project(format!("error checking {what}: {error}")))
    }

    async fn told(
        &self,
        program: &Path,
        name: &str,
        (begins, ends): (&str, &str),
        words: Vec<String>,
    ) -> Result<(), Error> {
        self.report.step(name, begins, Status::Working);
        let failed = |source| Error::Read { path: program.to_owned(), source };
        let status = self.command(program).args(&words).output().await.map_err(failed)?.status;
        if !status.success() {
            self.report.step(name, &status.to_string(), Status::Failed);
            return Err(Error::project(format!(
                "model {name:?}: docker-model {}: {status}",
                words.join(" ")
            )));
        }
        self.report.step(name, ends, Status::Done);
        Ok(())
    }
}

fn configuration(model: &Model) -> Vec<String> {
    let mut words = vec!["configure".to_owned()];
    if model.context_size > 0 {
        words.extend(["--context-size".into(), model.context_size.to_string()]);
    }
    words.push(model.model.clone());
    if !model.runtime_flags.is_empty() {
        words.push("--".into());
        words.extend(model.runtime_flags.iter().cloned());
    }
    words
}
