//! `wharf oci`: the runtime behind runc's command line.

use std::process::Command;
use wharf_e2e::{Done, binary, can_run, run_limited};

struct Bundle(tempfile::TempDir);

impl Bundle {
    fn new(args: &[&str]) -> Self {
        let bundle = Self(tempfile::tempdir().unwrap());
        let rootfs = bundle.0.path().join("rootfs");
        for d in ["bin", "proc", "dev", "sys"] {
            std::fs::create_dir_all(rootfs.join(d)).unwrap();
        }
        std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for applet in ["sh", "echo", "sleep", "cat"] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        let spec = serde_json::json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "hostname": "bundle",
            "process": {"user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]
            }
        });
        std::fs::write(bundle.0.path().join("config.json"), spec.to_string()).unwrap();
        bundle
    }

    fn oci(&self, args: &[&str]) -> Done {
        let state = self.0.path().join("state");
        run_limited(Command::new(binary()).arg("oci").arg("--root").arg(state).args(args), "")
    }

    /// Changes the configuration.
    fn change(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let file = self.0.path().join("config.json");
        let mut spec = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        change(&mut spec);
        std::fs::write(file, spec.to_string()).unwrap();
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // What a failed test left running.
        for id in self.oci(&["list", "-q"]).out.lines() {
            self.oci(&["delete", "--force", id]);
        }
    }
}

#[test]
fn run_gives_output_and_exit_code() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "echo in a bundle; exit 4"]);
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-run"]);
    assert_eq!((done.code, done.out.as_str()), (4, "in a bundle\n"), "{}", done.err);
    assert_eq!(bundle.oci(&["list", "-q"]).ok(), "");
}

/// Who made the parent of a container's cgroup may have given it limits.
#[test]
fn the_cgroups_parent_stays() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["cat", "/proc/self/cgroup"]);
    let parent = format!("wharf-e2e-parent-{}", std::process::id());
    bundle.change(|spec| spec["linux"]["cgroupsPath"] = format!("/{parent}/one").into());
    let inside = bundle.oci(&["run", "-b", &bundle.path(), "e2e-parent"]).ok();
    assert!(inside.contains(&format!("/{parent}/one")), "{inside}");
    // Version 2 has one, version 1 one a controller.
    let roots = std::fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    let roots: Vec<_> = roots.chain([std::path::PathBuf::from("/sys/fs/cgroup")]).collect();
    // Some have a second name, which is a link.
    let parents: std::collections::BTreeSet<_> =
        roots.iter().filter_map(|root| root.join(&parent).canonicalize().ok()).collect();
    let left: Vec<_> = parents.iter().map(|dir| dir.join("one").exists()).collect();
    parents.iter().for_each(|dir| std::fs::remove_dir(dir).unwrap());
    assert!(!left.is_empty() && !left.contains(&true), "{parents:?} {left:?}");
}

#[test]
fn the_whole_lifecycle() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    // The container keeps the runtime's standard streams: pipes would keep the command from ending.
    let quiet = |args: &[&str]| {
        let script = format!(
            "exec {} oci --root {}/state {} >/dev/null 2>&1",
            binary().display(),
            bundle.path(),
            args.join(" ")
        );
        run_limited(Command::new("sh").args(["-c", &script]), "").code
    };
    let state =
        || -> serde_json::Value { serde_json::from_str(&bundle.oci(&["state", "e2e-life"]).ok()).unwrap() };
    let status = || state()["status"].as_str().unwrap().to_owned();
    assert_eq!(quiet(&["create", "-b", &bundle.path(), "e2e-life"]), 0);
    assert_eq!(status(), "created");
    // What waits in the container is our program, on a mount that nobody can write to (CVE-2019-5736).
    let program = std::fs::File::open(format!("/proc/{}/exe", state()["pid"])).unwrap();
    let mount = rustix::fs::fstatvfs(&program).unwrap();
    assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    drop(program);
    assert_ne!(quiet(&["create", "-b", &bundle.path(), "e2e-life"]), 0, "the id is taken");
    bundle.oci(&["start", "e2e-life"]).ok();
    assert_eq!(status(), "running");
    assert_eq!(
        bundle
            .oci(&["exec", "e2e-life", "sh", "-c", "echo $$; cat /proc/sys/kernel/hostname"])
            .out
            .lines()
            .last(),
        Some("bundle")
    );
    bundle.oci(&["pause", "e2e-life"]).ok();
    assert_eq!(status(), "paused");
    bundle.oci(&["resume", "e2e-life"]).ok();
    assert_ne!(bundle.oci(&["delete", "e2e-life"]).code, 0, "it runs");
    bundle.oci(&["kill", "e2e-life", "KILL"]).ok();
    wharf_e2e::eventually("its end", || status() == "stopped");
    bundle.oci(&["delete", "e2e-life"]).ok();
    assert!(bundle.oci(&["state", "e2e-life"]).err.contains("does not exist"));
}

