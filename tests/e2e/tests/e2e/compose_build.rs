//! What a project's images are built with: secrets, agents, further contexts, rights. By both clients, on our engine and on the
//! Docker whose socket `WHARF_E2E_DOCKER` names; and the same flags of `build`.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::{Done, Engine, binary, docker_for, run_limited};

const FILE: &str = r#"name: bkp
services:
  base:
    build: {context: ., dockerfile_inline: "FROM busybox\nRUN --mount=type=secret,id=tok wc -c < /run/secrets/tok > /base\n", secrets: [tok]}
    image: bkp-base-image
    command: cat /base
    network_mode: none
  web:
    build:
      context: .
      dockerfile: docker/web.Dockerfile
      target: last
      args: {ARG: given}
      secrets: [tok, {source: var, target: renamed}]
      ssh: ["default=AGENT"]
      additional_contexts: {base: "service:base", extra: ./extra}
      labels: {l: v}
      extra_hosts: ["far=10.1.2.3"]
      ulimits: {nofile: 77}
      tags: ["bkp-other:1"]
    command: cat /base /tok /renamed /extra /arg /agent /hosts /limit
    network_mode: none
secrets: {tok: {file: ./tok}, var: {environment: SECRET_VAR}}
"#;

const DOCKERFILE: &str = "FROM base AS first\n\
    RUN --mount=type=secret,id=tok,target=/t cp /t /tok\n\
    RUN --mount=type=secret,id=renamed,env=V echo $V > /renamed\n\
    COPY --from=extra file /extra\n\
    ARG ARG\nRUN echo $ARG > /arg; ulimit -n > /limit; grep far /etc/hosts | tr -s '\\t' ' ' > /hosts\n\
    RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo agent > /agent\n\
    FROM first AS last\nFROM first AS never\nRUN false\n";

const SEEN: &str = "7\nhidden\nfrom a variable\nextra\ngiven\nagent\n10.1.2.3 far\n77";

/// A project on the disk, and an agent's socket.
struct Site {
    dir: PathBuf,
    _agent: UnixListener,
}

impl Site {
    fn new(dir: PathBuf) -> Self {
        std::fs::create_dir_all(dir.join("docker")).unwrap();
        std::fs::create_dir_all(dir.join("extra")).unwrap();
        let socket = dir.join("a");
        let agent = UnixListener::bind(&socket).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("compose.yaml", &FILE.replace("AGENT", &socket.display().to_string()));
        write("docker/web.Dockerfile", DOCKERFILE);
        write("tok", "hidden\n");
        write("extra/file", "extra\n");
        write(".dockerignore", "tok\n");
        Self { dir, _agent: agent }
    }

    fn run(&self, command: &mut Command, args: &[&str]) -> Done {
        run_limited(command.current_dir(&self.dir).env("SECRET_VAR", "from a variable").args(args), "")
    }
}

fn ours(host: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(["-H", host]).env("DOCKER_HOST", host);
    command
}

/// Docker's own command with its plugins; `None` where there is none.
fn dockers(host: &str, config: &Path) -> Option<Command> {
    let command = || {
        let mut command = docker_for(host, config)?;
        command.env("DOCKER_BUILDKIT", "1");
        Some(command)
    };
    // A client may be there without them.
    let has = |plugin: &str| Some(run_limited(command()?.args([plugin, "version"]), "").code == 0);
    command().filter(|_| has("compose") == Some(true) && has("buildx") == Some(true))
}

#[test]
fn projects_by_both_clients_on_both_engines() {
    let Some(e) = Engine::start() else { return };
    let site = Site::new(e.path("p"));
    let mut hosts = vec![e.host()];
    hosts.extend(std::env::var("WHARF_E2E_DOCKER").ok().map(|socket| format!("unix://{socket}")));
    for host in &hosts {
        for client in ["ours", "docker"] {
            let config = e.path("client");
            let command = || match client {
                "ours" => Some(ours(host)),
                _ => dockers(host, &config),
            };
            if command().is_none() {
                println!(
                    "skipped: there is no docker client with Compose and buildx on this host; its half of the test"
                );
                continue;
            }
            let run = |args: &[&str]| site.run(&mut command().unwrap(), args);
            let built = run(&["compose", "build", "web"]);
            assert_eq!(built.code, 0, "{client} on {host}: {}{}", built.out, built.err);
            let up = run(&["compose", "up", "--no-log-prefix", "--exit-code-from", "web", "web"]);
            assert!(up.out.contains(SEEN), "{client} on {host}: {}{}{}", built.err, up.out, up.err);
            let label =
                run(&["image", "inspect", "--format", "{{.Config.Labels.l}} {{len .RepoTags}}", "bkp-web"]);
            assert_eq!(label.ok(), "v 2", "{client} on {host}");
            let history = run(&["history", "--no-trunc", "bkp-web"]).ok();
            assert!(!history.contains("hidden") && !history.contains("from a variable"), "{history}");
            run(&["compose", "down", "-t", "0", "--rmi", "all"]).ok();
            run(&["rmi", "bkp-other:1", "bkp-base-image"]);
        }
    }
}

