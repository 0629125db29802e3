//! Services that a program of the machine's makes (`provider`): its `compose up` and `compose down`, and what it says meanwhile.
//! The protocol is Docker's: <https://github.com/docker/compose/blob/main/docs/extension.md>.

use super::Run;
use super::report::Status;
use crate::error::Error;
use crate::project::Map;
use crate::project::service::Provider;
use serde::Deserialize;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Largest message of a provider, and largest description of itself: many times what a screen shows.
const MAX_MESSAGE: u64 = 1024 * 1024;

/// What a provider is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Up,
    Down,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Before, after, and as what is tried.
    fn told(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Up => ("Creating", "Created", "create"),
            Self::Down => ("Removing", "Removed", "remove"),
        }
    }
}

/// A variable for services that need the one provided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    /// Its name, with the service's before it where the provider did not say otherwise.
    pub(super) name: String,
    pub(super) value: String,
    /// The name is the provider's own, and may be one that the service has already.
    pub(super) is_raw: bool,
}

/// What a provider says, one a line.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// What a provider says of itself; empty where it says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    description: String,
    up: Parameters,
    down: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    parameters: Option<Vec<Parameter>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameter {
    name: String,
    required: bool,
}

impl Metadata {
    fn is_empty(&self) -> bool {
        self.description.is_empty() && self.up.parameters.is_none() && self.down.parameters.is_none()
    }

    fn of(&self, verb: Verb) -> &[Parameter] {
        let parameters = match verb {
            Verb::Up => &self.up.parameters,
            Verb::Down => &self.down.parameters,
        };
        parameters.as_deref().unwrap_or_default()
    }

    /// The flags that a provider is called with.
    fn flags(&self, verb: Verb, kind: &str, options: &Map<Vec<String>>) -> Result<Vec<String>, Error> {
        let known = self.of(verb);
        if let Some(missing) = known.iter().find(|one| one.required && !options.contains_key(&one.name)) {
            return Err(Error::project(format!(
                "required parameter {:?} is missing from provider {kind:?} definition",
                missing.name
            )));
        }
        let is_taken = |name: &str| self.is_empty() || known.iter().any(|one| one.name == name);
        let taken = options.iter().filter(|(name, _)| is_taken(name));
        Ok(taken
            .flat_map(|(name, values)| values.iter().map(move |value| format!("--{name}={value}")))
            .collect())
    }
}