#[test]
fn errors_are_runcs() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["nope"]);
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-nope"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("executable file not found in $PATH"), "{}", done.err);
    assert!(bundle.oci(&["run", "-b", "/no/such/bundle", "x"]).err.contains("/no/such/bundle"));
    assert!(bundle.oci(&["run", "-b", &bundle.path(), "../x"]).err.contains("invalid container ID"));
}

/// A hook that writes its name, whether the container's procfs is in sight at the root's path, its user, and the state.
fn telling_hook(name: &str, shell: &str, root: &str, log: &str) -> serde_json::Value {
    let script = format!(
        "read -r state; seen=no; [ -e {root}/proc/self ] && seen=yes; \
         echo \"{name} $seen $(id -u) $state\" >> {log}; {}",
        if name == "poststop" { "exit 3" } else { "exit 0" }
    );
    serde_json::json!({"path": shell, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], "timeout": 20})
}

#[test]
fn hooks_run_where_and_when_the_specification_says() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "cat /log"]);
    let rootfs = bundle.0.path().join("rootfs");
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/id")).unwrap();
    std::fs::write(rootfs.join("log"), "").unwrap();
    std::fs::set_permissions(rootfs.join("log"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .unwrap();
    let root = rootfs.display().to_string();
    let outside = |name| telling_hook(name, "/bin/sh", &root, &format!("{root}/log"));
    let inside = telling_hook("startContainer", "/bin/sh", "", "/log");
    let hooks = serde_json::json!({
        "prestart": [outside("prestart")], "createRuntime": [outside("createRuntime")],
        "createContainer": [outside("createContainer")], "startContainer": [inside],
        "poststart": [outside("poststart")], "poststop": [outside("poststop"), outside("poststop")]
    });
    bundle.change(|spec| {
        spec["hooks"] = hooks;
        spec["process"]["user"] = serde_json::json!({"uid": 33, "gid": 33});
        spec["annotations"] = serde_json::json!({"with": "a note"});
    });
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-hooks"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let before: Vec<&str> = done.out.lines().take(4).collect();
    let log = std::fs::read_to_string(rootfs.join("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(before, lines[..4], "what ran before the program");
    let begin = |line: &str| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
    assert_eq!(
        lines.iter().map(|l| begin(l)).collect::<Vec<_>>(),
        [
            "prestart no 0",
            "createRuntime no 0",
            "createContainer yes 0",
            "startContainer yes 33",
            "poststart no 0",
            "poststop no 0",
            "poststop no 0"
        ]
    );
    let state = |n: usize| -> serde_json::Value {
        serde_json::from_str(lines[n].splitn(4, ' ').nth(3).unwrap()).unwrap()
    };
    let status: Vec<_> = (0..7).map(|n| state(n)["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(status[..4], ["creating", "creating", "creating", "created"]);
    assert_eq!(status[5], "stopped");
    assert_eq!((&state(2)["pid"], &state(3)["pid"]), (&1.into(), &1.into()), "as the container sees it");
    assert!(state(1)["pid"].as_i64().unwrap() > 1 && state(5)["pid"].is_null());
    assert_eq!((&state(0)["id"], &state(0)["annotations"]["with"]), (&"e2e-hooks".into(), &"a note".into()));
    assert_eq!(state(0)["bundle"], bundle.path());
    assert!(done.err.contains("poststop") && done.err.contains("exit status 3"), "{}", done.err);
}

#[test]
fn a_hook_that_fails_ends_the_container() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "echo it ran"]);
    let stopped = bundle.0.path().join("stopped");
    let hook =
        |script: &str| serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1});
    for (kind, script, why) in [
        ("createRuntime", "echo no such driver >&2; exit 7", "exit status 7, output: no such driver"),
        ("createContainer", "echo no such driver >&2; exit 7", "exit status 7, output: no such driver"),
        ("createContainer", "kill -9 $$", "exit status 137"),
        ("createContainer", "sleep 1000 & wait", "did not end within 1 s"),
        ("startContainer", "exit 9", "exit status 9"),
    ] {
        let _ = std::fs::remove_file(&stopped);
        bundle.change(|spec| {
            let after = hook(&format!("echo > {}", stopped.display()));
            spec["hooks"] = serde_json::json!({kind: [hook(script)], "poststop": [after]});
        });
        let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-bad-hook"]);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{kind} {script}: {}", done.err);
        let begin = format!("error running {kind} hook #0: /bin/sh: {why}");
        assert!(done.err.contains(&begin), "{}", done.err);
        assert_eq!(bundle.oci(&["list", "-q"]).ok(), "", "{kind}");
        assert!(stopped.exists(), "{kind}: poststop");
    }
    bundle.change(|spec| spec["hooks"] = serde_json::json!({"createContainer": [{"path": "/no/such/hook"}]}));
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-bad-hook"]);
    assert!(done.err.contains("/no/such/hook: exit status 126, output: No such file"), "{}", done.err);
}