#[test]
fn flags_of_build() {
    let Some(e) = Engine::start() else { return };
    let site = Site::new(e.path("p"));
    let host = e.host();
    let run = |args: &[&str]| site.run(&mut ours(&host), args);
    e.run(&["tag", "busybox", "base"]).ok();
    let agent = format!("default={}", site.dir.join("a").display());
    let all = [
        "build",
        "-f",
        "docker/web.Dockerfile",
        "--target",
        "last",
        "-t",
        "me/web",
        "--secret",
        "id=tok,src=tok",
        "--secret",
        "id=renamed,env=SECRET_VAR",
        "--build-context",
        "extra=extra",
        "--ssh",
        &agent,
        "--build-arg",
        "ARG=given",
        "--add-host",
        "far:10.1.2.3",
        "--ulimit",
        "nofile=77",
        "--iidfile",
        "id",
        ".",
    ];
    let built = run(&all);
    assert_eq!(built.code, 0, "{}{}", built.out, built.err);
    assert!(built.err.contains("RUN --mount=type=ssh") && built.err.contains("DONE"), "{}", built.err);
    let words = "cat /tok /renamed /extra /arg /agent /hosts /limit";
    let seen = e.run(&["run", "--rm", "me/web", "sh", "-c", words]).ok();
    assert_eq!(seen, SEEN.trim_start_matches("7\n"));
    let id = std::fs::read_to_string(site.dir.join("id")).unwrap();
    assert_eq!(e.run(&["inspect", "-f", "{{.Id}}", "me/web"]).ok(), id);
    let again = run(&all);
    assert!(again.err.matches("CACHED").count() >= 5, "{}", again.err);
    // Results as files.
    std::fs::write(site.dir.join("Dockerfile"), "FROM scratch\nCOPY extra /got\n").unwrap();
    run(&["build", "-o", "out", "."]).ok();
    assert_eq!(std::fs::read_to_string(site.dir.join("out/got/file")).unwrap(), "extra\n");
    run(&["build", "-o", "type=oci,dest=image.tar", "-t", "far/away:1", "."]).ok();
    assert!(run(&["load", "-i", "image.tar"]).ok().contains("far/away:1"));
    // With all rights, for who allows it.
    let dockerfile =
        "FROM busybox\nRUN mkdir /m\nRUN --security=insecure mount -t tmpfs x /m && echo ok > /done\n";
    std::fs::write(site.dir.join("Dockerfile"), dockerfile).unwrap();
    let refused = run(&["build", "-o", "type=cacheonly", "."]);
    assert!(refused.code != 0 && refused.err.contains("security.insecure is not allowed"), "{}", refused.err);
    run(&["build", "--allow", "security.insecure", "-t", "rights", "."]).ok();
    assert_eq!(e.run(&["run", "--rm", "rights", "cat", "/done"]).ok(), "ok");
    for (args, why) in [
        (&["build", "--secret", "id=a,src=/nonexistent", "."][..], "failed to stat /nonexistent"),
        (&["build", "--ssh", "a=tok", "."], "is no socket of an SSH agent"),
        (&["build", "--build-context", "a", "."], "expected key=value"),
        (&["build", "--build-context", "a=/nonexistent", "."], "/nonexistent"),
        (&["build", "-o", "type=nope", "."], "invalid output type"),
        (&["build", "--secret", "id=tok", "--memory", "1g", "."], "--memory does not go with"),
        (&["build", "--secret", "id=tok", "/nonexistent"], "/nonexistent"),
    ] {
        let done = run(args);
        assert!(done.code != 0 && done.err.contains(why), "{args:?}: {}", done.err);
    }
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}
