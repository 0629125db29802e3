//! Docker's own clients with BuildKit: `docker buildx build`, `docker build`, `docker compose build`, `docker buildx bake`.

use crate::registry::Registry;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wharf_e2e::{Done, Engine, eventually, put, run_limited};

/// An engine, and a directory to build in.
struct Site {
    e: Engine,
    at: PathBuf,
}

impl Site {
    /// `None` without a docker client that has the plugins.
    fn open() -> Option<Self> {
        let e = Engine::start()?;
        let at = e.path("site");
        std::fs::create_dir(&at).unwrap();
        let site = Self { e, at };
        let has = |args: &[&str]| site.command().is_some_and(|mut c| run_limited(c.args(args), "").code == 0);
        if has(&["buildx", "version"]) && has(&["compose", "version"]) {
            return Some(site);
        }
        println!("skipped: DOCKER_BIN names no docker client with the plugins buildx and compose");
        None
    }

    fn command(&self) -> Option<Command> {
        let mut command = self.e.docker_command()?;
        command.env_remove("DOCKER_BUILDKIT").env("BUILDX_NO_DEFAULT_ATTESTATIONS", "").current_dir(&self.at);
        Some(command)
    }

    fn docker_with(&self, args: &[&str], input: &str) -> Done {
        run_limited(self.command().unwrap().args(args), input)
    }

    fn docker(&self, args: &[&str]) -> Done {
        self.docker_with(args, "")
    }

    fn build(&self, args: &[&str]) -> Done {
        self.docker(&[&["buildx", "build", "--progress=plain"][..], args].concat())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.at, name, content);
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at.join(name)).unwrap()
    }

    fn cat(&self, image: &str, script: &str) -> String {
        self.e.run(&["run", "--rm", "--network", "none", image, "sh", "-c", script]).ok()
    }
}

