//! Files in and out of containers, volumes of others, disk usage.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wharf_e2e::Engine;

#[test]
fn files_are_copied_into_running_containers() {
    let Some(e) = Engine::start() else { return };
    let here = e.path("here");
    std::fs::create_dir_all(here.join("sub")).unwrap();
    std::fs::write(here.join("sub/file"), "content").unwrap();
    let file = here.join("sub/file").display().to_string();
    let mounts = ["-v", "data:/data", "--tmpfs", "/mem"];
    e.run(&[&["run", "-d", "--name", "c1"][..], &mounts, &["busybox", "sleep", "1000"]].concat()).ok();
    let shown = |path: &str| e.run(&["exec", "c1", "cat", path]).ok();
    for directory in ["/root", "/data", "/mem"] {
        e.run(&["cp", &file, &format!("c1:{directory}/")]).ok();
        assert_eq!(shown(&format!("{directory}/file")), "content");
        let back = here.join("back");
        e.run(&["cp", &format!("c1:{directory}/file"), &back.display().to_string()]).ok();
        assert_eq!(std::fs::read_to_string(&back).unwrap(), "content");
    }
    e.run(&["cp", &here.join("sub").display().to_string(), "c1:/root/tree"]).ok();
    assert_eq!(shown("/root/tree/file"), "content");
    assert_eq!(e.run(&["exec", "c1", "stat", "-c", "%u:%g", "/root/file"]).ok(), "0:0");
    let absent = e.run(&["cp", &file, "c1:/no/such/place/"]);
    assert!(absent.code == 1 && absent.err.contains("/no/such/place"), "{}", absent.err);
    // The container still changes and removes what was put there.
    e.run(&["exec", "c1", "sh", "-c", "echo more >> /root/file; rm -r /root/tree"]).ok();
    assert_eq!(shown("/root/file"), "contentmore");

    // Links of the container end in the container.
    let outside = e.path("outside");
    std::fs::create_dir_all(&outside).unwrap();
    let trap = format!(
        "ln -s {0} /trap; ln -s /../../../../..{0} /trap2; ln -s /proc/1/root{0} /trap3",
        outside.display()
    );
    e.run(&["exec", "c1", "sh", "-c", &trap]).ok();
    for trap in ["trap", "trap2", "trap3"] {
        assert_ne!(e.run(&["cp", &file, &format!("c1:/{trap}/")]).code, 0, "{trap}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);

    e.run(&["run", "-d", "--name", "c2", "--read-only", "-v", "data:/data", "busybox", "sleep", "1000"]).ok();
    assert_ne!(e.run(&["cp", &file, "c2:/root/"]).code, 0);
    e.run(&["cp", &file, "c2:/data/again"]).ok();
    assert_eq!(e.run(&["exec", "c1", "cat", "/data/again"]).ok(), "content");
}

#[test]
fn volumes_of_another_container() {
    let Some(e) = Engine::start() else { return };
    let host = e.path("bound");
    std::fs::create_dir_all(&host).unwrap();
    let bind = format!("{}:/bound", host.display());
    e.run(&[
        "create",
        "--name",
        "c1",
        "-v",
        "data:/data",
        "-v",
        "/anonymous",
        "-v",
        &bind,
        "busybox",
        "true",
    ])
    .ok();
    let write = "echo x > /data/a; echo x > /anonymous/a; echo x > /bound/a";
    e.run(&["run", "--rm", "--volumes-from", "c1", "busybox", "sh", "-c", write]).ok();
    assert_eq!(std::fs::read_to_string(host.join("a")).unwrap(), "x\n");
    let from = ["run", "--rm", "--volumes-from", "c1:ro"];
    let done =
        e.run(&[&from[..], &["busybox", "sh", "-c", "cat /data/a /anonymous/a; echo y > /data/b"]].concat());
    assert!(done.out.starts_with("x\nx") && done.err.contains("Read-only"), "{}{}", done.out, done.err);
    let own = e.run(&[&from[..], &["--tmpfs", "/data", "busybox", "ls", "/data"]].concat());
    assert_eq!(own.ok(), "");
    let absent = e.run(&["run", "--rm", "--volumes-from", "nobody", "busybox", "true"]);
    assert!(absent.code == 125 && absent.err.contains("No such container: nobody"), "{}", absent.err);
    let bad = e.run(&["run", "--rm", "--volumes-from", "c1:purple", "busybox", "true"]);
    assert!(bad.code == 125 && bad.err.contains("invalid volumes-from"), "{}", bad.err);
}

#[test]
fn disk_usage_is_counted() {
    let Some(e) = Engine::start() else { return };
    let fill = "dd if=/dev/zero of=/filled bs=1M count=5; dd if=/dev/zero of=/data/f bs=1M count=3";
    e.run(&["run", "--name", "c1", "-v", "data:/data", "busybox", "sh", "-c", fill]).ok();
    e.run(&["volume", "create", "idle"]).ok();
    let usage = e.run(&["system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}"]).ok();
    let line = |kind: &str| usage.lines().find(|l| l.starts_with(kind)).unwrap_or_default().to_owned();
    assert!(line("Images").starts_with("Images|1|1|"), "{usage}");
    assert_eq!(line("Containers"), "Containers|1|0|5.243MB");
    assert_eq!(line("Local Volumes"), "Local Volumes|2|1|3.146MB");
    if let Some(done) = e.docker(&["system", "df", "-v"], "") {
        assert!(done.ok().contains("5.24MB"));
    }
    let refused = e.run(&["system", "df", "--purple"]);
    assert_ne!(refused.code, 0);
}

/// Bytes of files and links as `stat` tells them, each file once.
fn counted(root: &Path, seen: &mut HashSet<u64>) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            bytes += counted(&path, seen);
        } else if (metadata.is_file() || metadata.is_symlink()) && seen.insert(metadata.ino()) {
            bytes += metadata.size();
        }
    }
    bytes
}

