//! Devices by name from specifications in YAML with hooks, as the generators of GPU vendors write them.

use crate::compose::{Project, clients};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wharf_e2e::Engine;

/// Two GPUs that are files and devices every machine has. HOOK and DIR are to be replaced.
const GPUS: &str = r#"---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - hostPath: /dev/zero
    path: /dev/nvidiactl
    permissions: rw
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-cdi-hook
    - create-symlinks
    - --link
    - libcuda.so.550.54::/usr/lib/x86_64-linux-gnu/libcuda.so.1
    env:
    - PATH=/usr/bin:/bin
    hookName: createContainer
    path: HOOK
  - args:
    - nvidia-cdi-hook
    - hide-params
    env:
    - PATH=/usr/bin:/bin:/usr/sbin:/sbin
    hookName: createContainer
    path: HOOK
  - {args: [nvidia-cdi-hook, told], hookName: poststart, path: HOOK}
  - {args: [nvidia-cdi-hook, told], hookName: poststop, path: HOOK}
  mounts:
  - containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.550.54
    hostPath: DIR/libcuda.so.550.54
    options:
    - ro
    - nosuid
    - nodev
    - rbind
    - rprivate
devices:
- containerEdits:
    deviceNodes:
    - hostPath: /dev/null
      path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - hostPath: /dev/full
      path: /dev/nvidia1
  name: "1"
- containerEdits:
    deviceNodes:
    - hostPath: /dev/null
      path: /dev/nvidia0
    - hostPath: /dev/full
      path: /dev/nvidia1
  name: all
- containerEdits:
    hooks:
    - {args: [nvidia-cdi-hook, fail], hookName: createContainer, path: HOOK}
  name: broken
kind: nvidia.com/gpu
"#;

/// Finds the container's root as the vendors' programs do: the state names the bundle, its configuration the root.
const HOOK: &str = r#"#!/bin/sh
set -e
state=$(cat)
bundle=$(printf %s "$state" | sed -n 's/.*"bundle":"\([^"]*\)".*/\1/p')
case $1 in
told) printf '%s\n' "$state" >> "DIR/told"; exit ;;
fail) echo "no driver is loaded" >&2; exit 5 ;;
esac
root=$(sed -n 's/.*"root":{"path":"\([^"]*\)".*/\1/p' "$bundle/config.json")
case $1 in
create-symlinks) ln -s "${3%%::*}" "$root${3##*::}" ;;
hide-params) mkdir "$root/params"; mount -t tmpfs tmpfs "$root/params"; echo hidden > "$root/params/here" ;;
esac
"#;

fn prepare(directory: &Path) {
    let path = directory.display().to_string();
    let hook = directory.join("nvidia-cdi-hook");
    std::fs::write(&hook, HOOK.replace("DIR", &path)).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.join("libcuda.so.550.54"), "cuda\n").unwrap();
    let text = GPUS.replace("HOOK", &hook.display().to_string()).replace("DIR", &path);
    std::fs::write(directory.join("nvidia.yaml"), text).unwrap();
}

#[test]
fn gpus_with_hooks() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let Some(e) = Engine::start_with(&["--cdi-spec-dir", &directory.path().display().to_string()]) else {
        return;
    };
    let script = "cat /usr/lib/x86_64-linux-gnu/libcuda.so.1 /params/here; echo $NVIDIA_VISIBLE_DEVICES; ls /dev | grep nvidia";
    let run = |flags: &[&str]| e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat());
    std::fs::write(directory.path().join("wrong.json"), "{}").unwrap();
    let info: serde_json::Value = serde_json::from_str(&e.get("/v1.51/info")).unwrap();
    assert_eq!(info["DiscoveredDevices"][0], serde_json::json!({"Source": "cdi", "ID": "nvidia.com/gpu=0"}));
    assert!(info["Warnings"][0].as_str().is_some_and(|w| w.contains("wrong.json")), "{info}");
    let shown = e.run(&["info"]);
    assert!(shown.err.contains("wrong.json"), "{}", shown.err);
    let devices = "Discovered Devices: cdi: nvidia.com/gpu=0, cdi: nvidia.com/gpu=1, cdi: nvidia.com/gpu=all";
    assert!(shown.ok().contains(devices));
    std::fs::remove_file(directory.path().join("wrong.json")).unwrap();
    // What an engine makes with its first container it keeps.
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for (flags, devices) in [
        (["--gpus", "all"], "nvidia0\nnvidia1\nnvidiactl"),
        (["--gpus", "1"], "nvidia0\nnvidiactl"),
        (["--gpus", "2"], "nvidia0\nnvidia1\nnvidiactl"),
        (["--gpus", "device=1"], "nvidia1\nnvidiactl"),
        (["--device", "nvidia.com/gpu=0"], "nvidia0\nnvidiactl"),
    ] {
        assert_eq!(run(&flags).ok(), format!("cuda\nhidden\nvoid\n{devices}"), "{flags:?}");
    }
    // Hooks of the host's namespace, once each; poststop ends after the container.
    let told = directory.path().join("told");
    let lines = || std::fs::read_to_string(&told).unwrap().lines().count();
    wharf_e2e::eventually("the poststop hooks", || lines() == 10);
    let told = std::fs::read_to_string(&told).unwrap();
    let count = |status: &str| told.matches(&format!("\"status\":\"{status}\"")).count();
    assert_eq!((count("running"), count("stopped")), (5, 5), "{told}");
    let done = e.run(&["run", "--rm", "--device", "nvidia.com/gpu=broken", "busybox", "echo", "it ran"]);
    assert_eq!((done.code, done.out.as_str()), (125, ""), "{}", done.err);
    let text = "nvidia-cdi-hook: exit status 5, output: no driver is loaded";
    assert!(
        done.err.contains("error running createContainer hook #2") && done.err.contains(text),
        "{}",
        done.err
    );
    e.back_to(&before);
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/params"));
}

