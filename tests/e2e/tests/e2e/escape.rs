//! Attacks: what an image, a container or an archive tries with the host's files, while the engine works on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::{Engine, binary};

/// A directory of the host with one file, that nothing here may change or read.
struct Prey(PathBuf);

impl Prey {
    fn new(e: &Engine) -> Self {
        let directory = e.path("prey");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("secret"), "of the host").unwrap();
        Self(directory)
    }

    /// As a link inside of a container would name it.
    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn upwards(&self) -> String {
        format!("{}{}", "../".repeat(12), self.path().trim_start_matches('/'))
    }

    #[track_caller]
    fn is_whole(&self, after: &str) {
        let names: Vec<_> = std::fs::read_dir(&self.0).unwrap().flatten().map(|f| f.file_name()).collect();
        assert_eq!(names, ["secret"], "{after}: something was made on the host");
        let text = std::fs::read_to_string(self.0.join("secret")).unwrap();
        assert_eq!(text, "of the host", "{after}: the host's file was changed");
    }
}

/// An image of BusyBox with what a script did to its root, and with changes of its configuration.
fn image(e: &Engine, name: &str, script: &str, changes: &[&str]) {
    let made = format!("made-{name}");
    // As files are written by a container that ran, links and all.
    e.run(&["run", "--name", &made, "busybox", "sh", "-c", script]).ok();
    let mut commit = vec!["commit"];
    for change in changes {
        commit.extend(["-c", change]);
    }
    commit.extend([made.as_str(), name]);
    e.run(&commit).ok();
    e.run(&["rm", &made]).ok();
}

/// A tar with what a script makes in an empty directory.
fn tar(e: &Engine, name: &str, root: &Path) -> PathBuf {
    let file = e.path(name);
    let done = Command::new("tar").arg("-cf").arg(&file).arg("-C").arg(root).args(["l", "l2"]).status();
    assert!(done.expect("run tar").success());
    file
}

#[test]
fn procfs_cannot_be_replaced() {
    let Some(e) = Engine::start() else { return };
    image(&e, "linked", "ln -s /proc /elsewhere; ln -s / /top", &[]);
    for target in [
        "/proc",
        "/proc/",
        "/proc/self",
        "/proc/sys",
        "/proc/self/attr",
        "/a/../proc",
        "/elsewhere",
        "/elsewhere/1",
    ] {
        for flag in [format!("-v=fake:{target}"), format!("--tmpfs={target}")] {
            let done = e.run(&["run", "--rm", &flag, "linked", "true"]);
            assert!(
                done.code != 0 && done.err.contains("inside /proc"),
                "{flag}: {} {}",
                done.code,
                done.err
            );
        }
    }
    let done = e.run(&["run", "--rm", "-v", "fake:/top", "linked", "true"]);
    assert!(done.code != 0 && done.err.contains("is the root itself"), "{}", done.err);
    // What only informs may be replaced, as LXCFS does.
    std::fs::write(e.path("cpuinfo"), "mine").unwrap();
    let bind = format!("{}:/proc/cpuinfo", e.path("cpuinfo").display());
    assert_eq!(e.run(&["run", "--rm", "-v", &bind, "busybox", "cat", "/proc/cpuinfo"]).ok(), "mine");
    let bind = format!("{}:/proc/version", e.path("cpuinfo").display());
    assert_ne!(e.run(&["run", "--rm", "-v", &bind, "busybox", "true"]).code, 0);
}

