//! A full disk, and one without inodes: what fails says so and leaves nothing, what runs goes on, and space mends all.

use std::io::Write;
use std::path::Path;
use wharf_e2e::{Done, Engine, eventually};

/// Takes all that is left of a file system.
struct Filler(std::path::PathBuf);

impl Filler {
    fn bytes(e: &Engine) -> Self {
        let path = e.path("data/filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Self(path)
    }

    fn inodes(e: &Engine) -> Self {
        let path = e.path("data/filler");
        std::fs::create_dir(&path).unwrap();
        let mut number = 0;
        while std::fs::write(path.join(number.to_string()), "").is_ok() {
            number += 1;
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let gone =
            if self.0.is_dir() { std::fs::remove_dir_all(&self.0) } else { std::fs::remove_file(&self.0) };
        gone.unwrap();
    }
}

fn refused(e: &Engine, done: &Done, what: &[&str]) {
    assert_ne!(done.code, 0, "{what:?} went well on a full disk");
    let says = done.err.contains("No space left on device") || done.err.contains("disk is full");
    assert!(says, "{what:?} does not say what is wrong: {}", done.err);
    let names = done.err.contains(&e.path("data").display().to_string());
    assert!(names, "{what:?} does not say where: {}", done.err);
}

/// A tree that is larger than what is left, and one with more files.
fn big_tar(e: &Engine) -> String {
    let (tree, tar) = (e.path("big"), e.path("big.tar"));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("file"), vec![7; 3 << 20]).unwrap();
    for n in 0..50 {
        std::fs::write(tree.join(n.to_string()), "x").unwrap();
    }
    pack(&tree, &tar)
}

fn pack(tree: &Path, tar: &Path) -> String {
    let mut tool = std::process::Command::new("tar");
    assert!(tool.arg("-C").arg(tree).arg("-cf").arg(tar).arg(".").status().unwrap().success());
    tar.display().to_string()
}

fn disk_is_full(e: &Engine, fill: impl Fn(&Engine) -> Filler) {
    let tar = big_tar(e);
    e.run(&["create", "--name", "stopped", "busybox", "true"]).ok();
    e.run(&["cp", &tar, "stopped:/big"]).ok();
    let saved = e.path("saved.tar").display().to_string();
    e.run(&["import", &tar, "big"]).ok();
    e.run(&["save", "-o", &saved, "big"]).ok();
    e.run(&["rmi", "big"]).ok();
    let context = e.path("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::copy(&tar, context.join("big.tar")).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY big.tar /big.tar\n").unwrap();
    let context = context.display().to_string();
    let (before, blobs) = (e.holdings(), e.files_below("data/content"));
    let volumes = e.run(&["volume", "ls", "-q"]).ok();
    let copied = ["create", "--name", "copied", "-v", "fresh:/bin", "-v", "/bin", "busybox", "true"];
    let commands: [(&[&str], &[&str]); 6] = [
        (&["import", &tar, "big"], &["rmi", "big"]),
        (&["load", "-i", &saved], &["rmi", "big"]),
        (&["commit", "stopped", "third"], &["rmi", "third"]),
        (&["build", "--no-cache", "-t", "built", &context], &["rmi", "built"]),
        (&copied, &["rm", "-v", "copied"]),
        (&["volume", "create", "another"], &["volume", "rm", "another"]),
    ];
    for (command, undo) in commands {
        let filler = fill(e);
        let done = e.run(command);
        refused(e, &done, command);
        e.back_to(&before);
        drop(filler);
        eventually("no blob is left", || e.files_below("data/content") == blobs);
        e.run(&["volume", "rm", "-f", "fresh"]);
        assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), volumes, "{command:?} left a volume");
        // With space again it works.
        e.run(command).ok();
        e.run(undo).ok();
        e.run(&["volume", "rm", "-f", "fresh"]);
        e.back_to(&before);
    }
    // Whoever wants to make space can: removing needs none.
    e.run(&["import", &tar, "big"]).ok();
    e.run(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]).ok();
    let filler = fill(e);
    e.run(&["stop", "-t", "0", "runs"]).ok();
    e.run(&["rm", "runs"]).ok();
    e.run(&["rmi", "big"]).ok();
    e.run(&["rm", "stopped"]).ok();
    drop(filler);
    assert_eq!(e.run(&["run", "--rm", "busybox", "echo", "again"]).ok(), "again");
}

#[test]
fn a_full_disk_is_named_and_left_as_it_was() {
    let Some(e) = Engine::start_on_small_disk("size=48m") else { return };
    disk_is_full(&e, Filler::bytes);
}

#[test]
fn a_disk_without_inodes_is_named_and_left_as_it_was() {
    let Some(e) = Engine::start_on_small_disk("size=64m,nr_inodes=2000") else { return };
    disk_is_full(&e, Filler::inodes);
}

#[test]
fn a_log_that_fills_the_disk_stops_no_container() {
    let Some(mut e) = Engine::start_on_small_disk("size=24m") else { return };
    let log = ["--log-opt", "max-size=-1"];
    let script = "trap 'echo after; exit 4' TERM; echo first; while [ ! -e /tmp/go ]; do usleep 10000; done; \
                  dd if=/dev/zero bs=64k count=500 2>/dev/null | tr '\\0' x | fold -w 1000; echo; touch /tmp/full; \
                  while true; do usleep 10000; done";
    let run =
        [&["run", "-d", "--name", "chatty"][..], &log, &["--tmpfs", "/tmp", "busybox", "sh", "-c", script]];
    e.run(&run.concat()).ok();
    let filler = Filler::bytes(&e);
    e.run(&["exec", "chatty", "touch", "/tmp/go"]).ok();
    eventually("the container wrote all", || e.run(&["exec", "chatty", "test", "-e", "/tmp/full"]).code == 0);
    let logs = e.run(&["logs", "chatty"]).ok();
    assert!(logs.starts_with("first"), "{}", &logs[..logs.len().min(200)]);
    let said = e.log();
    assert!(said.contains("write the log") && said.contains("No space left"), "{said}");
    drop(filler);
    // A new engine and more output after the gap: no entry is torn.
    e.kill();
    e.launch();
    e.run(&["stop", "chatty"]).ok();
    let logs = e.run(&["logs", "chatty"]).ok();
    assert!(logs.ends_with("after"), "…{}", &logs[logs.len().saturating_sub(200)..]);
    for line in logs.lines() {
        assert!(matches!(line, "first" | "after") || line.bytes().all(|b| b == b'x'), "{line:.300}");
    }
    assert_eq!(e.run(&["inspect", "--format", "{{.State.ExitCode}}", "chatty"]).ok(), "4");
}
