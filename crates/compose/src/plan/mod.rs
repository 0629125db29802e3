//! What has to change: containers that are there against what the project says. Pure: nothing is asked or done here.

pub mod order;

use crate::project::Service;
use std::collections::BTreeMap;

/// Labels by which containers, networks and volumes know their project: Docker's own, so that either tool goes on with the other's.
pub mod label {
    #![allow(missing_docs)]
    pub const PROJECT: &str = "com.docker.compose.project";
    pub const SERVICE: &str = "com.docker.compose.service";
    pub const NUMBER: &str = "com.docker.compose.container-number";
    pub const HASH: &str = "com.docker.compose.config-hash";
    pub const IMAGE: &str = "com.docker.compose.image";
    pub const ONE_OFF: &str = "com.docker.compose.oneoff";
    pub const SLUG: &str = "com.docker.compose.slug";
    pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
    pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
    pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
    pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
    pub const REPLACE: &str = "com.docker.compose.replace";
    pub const VERSION: &str = "com.docker.compose.version";
    pub const NETWORK: &str = "com.docker.compose.network";
    pub const VOLUME: &str = "com.docker.compose.volume";
}

/// The version of Compose whose behaviour this is, which containers are labelled with.
pub const VERSION: &str = "2.40.3";

/// A container of a project as the engine lists it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// created, running, paused, restarting, exited or dead.
    pub state: String,
    /// Ids of its networks.
    pub networks: Vec<String>,
    /// Names of its volumes.
    pub volumes: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// The states of containers that can be stopped or killed.
pub const ALIVE: [&str; 3] = ["running", "restarting", "paused"];

impl Observed {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The service that it belongs to.
    pub fn service(&self) -> &str {
        self.label(label::SERVICE)
    }

    /// Which of the service's containers it is; 0 where it is none.
    pub fn number(&self) -> i64 {
        self.label(label::NUMBER).parse().unwrap_or(0)
    }

    /// Whether `run` made it.
    pub fn is_one_off(&self) -> bool {
        self.label(label::ONE_OFF) == "True"
    }

    /// Whether it has processes, or is about to: what can be stopped.
    pub fn is_alive(&self) -> bool {
        ALIVE.contains(&self.state.as_str())
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// The project's and the service's name taken off: `web-1`.
    pub fn short_name(&self) -> String {
        let rest = self.name.strip_prefix(self.label(label::PROJECT));
        // The first Compose had `_`, as `--compatibility` still does.
        rest.and_then(|rest| rest.strip_prefix(['-', '_'])).unwrap_or(&self.name).to_owned()
    }
}

/// When containers are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recreate {
    /// When their configuration or image is another.
    #[default]
    Diverged,
    /// Always.
    Force,
    /// Never.
    Never,
}

/// What a service is to be.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The service.
    pub service: &'a Service,
    /// The hash of its configuration.
    pub hash: String,
    /// The id of its image; empty where nobody knows.
    pub image: String,
    /// How many containers.
    pub replicas: i64,
    /// Ids of its networks.
    pub networks: Vec<String>,
    /// Names of its volumes.
    pub volumes: Vec<String>,
}

/// What to do about one container.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is as it should be.
    Keep(Observed),
    /// It is something else now.
    Replace(Observed),
    /// There are too many.
    Remove(Observed),
    /// The one with this number is missing.
    Create(i64),
}

/// What to do about a service's containers.
pub fn service(wanted: &Wanted<'_>, mut observed: Vec<Observed>, how: Recreate) -> Vec<Action> {
    // The first ones stay: those that are up to date, the lowest numbers before others.
    observed
        .sort_by_key(|container| (diverged(wanted, container, how), container.number(), container.created));
    let most = usize::try_from(wanted.replicas).unwrap_or(0);
    let surplus = observed.split_off(observed.len().min(most));
    let mut actions: Vec<Action> = surplus.into_iter().map(Action::Remove).collect();
    let taken: Vec<i64> = observed.iter().map(Observed::number).collect();
    let missing = most - observed.len();
    actions.extend(observed.into_iter().map(|container| match diverged(wanted, &container, how) {
        true => Action::Replace(container),
        false => Action::Keep(container),
    }));
    actions.extend((1..).filter(|number| !taken.contains(number)).take(missing).map(Action::Create));
    actions
}

fn diverged(wanted: &Wanted<'_>, container: &Observed, how: Recreate) -> bool {
    match how {
        Recreate::Never => return false,
        Recreate::Force => return true,
        Recreate::Diverged => {}
    }
    let image = container.label(label::IMAGE);
    container.label(label::HASH) != wanted.hash
        || (!wanted.image.is_empty() && image != wanted.image)
        || (container.is_running()
            && wanted.networks.iter().any(|network| !container.networks.contains(network)))
        || wanted.volumes.iter().any(|volume| !container.volumes.contains(volume))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(number: i64, hash: &str) -> Observed {
        let labels =
            [(label::NUMBER, number.to_string()), (label::HASH, hash.into()), (label::IMAGE, "i".into())];
        Observed {
            id: format!("c{number}"),
            labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            state: "running".into(),
            ..Observed::default()
        }
    }

    fn plan(replicas: i64, observed: &[(i64, &str)], how: Recreate) -> String {
        let service = Service::default();
        let wanted = Wanted {
            service: &service,
            hash: "h".into(),
            image: "i".into(),
            replicas,
            networks: vec![],
            volumes: vec![],
        };
        let observed = observed.iter().map(|(number, hash)| container(*number, hash)).collect();
        let shown = super::service(&wanted, observed, how).into_iter().map(|action| match action {
            Action::Keep(c) => format!("keep {}", c.id),
            Action::Replace(c) => format!("replace {}", c.id),
            Action::Remove(c) => format!("remove {}", c.id),
            Action::Create(number) => format!("create {number}"),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn services_converge() {
        use Recreate::{Diverged, Force, Never};
        assert_eq!(plan(2, &[], Diverged), "create 1, create 2");
        assert_eq!(plan(1, &[(1, "h")], Diverged), "keep c1");
        assert_eq!(plan(1, &[(1, "x")], Diverged), "replace c1");
        assert_eq!(plan(1, &[(1, "x")], Never), "keep c1");
        assert_eq!(plan(1, &[(1, "h")], Force), "replace c1");
        assert_eq!(plan(3, &[(2, "h")], Diverged), "keep c2, create 1, create 3");
        assert_eq!(plan(1, &[(1, "x"), (2, "h")], Diverged), "remove c1, keep c2");
        assert_eq!(plan(0, &[(1, "h"), (2, "h")], Diverged), "remove c1, remove c2");
    }
}
