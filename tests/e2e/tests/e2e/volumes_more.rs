//! Volumes beyond Docker's: rename, clone, export, import, owners.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wharf_e2e::{Engine, eventually};

fn data(e: &Engine, name: &str) -> PathBuf {
    e.path("data/volumes/volumes").join(name).join("_data")
}

fn fill(e: &Engine, name: &str) {
    let script = "cd /data; echo text > a; ln a b; ln -s /etc/shadow link; mkfifo pipe; chown 7:8 a; chmod 4750 a; \
                  mkdir d; chmod 2771 d; echo x > d/x; truncate -s 30M hole; chmod 1777 .";
    let mount = format!("{name}:/data");
    e.run(&["run", "--rm", "--network", "none", "-v", &mount, "busybox", "sh", "-c", script]).ok();
    rustix::fs::setxattr(data(e, name).join("a"), "user.word", b"value", rustix::fs::XattrFlags::empty())
        .unwrap();
}

/// What must be the same of two trees; the disk's blocks apart.
fn seen(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for name in [".", "a", "b", "link", "pipe", "d", "d/x", "hole"] {
        let path = root.join(name);
        let m = std::fs::symlink_metadata(&path).unwrap();
        let size = if m.is_dir() { 0 } else { m.size() };
        let word = rustix::fs::getxattr(&path, "user.word", &mut [0; 9][..]).unwrap_or_default();
        lines.push(format!("{name} {:o} {}:{} {size} {} {word}", m.mode(), m.uid(), m.gid(), m.mtime()));
    }
    assert_eq!(
        std::fs::metadata(root.join("a")).unwrap().ino(),
        std::fs::metadata(root.join("b")).unwrap().ino()
    );
    lines
}

#[test]
fn a_volume_is_renamed_unless_a_container_has_it() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["volume", "create", "--label", "a=b", "--uid", "7", "old"]).ok();
    e.run(&["volume", "create", "taken"]).ok();
    e.run(&["create", "--name", "c1", "-v", "old:/data", "busybox", "true"]).ok();
    let refused = e.run(&["volume", "rename", "old", "new"]);
    assert!(refused.code == 1 && refused.err.contains("volume is in use"), "{}", refused.err);
    e.run(&["rm", "c1"]).ok();
    std::fs::write(data(&e, "old").join("x"), "content").unwrap();
    assert!(e.run(&["volume", "rename", "old", "taken"]).err.contains("exists already"));
    assert!(e.run(&["volume", "rename", "nope", "new"]).err.contains("no such volume"));
    assert!(e.run(&["volume", "rename", "old", "../new"]).err.contains("invalid characters"));
    e.run(&["volume", "rename", "old", "new"]).ok();
    let show = ["volume", "inspect", "--format", "{{.Labels.a}} {{.Options.uid}}", "new"];
    assert_eq!(e.run(&show).ok(), "b 7");
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "new\ntaken");
    let read = ["run", "--rm", "--network", "none", "-v", "new:/data", "busybox", "cat", "/data/x"];
    assert_eq!(e.run(&read).ok(), "content");
    e.kill();
    e.launch();
    assert_eq!(e.run(&show).ok(), "b 7");
    assert!(!data(&e, "old").exists());
}

