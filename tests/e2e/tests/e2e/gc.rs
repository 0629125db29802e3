//! Garbage collection by a policy of the configuration file.

use std::path::Path;
use wharf_e2e::{Disk, Engine, binary, eventually};

fn config(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

fn start(file: &Path) -> Option<Engine> {
    Engine::start_with(&["--config-file", file.to_str().unwrap()])
}

/// An image of its own on busybox, named or not.
fn image(e: &Engine, name: &str, content: &str) {
    let script = format!("echo {content} > /content");
    e.run(&["run", "--name", "maker", "--network", "none", "busybox", "sh", "-c", &script]).ok();
    e.run(
        &[&["commit", "maker"][..], if name.is_empty() { &[] } else { std::slice::from_ref(&name) }].concat(),
    )
    .ok();
    e.run(&["rm", "maker"]).ok();
}

fn images(e: &Engine) -> Vec<String> {
    let shown = e.run(&["images", "--format", "{{.Repository}}"]).ok();
    let mut names: Vec<String> = shown.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn hang_up(e: &Engine) {
    let pid = rustix::process::Pid::from_raw(e.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

#[test]
fn what_is_unused_goes_on_request() {
    let file = config(
        r#"{"gc": {"images": {"unused-for": "1s"}, "containers": {"exited-for": "1s", "keep-labels": ["keep"]},
            "volumes": {"anonymous-unused-for": "1s"}, "keep": ["busybox*", "label=precious"]}}"#,
    );
    let Some(e) = start(file.path()) else { return };
    assert!(e.run(&["info"]).ok().contains("Removes: images unused for 1s"));
    image(&e, "old", "old");
    image(&e, "", "unnamed");
    image(&e, "used", "used");
    e.run(&["run", "--name", "ended", "--network", "none", "busybox", "true"]).ok();
    e.run(&["run", "--name", "kept", "--label", "keep=1", "--network", "none", "busybox", "true"]).ok();
    e.run(&["run", "-d", "--name", "runs", "--network", "none", "-v", "/data", "used", "sleep", "1000"]).ok();
    e.run(&["create", "--name", "anonymous", "-v", "/data", "busybox", "true"]).ok();
    e.run(&["rm", "anonymous"]).ok();
    e.run(&["volume", "create", "named"]).ok();
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok().lines().count(), 3);
    let both = e.run(&["system", "prune", "--gc", "-a", "-f"]);
    assert!(both.code == 1 && both.err.contains("conflicting options"), "{}", both.err);
    eventually("everything unused goes", || {
        e.run(&["system", "prune", "--gc", "-f"]).ok();
        let volumes = e.run(&["volume", "ls", "-q"]).ok();
        images(&e) == ["busybox", "used"]
            && volumes.lines().count() == 2
            && e.run(&["ps", "-aq"]).ok().lines().count() == 2
    });
    assert_eq!(e.run(&["ps", "-a", "--format", "{{.Names}}"]).ok(), "runs\nkept");
    assert_eq!(e.run(&["exec", "runs", "cat", "/content"]).ok(), "used");
    assert!(e.log().contains("garbage collection freed"));
    // The time that ends the list is one of whole seconds.
    eventually("the event is told", || {
        e.run(&["events", "--since", "1h", "--until", "0s", "--filter", "event=gc"])
            .ok()
            .contains("daemon gc")
    });
}

#[test]
fn it_runs_by_itself_from_the_next_reload_on() {
    let file = config("{}");
    let Some(e) = start(file.path()) else { return };
    let none = e.run(&["system", "prune", "--gc", "-f"]);
    assert!(none.code == 1 && none.err.contains("no rule"), "{}", none.err);
    image(&e, "old", "old");
    let rules = r#"{"labels": ["tier=test"], "gc": {"enabled": true, "interval": "1s", "images": {"unused-for": "1s"}, "keep": ["busybox"]}}"#;
    std::fs::write(&file, rules).unwrap();
    hang_up(&e);
    eventually("the old image goes", || images(&e) == ["busybox"]);
    let info = e.run(&["info", "--format", "{{.Labels}} {{.GarbageCollection.Enabled}}"]).ok();
    assert_eq!(info, "[tier=test] true");
    std::fs::write(&file, r#"{"gc": {"imagse": {}}}"#).unwrap();
    hang_up(&e);
    eventually("the refusal is logged", || e.log().contains("gc.imagse (the nearest there is: gc.images)"));
    assert_eq!(e.run(&["info", "--format", "{{.GarbageCollection.Enabled}}"]).ok(), "true");
}

#[test]
fn little_storage_takes_the_longest_unused() {
    let file = config(r#"{"gc": {"keep-storage": 1, "grace": "0s", "keep": ["busybox"]}}"#);
    let Some(mut e) = start(file.path()) else { return };
    image(&e, "a", "a");
    image(&e, "b", "b");
    e.run(&["create", "--name", "c1", "a", "true"]).ok();
    // Deeper than what was noted in memory: the next process must not think that all is old.
    e.kill();
    e.launch();
    e.run(&["system", "prune", "--gc", "-f"]).ok();
    assert_eq!(images(&e), ["a", "busybox"]);
    e.run(&["start", "-a", "c1"]).ok();
}

#[test]
fn who_creates_a_container_meanwhile_has_its_image() {
    let file = config(r#"{"gc": {"images": {"unused-for": "0s"}, "keep": ["busybox"]}}"#);
    let Some(e) = start(file.path()) else { return };
    let mut made = 0;
    for round in 0..12 {
        let name = format!("image{round}");
        image(&e, &name, &name);
        std::thread::scope(|scope| {
            let collect = scope.spawn(|| e.run(&["system", "prune", "--gc", "-f"]));
            let done = e.run(&[
                "create",
                "--pull",
                "never",
                "--name",
                &name,
                "--network",
                "none",
                &name,
                "cat",
                "/content",
            ]);
            collect.join().unwrap().ok();
            if done.code == 0 {
                made += 1;
                assert_eq!(e.run(&["start", "-a", &name]).ok(), name);
            } else {
                assert!(done.err.contains("No such image"), "{}", done.err);
            }
        });
    }
    println!("{made} of 12 were created");
}

#[test]
fn a_wrong_file_is_refused_at_the_start() {
    for (text, flags, said) in [
        (
            r#"{"hosts": ["unix:///x"]}"#,
            &["-H", "unix:///y"][..],
            "both as a flag and in the configuration file: hosts",
        ),
        (r#"{"data_root": "/x"}"#, &[], "don't match any configuration option: data_root"),
        (r#"{"gc": {"enabled": true}}"#, &[], "without a rule"),
        ("{", &[], "JSON"),
    ] {
        let file = config(text);
        let mut command = std::process::Command::new(binary());
        let done = command.args(["daemon", "--config-file"]).arg(file.path()).args(flags).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && err.contains(said), "{err}");
    }
    let done = std::process::Command::new(binary())
        .args(["daemon", "--config-file", "/no/such/file"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&done.stderr).contains("No such file"));
}

#[test]
fn a_full_disk_takes_the_longest_unused_until_it_is_full_no_more() {
    let file = config(r#"{"gc": {"max-used-percent": 50, "grace": "0s", "keep": ["busybox"]}}"#);
    let flags = ["--config-file", file.path().to_str().unwrap()];
    let Some(e) = Engine::start_on_disk(&flags, &Disk::Memory("size=128m")) else { return };
    let data = e.path("data");
    let used_percent = || {
        let disk = rustix::fs::statvfs(&data).unwrap();
        100 - disk.f_bfree * 100 / disk.f_blocks
    };
    let big = |name: &str| {
        let script = "dd if=/dev/urandom of=/content bs=1M count=8 2>/dev/null";
        e.run(&["run", "--name", "maker", "--network", "none", "busybox", "sh", "-c", script]).ok();
        e.run(&["commit", "maker", name]).ok();
        e.run(&["rm", "maker"]).ok();
    };
    big("a");
    e.run(&["system", "prune", "--gc", "-f"]).ok();
    assert_eq!(images(&e), ["a", "busybox"], "{} % are used", used_percent());
    e.run(&["create", "--name", "user", "--network", "none", "a", "true"]).ok();
    let mut names = vec!["a"];
    // How much an image takes depends on how layers are stored.
    for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
        if used_percent() > 55 {
            break;
        }
        big(name);
        names.push(name);
    }
    assert!(used_percent() > 55 && names.len() > 3, "{names:?}: {} %", used_percent());
    e.run(&["system", "prune", "--gc", "-f"]).ok();
    eventually("there is room", || used_percent() <= 50);
    let left = images(&e);
    let newest = *names.last().unwrap();
    assert!(left.contains(&newest.to_owned()) && left.contains(&"a".to_owned()), "{left:?}");
    assert!(!left.contains(&"b".to_owned()), "{left:?}");
    assert_eq!(e.run(&["start", "-a", "user"]).code, 0);
}
