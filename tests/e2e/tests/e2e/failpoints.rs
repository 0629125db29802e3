//! `kill -9` of every process of ours at every step: what was acknowledged stays, what was not is undone, nothing is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wharf_e2e::{Engine, Holdings, eventually};

/// Steps of a container's life at which the engine dies.
const ENGINE: &[&str] = &[
    "create.claimed",
    "create.directory",
    "snapshot.made",
    "create.snapshot",
    "volume.recorded",
    "volume.made",
    "create.volume",
    "create.mount",
    "create.furnished",
    "create.saved",
    "records.applied",
    "start.intent",
    "start.volumes-held",
    "start.reserved",
    "start.files-written",
    "start.prepared",
    "launch.directory",
    "launch.written",
    "start.launched",
    "start.cloned",
    "network.veth",
    "network.ports-held",
    "network.published",
    "start.connected",
    "start.endpoints-kept",
    "start.record-beside",
    "start.told-to-go",
    "start.running",
    "start.kept",
    "stop.kept",
    "stop.signalled",
    "kill.wanted",
    "end.heard",
    "network.unpublished",
    "network.removed",
    "end.released",
    "end.volumes-let-go",
    "end.cleaned",
    "end.kept",
    "remove.intent",
    "remove.snapshot",
    "volume.emptied",
    "remove.volumes",
    "remove.record",
    "remove.directory",
];

/// Steps at which another process of ours dies, and the engine goes on.
const OTHERS: &[&str] = &[
    "spawner.asked",
    "spawner.passed-on",
    "monitor.begun",
    "monitor.listening",
    "monitor.cloned",
    "monitor.cgroup",
    "monitor.admitted",
    "monitor.log",
    "monitor.ready",
    "monitor.running",
    "monitor.signal",
    "monitor.ended",
    "monitor.exit-part",
    "monitor.exit-kept",
    "monitor.exit-told",
    "monitor.rest-killed",
    "monitor.traces-removed",
    "init.born",
    "init.session",
    "init.root-built",
    "init.root-entered",
    "init.ready",
    "init.let-go",
    "init.exec",
];

/// Steps of a new engine that takes over.
const RECOVERY: &[&str] = &[
    "recover.read",
    "recover.directories",
    "recover.one",
    "clean.signalled",
    "clean.cgroup",
    "recover.taken-over",
    "recover.networks",
];

/// Steps of images.
const IMAGES: &[&str] = &[
    "blob.whole",
    "blob.synced",
    "blob.named",
    "layer.begun",
    "layer.written",
    "image.layers",
    "image.config",
    "image.recorded",
    "layer.archived",
    "layer.committed",
    "layer.settled",
    "commit.layer",
    "image.forgotten",
    "layer.forgotten",
    "image.layers-dropped",
];

/// Steps of a volume's new name.
const RENAME: &[&str] = &["rename.recorded", "volume.renamed", "rename.moved", "rename.kept"];

#[test]
fn the_list_is_whole() {
    let mut found = BTreeSet::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for part in text.split("failpoint!(\"").skip(1) {
                    let name = part.split('"').next().unwrap().to_owned();
                    assert!(found.insert(name.clone()), "{name} is in two places");
                }
            }
        }
    }
    let listed: Vec<&str> = [ENGINE, OTHERS, RECOVERY, IMAGES, RENAME].concat();
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len(), "one is listed twice");
    assert_eq!(found, listed.iter().map(ToString::to_string).collect());
}

/// An engine with a container that has to outlast everything, and what there is then.
struct Bench {
    e: Engine,
    steady: String,
    before: Holdings,
    volumes: String,
}

impl Bench {
    fn new() -> Option<Self> {
        let e = Engine::start()?;
        // A binary without failpoints has nothing to try.
        e.arm("create.claimed");
        let alive = e.run(&["create", "--name", "probe", "busybox", "true"]).code == 0;
        e.disarm();
        let mut e = e;
        if alive {
            println!("skipped: the binary is a release build");
            e.run(&["rm", "probe"]).ok();
            return None;
        }
        e.await_death();
        e.launch();
        e.run(&["run", "-d", "--name", "steady", "-p", "81", "-v", "keep:/keep", "busybox", "sleep", "1000"])
            .ok();
        e.run(&["exec", "steady", "sh", "-c", "echo kept > /keep/file"]).ok();
        e.run(&["run", "--rm", "busybox", "true"]).ok();
        let steady = e.run(&["inspect", "--format", "{{.State.Pid}}", "steady"]).ok();
        let (before, volumes) = (e.holdings(), e.run(&["volume", "ls", "-q"]).ok());
        Some(Self { e, steady, before, volumes })
    }

    /// The state of container `c1`; nothing when there is none.
    fn state(&self) -> String {
        self.e.run(&["ps", "-a", "--filter", "name=^/?c1$", "--format", "{{.State}}"]).ok()
    }