#[test]
fn clones_and_archives_are_the_same() {
    let Some(e) = Engine::start() else { return };
    e.run(&["volume", "create", "--label", "a=b", "v1"]).ok();
    fill(&e, "v1");
    let wanted = seen(&data(&e, "v1"));
    assert_eq!(e.run(&["volume", "clone", "v1", "v2"]).ok(), "v2");
    assert_eq!(seen(&data(&e, "v2")), wanted);
    assert_eq!(e.run(&["volume", "inspect", "--format", "{{.Labels.a}}", "v2"]).ok(), "b");
    assert!(
        std::fs::metadata(data(&e, "v2").join("hole")).unwrap().blocks() < 1000,
        "a hole is copied as one"
    );
    assert!(e.run(&["volume", "clone", "v1", "v2"]).err.contains("exists already"));

    let tar = e.path("v.tar");
    e.run(&["volume", "export", "-o", tar.to_str().unwrap(), "v1"]).ok();
    for (name, program) in [("plain", None), ("gz", Some("gzip")), ("zst", Some("zstd"))] {
        let mut file = tar.clone();
        if let Some(program) = program {
            file = e.path(name);
            let out = std::process::Command::new(program).arg("-c").arg(&tar).output();
            let Ok(out) = out else {
                println!("skipped: {program} is missing");
                continue;
            };
            std::fs::write(&file, out.stdout).unwrap();
        }
        e.run(&["volume", "import", name, file.to_str().unwrap()]).ok();
        assert_eq!(seen(&data(&e, name)), wanted, "{name}");
    }
    // Over what is there, from standard input, and nothing of a broken archive.
    e.run(&["volume", "import", "v2", tar.to_str().unwrap()]).ok();
    assert_eq!(seen(&data(&e, "v2")), wanted);
    assert_ne!(e.run_with(&["volume", "import", "broken", "-"], "no archive at all").code, 0);
    assert!(e.run(&["volume", "inspect", "broken"]).code != 0 && !data(&e, "broken").exists());
    assert!(e.run(&["volume", "export", "-o", "/dev/null", "nope"]).err.contains("no such volume"));
}

#[test]
fn an_archive_leads_nowhere_else() {
    let Some(e) = Engine::start() else { return };
    let (outside, tree) = (e.path("outside"), e.path("tree"));
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(&tree).unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("out")).unwrap();
    let tar = e.path("hostile.tar");
    let pack = |args: &[&str]| {
        let mut command = std::process::Command::new("tar");
        assert!(command.arg("-C").arg(&tree).arg("-P").args(args).status().unwrap().success());
    };
    let tar_name = tar.display().to_string();
    pack(&["-cf", &tar_name, "out"]);
    std::fs::remove_file(tree.join("out")).unwrap();
    std::fs::create_dir(tree.join("out")).unwrap();
    std::fs::write(tree.join("out/file"), "x").unwrap();
    pack(&["-rf", &tar_name, "out/file"]);
    e.run(&["volume", "import", "v1", &tar_name]);
    let up = format!("s,^out,../../../../../..{},", outside.display());
    pack(&["--transform", &up, "-cf", &tar_name, "out/file"]);
    let refused = e.run(&["volume", "import", "v2", &tar_name]);
    assert!(refused.code != 0 && refused.err.contains("leads out"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_volume_has_the_owner_that_was_asked_for() {
    let Some(e) = Engine::start() else { return };
    e.run(&["volume", "create", "--uid", "1000", "--gid", "50", "--mode", "0770", "v1"]).ok();
    e.run(&["volume", "create", "--opt", "o=uid=1000,gid=50,mode=0770", "v2"]).ok();
    if let Some(done) = e
        .docker(&["volume", "create", "--opt", "uid=1000", "--opt", "gid=50", "--opt", "mode=0770", "v3"], "")
    {
        done.ok();
    } else {
        e.run(&["volume", "create", "--opt", "uid=1000", "--opt", "gid=50", "--opt", "mode=0770", "v3"]).ok();
    }
    for name in ["v1", "v2", "v3"] {
        // What the image has at the place does not change it.
        let mount = format!("{name}:/home");
        let show = ["stat", "-c", "%u:%g %a", "/home"];
        let run = [&["run", "--rm", "--network", "none", "-v", &mount, "busybox"][..], &show].concat();
        assert_eq!(e.run(&run).ok(), "1000:50 770", "{name}");
    }
    let refused = e.run(&["volume", "create", "--mode", "0999", "v4"]);
    assert!(refused.err.contains("octal"), "{}", refused.err);
}

#[test]
fn a_clone_that_a_crash_breaks_off_leaves_nothing() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["volume", "create", "v1"]).ok();
    // Enough that a release build is still at it when it is looked at.
    let many = 20_000;
    for number in 0..many {
        std::fs::write(data(&e, "v1").join(number.to_string()), "x").unwrap();
    }
    let mut clone =
        e.wharf().args(["volume", "clone", "v1", "v2"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let some = || std::fs::read_dir(data(&e, "v2")).is_ok_and(|mut entries| entries.next().is_some());
    eventually("the copy begins", some);
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "v1", "half a volume is not shown");
    assert!(e.run(&["volume", "rm", "v1"]).err.contains("volume is in use"));
    e.kill();
    clone.wait().unwrap();
    e.launch();
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "v1");
    assert!(!data(&e, "v2").parent().unwrap().exists());
    e.run(&["volume", "clone", "v1", "v2"]).ok();
    assert_eq!(std::fs::read_dir(data(&e, "v2")).unwrap().count(), many);
}

