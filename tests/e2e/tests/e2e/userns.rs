//! Containers in user namespaces: what root inside is outside, and that everything works all the same.

use crate::compose::{Client, Project};
use std::os::unix::fs::MetadataExt;
use wharf_e2e::Engine;

/// An engine that maps ids to those from 200000 on, where the kernel shows layers with ids mapped.
fn start() -> Option<(Engine, tempfile::TempDir)> {
    let etc = tempfile::tempdir().unwrap();
    for file in ["subuid", "subgid"] {
        std::fs::write(etc.path().join(file), "dockremap:200000:65536\n").unwrap();
    }
    let directory = etc.path().display().to_string();
    let engine = Engine::start_with(&["--userns-remap", "default", "--subid-dir", &directory])?;
    Some((engine, etc))
}

fn sh(e: &Engine, flags: &[&str], script: &str) -> String {
    e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat()).ok()
}

#[test]
fn root_inside_is_nobody_outside() {
    let Some((e, _etc)) = start() else { return };
    assert_eq!(
        sh(&e, &[], "awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map; id -u"),
        "0 200000 65536\n0 200000 65536\n0"
    );
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let pid = e.run(&["inspect", "-f", "{{.State.Pid}}", "c1"]).ok();
    assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 200_000);
    let exec = e.run(&["exec", "-u", "33:44", "c1", "sh", "-c", "id -u; id -g; echo x > /dev/stdout"]).ok();
    assert_eq!(exec, "33\n44\nx");
    // A file of the host's root is out of reach, one of the mapped root's is not.
    let host = e.path("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("secret"), "host").unwrap();
    std::fs::set_permissions(host.join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let bind = format!("{}:/h", host.display());
    assert_eq!(
        sh(&e, &["-v", &bind], "cat /h/secret 2>/dev/null || echo no; touch /h/x 2>/dev/null || echo no"),
        "no\nno"
    );
    // Nor by a volume that shows the directory.
    let device = format!("device={}", host.display());
    e.run(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "shown"]).ok();
    let script = "cat /h/secret 2>/dev/null || echo no; touch /h/x 2>/dev/null || echo no";
    assert_eq!(sh(&e, &["-v", "shown:/h"], script), "no\nno");
    std::os::unix::fs::chown(&host, Some(200_000), Some(200_000)).unwrap();
    assert_eq!(sh(&e, &["-v", &bind], "touch /h/made && stat -c %u /h/made"), "0");
    assert_eq!(std::fs::metadata(host.join("made")).unwrap().uid(), 200_000);
    assert!(e.run(&["info", "-f", "{{json .SecurityOptions}}"]).ok().contains("name=userns"));
}

#[test]
fn files_keep_the_owners_of_the_image() {
    let Some((e, _etc)) = start() else { return };
    e.run(&["run", "-d", "--name", "c1", "-v", "data:/v", "busybox", "sleep", "1000"]).ok();
    e.run(&[
        "exec",
        "c1",
        "sh",
        "-c",
        "echo a > /a; chown 33:44 /a; echo v > /v/f; chown 5:6 /v/f; rm /bin/wget",
    ])
    .ok();
    let changes = e.run(&["diff", "c1"]).ok();
    assert!(changes.contains("A /a") && changes.contains("D /bin/wget"), "{changes}");
    // What came in by `cp` is the container's root's, and what comes out has the container's numbers.
    let file = e.path("file");
    std::fs::write(&file, "copied").unwrap();
    e.run(&["cp", &file.display().to_string(), "c1:/in"]).ok();
    assert_eq!(
        e.run(&["exec", "c1", "sh", "-c", "stat -c '%u %g' /in /a; cat /in"]).ok(),
        "0 0\n33 44\ncopied"
    );
    let out = e.path("out");
    e.run(&["cp", "-a", "c1:/a", &out.display().to_string()]).ok();
    let found = std::fs::metadata(&out).unwrap();
    assert_eq!((found.uid(), found.gid()), (33, 44));
    // On the disk there is no mapping: with the host's users all of it is the same.
    e.run(&["commit", "c1", "made"]).ok();
    for flags in [&[][..], &["--userns", "host"]] {
        let run = [&["run", "--rm", "-v", "data:/v"], flags, &["made", "stat", "-c", "%u %g", "/a", "/v/f"]]
            .concat();
        assert_eq!(e.run(&run).ok(), "33 44\n5 6", "{flags:?}");
    }
    std::fs::create_dir(e.path("ctx")).unwrap();
    std::fs::write(e.path("ctx/Dockerfile"), "FROM busybox\nRUN echo b > /b && chown 7:8 /b\n").unwrap();
    e.run(&["build", "-q", "-t", "built", &e.path("ctx").display().to_string()]).ok();
    assert_eq!(e.run(&["run", "--rm", "built", "stat", "-c", "%u %g", "/b"]).ok(), "7 8");
    // Also an image of several layers that is mounted.
    let image = "type=image,src=built,dst=/img";
    let shown =
        e.run(&["run", "--rm", "--mount", image, "busybox", "stat", "-c", "%u %g", "/img/b", "/img/bin"]);
    assert_eq!(shown.ok(), "7 8\n0 0");
}