#[test]
fn what_lies_under_the_kernels_mounts_leads_nowhere() {
    let Some(e) = Engine::start() else { return };
    let prey = Prey::new(&e);
    let secret = format!("{}/secret", prey.path());
    // The places are the skeleton's in a container that runs: an archive brings what the kernel refuses there.
    let root = e.path("evil");
    for (name, link) in [("proc", prey.path()), ("sys", prey.path()), ("dev", prey.path())] {
        let _ = std::fs::remove_dir_all(&root);
        let done = Command::new("mkdir").arg("-p").arg(root.join("bin")).status();
        assert!(done.expect("run mkdir").success());
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
        std::os::unix::fs::symlink(&link, root.join(name)).unwrap();
        let file = e.path(&format!("{name}.tar"));
        let done = Command::new("tar").arg("-cf").arg(&file).arg("-C").arg(&root).arg(".").status();
        assert!(done.expect("run tar").success());
        e.run(&["import", &file.display().to_string(), name]).ok();
        let done = e.run(&["run", "--rm", name, "/bin/sh", "-c", "echo x > /dev/console; /bin/busybox true"]);
        if name != "dev" {
            let text = "must be mounted on ordinary directory";
            assert!(done.code != 0 && done.err.contains(text), "{name}: {} {}", done.code, done.err);
        }
        prey.is_whole(name);
    }
    for (name, place) in [("console", "dev/console"), ("pts", "dev/pts"), ("null", "dev/null")] {
        let _ = std::fs::remove_file(root.join("dev"));
        let _ = std::fs::remove_dir_all(root.join("dev"));
        std::fs::create_dir(root.join("dev")).unwrap();
        std::os::unix::fs::symlink(
            if name == "pts" { prey.path() } else { secret.clone() },
            root.join(place),
        )
        .unwrap();
        let file = e.path(&format!("{name}.tar"));
        let done = Command::new("tar").arg("-cf").arg(&file).arg("-C").arg(&root).arg(".").status();
        assert!(done.expect("run tar").success());
        e.run(&["import", &file.display().to_string(), name]).ok();
        for flags in [&["run", "--rm"][..], &["run", "--rm", "-t"]] {
            let script = "echo x > /dev/console; echo y > /dev/null; chmod 777 /dev/console /dev/null";
            e.run(&[flags, &[name, "/bin/sh", "-c", script]].concat());
            prey.is_whole(name);
        }
    }
}

#[test]
fn the_configuration_of_an_image_does_no_harm() {
    let Some(e) = Engine::start() else { return };
    let prey = Prey::new(&e);
    let refused = |name: &str, change: &str, text: &str| {
        image(&e, name, "true", &[change]);
        let done = e.run(&["run", "--rm", name, "true"]);
        assert!(done.code != 0 && done.err.contains(text), "{change}: {} {}", done.code, done.err);
    };
    refused("u1", "USER ../../x", "unable to find user ../../x: no matching entries in passwd file");
    refused("u2", "USER 4294967296", "uids and gids must be in range 0-2147483647");
    refused("u3", "USER 0:-1", "uids and gids must be in range 0-2147483647");
    refused("v1", "VOLUME [\"/..\"]", "is the root itself");
    refused("v2", "VOLUME [\"/\"]", "is the root itself");
    refused("v3", "VOLUME [\"/proc\"]", "inside /proc");
    refused("v4", "VOLUME [\"/x/../proc/self\"]", "inside /proc");
    image(&e, "w1", "true", &["WORKDIR /a/../../../../etc"]);
    assert_eq!(e.run(&["run", "--rm", "w1", "pwd"]).ok(), "/etc");
    let link = format!("ln -s {} /link", prey.path());
    image(&e, "w2", &link, &["WORKDIR /link/made"]);
    // The path is one of the container's own, and made there.
    e.run(&["run", "--rm", "w2", "pwd"]);
    prey.is_whole("a working directory through a link");
    std::fs::write(e.path("env"), format!("A={}\n", "x".repeat(200_000))).unwrap();
    let file = e.path("env").display().to_string();
    let done = e.run(&["run", "--rm", "--env-file", &file, "busybox", "true"]);
    assert!(done.code != 0 && done.err.contains("too long"), "{} {}", done.code, done.err);
    let lines =
        e.run(&["run", "--rm", "-e", "A=1\nB=2", "busybox", "sh", "-c", "echo \"$A\"; echo \"[$B]\""]).ok();
    assert_eq!(lines, "1\nB=2\n[]");
}

#[test]
fn a_mount_target_that_is_swapped_stays_inside() {
    let Some(e) = Engine::start() else { return };
    let prey = Prey::new(&e);
    std::fs::create_dir(e.path("source")).unwrap();
    let swap = format!(
        "cd /v; mkdir -p real/in; while :; do ln -sfn {} d; rm -f d; mkdir -p d; rmdir d 2>/dev/null || rm -rf d; ln -s real d; rm -f d; done",
        prey.upwards()
    );
    e.run(&["run", "-d", "--name", "attacker", "-v", "shared:/v", "busybox", "sh", "-c", &swap]).ok();
    let bind = format!("{}:/v/d/made", e.path("source").display());
    let mount = "type=volume,source=shared,target=/w,volume-subpath=d";
    for round in 0..12 {
        // Either way is fine, but for the host.
        e.run(&["run", "--rm", "-v", "shared:/v", "-v", &bind, "busybox", "true"]);
        prey.is_whole(&format!("mount, round {round}"));
        let done = e.run(&["run", "--rm", "--mount", mount, "busybox", "cat", "/w/secret"]);
        assert!(!done.out.contains("of the host"), "subpath, round {round}");
    }
}