#[test]
fn gpus_of_services() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let Some(e) = Engine::start_with(&["--cdi-spec-dir", &directory.path().display().to_string()]) else {
        return;
    };
    let reserved =
        "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2, capabilities: [gpu]}]}}}";
    for client in clients() {
        for (asked, devices) in [
            ("gpus: all", "nvidia0\nnvidia1\nnvidiactl"),
            ("gpus: [{count: 1}]", "nvidia0\nnvidiactl"),
            ("gpus: [{device_ids: ['1']}]", "nvidia1\nnvidiactl"),
            ("devices: ['nvidia.com/gpu=0']", "nvidia0\nnvidiactl"),
            (reserved, "nvidia0\nnvidia1\nnvidiactl"),
        ] {
            let file = format!(
                "services:\n  web:\n    image: busybox\n    {asked}\n    command: sh -c 'ls /dev | grep nvidia'\n"
            );
            let project = Project::new(&e, "graphics", &file);
            let done = project.with(client, &["up", "--no-log-prefix", "--no-color"]).unwrap();
            assert!(done.ok().contains(devices), "{client:?} {asked}");
            project.with(client, &["down"]).unwrap().ok();
        }
    }
}

#[test]
fn hooks_in_a_user_namespace() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["subuid", "subgid"] {
        std::fs::write(directory.path().join(file), "dockremap:200000:65536\n").unwrap();
    }
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    prepare(directory.path());
    let path = directory.path().display().to_string();
    let flags = ["--cdi-spec-dir", &path, "--userns-remap", "default", "--subid-dir", &path];
    let Some(e) = Engine::start_with(&flags) else { return };
    let script =
        "cat /usr/lib/x86_64-linux-gnu/libcuda.so.1 /params/here; awk '{print $2}' /proc/self/uid_map";
    let done = e.run(&["run", "--rm", "--gpus", "1", "busybox", "sh", "-c", script]);
    assert_eq!(done.ok(), "cuda\nhidden\n200000");
}

#[test]
fn specifications_that_others_may_change_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let Some(e) = Engine::start_with(&["--cdi-spec-dir", &directory.path().display().to_string()]) else {
        return;
    };
    let run = || e.run(&["run", "--rm", "--device", "nvidia.com/gpu=0", "busybox", "true"]);
    run().ok();
    let file = directory.path().join("nvidia.yaml");
    for (path, mode, back) in [(file.as_path(), 0o666, 0o644), (directory.path(), 0o777, 0o700)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let done = run();
        let text = format!("{} is not used: others may write to it", path.display());
        assert!(done.code == 125 && done.err.contains(&text), "{}", done.err);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(back)).unwrap();
    }
    std::os::unix::fs::chown(&file, Some(1234), None).unwrap();
    assert!(run().err.contains("it belongs to user 1234"));
}

#[test]
fn a_hook_that_hangs_holds_up_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("begun");
    let script = format!("echo > {}; sleep 1000 & wait", mark.display());
    let hook = |name: &str, timeout: u32| {
        serde_json::json!({"hookName": name, "path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/usr/bin"], "timeout": timeout})
    };
    let device = |name: &str, hook| serde_json::json!({"name": name, "containerEdits": {"hooks": [hook]}});
    let devices = ["createRuntime", "createContainer", "startContainer", "poststart"]
        .map(|name| device(name, hook(name, 100)));
    let mut devices = devices.to_vec();
    devices.push(device("short", hook("createContainer", 1)));
    let text = serde_json::json!({"cdiVersion": "0.8.0", "kind": "x.y/hang", "devices": devices});
    std::fs::write(directory.path().join("hang.json"), text.to_string()).unwrap();
    let Some(e) = Engine::start_with(&["--cdi-spec-dir", &directory.path().display().to_string()]) else {
        return;
    };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for name in ["createRuntime", "createContainer", "startContainer", "poststart"] {
        let _ = std::fs::remove_file(&mark);
        let device = format!("x.y/hang={name}");
        // The shell of a container has no such directory.
        let bind = format!("{0}:{0}", directory.path().display());
        e.run(&["create", "--name", "c1", "-v", &bind, "--device", &device, "busybox", "sleep", "1000"]).ok();
        let quiet = std::process::Stdio::null;
        let mut start = e.wharf().args(["start", "c1"]).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        wharf_e2e::eventually("the hook", || mark.exists());
        let begun = std::time::Instant::now();
        e.run(&["run", "--rm", "busybox", "true"]).ok();
        e.run(&["rm", "-f", "c1"]).ok();
        start.wait().unwrap();
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{name}: {:?}", begun.elapsed());
        e.back_to(&before);
    }
    let done = e.run(&["run", "--rm", "--device", "x.y/hang=short", "busybox", "true"]);
    assert!(done.code == 125 && done.err.contains("did not end within 1 s"), "{}", done.err);
    e.back_to(&before);
}