impl Run<'_> {
    /// Has a service made or taken away by its provider; the variables for those that need it.
    pub(super) async fn provide(
        &self,
        name: &str,
        provider: &Provider,
        verb: Verb,
    ) -> Result<Vec<Variable>, Error> {
        if provider.kind == "compose" {
            return Err(Error::project("'compose' is not a valid provider type"));
        }
        let program = self.outside.program(&provider.kind).ok_or_else(|| {
            Error::project(format!(
                "service {name:?}: its provider {0:?} is not here: put docker-{0} beside Docker's plugins, or {0} in $PATH",
                provider.kind
            ))
        })?;
        let (begins, ends, trying) = verb.told();
        self.report.step(name, begins, Status::Working);
        if self.dry_run {
            self.report.step(name, ends, Status::Done);
            return Ok(Vec::new());
        }
        let metadata = self.metadata(&program).await;
        let done = async {
            let flags = metadata.flags(verb, &provider.kind, &provider.options)?;
            self.talk(name, &program, verb, flags, trying).await
        };
        let done = done.await;
        match &done {
            Ok(_) => self.report.step(name, ends, Status::Done),
            Err(error) => self.report.step(name, &error.to_string(), Status::Failed),
        }
        done
    }

    /// What a provider says of itself; whatever goes wrong with that is no fault.
    async fn metadata(&self, program: &Path) -> Metadata {
        let Ok(mut child) = self.command(program).args(["compose", "metadata"]).spawn() else {
            return Metadata::default();
        };
        let mut text = Vec::new();
        if let Some(out) = child.stdout.take() {
            let _ = out.take(MAX_MESSAGE).read_to_end(&mut text).await;
        }
        match child.wait().await {
            Ok(status) if status.success() => serde_json::from_slice(&text).unwrap_or_default(),
            _ => Metadata::default(),
        }
    }

    async fn talk(
        &self,
        name: &str,
        program: &Path,
        verb: Verb,
        flags: Vec<String>,
        trying: &str,
    ) -> Result<Vec<Variable>, Error> {
        let failed = |source| Error::Read { path: program.to_owned(), source };
        let mut command = self.command(program);
        command.arg("compose").arg(format!("--project-name={}", self.loaded.project.name));
        command.arg(verb.word()).args(flags).arg(name);
        let mut child = command.spawn().map_err(failed)?;
        let mut variables = Vec::new();
        if let Some(out) = child.stdout.take() {
            let mut out = BufReader::new(out);
            while let Some(line) = line(&mut out).await.map_err(failed)? {
                variables.extend(self.heard(name, &line)?);
            }
        }
        let status = child.wait().await.map_err(failed)?;
        if !status.success() {
            return Err(Error::project(format!("failed to {trying} service provider: {status}")));
        }
        Ok(variables)
    }

    /// Takes in a line of a provider's.
    fn heard(&self, name: &str, line: &str) -> Result<Option<Variable>, Error> {
        let invalid = || Error::project(format!("invalid response from plugin: {line}"));
        let said: Message = serde_json::from_str(line).map_err(|_| invalid())?;
        match said.kind.as_str() {
            "error" => return Err(Error::Project(said.message)),
            "info" => {
                let line = said.message.lines().next().unwrap_or_default();
                self.report.step(name, line, Status::Working);
            }
            "debug" => self.report.debug(&format!("{name}: {}", said.message)),
            "setenv" | "rawsetenv" => {
                let (key, value) = said.message.split_once('=').ok_or_else(invalid)?;
                let is_raw = said.kind == "rawsetenv";
                let name = if is_raw { key.to_owned() } else { format!("{}_{key}", name.to_uppercase()) };
                return Ok(Some(Variable { name, value: value.to_owned(), is_raw }));
            }
            _ => return Err(invalid()),
        }
        Ok(None)
    }

    /// A program that knows the project's variables and our engine, and ends with us.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.loaded.environment.iter());
        command.env("DOCKER_HOST", self.client.endpoint().to_string()).current_dir(&self.loaded.dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// The next line that says something.
async fn line(out: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<String>> {
    loop {
        let mut line = Vec::new();
        let len = (&mut *out).take(MAX_MESSAGE).read_until(b'\n', &mut line).await?;
        if len == 0 {
            return Ok(None);
        }
        if len as u64 == MAX_MESSAGE && !line.ends_with(b"\n") {
            return Err(std::io::Error::other(format!("a message of more than {MAX_MESSAGE} bytes")));
        }
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            return Ok(Some(text.trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_that_the_provider_knows() {
        let options: Map<Vec<String>> = [("type", vec!["mysql"]), ("size", vec!["1", "2"])]
            .map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
            .into();
        let flags = |text: &str, verb| {
            serde_json::from_str::<Metadata>(text)
                .unwrap()
                .flags(verb, "x", &options)
                .map(|flags| flags.join(" "))
                .map_err(|error| error.to_string())
        };
        assert_eq!(flags("{}", Verb::Up).unwrap(), "--size=1 --size=2 --type=mysql");
        let some = r#"{"description": "d", "up": {"parameters": [{"name": "type", "required": true}]}}"#;
        assert_eq!(flags(some, Verb::Up).unwrap(), "--type=mysql");
        assert_eq!(flags(some, Verb::Down).unwrap(), "");
        let more = r#"{"up": {"parameters": [{"name": "must", "required": true}]}}"#;
        assert_eq!(
            flags(more, Verb::Up).unwrap_err(),
            "required parameter \"must\" is missing from provider \"x\" definition"
        );
    }
}