    fn settled(&self, point: &str) -> String {
        let mut state = String::new();
        eventually(&format!("{point}: a state that stays"), || {
            state = self.state();
            matches!(state.as_str(), "" | "created" | "running" | "exited")
        });
        state
    }

    /// Container `c1` can be used as ever, and after its removal all is as it was.
    fn mend(&self, point: &str) {
        let e = &self.e;
        match self.settled(point).as_str() {
            "" => drop(e.run(&CREATE).ok()),
            "running" => drop(e.run(&["stop", "-t", "0", "c1"]).ok()),
            _ => {}
        }
        e.run(&["start", "c1"]).ok();
        assert_eq!(e.run(&["exec", "c1", "cat", "/keep/file"]).ok(), "kept", "{point}");
        e.run(&["rm", "-f", "-v", "c1"]).ok();
        e.run(&["volume", "rm", "-f", "named"]).ok();
        self.check(point);
    }

    fn check(&self, point: &str) {
        let e = &self.e;
        println!("{point}: check");
        e.back_to(&self.before);
        assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), self.volumes, "{point}");
        let pid = e.run(&["inspect", "--format", "{{.State.Pid}}", "steady"]).ok();
        assert_eq!(pid, self.steady, "{point}: the container beside it was touched");
    }
}

const CREATE: [&str; 14] = [
    "create",
    "--name",
    "c1",
    "-p",
    "80",
    "-v",
    "named:/named",
    "-v",
    "/anonymous",
    "-v",
    "keep:/keep",
    "busybox",
    "sleep",
    "1000",
];

/// A container's life; each command with the state that it has acknowledged when it ends well.
const LIFE: [(&[&str], &str); 4] = [
    (&CREATE, "created"),
    (&["start", "c1"], "running"),
    (&["stop", "-t", "0", "c1"], "exited"),
    (&["rm", "-v", "c1"], ""),
];

/// Goes through the life until the armed step is reached. Returns the state that was acknowledged, and whether the
/// next command was under way.
fn live_until(b: &Bench, point: &str) -> (&'static str, bool) {
    let mut acknowledged = "";
    for (command, state) in LIFE {
        let done = b.e.run(command);
        if done.code != 0 {
            assert!(!done.err.trim().is_empty(), "{point}: no word why");
            assert!(!b.e.is_armed() || point.starts_with("init."), "{point}: {}", done.err);
            return (acknowledged, true);
        }
        acknowledged = state;
        if state == "running" && point.starts_with("init.") {
            // Between its last word and the program nobody can tell its death from the program's.
            eventually(point, || b.state() == "exited");
            let code = b.e.run(&["inspect", "--format", "{{.State.ExitCode}}", "c1"]).ok();
            // The first process of a namespace cannot send itself SIGKILL, but SIGSEGV it dies of.
            assert!(code == "137" || code == "139", "{point}: {code}");
            return (acknowledged, false);
        }
        // What is done behind the caller's back is soon after, or with the next command.
        if !b.e.is_armed() {
            return (acknowledged, false);
        }
    }
    eventually(&format!("{point} is reached"), || !b.e.is_armed());
    (acknowledged, false)
}

#[test]
fn the_engine_dies_at_each_step() {
    let Some(mut b) = Bench::new() else { return };
    for point in ENGINE {
        b.e.arm(point);
        let (acknowledged, under_way) = live_until(&b, point);
        b.e.await_death();
        b.e.launch();
        let state = b.settled(point);
        let next = LIFE.iter().position(|(_, s)| *s == acknowledged).map_or(0, |n| (n + 1) % LIFE.len());
        let may_be: Vec<&str> = match (acknowledged, under_way) {
            // A start that was under way and broken off has ended.
            ("created", true) => vec!["created", "running", "exited"],
            ("", true) if !point.starts_with("remove") => vec!["", "created"],
            (_, true) => vec![acknowledged, LIFE[next].1],
            (_, false) => vec![acknowledged],
        };
        assert!(
            may_be.contains(&state.as_str()),
            "{point}: {state:?} after {acknowledged:?} was acknowledged"
        );
        if state == "exited" && acknowledged == "created" {
            let why = b.e.run(&["inspect", "--format", "{{.State.Error}}", "c1"]).ok();
            assert!(!why.is_empty(), "{point}: no word why it does not run");
        }
        b.mend(point);
    }
}

#[test]
fn spawner_monitor_and_init_die_at_each_step() {
    let Some(b) = Bench::new() else { return };
    for point in OTHERS {
        b.e.arm(point);
        live_until(&b, point);
        b.e.disarm();
        b.mend(point);
    }
}

