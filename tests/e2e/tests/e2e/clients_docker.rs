//! Docker's own client over every group of its commands, on our engine or, as the other clients, on the one that is named.

use crate::clients::Tested;
use std::path::Path;
use wharf_e2e::{Done, docker_for, eventually, run_limited};

/// Docker's client of one engine, with a configuration and files of its own.
struct Client {
    tested: Tested,
    directory: tempfile::TempDir,
}

impl Client {
    fn get() -> Option<Self> {
        let client = Self { tested: Tested::get()?, directory: tempfile::tempdir().unwrap() };
        if docker_for(&client.tested.host(), client.directory.path()).is_none() {
            println!("skipped: there is no docker client on this host (DOCKER_BIN names one)");
            return None;
        }
        Some(client)
    }

    fn input(&self, args: &[&str], input: &str) -> Done {
        run_limited(docker_for(&self.tested.host(), self.directory.path()).unwrap().args(args), input)
    }

    fn run(&self, args: &[&str]) -> Done {
        self.input(args, "")
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        self.words(&line.split(' ').collect::<Vec<_>>())
    }

    #[track_caller]
    fn words(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "{args:?}: {}{}", done.out, done.err);
        done.out.trim_end().to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

#[test]
fn containers_with_dockers_client() {
    let Some(d) = Client::get() else { return };
    for (script, code) in [("exit 0", 0), ("exit 5", 5)] {
        assert_eq!(d.run(&["run", "--rm", "busybox", "sh", "-c", script]).code, code, "{script}");
    }
    assert_eq!(d.run(&["run", "--rm", "busybox", "nope"]).code, 127);
    assert_eq!(d.run(&["run", "--rm", "busybox", "/etc"]).code, 126);
    assert_eq!(d.run(&["run", "--rm", "absent.invalid/none", "true"]).code, 125);
    assert_eq!(d.input(&["run", "--rm", "-i", "busybox", "cat"], "through").out, "through");
    let script = "echo one; echo two >&2; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done";
    d.words(&[
        "run",
        "-d",
        "--name",
        "k1",
        "-p",
        "127.0.0.1::80",
        "--label",
        "k=v",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    eventually("its lines", || d.run(&["logs", "k1"]).err == "two\n");
    assert_eq!(d.run(&["logs", "k1"]).out, "one\n");
    assert_eq!(d.run(&["logs", "--tail", "0", "k1"]).out, "");
    assert!(d.run(&["logs", "-t", "k1"]).out.contains("Z one"));
    assert!(d.ok("port k1 80").starts_with("127.0.0.1:"));
    assert_eq!(d.ok("ps --filter label=k=v --format {{.Names}}|{{.State}}"), "k1|running");
    assert_eq!(d.ok("ps -q --filter name=nobody"), "");
    assert_eq!(
        d.input(
            &[
                "exec",
                "-i",
                "-e",
                "A=b",
                "-w",
                "/tmp",
                "-u",
                "7:8",
                "k1",
                "sh",
                "-c",
                "echo $A $PWD $(id -u):$(id -g); cat"
            ],
            "in"
        )
        .out,
        "b /tmp 7:8\nin"
    );
    assert_eq!(d.run(&["exec", "k1", "sh", "-c", "exit 9"]).code, 9);
    assert!(d.ok("top k1").contains("sleep 0.1") || d.ok("top k1").contains("trap"));
    assert_eq!(d.ok("stats --no-stream --format {{.Name}} k1"), "k1");
    d.ok("pause k1");
    assert_eq!(d.ok("inspect -f {{.State.Status}} k1"), "paused");
    assert!(d.run(&["exec", "k1", "true"]).err.contains("is paused, unpause the container before exec"));
    d.ok("unpause k1");
    d.ok("update --memory 64m --memory-swap 64m --pids-limit 50 k1");
    assert_eq!(d.ok("inspect -f {{.HostConfig.Memory}} k1"), "67108864");
    let there = d.file("there", "copied");
    d.words(&["cp", "-q", &there, "k1:/there"]);
    let back = d.directory.path().join("back").display().to_string();
    d.words(&["cp", "-q", "k1:/there", &back]);
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "copied");
    assert_eq!(d.ok("diff k1"), "A /there");
    d.ok("rename k1 k2");
    d.ok("stop k2");
    assert_eq!(d.ok("wait k2"), "3");
    assert!(d.run(&["logs", "k2"]).out.ends_with("bye\n"));
    assert!(d.ok("ps -a --filter name=k2 --format {{.Status}}").starts_with("Exited (3)"));
    let exported = d.directory.path().join("k2.tar").display().to_string();
    d.words(&["export", "-o", &exported, "k2"]);
    assert!(Path::new(&exported).metadata().unwrap().len() > 100_000);
    d.ok("start k2");
    d.ok("restart -t 0 k2");
    d.ok("kill k2");
    assert_eq!(d.ok("wait k2"), "137");
    d.ok("rm k2");
    assert!(d.run(&["inspect", "k2"]).err.contains("No such object: k2"));
    d.ok("create --name k3 busybox echo attached");
    assert_eq!(d.run(&["start", "-a", "k3"]).out, "attached\n");
    assert_eq!(d.ok("container prune -f --filter label=nobody"), "Total reclaimed space: 0B");
    assert!(
        d.run(&["run", "--name", "k3", "busybox", "true"])
            .err
            .contains("Conflict. The container name \"/k3\" is already in use")
    );
    d.ok("rm -f k3");
}

#[test]
fn networks_and_volumes_with_dockers_client() {
    let Some(d) = Client::get() else { return };
    d.ok("network create --label k=v --subnet 10.199.77.0/24 kn");
    assert_eq!(
        d.ok("network ls --filter label=k=v --format {{.Name}}|{{.Driver}}|{{.Scope}}"),
        "kn|bridge|local"
    );
    d.words(&[
        "run",
        "-d",
        "--name",
        "ks",
        "--network",
        "kn",
        "--network-alias",
        "served",
        "busybox",
        "sh",
        "-c",
        "echo page > /index.html; exec httpd -f -h /",
    ]);
    let page = |line: &str| d.run(&line.split(' ').collect::<Vec<_>>()).out;
    eventually("the page", || page("run --rm --network kn busybox wget -qO- http://served/") == "page\n");
    d.ok("run -d --name kc busybox sleep 1000");
    d.ok("network connect --ip 10.199.77.77 kn kc");
    assert_eq!(page("exec kc wget -qO- http://ks/"), "page\n");
    assert!(d.ok("network inspect kn").contains("10.199.77.77/24"));
    assert!(d.run(&["network", "rm", "kn"]).err.contains("has active endpoints"));
    d.ok("network disconnect kn kc");
    assert_ne!(d.run(&["exec", "kc", "nc", "-w", "1", "ks", "80"]).code, 0);
    d.ok("rm -f kc ks");
    assert!(d.ok("network prune -f --filter label=k=v").contains("kn"));
    d.ok("volume create --label k=v kv");
    d.words(&[
        "run",
        "--rm",
        "-v",
        "kv:/bin/applets",
        "-v",
        "kv2:/etc",
        "busybox",
        "sh",
        "-c",
        "echo kept > /bin/applets/f",
    ]);
    assert_eq!(page("run --rm -v kv:/v:ro busybox cat /v/f"), "kept\n");
    assert!(
        page("run --rm -v kv2:/v busybox cat /v/passwd").starts_with("root:"),
        "the image's content was copied"
    );
    assert_eq!(d.run(&["run", "--rm", "-v", "kv:/v:ro", "busybox", "touch", "/v/g"]).code, 1);
    assert_eq!(d.ok("volume ls -q --filter label=k=v"), "kv");
    assert_eq!(d.ok("volume inspect -f {{.Driver}} kv"), "local");
    d.ok("create --name kc -v kv:/v busybox true");
    assert!(d.run(&["volume", "rm", "kv"]).err.contains("volume is in use"));
    d.ok("rm kc");
    assert!(d.ok("volume prune -a -f --filter label=k=v").contains("kv"));
    d.ok("volume rm kv2");
}

#[test]
fn images_and_the_system_with_dockers_client() {
    let Some(d) = Client::get() else { return };
    let began = d.ok("info -f {{.SystemTime}}");
    let context = d.directory.path().join("context");
    std::fs::create_dir(&context).unwrap();
    let text = "FROM busybox\nARG A=1\nRUN echo $A > /built\nENV E=e\nLABEL k=v\nUSER 7\nWORKDIR /w\nCMD [\"sh\", \"-c\", \"cat /built; echo $E $PWD $(id -u)\"]\n";
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    d.words(&["build", "-q", "-t", "ki:1", "--build-arg", "A=2", &context.display().to_string()]);
    assert_eq!(d.ok("run --rm ki:1"), "2\ne /w 7");
    d.ok("tag ki:1 ki:2");
    assert_eq!(d.ok("images -q --filter label=k=v").lines().count(), 2);
    assert!(d.ok("history --format {{.CreatedBy}} --no-trunc ki:1").contains("echo $A > /built"));
    assert_eq!(d.ok("image inspect -f {{.Config.User}}|{{.Config.WorkingDir}} ki:1"), "7|/w");
    let saved = d.directory.path().join("saved.tar").display().to_string();
    d.words(&["save", "-o", &saved, "ki:1", "ki:2"]);
    assert!(d.ok("rmi ki:1 ki:2").contains("Untagged: ki:1"));
    assert!(d.words(&["load", "-i", &saved]).contains("Loaded image: ki:1"));
    d.ok("create --name kx ki:1");
    assert!(d.run(&["rmi", "ki:1", "ki:2"]).err.contains("conflict: unable to"), "a container uses it");
    d.words(&["commit", "-c", "ENV E=changed", "-m", "said", "kx", "ki:3"]);
    assert_eq!(d.ok("run --rm ki:3"), "2\nchanged /w 7");
    d.ok("rm kx");
    d.ok("rmi -f ki:1 ki:2 ki:3");
    assert!(d.run(&["run", "--pull", "never", "ki:1"]).err.contains("No such image: ki:1"));
    let until = d.ok("info -f {{.SystemTime}}");
    let events = d.words(&[
        "events",
        "--since",
        &began,
        "--until",
        &until,
        "--filter",
        "type=container",
        "--format",
        "{{.Action}}",
    ]);
    for action in ["create", "start", "die", "destroy", "commit"] {
        assert!(events.lines().any(|line| line == action), "{action}: {events}");
    }
    assert_eq!(d.ok("version -f {{.Server.APIVersion}}"), "1.51");
    assert!(d.ok("system df --format {{.Type}}").starts_with("Images\nContainers\nLocal Volumes"));
    assert!(d.run(&["login", "-u", "me", "-p", "x", "127.0.0.1:1"]).err.contains("onnection refused"));
    for (line, said) in [("node ls", "swarm manager"), ("service ls", "swarm manager"), ("plugin ls -q", "")]
    {
        assert!(d.run(&line.split(' ').collect::<Vec<_>>()).err.contains(said), "{line}");
    }
}

/// What is told of each, in the order of a stop: a stop is told after the end by our engine, at the same time by Docker.
#[test]
fn events_with_dockers_client() {
    let Some(d) = Client::get() else { return };
    let began = d.ok("info -f {{.SystemTime}}");
    d.ok("volume create kv");
    d.ok("run -d --name ke -v kv:/v --label k=v busybox sleep 1000");
    d.ok("exec ke true");
    d.ok("top ke");
    let file = d.file("file", "copied");
    d.words(&["cp", "-q", &file, "ke:/file"]);
    d.words(&["cp", "-q", "ke:/file", &file]);
    d.ok("commit -m said ke kei");
    d.words(&["export", "-o", &file, "ke"]);
    d.ok("restart -t 0 ke");
    d.ok("stop -t 0 ke");
    d.ok("rm ke");
    d.ok("volume rm kv");
    d.ok("tag kei kei:2");
    d.words(&["save", "-o", &file, "kei:2"]);
    d.ok("rmi kei:2 kei");
    let until = d.ok("info -f {{.SystemTime}}");
    let events = |filter: &str, format: &str| {
        let mut words = vec!["events", "--since", &began, "--until", &until, "--format", format];
        filter.split(' ').for_each(|one| words.extend(["--filter", one]));
        let mut lines: Vec<String> = d.words(&words).lines().map(|line| line.trim_end().to_owned()).collect();
        lines.sort();
        lines.join("|")
    };
    let stops = ["die", "stop"].map(|action| events(&format!("container=ke event={action}"), "{{.Action}}"));
    assert_eq!(stops, ["die|die", "stop|stop"]);
    let once = "archive-path|commit|create|destroy|exec_create: true|exec_start: true|export|extract-to-dir|restart|top";
    let told = events("container=ke type=container", "{{.Action}}");
    for action in once.split('|') {
        assert_eq!(told.split('|').filter(|line| *line == action).count(), 1, "{action}: {told}");
    }
    let attributes = |name: &str| format!("{{{{index .Actor.Attributes \"{name}\"}}}}");
    let commit = ["comment", "imageRef", "name", "k"].map(attributes).join(" ");
    assert_eq!(events("event=commit label=k=v", &commit), "said kei:latest ke v");
    let volume =
        format!("{{{{.Action}}}} {}", ["destination", "read/write", "driver"].map(attributes).join(" "));
    // Docker mounts it for each copy as well.
    let mut told: Vec<_> = events("volume=kv", &volume).split('|').map(str::to_owned).collect();
    told.dedup();
    assert_eq!(told, ["create   local", "destroy   local", "mount /v true local", "unmount   local"]);
    let named = format!("{{{{.Action}}}} {} {}", attributes("name"), attributes("k"));
    let image = events("type=image label=k=v", &named);
    assert!(
        image.contains("tag kei:2 v|tag kei:latest v|untag sha256:") && image.contains("save sha256:"),
        "{image}"
    );
    assert!(!events("image=busybox type=container", "{{.Action}}").is_empty());
    assert_eq!(events("scope=swarm", "{{.Action}}"), "");
}
