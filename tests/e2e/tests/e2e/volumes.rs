//! Volumes with options of the local driver.

use wharf_e2e::{Engine, eventually};

fn create(e: &Engine, name: &str, options: &[&str]) -> wharf_e2e::Done {
    let options: Vec<&str> = options.iter().flat_map(|o| ["--opt", o]).collect();
    e.run(&[&["volume", "create"][..], &options, &[name]].concat())
}

fn is_mounted(e: &Engine, name: &str) -> bool {
    let path = e.path("data/volumes/volumes").join(name).join("_data");
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap())
}

#[test]
fn a_directory_of_the_host() {
    let Some(e) = Engine::start() else { return };
    let directory = e.path("shared");
    let device = format!("device={}", directory.display());
    create(&e, "v1", &["type=none", "o=bind", &device]).ok();
    let run =
        ["run", "--rm", "--network", "none", "-v", "v1:/data", "busybox", "sh", "-c", "echo hi > /data/x"];
    let done = e.run(&run);
    assert!(done.err.contains("failed to mount local volume"), "{}", done.err);
    std::fs::create_dir(&directory).unwrap();
    e.run(&run).ok();
    assert_eq!(std::fs::read_to_string(directory.join("x")).unwrap(), "hi\n");
    assert!(e.run(&["volume", "inspect", "v1"]).ok().contains("\"o\": \"bind\""));
    e.run(&["volume", "rm", "v1"]).ok();
    assert!(directory.join("x").exists(), "what the host has stays");
}

#[test]
fn memory_is_shared_while_somebody_runs() {
    let Some(mut e) = Engine::start() else { return };
    create(&e, "v1", &["type=tmpfs", "device=tmpfs", "o=size=1m,uid=7,nosuid"]).ok();
    assert!(!is_mounted(&e, "v1"));
    for name in ["c1", "c2"] {
        let head = ["run", "-d", "--name", name, "--network", "none", "-v", "v1:/data"];
        e.run(&[&head[..], &["busybox", "sleep", "1000"]].concat()).ok();
    }
    e.run(&["exec", "c1", "sh", "-c", "echo hi > /data/x"]).ok();
    assert_eq!(e.run(&["exec", "c2", "cat", "/data/x"]).ok(), "hi");
    assert_eq!(e.run(&["exec", "c2", "stat", "-c", "%u", "/data"]).ok(), "7");
    let done = e.run(&["exec", "c1", "dd", "if=/dev/zero", "of=/data/y", "bs=1M", "count=2"]);
    assert!(done.err.contains("No space left"), "{}", done.err);
    // Another engine process knows who holds it.
    e.kill();
    e.launch();
    e.run(&["stop", "-t", "0", "c1"]).ok();
    assert!(is_mounted(&e, "v1"));
    assert_eq!(e.run(&["exec", "c2", "cat", "/data/x"]).ok(), "hi");
    // Ended while no engine runs: the next one unmounts it.
    let pid = e.run(&["inspect", "--format", "{{.State.Pid}}", "c2"]).ok().parse().unwrap();
    e.kill();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    e.launch();
    eventually("the unmount", || !is_mounted(&e, "v1"));
    e.run(&["rm", "-f", "c1", "c2"]).ok();
    e.run(&["volume", "rm", "v1"]).ok();
}

#[test]
fn options_are_checked() {
    let Some(e) = Engine::start() else { return };
    for (options, text) in [
        (&["colour=red"][..], "invalid option: \"colour\""),
        (&["type=tmpfs"], "missing required option: \"device\""),
        (&["device=/x"], "missing required option: \"type\""),
        (&["type=none", "o=bind", "device=x"], "an absolute path is expected"),
        (&["size=1m"], "no quota support"),
        (&["type=nfs", "device=:/x", "o=addr=no.such.host.invalid"], "error resolving no.such.host.invalid"),
    ] {
        let done = create(&e, "v1", options);
        assert!(done.code != 0 && done.err.contains(text), "{options:?}: {}", done.err);
    }
    create(&e, "v2", &["type=nosuchfs", "device=none"]).ok();
    let done = e.run(&["run", "--rm", "--network", "none", "-v", "v2:/data", "busybox", "true"]);
    assert!(
        done.err.contains("error while mounting volume") && done.err.contains("No such device"),
        "{}",
        done.err
    );
}
