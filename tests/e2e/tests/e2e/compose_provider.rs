//! Services that a program of the machine's makes, and models: what Compose says to it, and what it says back.

use crate::compose::{Client, Project, clients};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use wharf_e2e::{Done, Engine, run_limited};

const FILE: &str = r#"
services:
  my-db: {provider: {type: wharftest, options: {type: mysql, names: [a, b]}}}
  web: {image: busybox, command: sleep 100, stop_signal: SIGKILL, depends_on: [my-db], environment: {X: y}}
  far: {image: busybox, command: sleep 100, stop_signal: SIGKILL, depends_on: [web]}
"#;

/// Keeps what it is called with, and says what `says` has for the verb.
const PROVIDER: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$* $COMPOSE_PROJECT_NAME" >>"$here/calls"
[ "$2" = metadata ] && { cat "$here/metadata" 2>/dev/null; exit; }
echo '{"type":"info","message":"working on it"}'
echo '{"type":"debug","message":"within"}'
cat "$here/says"
exit $(cat "$here/status" 2>/dev/null || echo 0)
"#;

/// A directory with the program.
struct Bin(PathBuf);

impl Bin {
    fn new(e: &Engine, name: &str, script: &str) -> Self {
        let dir = e.path("bin");
        std::fs::create_dir_all(&dir).unwrap();
        let program = dir.join(name);
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.0.join("calls"));
        text.lines().map(str::to_owned).collect()
    }

    fn with(&self, project: &Project<'_>, client: Client, args: &[&str]) -> Option<Done> {
        let mut command = project.command(client)?;
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap_or_default());
        command.args(args).env("PATH", path).env("DOCKER_CONFIG", &self.0);
        Some(run_limited(&mut command, ""))
    }
}

#[test]
fn a_provider_makes_a_service_and_tells_those_that_need_it() {
    let Some(e) = Engine::start() else { return };
    let bin = Bin::new(&e, "wharftest", PROVIDER);
    let project = Project::new(&e, "provided", FILE);
    for client in clients() {
        bin.write("says", "{\"type\":\"setenv\",\"message\":\"URL=http://x:1\"}\n");
        let with = |args: &[&str]| bin.with(&project, client, args).unwrap();
        let up = with(&["up", "-d"]);
        assert!(up.err.contains("working on it") && !up.err.contains("within"), "{}", up.err);
        up.ok();
        let mut called = bin.calls();
        assert_eq!(called.remove(0), "compose metadata provided");
        let words: Vec<&str> = called[0].split(' ').collect();
        assert_eq!(words[..3], ["compose", "--project-name=provided", "up"], "{called:?}");
        let mut flags = words[3..6].to_vec();
        flags.sort_unstable();
        assert_eq!(flags, ["--names=a", "--names=b", "--type=mysql"]);
        assert_eq!(words[6..], ["my-db", "provided"]);
        let env = |name: &str| project.shown(name, "{{.Config.Env}}");
        assert!(env("provided-web-1").contains("MY-DB_URL=http://x:1"), "{}", env("provided-web-1"));
        assert!(!env("provided-far-1").contains("MY-DB_URL"), "only those that need it themselves");
        // The same again: it says the same, and nothing is made anew.
        assert!(with(&["up", "-d"]).err.contains("provided-web-1  Running"));
        if client == Client::Ours {
            // Docker's tool looks for a container of the provider's here.
            assert!(with(&["run", "--rm", "-T", "web", "env"]).ok().contains("MY-DB_URL=http://x:1"));
            assert!(with(&["run", "my-db"]).err.contains("service \"my-db\" has no container to start"));
        }
        bin.calls();
        with(&["down"]).ok();
        assert!(bin.calls().iter().any(|call| call.starts_with("compose --project-name=provided down ")));
        // What it says against it.
        bin.write("says", "{\"type\":\"error\",\"message\":\"no quota\"}\n");
        let done = with(&["up", "-d"]);
        assert!(done.code == 1 && done.err.contains("no quota"), "{}", done.err);
        bin.write("says", "nonsense\n");
        assert_eq!(with(&["up", "-d"]).code, 1);
        bin.write("says", "");
        bin.write("status", "3");
        let done = with(&["up", "-d"]);
        assert!(done.err.contains("failed to create service provider: exit status"), "{}", done.err);
        std::fs::remove_file(bin.0.join("status")).unwrap();
        // What it says of itself.
        bin.write("metadata", r#"{"up": {"parameters": [{"name": "must", "required": true}]}}"#);
        let done = with(&["up", "-d"]);
        assert!(
            done.err.contains("required parameter \"must\" is missing from provider \"wharftest\""),
            "{}",
            done.err
        );
        std::fs::remove_file(bin.0.join("metadata")).unwrap();
        with(&["down"]).ok();
    }
    // Names as the provider has them, which later versions of Docker's tool know too.
    bin.write("says", "{\"type\":\"rawsetenv\",\"message\":\"X=raw\"}\n");
    let up = bin.with(&project, Client::Ours, &["--verbose", "up", "-d"]).unwrap();
    assert!(
        up.err.contains("overrides environment variable \"X\"") && up.err.contains("within"),
        "{}",
        up.err
    );
    assert!(project.shown("provided-web-1", "{{.Config.Env}}").contains("X=raw"));
    bin.with(&project, Client::Ours, &["down"]).unwrap().ok();
    // One that is not there: its name, and the mend.
    project.write("compose.yaml", &FILE.replace("wharftest", "nobody"));
    let done = project.ours(&["up", "-d"]);
    assert!(done.code == 1 && done.err.contains("put docker-nobody beside Docker's plugins"), "{}", done.err);
    project.ours(&["down"]);
}

/// As docker-model: one model is there, the other is not.
const MODEL: &str = r#"#!/bin/sh
here=$(dirname "$0")
if [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion":"0.1.0","Vendor":"us","Version":"v1.0.0","ShortDescription":"models"}'; exit
fi
echo "$*" >>"$here/../calls"
case "$1 $2" in
  "ls --json") echo '[{"id":"1","tags":["ai/here"],"created":1}]' ;;
  "status --json") echo '{"endpoint":"http://runner:12434/v1/"}' ;;
