//! Devices by path, by rule and by name.

use wharf_e2e::Engine;

#[test]
fn by_name() {
    let directory = tempfile::tempdir().unwrap();
    let text = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/net", "containerEdits": {"env": ["CDI_ALL=1"]}, "devices": [
        {"name": "one", "containerEdits": {"env": ["CDI_ENV=one"],
            "deviceNodes": [{"path": "/dev/cdi0", "hostPath": "/dev/zero", "permissions": "rw", "uid": 33, "gid": 44}],
            "mounts": [{"hostPath": "DIR", "containerPath": "/cdi", "options": ["ro", "nosuid", "rbind"]}]}},
        {"name": "two", "containerEdits": {"env": ["CDI_TWO=2"]}}]}"#;
    let path = directory.path().display().to_string();
    std::fs::write(directory.path().join("v.json"), text.replace("DIR", &path)).unwrap();
    let Some(e) = Engine::start_with(&["--cdi-spec-dir", &path]) else { return };
    let script = "echo $CDI_ALL $CDI_ENV $CDI_TWO; stat -c '%t,%T %u %g' /dev/cdi0; ls /cdi; touch /cdi/x 2>/dev/null || echo no";
    let run = [
        "run",
        "--rm",
        "--device",
        "vendor.com/net=one",
        "--device",
        "vendor.com/net=two",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    assert_eq!(e.run(&run).ok(), "1 one 2\n1,5 33 44\nv.json\nno");
    let done = e.run(&["run", "--rm", "--device", "vendor.com/net=three", "busybox", "true"]);
    let text = "CDI device injection failed: unresolvable CDI devices vendor.com/net=three";
    assert!(done.code == 125 && done.err.contains(text), "{}", done.err);
    let done = e.run(&["run", "--rm", "--gpus", "all", "busybox", "true"]);
    let text = "could not select device driver \"\" with capabilities: [[gpu]]";
    assert!(done.code == 125 && done.err.contains(text), "{}", done.err);
    let gpu = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [
        {"name": "0", "containerEdits": {"env": ["GPU=0"]}}, {"name": "all", "containerEdits": {"env": ["GPU=all"]}}]}"#;
    std::fs::write(directory.path().join("gpu.json"), gpu).unwrap();
    for (asked, got) in [("all", "all"), ("1", "0"), ("device=0", "0")] {
        assert_eq!(e.run(&["run", "--rm", "--gpus", asked, "busybox", "sh", "-c", "echo $GPU"]).ok(), got);
    }
    assert!(e.run(&["info", "-f", "{{json .CDISpecDirs}}"]).ok().contains(&path));
}

#[test]
fn by_path_and_rule() {
    let Some(e) = Engine::start() else { return };
    let run = |flags: &[&str], script: &str| {
        e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    assert_eq!(run(&["--device", "/dev/net:/dev/n"], "ls /dev/n").ok(), "tun");
    assert_eq!(
        run(&["--device", "/dev/net/tun:/dev/t:r"], "(echo a > /dev/t) 2>/dev/null || echo no").ok(),
        "no"
    );
    let made = "mknod /t c 10 200 && (: < /t) 2>/dev/null && echo opened || echo no";
    assert_eq!(run(&[], made).ok(), "no");
    assert_eq!(run(&["--device-cgroup-rule", "c 10:200 rwm"], made).ok(), "opened");
    for (flags, text) in [
        (
            ["--device", "/dev/nope"],
            "error gathering device information while adding custom device \"/dev/nope\": no such file or directory",
        ),
        (
            ["--device", "/etc"],
            "error gathering device information while adding custom device \"/etc\": not a device node",
        ),
        (["--device", "/dev/null:/dev/x:rq"], "bad mode specified: rq"),
        (["--device", "nope"], "nope is not an absolute path"),
    ] {
        let done = run(&flags, "true");
        assert!(done.code != 0 && done.err.contains(text), "{flags:?}: {}", done.err);
    }
}
