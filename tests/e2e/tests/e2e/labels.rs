//! AppArmor profiles and SELinux labels where the kernel has neither; where it has, `tests/vm` tells.

use std::path::Path;
use std::process::Command;
use wharf_e2e::{Engine, binary, run_limited};

/// Whether this kernel has one of them: then other things are true.
fn has_modules() -> bool {
    let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    let has =
        apparmor.is_ok_and(|text| text.starts_with('Y')) || Path::new("/sys/fs/selinux/enforce").exists();
    if has {
        eprintln!("skipped: this kernel has AppArmor or SELinux; see tests/vm");
    }
    has
}

#[test]
fn what_the_kernel_has_not_is_kept_and_left_alone() {
    let Some(e) = Engine::start().filter(|_| !has_modules()) else { return };
    let options = ["--security-opt", "apparmor=mine", "--security-opt", "label=nonsense"];
    e.run(&[&["create", "--name", "c1"], &options[..], &["busybox", "echo", "runs"]].concat()).ok();
    let profile =
        || e.run(&["inspect", "-f", "{{.AppArmorProfile}}|{{.ProcessLabel}}|{{.MountLabel}}", "c1"]).ok();
    assert_eq!(profile(), "mine||", "as asked for, until it starts");
    assert_eq!(e.run(&["start", "-a", "c1"]).ok(), "runs");
    assert_eq!(profile(), "||", "there is no AppArmor that could have confined it");
    let info = e.run(&["info", "-f", "{{.SecurityOptions}}"]).ok();
    assert!(!info.contains("apparmor") && !info.contains("selinux"), "{info}");
}

#[test]
fn labels_are_asked_for_of_the_engine() {
    let Some(e) = Engine::start_with(&["--selinux-enabled"]).filter(|_| !has_modules()) else { return };
    assert!(e.log().contains("SELinux is not enabled in the kernel"), "{}", e.log());
    assert_eq!(
        e.run(&["run", "--rm", "--security-opt", "label=type:t", "busybox", "echo", "runs"]).ok(),
        "runs"
    );
}

#[test]
fn modes_of_mounts_are_shown_as_docker_does() {
    let Some(e) = Engine::start() else { return };
    std::fs::create_dir(e.path("host")).unwrap();
    let bind = |mode: &str| format!("{}:/m{}:{mode}", e.path("host").display(), mode.len());
    let (shared, private) = (bind("ro,z"), bind("Z"));
    let mounts = ["-v", "data:/v", "-v", "other:/r:ro", "-v", "/anonymous", "-v", &shared, "-v", &private];
    e.run(&[&["create", "--name", "c1"], &mounts[..], &["busybox", "true"]].concat()).ok();
    let shown = e.run(&["inspect", "-f", "{{range .Mounts}}{{.Destination}}={{.Mode}} {{end}}", "c1"]).ok();
    for mode in ["/v=z", "/r=ro", "/anonymous=", "/m4=ro,z", "/m1=Z"] {
        assert!(shown.split(' ').any(|word| word == mode), "{mode}: {shown}");
    }
}

#[test]
fn security_options_are_refused_in_dockers_words() {
    let Some(e) = Engine::start() else { return };
    for option in ["foo", "apparmor="] {
        let done = e.run(&["run", "--rm", "--security-opt", option, "busybox", "true"]);
        assert!(done.err.contains(&format!("Invalid --security-opt: {option:?}")), "{option}: {}", done.err);
    }
    for (option, step) in [("foo", 1), ("apparmor", 1), ("foo=bar", 2)] {
        let body =
            serde_json::json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"SecurityOpt": [option]}});
        let (status, text) = e.ask("POST", "/containers/create", &body.to_string());
        assert_eq!(status, 400);
        assert!(
            text.contains(&format!("invalid --security-opt {step}: \\\"{option}\\\"")),
            "{option}: {text}"
        );
    }
}

#[test]
fn a_profile_to_load_is_printed() {
    let done = run_limited(Command::new(binary()).args(["daemon", "--print-apparmor-profile"]), "");
    assert!(done.ok().contains("profile docker-default flags=("));
}
