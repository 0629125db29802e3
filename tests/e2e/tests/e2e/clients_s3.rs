//! The registry with its images in an S3-compatible store: s3rver of the npm registry, which `cargo xtask clients` installs.

use super::registry_serve::{Served, registry, send, sha256};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wharf_e2e::{Engine, eventually};

/// The store, ended when dropped.
struct Store {
    process: Child,
    port: u16,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Store {
    fn start(dir: &Path) -> Option<Self> {
        let program =
            std::env::var_os("WHARF_CLIENTS").map(|c| PathBuf::from(c).join("node_modules/.bin/s3rver"));
        let Some(program) = program.filter(|program| program.exists()) else {
            println!("skipped: s3rver is not there: cargo xtask clients installs it");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["--address", "127.0.0.1", "--silent", "--configure-bucket", "images"])
            .args(["--port", &port.to_string(), "--directory"])
            .arg(dir.join("store"))
            // Its tokens are of a cipher that OpenSSL 3 calls old.
            .env("NODE_OPTIONS", "--openssl-legacy-provider")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the store listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { process, port })
    }

    fn config(&self, dir: &Path) -> String {
        std::fs::write(
            dir.join("keys"),
            "[default]\naws_access_key_id = S3RVER\naws_secret_access_key = S3RVER\n",
        )
        .unwrap();
        format!(
            r#"{{"storage": {{"s3": {{"endpoint": "http://127.0.0.1:{}", "bucket": "images", "prefix": "team/registry",
                "credentials-file": "DIR/keys"}}}}, "gc": {{"grace": "0s", "untagged": "0s"}}}}"#,
            self.port
        )
    }
}

/// Files below a directory, and their bytes.
fn files(dir: &Path) -> (usize, u64) {
    let (mut count, mut bytes) = (0, 0);
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => pending.push(entry.path()),
                Ok(metadata) => (count, bytes) = (count + 1, bytes + metadata.len()),
                Err(_) => {}
            }
        }
    }
    (count, bytes)
}

#[test]
fn images_in_a_store() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let Some(store) = Store::start(dir) else { return };
    let Some(e) = Engine::start() else { return };
    let config = store.config(dir);
    let served = Served::start(dir, &config);
    let name = format!("{}/me/app:1", served.address);
    // 60 MB that no compression makes less: more than a part of an upload.
    let dockerfile = "FROM busybox\nRUN dd if=/dev/urandom of=/random bs=1M count=60 2>/dev/null\n";
    e.run_with(&["build", "-t", &name, "-"], dockerfile).ok();
    e.run(&["push", &name]).ok();
    assert!(files(&dir.join("root/content")).1 < 1 << 20, "nothing of it stays beside the store");
    e.run(&["rmi", "-f", &name]).ok();
    e.run(&["run", "--rm", &name, "sh", "-c", "test $(stat -c %s /random) = 62914560"]).ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let anonymous: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(anonymous < 20 << 10, "{anonymous} KiB in memory");

    // Another process finds everything, and goes on with an upload that a crash broke off.
    let (begun, answer) = served.request("POST", "/v2/me/app/blobs/uploads/", b"");
    assert_eq!(begun, 202);
    let place = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().trim().to_owned();
    assert_eq!(served.request("PATCH", &place, b"first half, ").0, 202);
    served.kill();
    let served = Served::start(dir, &config);
    let whole = sha256(b"first half, second half");
    drop(send(&served.address, "GET", "/v2/", 0, b""));
    let target = format!("{place}?digest={whole}");
    assert_eq!(served.request("PUT", &target, b"second half").0, 201);
    let blob = format!("/v2/me/app/blobs/{whole}");
    assert!(served.request("GET", &blob, b"").1.ends_with("first half, second half"));
    let (status, tags) = served.request("GET", "/v2/me/app/tags/list", b"");
    assert!(status == 200 && tags.contains(r#"["1"]"#), "{tags}");

    // A second registry, of another root, is told whose the bucket is.
    let config = dir.join("config.json").display().to_string();
    let other = dir.join("other").display().to_string();
    let second = registry(&["serve", "--listen", "127.0.0.1:0", "--root", &other, "--config", &config]);
    assert!(second.code == 1 && second.err.contains("in use by another registry, on "), "{second:?}");
    assert!(
        registry(&["gc", "--root", &other, "--config", &config]).err.contains("in use by another registry")
    );

    // Collected by the command, as the bucket is to be in one place at a time.
    assert_eq!(served.request("DELETE", "/v2/me/app/manifests/1", b"").0, 202);
    let root = dir.join("root").display().to_string();
    assert!(registry(&["gc", "--config", &config, "--root", &root]).err.contains("in use"));
    served.kill();
    let told = registry(&["gc", "--config", &config, "--root", &root]).ok();
    assert!(told.contains("1 manifests") && told.contains(&whole), "{told}");
    assert!(files(&dir.join("store")).1 < 1 << 20);
    // A key that is not known is said, and shown nowhere.
    std::fs::write(dir.join("keys"), "aws_access_key_id = OTHER\naws_secret_access_key = hushhush\n")
        .unwrap();
    let refused = registry(&["gc", "--config", &config, "--root", &root]);
    assert!(
        refused.code == 1 && refused.err.contains("403") && !refused.err.contains("hushhush"),
        "{}",
        refused.err
    );
}
