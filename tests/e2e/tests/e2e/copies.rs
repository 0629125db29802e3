//! `cp` of paths that end with `/` or `/.`: what is in a directory, also where a link leads to it.

use std::collections::BTreeSet;
use std::path::Path;
use wharf_e2e::Engine;

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_content_of_a_directory_goes_into_another() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let script = "mkdir /data; echo one > /data/a.b; ln /data/a.b /data/hard; ln -s /data /link";
    e.run(&["exec", "c1", "sh", "-c", script]).ok();
    let content = BTreeSet::from(["a.b".to_owned(), "hard".to_owned()]);
    let dir = tempfile::tempdir().unwrap();
    let copy = |with_docker: bool, from: &str, to: &Path| {
        let (from, to) = (format!("c1:{from}"), to.display().to_string());
        let args = ["cp", from.as_str(), to.as_str()];
        if with_docker { e.docker(&args, "") } else { Some(e.run(&args)) }
    };
    for with_docker in [false, true] {
        for (number, from) in ["/data/.", "/link/."].into_iter().enumerate() {
            let there = dir.path().join(format!("there{number}{with_docker}"));
            let new = dir.path().join(format!("new{number}{with_docker}"));
            std::fs::create_dir(&there).unwrap();
            for to in [&there, &new] {
                let Some(done) = copy(with_docker, from, to) else { continue };
                done.ok();
                assert_eq!(names(to), content, "{from} to {}, by docker: {with_docker}", to.display());
            }
        }
        let below = dir.path().join(format!("below{with_docker}"));
        std::fs::create_dir(&below).unwrap();
        if let Some(done) = copy(with_docker, "/link/", &below) {
            done.ok();
            assert_eq!(names(&below.join("link")), content, "the directory, not the link");
        }
    }
    // A file is no directory, and is not written to as one.
    let done = e.run(&["cp", "c1:/data/a.b/", &dir.path().display().to_string()]);
    assert_eq!(done.code, 1, "{}{}", done.out, done.err);
    assert_eq!(e.ask("HEAD", "/containers/c1/archive?path=/etc/passwd/", "").0, 404);
    let (_, tar) = e.ask("GET", "/containers/c1/archive?path=/data/.", "");
    assert!(tar.contains("./\0") && tar.contains("./a.b\0"), "what clients put another name to");
}

#[test]
fn the_root_of_a_running_container_comes_without_what_the_kernel_shows() {
    let Some(e) = Engine::start() else { return };
    let out = e.path("out");
    std::fs::create_dir(&out).unwrap();
    let copy = |from: &str, to: &str| e.run(&["cp", from, &out.join(to).display().to_string()]).ok();
    e.run(&[
        "run",
        "-d",
        "--name",
        "c1",
        "-v",
        "v1:/v",
        "busybox",
        "sh",
        "-c",
        "echo x > /v/f; echo y > /g; top",
    ])
    .ok();
    wharf_e2e::eventually("the files", || e.run(&["exec", "c1", "test", "-s", "/g"]).code == 0);
    copy("c1:/", "all");
    for empty in ["proc", "sys", "dev"] {
        assert!(names(&out.join("all").join(empty)).is_empty(), "{empty}");
    }
    assert_eq!(std::fs::read_to_string(out.join("all/v/f")).unwrap(), "x\n");
    assert_eq!(std::fs::read_to_string(out.join("all/g")).unwrap(), "y\n");
    copy("c1:/proc", "proc");
    assert!(names(&out.join("proc")).is_empty());
    // A single file is read when it is asked for.
    copy("c1:/proc/version", "version");
}
