//! `--mount`: images, parts of volumes, options and what is refused.

use wharf_e2e::Engine;

#[test]
fn an_image() {
    let Some(e) = Engine::start() else { return };
    std::fs::create_dir(e.path("ctx")).unwrap();
    let file =
        "FROM busybox\nRUN mkdir -p /d/sub && echo one > /d/sub/f && rm /bin/wget\nRUN echo two > /d/g\n";
    std::fs::write(e.path("ctx/Dockerfile"), file).unwrap();
    e.run(&["build", "-q", "-t", "made", &e.path("ctx").display().to_string()]).ok();
    let run =
        |mount: &str, script: &str| e.run(&["run", "--rm", "--mount", mount, "busybox", "sh", "-c", script]);
    let all = "cat /i/d/sub/f /i/d/g; ls /i/bin/wget 2>/dev/null; touch /i/x 2>/dev/null || echo no";
    assert_eq!(run("type=image,source=made,target=/i", all).ok(), "one\ntwo\nno");
    assert_eq!(
        run("type=image,source=made,target=/i,image-subpath=d/sub", "ls /i; touch /i/x || true").ok(),
        "f"
    );
    assert_eq!(run("type=image,source=made,target=/i,image-subpath=d/g", "cat /i").ok(), "two");
    assert_eq!(run("type=image,source=busybox,target=/i", "ls /i/bin/wget").ok(), "/i/bin/wget");
    for (mount, text) in [
        ("type=image,target=/i", "invalid mount config for type \"image\": field Source must not be empty"),
        (
            "type=image,source=made,target=/i,image-subpath=../x",
            "invalid mount config for type \"image\": subpath must be a relative path within the volume",
        ),
        ("type=image,source=made,target=/i,image-subpath=nope", "cannot access path nope"),
        ("type=foo,source=made,target=/i", "invalid mount config for type \"foo\": mount type unknown"),
    ] {
        let done = run(mount, "true");
        assert!(done.code == 125 && done.err.contains(text), "{mount}: {}", done.err);
    }
    // It is in use while a container mounts it.
    e.run(&["create", "--name", "c1", "--mount", "type=image,source=made,target=/i", "busybox", "true"]).ok();
    let refused = e.run(&["rmi", "made"]);
    assert!(refused.code != 0 && refused.err.contains("is using its referenced image"), "{}", refused.err);
    let mounts = e.run(&["inspect", "-f", "{{json .Mounts}}", "c1"]).ok();
    assert!(mounts.contains("\"Type\":\"image\"") && mounts.contains("\"Name\":\"made\""), "{mounts}");
    e.run(&["rm", "c1"]).ok();
    e.run(&["rmi", "made"]).ok();
}

#[test]
fn a_part_of_a_volume() {
    let Some(e) = Engine::start() else { return };
    let script = "mkdir /v/sub; echo f > /v/sub/f; ln -s /etc /v/link; ln -s ../.. /v/up; ln -s sub /v/in";
    e.run(&["run", "--rm", "-v", "v1:/v", "busybox", "sh", "-c", script]).ok();
    let run = |subpath: &str| {
        let mount = format!("type=volume,source=v1,target=/v,volume-subpath={subpath}");
        e.run(&["run", "--rm", "--mount", &mount, "busybox", "ls", "/v"])
    };
    assert_eq!((run("sub").ok(), run("in").ok(), run("sub/f").ok()), ("f".into(), "f".into(), "/v".into()));
    for (subpath, text) in [
        ("link", "path concatenation escapes the base directory"),
        ("up", "path concatenation escapes the base directory"),
        ("nope", "cannot access path nope"),
        ("../x", "subpath must be a relative path within the volume"),
    ] {
        let done = run(subpath);
        assert!(done.code == 125 && done.err.contains(text), "{subpath}: {}", done.err);
    }
}