/// Podman with our runtime; `PODMAN_BIN` names one, with the options its installation needs before the verb.
#[test]
#[ignore = "needs a Podman with the image localhost/busybox; PODMAN_BIN names it"]
fn podman_runs_a_container_with_it() {
    let Ok(podman) = std::env::var("PODMAN_BIN") else {
        println!("skipped: PODMAN_BIN names no Podman");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let runtime = directory.path().join("wharf-oci");
    std::fs::write(&runtime, format!("#!/bin/sh\nexec {} oci \"$@\"\n", binary().display())).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&runtime, executable).unwrap();
    let script = format!(
        "{podman} --runtime {} run --rm --ulimit host --network none localhost/busybox sh -c 'echo with podman; exit 7'",
        runtime.display()
    );
    let done = run_limited(Command::new("sh").args(["-c", &script]), "");
    assert_eq!((done.code, done.out.as_str()), (7, "with podman\n"), "{}", done.err);
}

#[test]
fn what_the_caller_has_open_stays_the_callers() {
    use std::os::unix::fs::MetadataExt;
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let run = |script: &str| {
        let oci = format!("{} oci --root {}/state", binary().display(), bundle.path());
        run_limited(Command::new("sh").args(["-c", &script.replace("OCI", &oci)]).current_dir(&bundle.0), "")
    };
    std::fs::write(bundle.0.path().join("marker"), "host").unwrap();
    assert_eq!(run(&format!("exec OCI run -d -b {} e2e-fd >/dev/null 2>&1", bundle.path())).code, 0);
    for number in 3..10 {
        // A directory of the host is open under the number when the process starts.
        let exec = format!("exec {number}<.; exec OCI exec --cwd /proc/self/fd/{number} e2e-fd cat marker");
        let done = run(&exec);
        assert!(done.code != 0 && !done.out.contains("host"), "{number}: {}{}", done.out, done.err);
        assert!(done.err.contains("cwd"), "{number}: {}", done.err);
    }
    let kept = run("exec 3<.; exec OCI exec --preserve-fds 1 --cwd /proc/self/fd/3 e2e-fd cat marker");
    assert!(kept.code != 0 && kept.err.contains("outside"), "{}{}", kept.out, kept.err);
    // A file and a named pipe keep their owner, whoever the program runs as.
    assert_eq!(run("OCI exec -u 1000 e2e-fd echo x > file").code, 0);
    assert_eq!(run("mkfifo pipe; cat pipe & OCI exec -u 1000 e2e-fd echo x > pipe").out, "x\n");
    for name in ["file", "pipe"] {
        assert_eq!(bundle.0.path().join(name).metadata().unwrap().uid(), 0, "{name}");
    }
}

#[test]
fn masks_without_a_device_directory_are_read_only() {
    if !can_run() {
        return;
    }
    let bundle =
        Bundle::new(&["sh", "-c", "chmod 0666 /proc/keys 2>&1; cat /proc/keys; echo x > /proc/keys"]);
    std::os::unix::fs::symlink("busybox", bundle.0.path().join("rootfs/bin/chmod")).unwrap();
    let file = bundle.0.path().join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    spec["linux"]["maskedPaths"] = serde_json::json!(["/proc/keys"]);
    std::fs::write(&file, spec.to_string()).unwrap();
    // It is the mode that the host's null device has: were it set, the host would be none the worse.
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-mask"]);
    assert!(done.code == 0 && done.out.contains("Read-only"), "{} {}{}", done.code, done.out, done.err);
}

/// Changes a bundle's configuration.
fn edit(bundle: &Bundle, change: impl FnOnce(&mut serde_json::Value)) {
    let file = bundle.0.path().join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut spec);
    std::fs::write(&file, spec.to_string()).unwrap();
}