#[test]
fn the_engine_dies_at_each_step_of_taking_over() {
    let Some(mut b) = Bench::new() else { return };
    for point in RECOVERY {
        b.e.run(&CREATE).ok();
        b.e.run(&["start", "c1"]).ok();
        let monitor = b.e.monitor_of("c1");
        b.e.kill();
        rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
        b.e.arm(point);
        assert!(!b.e.try_launch(), "{point} is not reached");
        assert!(!b.e.is_armed(), "{point}: {}", b.e.log());
        b.e.launch();
        assert_eq!(b.settled(point), "exited", "{point}");
        b.mend(point);
    }
}

#[test]
fn the_engine_dies_at_each_step_of_an_image() {
    let Some(mut b) = Bench::new() else { return };
    b.e.run(&["create", "--name", "base", "busybox", "true"]).ok();
    let tar = b.e.path("busybox.tar").display().to_string();
    b.e.run(&["cp", &tar, "base:/more"]).ok();
    let other = other_tree(&b.e);
    let context = b.e.path("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN echo built > /built\n").unwrap();
    let context = context.display().to_string();
    let life: [&[&str]; 6] = [
        &["import", &other, "second"],
        &["commit", "base", "third"],
        &["build", "--no-cache", "-t", "fourth", &context],
        &["rmi", "second"],
        &["rmi", "third"],
        &["rmi", "fourth"],
    ];
    let before = (b.e.holdings(), b.e.files_below("data/content"));
    // Unpacked layers have no tar to become.
    let unpacked = b.e.run(&["info"]).ok().contains("Layers: unpacked");
    for point in IMAGES.iter().filter(|point| !unpacked || **point != "layer.settled") {
        b.e.arm(point);
        let mut acknowledged = 0;
        for command in life {
            if b.e.run(command).code != 0 || !b.e.is_armed() {
                break;
            }
            acknowledged += 1;
        }
        eventually(&format!("{point} is reached"), || !b.e.is_armed());
        b.e.await_death();
        b.e.launch();
        let images = b.e.run(&["images", "--format", "{{.Repository}}"]).ok();
        let has = |name: &str| images.lines().any(|l| l == name);
        assert!(has("busybox"), "{point}: {images}");
        for (name, made, gone) in [("second", 1, 3), ("third", 2, 4), ("fourth", 3, 5)] {
            assert!(has(name) || !(made..gone).contains(&acknowledged), "{point}: {name} is lost: {images}");
        }
        for name in ["second", "third", "fourth"] {
            b.e.run(&["rmi", name]);
        }
        for command in life {
            b.e.run(command).ok();
        }
        b.e.run(&["image", "prune", "-f"]).ok();
        println!("{point}: check");
        eventually(&format!("{point}: no blob is left"), || b.e.files_below("data/content") == before.1);
        b.e.back_to(&before.0);
        assert_eq!(b.e.run(&["start", "-a", "base"]).code, 0, "{point}");
    }
    b.e.run(&["rm", "base"]).ok();
}

#[test]
fn the_engine_dies_at_each_step_of_a_rename() {
    let Some(mut b) = Bench::new() else { return };
    let create = ["volume", "create", "--label", "a=b", "old"];
    let content = |e: &Engine, name: &str, script: &str| {
        let mount = format!("{name}:/v");
        e.run(&["run", "--rm", "--network", "none", "-v", &mount, "busybox", "sh", "-c", script]).ok()
    };
    for point in RENAME {
        b.e.run(&create).ok();
        content(&b.e, "old", "echo kept > /v/file");
        b.e.arm(point);
        // Its record says so from the first step on, so that it has the new name in any case.
        assert_ne!(b.e.run(&["volume", "rename", "old", "new"]).code, 0, "{point} is not reached");
        b.e.await_death();
        assert!(!b.e.is_armed(), "{point}");
        b.e.launch();
        let shown = b.e.run(&["volume", "ls", "--filter", "label=a=b", "--format", "{{.Name}} {{.Labels}}"]);
        assert_eq!(shown.ok(), "new a=b", "{point}");
        assert_eq!(content(&b.e, "new", "cat /v/file; echo more >> /v/file"), "kept", "{point}");
        let directories = std::fs::read_dir(b.e.path("data/volumes/volumes")).unwrap().flatten();
        let names = directories.map(|d| d.file_name().into_string().unwrap());
        assert_eq!(names.filter(|n| n == "old" || n == "new").collect::<Vec<_>>(), ["new"], "{point}");
        // The old name is free again, and what comes to have it is another one.
        b.e.run(&create).ok();
        assert_eq!(content(&b.e, "old", "ls /v"), "", "{point}");
        b.e.run(&["volume", "rm", "old", "new"]).ok();
    }
}

/// A small tree that is no image's yet.
fn other_tree(e: &Engine) -> String {
    let (tree, tar) = (e.path("tree"), e.path("tree.tar"));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("file"), "content").unwrap();
    let mut pack = std::process::Command::new("tar");
    assert!(pack.arg("-C").arg(&tree).arg("-cf").arg(&tar).arg(".").status().unwrap().success());
    tar.display().to_string()
}
