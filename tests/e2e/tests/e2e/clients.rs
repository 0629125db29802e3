//! Clients of Docker's in other languages, and its Compose plugin. `cargo xtask clients` installs and runs them; without
//! `WHARF_CLIENTS`, the directory it installs to, these tests say that they are skipped.

use std::path::PathBuf;
use std::process::Command;
use wharf_e2e::{Engine, docker_for, run_limited};

fn installed() -> Option<PathBuf> {
    let directory = std::env::var_os("WHARF_CLIENTS").map(PathBuf::from);
    if directory.is_none() {
        eprintln!("skipped: `cargo xtask clients` installs the clients");
    }
    directory
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../clients")
}

/// The engine that is tested: one of our own, or with `WHARF_CLIENTS_HOST` any other.
pub(crate) enum Tested {
    Own(Engine),
    Other(String),
}

impl Tested {
    pub(crate) fn get() -> Option<Self> {
        match std::env::var("WHARF_CLIENTS_HOST") {
            Ok(host) => Some(Self::Other(host)),
            Err(_) => Engine::start().map(Self::Own),
        }
    }

    pub(crate) fn host(&self) -> String {
        match self {
            Self::Own(engine) => engine.host(),
            Self::Other(host) => host.clone(),
        }
    }

    fn passes(&self, command: &mut Command) {
        let done = run_limited(command.env("DOCKER_HOST", self.host()), "");
        assert_eq!(done.code, 0, "{}\n{}", done.out, done.err);
    }
}

/// What each request is answered, beside what Docker 28 was seen to answer.
#[test]
fn answers_are_dockers() {
    let Some(_) = installed() else { return };
    let Some(tested) = Tested::get() else { return };
    let mut check = Command::new("python3");
    check.arg(scripts().join("answers.py")).args(["check", &tested.host()]);
    tested.passes(&mut check);
}

#[test]
fn docker_py() {
    let Some(clients) = installed() else { return };
    let Some(tested) = Tested::get() else { return };
    tested.passes(Command::new(clients.join("python/bin/python")).arg(scripts().join("docker_py.py")));
}

#[test]
fn testcontainers_for_python() {
    let Some(clients) = installed() else { return };
    let Some(tested) = Tested::get() else { return };
    tested
        .passes(Command::new(clients.join("python/bin/python")).arg(scripts().join("testcontainers_py.py")));
}

#[test]
fn dockerode() {
    let Some(clients) = installed() else { return };
    let Some(tested) = Tested::get() else { return };
    let mut node = Command::new("node");
    tested.passes(
        node.env("NODE_PATH", clients.join("node_modules")).arg("--test").arg(scripts().join("dockerode.js")),
    );
}

#[test]
fn testcontainers_for_rust() {
    let Some(clients) = installed() else { return };
    let Some(tested) = Tested::get() else { return };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(scripts().join("rust")).env("CARGO_TARGET_DIR", clients.join("rust"));
    tested.passes(cargo.args(["test", "--quiet", "--locked", "--offline"]));
}

/// Through the plugin of the `docker` client that `DOCKER_BIN` names, when it has one.
#[test]
fn compose() {
    let Some(tested) = Tested::get() else { return };
    let config = tempfile::tempdir().unwrap();
    let compose = |args: &[&str]| {
        let mut command = docker_for(&tested.host(), config.path())?;
        command.arg("compose").args(args).current_dir(scripts());
        Some(run_limited(&mut command, ""))
    };
    if compose(&["version"]).is_none_or(|done| done.code != 0) {
        eprintln!("skipped: DOCKER_BIN names no docker client with the compose plugin");
        return;
    }
    let ok = |args: &[&str]| {
        let done = compose(args).unwrap();
        assert_eq!(done.code, 0, "{args:?}: {}\n{}", done.out, done.err);
        done.out
    };
    ok(&["up", "-d", "--wait"]);
    assert!(ok(&["ps", "--format", "{{.Service}} {{.Status}}"]).contains("(healthy)"));
    let script = "wget -qO- http://thestore:5432/x; wget -qO- http://database:5432/x; cat /greeting; ls /run/secrets; ulimit -n";
    assert_eq!(ok(&["exec", "-T", "web", "sh", "-c", script]), "kept\nkept\nhellothis\n1000\n");
    assert!(ok(&["port", "web", "80"]).starts_with("127.0.0.1:"));
    let before = ok(&["ps", "-q", "web"]);
    ok(&["up", "-d"]);
    assert_eq!(ok(&["ps", "-q", "web"]), before, "nothing changed, nothing is made anew");
    ok(&["up", "-d", "--scale", "web=3"]);
    assert_eq!(ok(&["ps", "-q", "web"]).lines().count(), 3);
    ok(&["restart", "-t", "0", "store"]);
    assert_eq!(ok(&["run", "--rm", "-T", "web", "echo", "once"]), "once\n");
    ok(&["down", "-v", "-t", "0", "--rmi", "local"]);
    assert_eq!(ok(&["ps", "-aq"]), "");
}