#[test]
fn user_namespaces_are_made_and_joined() {
    if !can_run() {
        return;
    }
    let script = "cat /proc/self/uid_map; id -u; stat -c %u /own; sleep 1000";
    let bundle = Bundle::new(&["sh", "-c", script]);
    let root = bundle.0.path().join("rootfs");
    for applet in ["id", "stat", "readlink"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.join("own"), "").unwrap();
    std::os::unix::fs::chown(root.join("own"), Some(300_000), Some(300_000)).unwrap();
    // The kernel looks the root up as the namespace's root.
    for path in [bundle.0.path(), &root] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mapping = serde_json::json!([{"containerID": 0, "hostID": 300_000, "size": 1000}]);
    edit(&bundle, |spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({"type": "user"}));
        spec["linux"]["uidMappings"] = mapping.clone();
        spec["linux"]["gidMappings"] = mapping.clone();
    });
    let out = bundle.0.path().join("out");
    let run = format!(
        "exec {} oci --root {}/state run -d -b {} e2e-user > {} 2>&1",
        binary().display(),
        bundle.path(),
        bundle.path(),
        out.display()
    );
    assert_eq!(
        run_limited(Command::new("sh").args(["-c", &run]), "").code,
        0,
        "{}",
        std::fs::read_to_string(&out).unwrap()
    );
    wharf_e2e::eventually("its output", || std::fs::read_to_string(&out).unwrap().lines().count() == 3);
    let text = std::fs::read_to_string(&out).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "300000", "1000", "0", "0"]);
    assert_eq!(bundle.oci(&["exec", "e2e-user", "sh", "-c", "id -u"]).ok(), "0");
    // Another container joins it.
    let state: serde_json::Value = serde_json::from_str(&bundle.oci(&["state", "e2e-user"]).ok()).unwrap();
    let pid = state["pid"].as_i64().unwrap();
    edit(&bundle, |spec| {
        spec["process"]["args"] = serde_json::json!(["readlink", "/proc/self/ns/user"]);
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "user");
        namespaces.push(serde_json::json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
        spec["linux"].as_object_mut().unwrap().retain(|key, _| !key.ends_with("Mappings"));
    });
    let joined = bundle.oci(&["run", "-b", &bundle.path(), "e2e-joined"]).ok();
    assert_eq!(joined, std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap().display().to_string());
    bundle.oci(&["delete", "--force", "e2e-user"]).ok();
    let text = "no uidMappings or no gidMappings";
    edit(&bundle, |spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "user");
        namespaces.push(serde_json::json!({"type": "user"}));
    });
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-unmapped"]);
    assert!(done.code != 0 && done.err.contains(text), "{}", done.err);
}

#[test]
fn single_mounts_are_mapped() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "stat -c %u /m/f /m/below/f /r/below/f"]);
    std::os::unix::fs::symlink("busybox", bundle.0.path().join("rootfs/bin/stat")).unwrap();
    let source = bundle.0.path().join("source");
    std::fs::create_dir_all(source.join("below")).unwrap();
    for file in ["f", "below/f"] {
        std::fs::write(source.join(file), "").unwrap();
        std::os::unix::fs::chown(source.join(file), Some(7), Some(7)).unwrap();
    }
    // A mount of its own below, which only `ridmap` maps as well.
    let below = source.join("below").display().to_string();
    assert!(Command::new("mount").args(["--bind", &below, &below]).status().unwrap().success());
    let mapping = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 100}]);
    edit(&bundle, |spec| {
        for (place, option) in [("/m", "idmap"), ("/r", "ridmap")] {
            spec["mounts"].as_array_mut().unwrap().push(serde_json::json!({
                "destination": place, "type": "bind", "source": source, "options": ["rbind", option],
                "uidMappings": mapping, "gidMappings": mapping
            }));
        }
    });
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-idmap"]);
    assert!(Command::new("umount").arg(&below).status().unwrap().success());
    assert_eq!(done.ok(), "1007\n7\n1007");
    edit(&bundle, |spec| {
        spec["mounts"] = serde_json::json!([
            {"destination": "/m", "type": "bind", "source": "/", "options": ["bind", "idmap"]}
        ]);
    });
    let done = bundle.oci(&["run", "-b", &bundle.path(), "e2e-no-map"]);
    assert!(done.code != 0 && done.err.contains("idmap needs uidMappings"), "{}", done.err);
}

#[test]
fn labels_that_the_kernel_does_not_know_are_refused() {
    let has = |path: &str, word: &str| std::fs::read_to_string(path).is_ok_and(|text| text.contains(word));
    if !can_run()
        || has("/proc/filesystems", "selinuxfs")
        || has("/sys/module/apparmor/parameters/enabled", "Y")
    {
        eprintln!("skipped: needs root, and a kernel without AppArmor and SELinux");
        return;
    }
    let label = "system_u:system_r:container_t:s0";
    for (change, reason) in [
        (("/process", "selinuxLabel"), "selinux is disabled or not supported"),
        (("/linux", "mountLabel"), "selinux is disabled or not supported"),
        (("/process", "apparmorProfile"), "unable to apply apparmor profile"),
    ] {
        let bundle = Bundle::new(&["echo", "runs"]);
        bundle.change(|spec| spec.pointer_mut(change.0).unwrap()[change.1] = label.into());
        let done = bundle.oci(&["run", "--bundle", &bundle.path(), "e2e-labels"]);
        assert!(done.code != 0 && done.out.is_empty(), "{change:?} ran: {}", done.out);
        assert!(done.err.contains(reason), "{change:?}: {}", done.err);
    }
}