/// A context with something of every kind.
fn context(site: &Site) {
    site.write("ctx/a", "a\n");
    site.write("ctx/sub/b", "b\n");
    site.write("ctx/hidden", "hidden\n");
    site.write("ctx/weird ü", "weird\n");
    site.write("ctx/.dockerignore", "hidden\n*.ü\nDockerfile\n");
    std::fs::set_permissions(site.at.join("ctx/sub/b"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a", site.at.join("ctx/link")).unwrap();
    std::fs::hard_link(site.at.join("ctx/a"), site.at.join("ctx/hard")).unwrap();
    site.write("ctx/big", vec![b'x'; 3 << 20]);
    site.write("other/x", "from another context\n");
    site.write("other/left", "out\n");
    site.write("other/.dockerignore", "left\n");
    site.write("secret", "s3cr3t\n");
    site.write(
        "ctx/Dockerfile",
        "# syntax=docker/dockerfile:1\n\
         ARG BASE=busybox\n\
         FROM ${BASE} AS base\n\
         ARG V=1\n\
         RUN echo v=$V > /v\n\
         FROM base AS mid\n\
         COPY . /ctx\n\
         COPY --from=other . /other\n\
         RUN --mount=type=secret,id=tok cat /run/secrets/tok > /tok\n\
         FROM scratch AS out\n\
         COPY --from=mid /ctx /v /other/x /out/\n\
         FROM mid\n\
         LABEL a=b\n\
         CMD [\"cat\", \"/v\"]\n",
    );
}

const GIVEN: [&str; 6] =
    ["--build-context", "other=other", "--secret", "id=tok,src=secret", "--build-arg", "V=7"];

#[test]
fn a_build_with_everything() {
    let Some(site) = Site::open() else { return };
    context(&site);
    let args =
        [&GIVEN[..], &["-t", "me/one", "-t", "me/two:2", "--label", "l=v", "--iidfile", "iid"]].concat();
    let first = site.build(&[&args[..], &["ctx"]].concat());
    assert_eq!(first.code, 0, "{}", first.err);
    for said in [
        "naming to docker.io/me/one done",
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[context other] load from client",
        "[internal] load build context",
        "[base 1/2] FROM docker.io/library/busybox:latest",
        "[mid 3/3] RUN --mount=type=secret,id=tok",
        "exporting to image",
        "naming to docker.io/me/two:2 done",
    ] {
        assert!(first.err.contains(said), "{said}: {}", first.err);
    }
    assert!(!first.err.contains("CACHED") && !first.err.contains("s3cr3t"), "{}", first.err);
    let id = site.e.run(&["inspect", "--format", "{{.Id}}", "me/one"]).ok();
    assert_eq!(site.read("iid"), id);
    assert_eq!(site.e.run(&["inspect", "--format", "{{.Id}}", "me/two:2"]).ok(), id);
    let labels = site.e.run(&["inspect", "--format", "{{json .Config.Labels}}", "me/one"]).ok();
    assert_eq!(labels, r#"{"a":"b","l":"v"}"#);
    let seen = site.cat(
        "me/one",
        "cat /v /tok; cd /ctx; echo .d* *; cat link 'weird ü'; stat -c '%a %u' sub/b; wc -c < big; ls -A /other",
    );
    assert_eq!(
        seen,
        "v=7\ns3cr3t\n.dockerignore a big hard link sub weird ü\na\nweird\n755 0\n3145728\n.dockerignore\nx"
    );
    // Only what changed comes again: files whose times are old enough to tell.
    let again = site.build(&[&args[..], &["ctx", "--metadata-file", "meta"]].concat());
    assert_eq!(again.err.matches("CACHED").count(), 4, "{}", again.err);
    assert_eq!(site.read("iid"), id);
    assert!(site.read("meta").contains(&format!("\"containerimage.config.digest\": \"{id}\"")));
    // A stage's steps anew, by name.
    let anew = site.build(&[&args[..], &["--no-cache-filter", "base", "ctx"]].concat());
    assert!(anew.err.contains("[base 2/2] RUN") && anew.code == 0, "{}", anew.err);
    // The client chooses BuildKit by itself.
    let plain = site.docker(&[&["build", "-q"][..], &GIVEN, &["ctx"]].concat());
    assert_eq!(plain.clone().ok().len(), "sha256:".len() + 64, "{}", plain.err);
    let events = site.e.run(&["events", "--since", "1h", "--until", "0s", "--filter", "type=image"]).ok();
    assert!(events.contains("tag") && events.contains("me/two:2"), "{events}");
}

#[test]
fn a_directory_comes_again_as_far_as_it_changed() {
    let Some(site) = Site::open() else { return };
    site.write("ctx/Dockerfile", "FROM busybox\nCOPY . /c\n");
    site.write("ctx/big", vec![b'x'; 3 << 20]);
    site.write("ctx/small", "one");
    let touch = |name: &str, time: &str| {
        let done = run_limited(Command::new("touch").args(["-d", time]).arg(site.at.join(name)), "");
        assert_eq!(done.code, 0, "{}", done.err);
    };
    touch("ctx/big", "2020-01-01 00:00:00.123456789");
    touch("ctx/small", "2020-01-01 00:00:00.123456789");
    let build = |tag: &str| {
        let done = site.build(&["-t", tag, "ctx"]);
        assert_eq!(done.code, 0, "{}", done.err);
        done.err.lines().any(|line| line.contains("transferring context: 3.1"))
    };
    assert!(build("me/one"), "all of it comes");
    site.write("ctx/small", "two");
    assert!(!build("me/two"), "a few bytes come");
    assert_eq!(site.cat("me/two", "cat /c/small; wc -c < /c/big"), "two3145728");
    site.write("ctx/big", vec![b'y'; 3 << 20]);
    assert!(build("me/three"), "all of it comes again");
    assert_eq!(site.cat("me/three", "head -c 1 /c/big"), "y");
    std::fs::remove_file(site.at.join("ctx/big")).unwrap();
    build("me/four");
    assert_eq!(site.cat("me/four", "ls /c"), "Dockerfile\nsmall");
}

#[test]
fn results_as_files_and_archives() {
    let Some(site) = Site::open() else { return };
    context(&site);
    let output = |target: &[&str], output: &str| {
        let done = site.build(&[&GIVEN[..], target, &["--output", output, "ctx"]].concat());
        assert_eq!(done.code, 0, "{output}: {}", done.err);
    };
    output(&["--target", "out"], "type=local,dest=files");
    assert_eq!(site.read("files/out/link"), "a\n");
    assert_eq!(site.read("files/out/x"), "from another context\n");
    assert_eq!(std::fs::read(site.at.join("files/out/big")).unwrap().len(), 3 << 20);
    let mode = |name: &str| std::fs::metadata(site.at.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("files/out/sub/b"), mode("files/out/a")), (0o755, 0o644));
    assert!(std::fs::symlink_metadata(site.at.join("files/out/link")).unwrap().is_symlink());
    let inode =
        |name: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(site.at.join(name)).unwrap());
    assert_eq!(inode("files/out/hard"), inode("files/out/a"));
    output(&["--target", "out"], "type=tar,dest=files.tar");
    let listed = run_limited(Command::new("tar").arg("-tf").arg(site.at.join("files.tar")), "").ok();
    assert!(listed.lines().any(|name| name == "out/sub/b"), "{listed}");
    output(&["-t", "me/saved:1"], "type=docker,dest=docker.tar");
    assert_ne!(site.e.run(&["inspect", "me/saved:1"]).code, 0, "it is only in the archive");
    let tar = site.at.join("docker.tar").display().to_string();
    assert!(site.e.run(&["load", "-i", &tar]).ok().contains("me/saved:1"));
    assert_eq!(site.e.run(&["run", "--rm", "--network", "none", "me/saved:1"]).ok(), "v=7");
    output(&["-t", "me/saved:2"], "type=oci,dest=oci.tar");
    let listed = run_limited(Command::new("tar").arg("-tf").arg(site.at.join("oci.tar")), "").ok();
    assert!(listed.contains("oci-layout") && listed.contains("index.json"), "{listed}");
    output(&[], "type=cacheonly");
    // What the client cannot write is said.
    site.write("taken", "");
    let failed = site.build(&[&GIVEN[..], &["--output", "type=local,dest=taken/below", "ctx"]].concat());
    assert_ne!(failed.code, 0);
}

#[test]
fn what_fails_is_shown_with_its_lines() {
    let Some(site) = Site::open() else { return };
    let build = |dockerfile: &str, args: &[&str]| {
        let args = [&["buildx", "build", "--progress=plain"][..], args, &["-"]].concat();
        let done = site.docker_with(&args, dockerfile);
        assert_eq!(done.code, 1, "{dockerfile}: {}", done.err);
        done.err
    };
    let failed = build("FROM busybox\nRUN echo out; echo bad >&2; \\\n  exit 3\nRUN true\n", &[]);
    for said in [
        "[2/3] RUN echo out; echo bad >&2;   exit 3",
        "process \"/bin/sh -c echo out; echo bad >&2;   exit 3\" did not complete successfully: exit code: 3",
        "   2 | >>> RUN echo out; echo bad >&2; \\\n   3 | >>>   exit 3\n   4 |     RUN true",
        "ERROR: failed to build: failed to solve: process",
    ] {
        assert!(failed.contains(said), "{said}: {failed}");
    }
    let unknown = build("FROM busybox\nRUM true\n", &[]);
    assert!(
        unknown.contains(
            "failed to solve: dockerfile parse error on line 2: unknown instruction: RUM (did you mean RUN?)"
        ),
        "{unknown}"
    );
    assert!(unknown.contains("   2 | >>> RUM true"), "{unknown}");
    let target = build("FROM busybox\n", &["--target", "nope"]);
    assert!(target.contains("failed to solve: target stage \"nope\" could not be found"), "{target}");
    let platforms = build("FROM busybox\n", &["--platform", "linux/amd64,linux/arm64"]);
    assert!(platforms.contains("Multi-platform build is not supported for the docker driver"), "{platforms}");
    let attested = build("FROM busybox\n", &["--sbom=true"]);
    assert!(attested.contains("Attestations are not supported"), "{attested}");
    let checked = build("FROM busybox\n", &["--check"]);
    assert!(checked.contains("frontend.lint is not supported"), "{checked}");
    let cached = build("FROM busybox\n", &["--cache-to", "type=local,dest=cache"]);
    assert!(cached.contains("cache export of type local is not supported"), "{cached}");
    let secret = build("FROM busybox\nRUN --mount=type=secret,id=no,required cat /run/secrets/no\n", &[]);
    assert!(secret.contains("secret no: not found"), "{secret}");
    site.write("ctx/x", "");
    let missing = site.build(&["-f", "none", "ctx"]);
    assert!(missing.err.contains("none: no such file or directory"), "{}", missing.err);
    let (status, body) = site.e.ask("POST", "/session", "");
    assert_eq!(status, 400, "{body}");
    assert_eq!(site.e.ask("POST", "/grpc", "").0, 400);
}

#[test]
fn contexts_from_standard_input_and_questions() {
    let Some(site) = Site::open() else { return };
    context(&site);
    let mut pack = Command::new("tar");
    let packed = pack
        .arg("-C")
        .arg(site.at.join("ctx"))
        .args(["-czf", "../ctx.tgz", "."])
        .current_dir(site.at.join("ctx"));
    assert!(packed.status().unwrap().success());
    let build = "docker buildx build --progress=plain";
    let docker = site.command().unwrap().get_program().to_string_lossy().into_owned();
    let script =
        format!("{} -t me/sent {} - < ctx.tgz", build.replacen("docker", &docker, 1), GIVEN.join(" "));
    let mut shell = Command::new("sh");
    for (name, value) in site.command().unwrap().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let done = run_limited(shell.args(["-c", &script]).current_dir(&site.at), "");
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(site.cat("me/sent", "cat /ctx/a; ls /ctx/hidden 2>/dev/null | wc -l"), "a\n0");
    let listed = site.docker(&["buildx", "build", "--call=targets", "ctx"]).ok();
    assert!(listed.contains("base") && listed.contains("mid") && listed.contains("out"), "{listed}");
    let outline = site.docker(&["buildx", "build", "--call=outline", "--target", "mid", "ctx"]).ok();
    assert!(outline.contains("mid") && outline.contains("BASE") && outline.contains("tok"), "{outline}");
    // A client sends what the instructions name.
    site.write(
        "some/D",
        "FROM busybox\nCOPY su*/b link /\nRUN --mount=type=bind,source=a,target=/in cat /in\n",
    );
    let some = site.build(&["-f", "some/D", "-t", "me/some", "ctx"]);
    assert_eq!(some.code, 0, "{}", some.err);
    let sent = some.err.lines().find(|line| line.contains("transferring context:") && !line.contains("MB"));
    assert!(sent.is_some(), "3 MiB are not sent: {}", some.err);
    assert_eq!(site.cat("me/some", "cat /b /link"), "b\na");
    site.write("some/D", "FROM busybox\nRUN true\n");
    let none = site.build(&["-f", "some/D", "ctx"]);
    assert!(none.code == 0 && !none.err.contains("load build context"), "{}", none.err);
    // A Dockerfile elsewhere, with a .dockerignore of its own.
    site.write("else/D", "FROM busybox\nCOPY . /c\n");
    site.write("else/D.dockerignore", "a\n");
    site.build(&["-f", "else/D", "-t", "me/else", "ctx"]).ok();
    assert_eq!(site.cat("me/else", "cd /c; echo *"), "Dockerfile big hard hidden link sub weird ü");
}

/// Not a test: what a step runs that connects to its SSH agent. The test's own program has no libraries, so it runs anywhere.
#[test]
fn probe() {
    if std::env::var_os("WHARF_PROBE").is_none() {
        return;
    }
    let mut agent = UnixStream::connect(std::env::var_os("SSH_AUTH_SOCK").unwrap()).unwrap();
    // "Which keys are there?"
    agent.write_all(&[0, 0, 0, 1, 11]).unwrap();
    let mut answer = [0; 9];
    agent.read_exact(&mut answer).unwrap();
    println!("the agent answers {answer:?}");
}

/// An agent without keys.
fn agent(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let mut asked = [0; 5];
                while client.read_exact(&mut asked).is_ok() {
                    client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_step_reaches_the_clients_ssh_agent() {
    let Some(site) = Site::open() else { return };
    site.write("ctx/Dockerfile", "FROM busybox\nCOPY probe /probe\nRUN --mount=type=ssh WHARF_PROBE=1 /probe --exact buildkit::probe --nocapture\n");
    std::fs::copy(std::env::current_exe().unwrap(), site.at.join("ctx/probe")).unwrap();
    agent(&site.at.join("agent"));
    let done = site.build(&["--ssh", "default=agent", "ctx"]);
    assert!(done.err.contains("the agent answers [0, 0, 0, 5, 12, 0, 0, 0, 0]"), "{}", done.err);
    assert_eq!(done.code, 0, "{}", done.err);
    // A layer of the probe is big, and no other test needs it.
    site.e.run(&["image", "prune", "-f"]).ok();
}

#[test]
fn pushed_with_the_clients_credentials() {
    let Some(site) = Site::open() else { return };
    let registry = Registry::start(&site.e);
    let name = format!("{}/me/built:1", registry.address());
    site.write("ctx/Dockerfile", "FROM busybox\nRUN echo pushed > /p\n");
    let refused = site.build(&["-t", &name, "--push", "ctx"]);
    assert!(refused.code != 0 && refused.err.contains("failed to push"), "{}", refused.err);
    site.docker_with(&["login", registry.address(), "-u", "me", "--password-stdin"], "secret").ok();
    let pushed = site.build(&["-t", &name, "--push", "ctx"]);
    assert_eq!(pushed.code, 0, "{}", pushed.err);
    site.e.run(&["rmi", &name]).ok();
    // The base image's registry is asked with them, too.
    site.write("ctx/Dockerfile", format!("FROM {name}\nRUN cat /p > /q\n"));
    let built = site.build(&["-t", "me/next", "ctx"]);
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(site.cat("me/next", "cat /q"), "pushed");
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let Some(site) = Site::open() else { return };
    site.write("ctx/Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n");
    site.cat("busybox", "true");
    let before = site.e.holdings();
    let mut command = site.command().unwrap();
    let command = command.args(["buildx", "build", "--progress=plain", "ctx"]).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut lines = BufReader::new(client.stderr.take().unwrap()).lines();
    let begun = lines.by_ref().find(|line| line.as_ref().unwrap().ends_with(" begun"));
    assert!(begun.is_some());
    let pid = rustix::process::Pid::from_child(&client);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(client.wait().unwrap().code(), Some(130), "{rest:?}");
    site.e.back_to(&before);
    assert_eq!(site.e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn compose_and_bake_build_one_from_another() {
    let Some(site) = Site::open() else { return };
    site.write("svc/Dockerfile", "FROM busybox\nRUN echo base > /from\n");
    site.write(
        "compose.yaml",
        "name: bkc\n\
         services:\n\
         \x20 base:\n\
         \x20   build: ./svc\n\
         \x20   network_mode: none\n\
         \x20   command: 'true'\n\
         \x20 app:\n\
         \x20   build:\n\
         \x20     context: ./svc\n\
         \x20     additional_contexts: {basimg: 'service:base'}\n\
         \x20     args: {A: one}\n\
         \x20     secrets: [tok]\n\
         \x20     dockerfile_inline: |\n\
         \x20       FROM basimg\n\
         \x20       ARG A\n\
         \x20       RUN --mount=type=secret,id=tok cat /from /run/secrets/tok > /app; echo $$A >> /app\n\
         \x20   network_mode: none\n\
         \x20   command: cat /app\n\
         secrets: {tok: {file: secret}}\n",
    );
    site.write("secret", "s3cr3t\n");
    let built = site.docker(&["compose", "build"]);
    assert_eq!(built.code, 0, "{}{}", built.out, built.err);
    assert_eq!(site.cat("bkc-app", "cat /app"), "base\ns3cr3t\none");
    // Only `app` is started: Compose ends everything with the first container that exits, which may be `base`.
    let up = site.docker(&["compose", "up", "--build", "--no-log-prefix", "--exit-code-from", "app", "app"]);
    assert!(up.code == 0 && up.out.contains("base\ns3cr3t\none"), "{}{}", up.out, up.err);
    site.docker(&["compose", "down", "-t", "0"]).ok();
    site.write(
        "bake.json",
        r#"{"group": {"default": {"targets": ["one", "two"]}}, "target": {
            "one": {"context": "svc", "tags": ["me/one"]},
            "two": {"context": "svc", "contexts": {"basimg": "target:one"}, "tags": ["me/two"],
                    "dockerfile-inline": "FROM basimg\nRUN cat /from > /two\n"}}}"#,
    );
    let baked = site.docker(&["buildx", "bake", "--progress=plain", "-f", "bake.json"]);
    assert_eq!(baked.code, 0, "{}", baked.err);
    assert_eq!(site.cat("me/two", "cat /two"), "base");
}

#[test]
fn the_builder_describes_itself() {
    let Some(site) = Site::open() else { return };
    let shown = site.docker(&["buildx", "inspect"]).ok();
    assert!(
        shown.contains("running") && shown.contains("org.mobyproject.buildkit.worker.executor"),
        "{shown}"
    );
    site.write(
        "ctx/Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,target=/c echo x > /c/x\nCOPY big /\n",
    );
    site.write("ctx/big", vec![b'x'; 1 << 20]);
    site.build(&["ctx"]).ok();
    let used = site.docker(&["buildx", "du", "--verbose"]).ok();
    assert!(used.contains("exec.cachemount") && used.contains("cached mount /c"), "{used}");
    assert!(used.contains("local source for context"), "{used}");
    let pruned = site.docker(&["buildx", "prune", "-f"]).ok();
    assert!(pruned.contains("Total:"), "{pruned}");
    let left = site.docker(&["buildx", "du", "--verbose"]).ok();
    assert!(!left.contains("exec.cachemount") && !left.contains("source.local"), "{left}");
    site.build(&["ctx"]).ok();
    assert!(site.e.run(&["system", "df", "-v"]).ok().contains("source.local"));
    site.e.run(&["builder", "prune", "-f"]).ok();
    assert!(!site.e.run(&["system", "df", "-v"]).ok().contains("source.local"));
    eventually("an empty history", || site.docker(&["buildx", "history", "ls"]).code == 0);
}
