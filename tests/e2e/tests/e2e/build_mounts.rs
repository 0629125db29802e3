//! `RUN --mount`: caches, files of the context, stages and images, memory.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use wharf_e2e::{Engine, eventually};

fn context(e: &Engine, dockerfile: &str) -> String {
    let directory = e.path("mounted");
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(directory.join("script"), "echo from the context\n").unwrap();
    std::fs::write(directory.join("sub/other"), "other\n").unwrap();
    directory.display().to_string()
}

/// Which of the paths are in an image.
fn present(e: &Engine, image: &str, paths: &[&str]) -> String {
    let script = format!("for p in {}; do test -e /$p && echo $p; done; true", paths.join(" "));
    e.run(&["run", "--rm", image, "sh", "-c", &script]).ok().replace('\n', " ")
}

#[test]
fn a_cache_is_kept_from_build_to_build() {
    let Some(e) = Engine::start() else { return };
    let build = |n: u32, rest: &str| {
        let dockerfile = format!(
            "FROM busybox\nRUN --mount=type=cache,target=/cache,mode=0700 echo {n} >> /cache/runs && cat /cache/runs > /seen{rest}\n"
        );
        e.run(&["build", "-t", "cached", &context(&e, &dockerfile)])
    };
    build(1, "").ok();
    build(2, "").ok();
    assert_eq!(e.run(&["run", "--rm", "cached", "cat", "/seen"]).ok(), "1\n2");
    assert_eq!(present(&e, "cached", &["cache", "seen"]), "seen");
    let df = e.run(&["system", "df", "-v"]).ok();
    assert!(df.contains("cached mount /cache") || df.contains("exec.cachemount"), "{df}");
    let usage = e.run(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]).ok();
    assert!(usage.contains("Build Cache 1 0"), "{usage}");
    let pruned = e.run(&["builder", "prune", "-f", "--filter", "until=24h"]).ok();
    assert!(pruned.contains("Total reclaimed space: 0B"), "{pruned}");
    let pruned = e.run(&["builder", "prune", "-f"]).ok();
    assert!(pruned.contains("Deleted build cache objects") && !pruned.contains(" 0B"), "{pruned}");
    build(3, "").ok();
    assert_eq!(e.run(&["run", "--rm", "cached", "cat", "/seen"]).ok(), "3", "it began anew");
    // What fails leaves the cache as it left it, and free.
    assert_ne!(build(4, " && exit 1").code, 0);
    build(5, "").ok();
    assert_eq!(e.run(&["run", "--rm", "cached", "cat", "/seen"]).ok(), "3\n4\n5");
}

#[test]
fn files_are_seen_and_not_kept() {
    let Some(e) = Engine::start() else { return };
    let dockerfile = "FROM busybox AS tools\nRUN echo tool > /tool && mkdir /d && echo in > /d/f && ln -s /tool /link\n\
        FROM busybox\n\
        RUN --mount=target=/ctx --mount=source=script,target=/s.sh --mount=from=tools,source=/link,target=/t \
            --mount=from=tools,source=/d,target=/rw,rw --mount=from=busybox,target=/image \
            --mount=type=tmpfs,target=/mem,size=64k --mount=source=sub,target=/made/deep/sub \
            sh /s.sh > /seen && cat /ctx/sub/other /t /rw/f /made/deep/sub/other >> /seen \
            && ls /image/bin/busybox >> /seen && echo more > /rw/g && ! touch /ctx/x && ! touch /image/x \
            && ! dd if=/dev/zero of=/mem/big bs=1k count=100 && echo ok > /made/kept\n";
    let built = e.run(&["build", "-t", "mounted", &context(&e, dockerfile)]);
    let seen = e.run(&["run", "--rm", "mounted", "cat", "/seen"]);
    let expected = "from the context\nother\ntool\nin\nother\n/image/bin/busybox";
    assert_eq!(seen.out.trim_end(), expected, "{}{}{}", built.out, built.err, seen.err);
    let paths = ["made/kept", "seen", "ctx", "s.sh", "t", "rw", "image", "mem", "made/deep", "rw/g"];
    assert_eq!(present(&e, "mounted", &paths), "made/kept seen", "the rest was only there to be mounted on");
    // What is mounted counts for the cache of the build.
    let again = e.run(&["build", "-t", "mounted", &context(&e, dockerfile)]).ok();
    assert_eq!(again.matches("Using cache").count(), 2, "{again}");
    let directory = context(&e, dockerfile);
    std::fs::write(e.path("mounted").join("script"), "echo changed\n").unwrap();
    e.run(&["build", "-t", "mounted", &directory]).ok();
    assert!(e.run(&["run", "--rm", "mounted", "cat", "/seen"]).ok().starts_with("changed"));
}

