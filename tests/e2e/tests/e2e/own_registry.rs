//! The registry inside the daemon, by its configuration file.

use super::registry_serve::{Served, request, send};
use std::collections::HashSet;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wharf_e2e::{Engine, eventually};

/// Bytes that a directory takes on the disk, each file once however many names it has, as `du` counts.
fn used(dir: &Path) -> u64 {
    let (mut bytes, mut seen) = (0, HashSet::new());
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}

fn hang_up(e: &Engine) {
    let pid = rustix::process::Pid::from_raw(e.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

#[test]
fn images_are_stored_once() {
    let home = tempfile::tempdir().unwrap();
    let far = Served::start(home.path(), "{}");
    // Free when asked for; what takes it in between makes the test fail.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let file = home.path().join("daemon.json");
    let configure = |more: &str| {
        std::fs::write(&file, format!(r#"{{"registry": {{"listen": "{own}"{more}}}}}"#)).unwrap();
    };
    configure("");
    let Some(mut e) = Engine::start_with(&["--config-file", file.to_str().unwrap()]) else { return };
    // An image that comes compressed from elsewhere: 20 MB that no compression makes less.
    let theirs = format!("{}/me/app:1", far.address);
    let dockerfile = "FROM busybox\nRUN dd if=/dev/urandom of=/random bs=1M count=20 2>/dev/null\n";
    e.run_with(&["build", "-t", &theirs, "-"], dockerfile).ok();
    e.run(&["push", &theirs]).ok();
    e.run(&["system", "prune", "-af"]).ok();
    e.run(&["pull", &theirs]).ok();
    let before = used(&e.path("data"));
    let ours = format!("{own}/me/app:1");
    e.run(&["tag", &theirs, &ours]).ok();
    e.run(&["push", &ours]).ok();
    let more = used(&e.path("data")).saturating_sub(before);
    assert!(more < 1 << 20, "{more} bytes more");
    // What one removes, the other keeps.
    e.run(&["rmi", "-f", &theirs, &ours]).ok();
    let alone = used(&e.path("data"));
    e.run(&["run", "--rm", &ours, "sh", "-c", "test $(stat -c %s /random) = 20971520"]).ok();
    // The plain tar is the engine's alone.
    let more = used(&e.path("data")).saturating_sub(alone);
    assert!(more < 24 << 20, "{more} bytes more");

    // Other settings by SIGHUP; one that cannot be is told and changes nothing.
    configure(r#", "read-only": true"#);
    hang_up(&e);
    eventually("it is read-only", || request(&own, "POST", "/v2/me/app/blobs/uploads/", b"").0 == 405);
    configure(r#", "read-onyl": true"#);
    hang_up(&e);
    eventually("the fault is told", || e.log().contains("unknown field `read-onyl`"));
    assert_eq!(request(&own, "POST", "/v2/me/app/blobs/uploads/", b"").0, 405);
    configure("");
    // It ends with the daemon, also when that is killed, and has everything after it.
    e.kill();
    assert!(std::net::TcpStream::connect(&own).is_err());
    e.launch();
    assert_eq!(request(&own, "GET", "/v2/me/app/manifests/1", b"").0, 200);
    assert_eq!(request(&own, "POST", "/v2/me/app/blobs/uploads/", b"").0, 202);
}

#[test]
fn pushes_that_stall_hold_up_no_container() {
    /// More than the daemon has threads for work that ends by itself.
    const STALLED: usize = 80;
    let home = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let file = home.path().join("daemon.json");
    std::fs::write(&file, format!(r#"{{"registry": {{"listen": "{own}"}}}}"#)).unwrap();
    let Some(e) = Engine::start_with(&["--config-file", file.to_str().unwrap()]) else { return };
    let beginning = std::time::Instant::now();
    let stalled: Vec<_> = (0..STALLED)
        .map(|_| {
            let (status, answer) = request(&own, "POST", "/v2/me/app/blobs/uploads/", b"");
            assert_eq!(status, 202, "{answer}");
            let place = answer.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("location").then_some(value)
            });
            send(&own, "PATCH", place.unwrap(), 1000, b"a part of it")
        })
        .collect();
    let begun = || {
        let files = e.files_below("data/registry/content/ingest");
        files.iter().filter(|f| std::fs::metadata(f).is_ok_and(|m| m.len() > 0)).count()
    };
    eventually("all of them stall", || begun() == STALLED);
    assert_eq!(e.run(&["run", "--rm", "-v", "v1:/v", "busybox", "echo", "on"]).ok(), "on");
    // The registry's own patience ends after a minute.
    assert!(beginning.elapsed().as_secs() < 30, "{:?}", beginning.elapsed());
    drop(stalled);
}