#[test]
fn masks_and_devices_do_not_follow_the_image() {
    let Some(e) = Engine::start() else { return };
    let prey = Prey::new(&e);
    let script = format!("ln -s {} /devices; ln -s {}/secret /dev-link", prey.path(), prey.path());
    image(&e, "linked", &script, &[]);
    for device in ["/dev/zero:/devices/made", "/dev/zero:/dev-link"] {
        e.run(&["run", "--rm", "--device", device, "linked", "true"]);
        prey.is_whole(device);
    }
    let done = e.run(&["run", "--rm", "busybox", "sh", "-c", "cat /proc/kcore | head -c 1 | wc -c; echo x > /proc/sys/kernel/core_pattern || echo no; echo x > /proc/sysrq-trigger || echo no"]);
    assert_eq!(done.out, "0\nno\nno\n", "{}", done.err);
}

#[test]
fn cp_stays_inside_while_the_container_swaps_directories() {
    let Some(e) = Engine::start() else { return };
    let prey = Prey::new(&e);
    let swap = format!(
        "cd /; mkdir -p real/sub; echo own > real/secret; while :; do ln -sfn {} d; rm -f d; ln -sfn {} d; rm -f d; cp -r real d; rm -rf d; done",
        prey.upwards(),
        prey.path()
    );
    e.run(&["run", "-d", "--name", "c1", "busybox", "sh", "-c", &swap]).ok();
    std::fs::create_dir_all(e.path("in/sub")).unwrap();
    std::fs::write(e.path("in/made"), "made").unwrap();
    std::fs::write(e.path("in/sub/secret"), "overwritten").unwrap();
    let source = format!("{}/.", e.path("in").display());
    for round in 0..25 {
        e.run(&["cp", &source, "c1:/d"]);
        e.run(&["cp", &e.path("in/made").display().to_string(), "c1:/d/secret"]);
        prey.is_whole(&format!("cp into, round {round}"));
        let done = e.run(&["cp", "c1:/d/secret", "-"]);
        assert!(!done.out.contains("of the host"), "cp out of, round {round}");
        let done = e.run(&["cp", "-L", "c1:/d/.", "-"]);
        assert!(!done.out.contains("of the host"), "cp -L out of, round {round}");
    }
}

#[test]
fn archives_do_not_lead_out() {
    let Some(e) = Engine::start() else { return };
    let prey = Prey::new(&e);
    // First a link to the host's directory, then, in a second archive, a directory of that name with content.
    let links = e.path("links");
    std::fs::create_dir(&links).unwrap();
    std::os::unix::fs::symlink(prey.path(), links.join("l")).unwrap();
    std::os::unix::fs::symlink(prey.upwards(), links.join("l2")).unwrap();
    let first = tar(&e, "links.tar", &links);
    let content = e.path("content");
    for name in ["l", "l2"] {
        std::fs::create_dir_all(content.join(name)).unwrap();
        std::fs::write(content.join(name).join("secret"), "overwritten").unwrap();
        std::fs::write(content.join(name).join("made"), "made").unwrap();
    }
    let second = tar(&e, "content.tar", &content);
    // Both in one, so that the link is there when its content comes.
    let both = e.path("both.tar");
    std::fs::copy(&first, &both).unwrap();
    let done = Command::new("tar").arg("-Af").arg(&both).arg(&second).status();
    assert!(done.expect("run tar").success());
    e.run(&["run", "-d", "--name", "running", "-v", "data:/v", "busybox", "sleep", "1000"]).ok();
    e.run(&["create", "--name", "stopped", "-v", "data2:/v", "busybox", "true"]).ok();
    for container in ["running", "stopped"] {
        for place in ["/", "/v", "/tmp/../"] {
            for file in [&first, &second, &both] {
                // It is text, with NULs between.
                let text = std::fs::read_to_string(file).unwrap();
                e.run_with(&["cp", "-", &format!("{container}:{place}")], &text);
                prey.is_whole(&format!("{} to {container}:{place}", file.display()));
            }
        }
    }
}