#[test]
fn disk_usage_is_what_stat_says() {
    let Some(e) = Engine::start() else { return };
    let fill = "cd /data; dd if=/dev/zero of=f bs=1M count=3; ln f g; truncate -s 20M hole; ln -s /x link; mkdir d; echo x > d/x; \
                cp -r /data /own";
    e.run(&["run", "--name", "c1", "--network", "none", "-v", "data:/data", "busybox", "sh", "-c", fill])
        .ok();
    e.run(&["commit", "c1", "second"]).ok();
    let usage: serde_json::Value = serde_json::from_str(&e.get("/system/df")).unwrap();
    let volume = &usage["Volumes"][0];
    let data = e.path("data/volumes/volumes/data/_data");
    assert_eq!(volume["UsageData"]["Size"].as_u64().unwrap(), counted(&data, &mut HashSet::new()));
    assert_eq!(volume["UsageData"]["RefCount"], 1);
    let own = usage["Containers"][0]["SizeRw"].as_u64().unwrap();
    let ps = e.run(&["inspect", "--size", "--format", "{{.SizeRw}}", "c1"]).ok();
    assert_eq!(own.to_string(), ps);
    // An image has its files and what they came in; what both have counts once in all.
    let image = |name: &str| {
        let all = usage["Images"].as_array().unwrap();
        let one = all.iter().find(|i| i["RepoTags"][0].as_str().unwrap().starts_with(name)).unwrap();
        (one["Size"].as_u64().unwrap(), one["SharedSize"].as_u64().unwrap())
    };
    let ((first, shared), (second, also)) = (image("busybox"), image("second"));
    assert_eq!(shared, also);
    let total = usage["LayersSize"].as_u64().unwrap();
    assert_eq!(total, (first - shared) + (second - shared) + shared);
    // A layer's tar and its blob may be one file.
    let mut seen = HashSet::new();
    let blobs = counted(&e.path("data/content"), &mut seen);
    let trees =
        ["t", "e"].map(|name| counted(&e.path("data/snapshots").join(name), &mut seen)).iter().sum::<u64>();
    // The container's own tree is no image's; links count in a tree, not in an image.
    let links = 8 * 512;
    assert!(
        total <= blobs + trees - own && total + links >= blobs + trees - own,
        "{total} {blobs} {trees} {own}"
    );
    if e.docker(&["system", "df", "-v"], "").is_none() {
        return;
    }
    // Both say how long ago things were made.
    wharf_e2e::eventually("both say the same", || {
        e.run(&["system", "df", "-v"]).out == e.docker(&["system", "df", "-v"], "").unwrap().out
    });
    for format in ["json", "{{.Type}} {{.Size}} {{.Reclaimable}}", "table {{.Type}}\t{{.Active}}"] {
        let line = ["system", "df", "--format", format];
        assert_eq!(e.run(&line).out, e.docker(&line, "").unwrap().out, "{format}");
    }
    assert_eq!(e.run(&["system", "df"]).out, e.docker(&["system", "df"], "").unwrap().out);
}