#[test]
fn all_else_works() {
    let Some((e, _etc)) = start() else { return };
    let web = "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www";
    e.run(&["run", "-d", "--name", "web", "--hostname", "box", "busybox", "sh", "-c", web]).ok();
    wharf_e2e::eventually("the page", || {
        e.run(&["exec", "web", "wget", "-qO-", "http://127.0.0.1/"]).out.trim() == "page"
    });
    for (flags, script, expected) in [
        (&["--hostname", "box"][..], "hostname; echo x >> /etc/hosts && echo written", "box\nwritten"),
        (&["--tmpfs", "/t"], "touch /t/x && stat -c %u /t/x", "0"),
        (
            &["--device", "/dev/net/tun:/dev/x:r"],
            "stat -c %t,%T /dev/x; (echo a > /dev/x) 2>/dev/null || echo no",
            "a,c8\nno",
        ),
        (
            &["-m", "64m"],
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true",
            "67108864",
        ),
        (&["--sysctl", "net.ipv4.ip_default_ttl=77"], "cat /proc/sys/net/ipv4/ip_default_ttl", "77"),
        (
            &["--network", "container:web"],
            "wget -qO- http://127.0.0.1/; awk '{print $2}' /proc/self/uid_map",
            "page\n200000",
        ),
        (&["--pid", "container:web"], "ps | grep -c '[h]ttpd'", "1"),
        (&["--ulimit", "nofile=512:600"], "ulimit -n; ulimit -Hn", "512\n600"),
        (&["--init"], "cat /proc/1/comm", "wharf-init"),
        (&["--read-only"], "touch /x 2>/dev/null || echo no", "no"),
        (
            &[],
            "ping -c 1 127.0.0.1 > /dev/null && echo ping; mknod /x c 1 3 2>/dev/null || echo no",
            "ping\nno",
        ),
        (&["--userns", "host"], "awk '{print $2}' /proc/self/uid_map", "0"),
        (
            &["--userns", "host", "--privileged"],
            "mount -t tmpfs x /mnt 2>/dev/null || mount -t tmpfs x /tmp; echo $?",
            "0",
        ),
    ] {
        assert_eq!(sh(&e, flags, script), expected, "{flags:?} {script}");
    }
    e.run(&["run", "-d", "--name", "hosts", "--userns", "host", "busybox", "sleep", "1000"]).ok();
    let joined = sh(&e, &["--network", "container:hosts"], "awk '{print $2}' /proc/self/uid_map");
    assert_eq!(joined, "0", "namespaces belong to a user namespace");
    let tty = e.run(&["run", "--rm", "-t", "busybox", "sh", "-c", "tty; stat -c %u /dev/console"]).ok();
    assert_eq!(tty.replace('\r', ""), "/dev/pts/0\n0");
    e.run(&[
        "run",
        "-d",
        "--wait",
        "--name",
        "ok",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
        "busybox",
        "sleep",
        "1000",
    ])
    .ok();
    assert!(e.run(&["top", "web"]).ok().contains("httpd"));
    assert!(e.run(&["stats", "--no-stream", "web"]).ok().contains("web"));
    for args in
        [&["run", "--rm", "-v", "vol:/v", "--device", "/dev/zero:/dev/x", "busybox"][..], &["exec", "web"]]
    {
        let list = e.run(&[args, &["ls", "/proc/self/fd"]].concat()).ok();
        assert_eq!(list, "0\n1\n2\n3", "{args:?}: ls itself opens 3");
    }
    e.run(&["restart", "-t", "0", "web"]).ok();
}

