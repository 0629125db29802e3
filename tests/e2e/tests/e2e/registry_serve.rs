//! `wharf registry serve`: its file, its reloads, its end in the middle of things, collection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wharf_e2e::{Done, binary, eventually, run_limited};

/// A registry with a directory of its own, killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
    pub(crate) dir: PathBuf,
}

impl Served {
    /// Serves by a configuration, in which `DIR` is the registry's directory.
    pub(crate) fn start(dir: &Path, config: &str) -> Self {
        let file = dir.join("config.json");
        std::fs::write(&file, config.replace("DIR", dir.to_str().unwrap())).unwrap();
        let mut child = Command::new(binary())
            .args(["registry", "serve", "--listen", "127.0.0.1:0", "--root"])
            .arg(dir.join("root"))
            .arg("--config")
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // Warnings may come before.
        while !line.contains("listens on") {
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "{line}");
        }
        let address = line.split_whitespace().last().unwrap().to_owned();
        // Nobody else reads what it says.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address, dir: dir.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn request(&self, method: &str, target: &str, body: &[u8]) -> (u16, String) {
        request(&self.address, method, target, body)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn send(address: &str, method: &str, target: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// The status of an answer, and the whole of it.
pub(crate) fn request(address: &str, method: &str, target: &str, body: &[u8]) -> (u16, String) {
    let mut answer = Vec::new();
    send(address, method, target, body.len(), body).read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

pub(crate) fn registry(args: &[&str]) -> Done {
    run_limited(Command::new(binary()).arg("registry").args(args), "")
}

/// The SHA-256 of what the test sends, as coreutils tell it.
pub(crate) fn sha256(content: &[u8]) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    format!("sha256:{}", String::from_utf8(out).unwrap().split(' ').next().unwrap())
}

#[test]
fn a_wrong_file_is_refused_and_a_changed_one_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.json");
    let checked = |text: &str| {
        std::fs::write(&file, text).unwrap();
        registry(&[
            "serve",
            "--check",
            "--root",
            dir.path().to_str().unwrap(),
            "--config",
            file.to_str().unwrap(),
        ])
    };
    let unknown = checked(r#"{"read-onyl": true}"#);
    assert!(unknown.code == 1 && unknown.err.contains("unknown field `read-onyl`"), "{unknown:?}");
    let absent = checked(r#"{"auth": {"htpasswd": "/none"}}"#);
    assert!(absent.code == 1 && absent.err.contains("/none"), "{absent:?}");
    assert!(checked(r#"{"read-only": true}"#).ok().contains("good"));

    let served = Served::start(dir.path(), "{}");
    let begin = || served.request("POST", "/v2/a/blobs/uploads/", b"").0;
    assert_eq!(begin(), 202);
    let config = dir.path().join("config.json");
    std::fs::write(&config, r#"{"read-only": true}"#).unwrap();
    eventually("the change was read", || begin() == 405);
    // What is wrong changes nothing; SIGHUP reads at once what is right again.
    std::fs::write(&config, r#"{"read-only": "#).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(served.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    assert_eq!(begin(), 405);
    std::fs::write(&config, "{}").unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    eventually("the signal was heard", || begin() == 202);

    let root = dir.path().join("root");
    let second = registry(&["serve", "--listen", "127.0.0.1:0", "--root", root.to_str().unwrap()]);
    assert!(second.code == 1 && second.err.contains("in use by another registry"), "{second:?}");
    let collecting = registry(&["gc", "--root", root.to_str().unwrap()]);
    assert!(collecting.code == 1 && collecting.err.contains("in use"), "{collecting:?}");
}

#[test]
fn killed_in_the_middle_of_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(n) % 251) as u8).collect();
    let digest = sha256(&content);
    let mut served = Served::start(dir.path(), "{}");
    let location = |answer: &str| {
        let line = answer.lines().find_map(|l| l.strip_prefix("location: ")).unwrap();
        line.trim().to_owned()
    };
    let begun = location(&served.request("POST", "/v2/a/blobs/uploads/", b"").1);
    let finished = served.request("POST", &format!("/v2/a/blobs/uploads/?digest={}", sha256(b"{}")), b"{}");
    assert_eq!(finished.0, 201);
    let mut offset = 0;
    for round in 1..=3 {
        // A chunk whose second half never comes.
        let end = round * 700_000;
        let stream = send(&served.address, "PATCH", &begun, 2 * content.len(), &content[offset..end]);
        let arrived = || {
            let mut bytes = 0;
            for entry in std::fs::read_dir(dir.path().join("root/content/ingest")).unwrap().flatten() {
                bytes = bytes.max(entry.metadata().map_or(0, |m| m.len()));
            }
            bytes
        };
        eventually("the bytes arrived", || arrived() >= end as u64 - 100_000);
        served.kill();
        drop(stream);
        served = Served::start(dir.path(), "{}");
        let (status, answer) = served.request("GET", &begun, b"");
        assert_eq!(status, 204, "{answer}");
        let range = answer.lines().find_map(|l| l.strip_prefix("range: 0-")).unwrap();
        offset = range.trim().parse::<usize>().unwrap() + 1;
        assert!(offset >= end - 100_000 && offset <= end, "{offset}");
        // What was acknowledged before is there, what was not is nowhere.
        assert_eq!(served.request("GET", &format!("/v2/a/blobs/{}", sha256(b"{}")), b"").0, 200);
        assert_eq!(served.request("HEAD", &format!("/v2/a/blobs/{digest}"), b"").0, 404);
    }
    let (status, answer) = served.request("PUT", &format!("{begun}?digest={digest}"), &content[offset..]);
    assert_eq!(status, 201, "{answer}");
    let (status, blob) = served.request("GET", &format!("/v2/a/blobs/{digest}"), b"");
    assert!(status == 200 && blob.len() > content.len());
    // Nothing but the two blobs is left.
    served.kill();
    let ingests = std::fs::read_dir(dir.path().join("root/content/ingest")).unwrap().count();
    assert_eq!(ingests, 0);
    let told = registry(&["gc", "--dry-run", "--root", dir.path().join("root").to_str().unwrap()]).ok();
    assert!(told.contains("0 tags, 0 manifests and 0 blobs would be removed"), "young: {told}");
}

#[test]
fn garbage_goes_on_command_and_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let push = |served: &Served, content: &[u8]| {
        let digest = sha256(content);
        assert_eq!(served.request("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), content).0, 201);
        digest
    };
    let served = Served::start(dir.path(), r#"{"gc": {"grace": "0s", "every": "1s"}}"#);
    let lost = push(&served, b"nobody names it");
    eventually("it was collected", || served.request("HEAD", &format!("/v2/a/blobs/{lost}"), b"").0 == 404);
    // Its name goes first: killed in between, the registry would have the bytes to collect still.
    let bytes = dir.path().join("root/content/blobs").join(lost.replace(':', "/"));
    eventually("its bytes went", || !bytes.exists());
    served.kill();
    let served = Served::start(dir.path(), r#"{"gc": {"grace": "0s"}}"#);
    push(&served, b"another");
    served.kill();
    let (config, root) = (dir.path().join("config.json"), dir.path().join("root"));
    let flags = ["--config", config.to_str().unwrap(), "--root", root.to_str().unwrap()];
    let dry = registry(&[&["gc", "--dry-run"][..], &flags].concat()).ok();
    assert!(
        dry.contains(&sha256(b"another")) && dry.contains("1 blobs would be removed, 7 bytes freed"),
        "{dry}"
    );
    let done = registry(&[&["gc"][..], &flags].concat()).ok();
    assert!(done.contains("1 blobs were removed, 7 bytes freed"), "{done}");
    assert!(registry(&[&["gc"][..], &flags].concat()).ok().contains("0 blobs were removed"));
}