#[test]
fn an_import_that_a_crash_breaks_off_can_be_begun_again() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["volume", "create", "v1"]).ok();
    let tree = e.path("tree");
    std::fs::create_dir(&tree).unwrap();
    for number in 0..1000 {
        std::fs::write(tree.join(number.to_string()), "x").unwrap();
    }
    let packed = std::process::Command::new("tar").arg("-C").arg(&tree).args(["-cf", "-", "."]).output();
    let tar = packed.unwrap().stdout;
    let mut import =
        e.wharf().args(["volume", "import", "v1", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    // Half of it has come when the engine dies.
    let mut pipe = import.stdin.take().unwrap();
    pipe.write_all(&tar[..tar.len() / 2]).unwrap();
    let count = |e: &Engine| std::fs::read_dir(data(e, "v1")).unwrap().count();
    eventually("the first files", || count(&e) > 100);
    assert!(e.run(&["volume", "rm", "v1"]).err.contains("volume is in use"));
    e.kill();
    drop(pipe);
    import.wait().unwrap();
    e.launch();
    // The volume was there before, and stays; what came is not taken for the whole.
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "v1");
    let file = e.path("tree.tar");
    std::fs::write(&file, &tar).unwrap();
    e.run(&["volume", "import", "v1", &file.display().to_string()]).ok();
    assert_eq!(count(&e), 1000);
    e.run(&["volume", "rm", "v1"]).ok();
}

#[test]
fn a_clone_shares_the_disks_blocks_where_it_can() {
    let made = ["mkfs.xfs", "mkfs.btrfs"].into_iter().find_map(wharf_e2e::program);
    let Some(make) = made else {
        println!("skipped: neither mkfs.xfs nor mkfs.btrfs is there");
        return;
    };
    let disk = wharf_e2e::Disk::Image { make: &make, size: 512 << 20 };
    let Some(e) = Engine::start_on_disk(&[], &disk) else { return };
    let sh = |script: &str| {
        let volumes = ["-v", "v1:/one", "-v", "v2:/two"];
        e.run(
            &[&["run", "--rm", "--network", "none"][..], &volumes, &["busybox", "sh", "-c", script]].concat(),
        )
        .ok()
    };
    let used = || {
        let file = std::fs::File::open(e.path("data")).unwrap();
        rustix::fs::syncfs(&file).unwrap();
        let disk = rustix::fs::fstatvfs(&file).unwrap();
        ((disk.f_blocks - disk.f_bfree) * disk.f_frsize) >> 20
    };
    let write = ["run", "--rm", "--network", "none", "-v", "v1:/one", "busybox", "sh", "-c"];
    e.run(&[&write[..], &["dd if=/dev/urandom of=/one/big bs=1M count=64 2>/dev/null"]].concat()).ok();
    let before = used();
    e.run(&["volume", "clone", "v1", "v2"]).ok();
    let more = used() - before;
    assert!(more < 16, "the clone of 64 MB takes {more} MB");
    assert_eq!(sh("cmp /one/big /two/big && echo same"), "same");
    // What is written to one is not seen in the other.
    assert_eq!(
        sh("echo x | dd of=/two/big conv=notrunc 2>/dev/null; cmp -s /one/big /two/big || echo differ"),
        "differ"
    );
}