#[test]
fn options_are_dockers() {
    let Some(e) = Engine::start() else { return };
    let run = |flags: &[&str], script: &str| {
        e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    let tmpfs = ["--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700"];
    assert_eq!(run(&tmpfs, "stat -c %a /t; df -k /t | awk 'END {print $2}'").ok(), "700\n1024");
    // The engine's files lie in a volume over /etc, too; nothing of the image's is copied.
    let nocopy = ["--mount", "type=volume,source=v2,target=/etc,volume-nocopy"];
    assert_eq!(run(&nocopy, "ls /etc").ok(), "hostname\nhosts\nresolv.conf");
    assert_eq!(
        run(
            &["--security-opt", "writable-cgroups=true"],
            "cd /sys/fs/cgroup; [ -d memory ] && cd memory; mkdir x && rmdir x && echo ok"
        )
        .ok(),
        "ok"
    );
    // /dev/shm is shared with the IPC namespace, or with nobody.
    e.run(&["run", "-d", "--name", "shr", "--ipc", "shareable", "busybox", "sleep", "1000"]).ok();
    e.run(&["run", "-d", "--name", "prv", "busybox", "sleep", "1000"]).ok();
    run(&["--ipc", "container:shr"], "echo shared > /dev/shm/a").ok();
    assert_eq!(e.run(&["exec", "shr", "cat", "/dev/shm/a"]).ok(), "shared");
    assert_eq!(
        run(&["--ipc", "none"], "ls -d /dev/shm/. 2>/dev/null; mount | grep -c /dev/shm")
            .out
            .trim_start_matches("/dev/shm/.\n"),
        "0\n"
    );
    for (flags, text) in [
        (
            &["--ipc", "container:prv"][..],
            "non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        ),
        (&["--ipc", "foo"], "invalid IPC mode: foo"),
        (&["--pid", "foo"], "--pid: invalid PID mode"),
        (&["--uts", "foo"], "--uts: invalid UTS mode"),
        (&["--cgroupns", "foo"], "--cgroupns: invalid CGROUP mode"),
        (&["--uts", "host", "--hostname", "x"], "conflicting options: hostname and the UTS mode"),
        (&["--runtime", "nope"], "unknown or invalid runtime name: nope"),
        (&["--oom-score-adj", "2000"], "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        (&["--cap-add", "WARP"], "invalid CapAdd: unknown capability: \"CAP_WARP\""),
        (&["--cap-drop", "WARP"], "invalid CapDrop: unknown capability: \"CAP_WARP\""),
        (&["--security-opt", "foo"], "Invalid --security-opt: \"foo\""),
        (&["--security-opt", "foo=bar"], "invalid --security-opt 2: \"foo=bar\""),
        (
            &["--security-opt", "no-new-privileges=maybe"],
            "invalid --security-opt 2: \"no-new-privileges=maybe\"",
        ),
        (&["--tmpfs", "/t:foo"], "invalid tmpfs option \"foo\""),
        (&["--group-add", "nosuch"], "unable to find group nosuch: no matching entries in group file"),
        (&["-w", "rel"], "the working directory 'rel' is invalid, it needs to be an absolute path"),
        (
            &["--mount", "type=bind,source=/tmp,target=/v,bind-propagation=foo"],
            "invalid mount config for type \"bind\": invalid propagation mode: foo",
        ),
        (
            &["--mount", "type=bind,source=/tmp,target=/v,bind-recursive=readonly"],
            "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
        ),
        (&["--mount", "type=tmpfs,source=x,target=/v"], "field Source must not be specified"),
    ] {
        let done = run(flags, "true");
        assert!(done.code == 125 && done.err.contains(text), "{flags:?}: {} {}", done.code, done.err);
    }
    let caps = |flags: &[&str]| run(flags, "grep CapEff /proc/self/status").ok();
    assert!(caps(&["--cap-add", "NET_ADMIN", "--cap-drop", "NET_ADMIN"]).ends_with("a80435fb"));
    assert_eq!(caps(&["--privileged", "--cap-drop", "CHOWN"]), caps(&["--privileged"]));
    assert_eq!(run(&["-u", "33:44"], "id -G").ok(), "44", "the primary group is a supplementary one");
}