esac
"#;

#[test]
fn models_come_from_dockers_plugin() {
    let Some(e) = Engine::start() else { return };
    let file = "services:\n  web: {image: busybox, command: sleep 100, stop_signal: SIGKILL, models: {my-llm: {endpoint_var: EP}, o: }}\n\
        models:\n  my-llm: {model: ai/here, context_size: 10, runtime_flags: [-a]}\n  o: {model: ai/far}\n";
    let project = Project::new(&e, "modelled", file);
    let empty = Bin(e.path("bin"));
    std::fs::create_dir_all(e.path("bin/cli-plugins")).unwrap();
    for client in clients() {
        let done = empty.with(&project, client, &["up", "-d"]).unwrap();
        let said = "'models' support requires Docker Model plugin";
        assert!(done.code != 0 && done.err.contains(said), "{}", done.err);
    }
    let plugin = Bin::new(&e, "cli-plugins/docker-model", MODEL);
    for client in clients() {
        plugin.with(&project, client, &["up", "-d"]).unwrap().ok();
        let env = project.shown("modelled-web-1", "{{.Config.Env}}");
        for expected in
            ["MY_LLM_MODEL=ai/here", "EP=http://runner:12434/v1/", "O_MODEL=ai/far", "O_URL=http://"]
        {
            assert!(env.contains(expected), "{client:?}: {expected} in {env}");
        }
        let mut calls = plugin.calls();
        calls.sort();
        calls.dedup();
        for expected in ["configure --context-size 10 ai/here -- -a", "configure ai/far", "pull ai/far"] {
            assert!(calls.iter().any(|call| call == expected), "{client:?}: {calls:?}");
        }
        assert!(!calls.iter().any(|call| call == "pull ai/here"), "{calls:?}");
        plugin.with(&project, client, &["down"]).unwrap().ok();
    }
}