#[test]
fn the_engines_program_cannot_be_overwritten() {
    let Some(e) = Engine::start() else { return };
    let before = std::fs::metadata(binary()).unwrap().modified().unwrap();
    let length = std::fs::metadata(binary()).unwrap().len();
    let attack = "printf '#!/proc/self/exe\\n' > /script; chmod +x /script; cp /script /bin/again; \
                  while :; do for p in /proc/[0-9]*/exe; do (echo x >> $p; : > $p) 2>/dev/null; \
                  case \"$(readlink $p)\" in *busybox*|'') ;; *) readlink $p >> /seen;; esac; done; done";
    e.run(&["run", "-d", "--name", "c1", "busybox", "sh", "-c", attack]).ok();
    for _ in 0..30 {
        e.run(&["exec", "c1", "true"]).ok();
    }
    // Our own code in the container was never open to it.
    let seen = e.run(&["exec", "c1", "cat", "/seen"]);
    assert_ne!(seen.code, 0, "seen before it executed its program: {}", seen.out);
    for round in 0..10 {
        for program in ["/proc/self/exe", "/script", "/proc/1/exe"] {
            let done = e.run(&["exec", "c1", program]);
            assert!(!done.err.contains("panicked"), "{round} {program}: {}", done.err);
        }
        e.run(&["run", "--rm", "--entrypoint", "/proc/self/exe", "busybox", "daemon"]);
    }
    let after = std::fs::metadata(binary()).unwrap();
    assert_eq!((after.modified().unwrap(), after.len()), (before, length));
}

#[test]
fn a_read_only_bind_is_so_all_the_way_down() {
    let Some(e) = Engine::start() else { return };
    let top = e.path("top");
    std::fs::create_dir_all(top.join("below")).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(Command::new("mount").args(arguments).status().expect("run mount").success());
    };
    mount(&["-t", "tmpfs", "below", &top.join("below").display().to_string()]);
    let source = top.display().to_string();
    let tried = |mount: &str| {
        let done = e.run(&[
            "run",
            "--rm",
            "--mount",
            mount,
            "busybox",
            "sh",
            "-c",
            "touch /t/below/x && echo wrote",
        ]);
        done.out.trim().to_owned()
    };
    let base = format!("type=bind,source={source},target=/t,readonly");
    let results = [
        tried(&base),
        tried(&format!("{base},bind-propagation=rprivate,bind-recursive=readonly")),
        tried(&format!("{base},bind-recursive=writable")),
        e.run(&["run", "--rm", "-v", &format!("{source}:/t:ro"), "busybox", "touch", "/t/below/y"])
            .code
            .to_string(),
    ];
    assert!(Command::new("umount").arg(top.join("below")).status().expect("run umount").success());
    assert_eq!(results, ["", "", "wrote", "1"]);
}

/// Processes of ours that enter a container are looked at and traced from inside, also by one that may trace everything there.
#[test]
fn who_traces_what_enters_finds_nothing_of_the_host() {
    let Some(e) = Engine::start() else { return };
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tracer.c");
    let made = Command::new("cc").args(["-static", "-o"]).arg(e.path("tracer")).arg(source).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: cc makes no static program here");
        return;
    }
    let prey = Prey::new(&e);
    let (secret, bind) =
        (format!("{}/secret", prey.path()), format!("{}:/tracer:ro", e.path("tracer").display()));
    for (word, flags) in
        [("look", &[][..]), ("trace", &["--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined"])]
    {
        let run = ["run", "-d", "--init", "--name", word, "-v", bind.as_str()];
        e.run(&[&run, flags, &["busybox", "/tracer", &secret, word]].concat()).ok();
        let said = || e.run(&["logs", word]).ok();
        wharf_e2e::eventually("the tracer looks", || said().starts_with("ready"));
        for _ in 0..40 {
            e.run(&["exec", word, "sh", "-c", "exit 0"]).ok();
        }
        // Programs of the container's own may be traced: so the test sees something.
        assert_eq!(said(), "ready\ntraced", "{word}");
        e.run(&["rm", "-f", word]).ok();
    }
}