#[test]
fn a_build_without_secrets_says_so() {
    let Some(e) = Engine::start() else { return };
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=a ls /run/secrets 2>&1 | tee /seen; true\n\
                      RUN --mount=type=ssh test -z \"$SSH_AUTH_SOCK\"\n";
    e.run(&["build", "-t", "open", &context(&e, dockerfile)]).ok();
    for (mount, why) in [("secret,id=a", "secret a: not found"), ("ssh", "no SSH key \"default\" forwarded")]
    {
        let dockerfile = format!("FROM busybox\nRUN --mount=type={mount},required true\n");
        let done = e.run(&["build", &context(&e, &dockerfile)]);
        assert!(done.code != 0 && done.err.contains(why), "{}{}", done.out, done.err);
    }
    let insecure = e.run(&["build", &context(&e, "FROM busybox\nRUN --security=insecure true\n")]);
    assert!(insecure.err.contains("security.insecure is not allowed"), "{}", insecure.err);
}

#[test]
fn a_build_that_is_given_up_frees_its_cache_and_leaves_nothing() {
    let Some(mut e) = Engine::start() else { return };
    let build = |command: &str| {
        format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked --mount=target=/rw,rw {command}\n"
        )
    };
    e.run(&["build", &context(&e, &build("true"))]).ok();
    let before = e.holdings();
    let trees = || std::fs::read_dir(e.path("data/snapshots/t")).unwrap().count();
    let kept = trees();
    let started = || {
        let caches = std::fs::read_dir(e.path("data/build-caches")).unwrap();
        caches.flatten().any(|cache| std::fs::remove_file(cache.path().join("data/started")).is_ok())
    };
    // It says nothing: that its client is gone is not seen by writing to it.
    let quiet = build("touch /c/started; while true; do echo x > /c/busy; done");
    let mut client = e.wharf();
    client.args(["build", &context(&e, &quiet)]).stdin(Stdio::null());
    let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the step's start", started);
    client.kill().unwrap();
    client.wait().unwrap();
    let next = build("rm -f /c/busy; usleep 300000; ! test -e /c/busy");
    e.run(&["build", "--no-cache", &context(&e, &next)]).ok();
    e.run(&["image", "prune", "-f"]).ok();
    eventually("the end of what it left", || trees() <= kept);
    e.back_to(&before);
    // With the engine killed in the middle, the next one clears up.
    let mut client = e.wharf();
    client.args(["build", "--no-cache", &context(&e, &quiet)]).stdin(Stdio::null());
    let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the step's start", started);
    e.kill();
    client.wait().unwrap();
    e.launch();
    eventually("the end of what was left", || {
        std::fs::read_dir(e.path("data/snapshots/t")).unwrap().count() <= kept
    });
    e.back_to(&before);
}

#[test]
fn builds_end_with_the_engine() {
    let Some(mut e) = Engine::start() else { return };
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c echo begun && sleep 1000\n";
    let path = context(&e, dockerfile);
    let mut building = e.wharf();
    building.args(["build", &path]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut building = building.spawn().unwrap();
    let mut lines = BufReader::new(building.stdout.take().unwrap()).lines();
    // The line by itself: the instruction is shown before.
    assert!(lines.any(|line| line.unwrap() == "begun"), "the step runs");
    let pid = rustix::process::Pid::from_raw(e.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    e.await_death();
    let done = building.wait_with_output().unwrap();
    assert_ne!(done.status.code(), Some(0));
    e.launch();
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
    assert!(
        e.run(&["builder", "prune", "-f"]).ok().contains("Deleted build cache objects"),
        "the cache is free"
    );
}