#[test]
fn what_a_namespace_cannot_have_is_refused() {
    let Some((mut e, _etc)) = start() else { return };
    for (flags, text) in [
        (
            &["--privileged"][..],
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (
            &["--network", "host"],
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (&["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
    ] {
        let done = e.run(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
        assert!(done.code == 125 && done.err.contains(text), "{flags:?}: {}", done.err);
        e.run(&[&["run", "--rm", "--userns", "host"], flags, &["busybox", "true"]].concat()).ok();
    }
    let done = e.run(&["run", "--rm", "--userns", "foo", "busybox", "true"]);
    assert!(done.code == 125 && done.err.contains("--userns: invalid USER mode"), "{}", done.err);
    assert_eq!(e.run(&["run", "--rm", "-u", "70000", "busybox", "true"]).code, 125);
    // A container made before goes on as it was when the engine is killed and started again.
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    e.kill();
    e.launch();
    assert_eq!(e.run(&["exec", "c1", "awk", "{print $2}", "/proc/self/uid_map"]).ok(), "200000");
}

#[test]
fn setgroups_gives_no_right_of_the_host() {
    let Some((e, _etc)) = start() else { return };
    let host = e.path("closed");
    std::fs::write(&host, "host").unwrap();
    std::fs::set_permissions(&host, std::os::unix::fs::PermissionsExt::from_mode(0o040)).unwrap();
    // Its group 0 is the host's, which no list of groups inside comes to.
    let bind = format!("{}:/closed", host.display());
    let script = "cat /closed 2>/dev/null || echo no; id -G";
    assert_eq!(sh(&e, &["-v", &bind, "--group-add", "0", "-u", "5:5"], script), "no\n5 0");
}

#[test]
fn mounts_of_builds_and_secrets_of_projects_have_their_owners() {
    let Some((e, _ids)) = start() else { return };
    let directory = e.path("built");
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("sub/file"), "seen\n").unwrap();
    let dockerfile = "FROM busybox\n\
        RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0750 --mount=source=sub,target=/s,rw --mount=type=tmpfs,target=/t \
            (stat -c '%u:%g %a' /c; stat -c '%u' /s/file /t; cat /s/file; touch /c/made /s/made /t/made; stat -c '%u' /c/made) > /seen\n\
        RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0750 stat -c '%u' /c/made >> /seen\n";
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    let built = e.run(&["build", "-t", "mounted", &directory.display().to_string()]);
    let seen = e.run(&["run", "--rm", "mounted", "cat", "/seen"]);
    let expected = "7:8 750\n0\n0\nseen\n0\n0";
    assert_eq!(seen.out.trim_end(), expected, "{}{}{}", built.out, built.err, seen.err);
    let file = "services:\n  web:\n    image: busybox\n    command: stat -c '%u:%g %a' /run/secrets/s /c\n    \
                secrets: [{source: s, uid: '7', gid: '8', mode: 0440}]\n    configs: [{source: c, target: /c, uid: '9', mode: 0400}]\n\
                secrets: {s: {environment: S}}\nconfigs: {c: {content: text}}\n";
    let project = Project::new(&e, "owners", file);
    let mut command = project.command(Client::Ours).unwrap();
    let done = wharf_e2e::run_limited(command.env("S", "hidden").args(["up", "--no-log-prefix"]), "");
    assert!(done.out.contains("7:8 440") && done.out.contains("9:0 400"), "{}{}", done.out, done.err);
    project.ours(&["down"]).ok();
}
