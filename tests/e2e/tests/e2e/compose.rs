//! Compose: what the other modules about it share, and the two clients that do the same with one engine.

use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::Engine;
use wharf_e2e::{Done, put, run_limited};

/// Who brings a project up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// `wharf compose`.
    Ours,
    /// Docker's plugin.
    Plugin,
}

/// A directory with Compose files, and an engine to bring them up.
pub(crate) struct Project<'a> {
    pub(crate) engine: &'a Engine,
    dir: PathBuf,
}

impl<'a> Project<'a> {
    /// A directory of that name with one file; the name is the project's.
    pub(crate) fn new(engine: &'a Engine, name: &str, file: &str) -> Self {
        let dir = engine.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        let project = Self { engine, dir };
        project.write("compose.yaml", file);
        project
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        put(&self.dir, name, text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command of ours.
    pub(crate) fn ours(&self, args: &[&str]) -> Done {
        self.command(Client::Ours).map(|mut command| run_limited(command.args(args), "")).unwrap()
    }

    /// A command of either; `None` where there is no plugin.
    pub(crate) fn with(&self, client: Client, args: &[&str]) -> Option<Done> {
        Some(run_limited(self.command(client)?.args(args), ""))
    }

    /// Either program in the project's directory; `None` where there is no plugin.
    pub(crate) fn command(&self, client: Client) -> Option<Command> {
        let mut command = match client {
            Client::Ours => {
                let mut wharf = self.engine.wharf();
                wharf.arg("compose");
                wharf
            }
            Client::Plugin => {
                let mut plugin = plugin()?;
                plugin.env("DOCKER_HOST", self.engine.host());
                plugin
            }
        };
        command.current_dir(&self.dir);
        Some(command)
    }

    /// What the engine says of a container.
    pub(crate) fn inspect(&self, container: &str) -> serde_json::Value {
        let text = self.engine.run(&["inspect", container]).ok();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()[0].take()
    }

    /// One value of it, by a Go template.
    pub(crate) fn shown(&self, container: &str, template: &str) -> String {
        self.engine.run(&["inspect", "--format", template, container]).ok()
    }
}

/// Docker's plugin, which stands beside the docker client that `DOCKER_BIN` names, or where Debian has it.
pub(crate) fn plugin() -> Option<Command> {
    let beside = std::env::var_os("DOCKER_BIN")
        .map(|docker| Path::new(&docker).with_file_name("cli-plugins/docker-compose"));
    let usual =
        ["/usr/libexec/docker/cli-plugins/docker-compose", "/usr/lib/docker/cli-plugins/docker-compose"];
    let path = beside.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.is_file())?;
    Some(Command::new(path))
}

/// Both clients, or ours alone with a word about it.
pub(crate) fn clients() -> Vec<Client> {
    if plugin().is_none() {
        println!(
            "skipped: there is no Compose plugin on this host (beside DOCKER_BIN); its half of the test"
        );
        return vec![Client::Ours];
    }
    vec![Client::Ours, Client::Plugin]
}
