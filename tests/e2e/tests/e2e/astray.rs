//! Registries that break, lie or send bombs: a clear error, nothing left behind, and a pull that goes on where it stopped.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use wharf_e2e::{Engine, eventually, run_limited};

/// What a path is answered with.
#[derive(Clone)]
enum Answer {
    /// A type and a body.
    Body(&'static str, Vec<u8>),
    /// So much of a body, and then the end of the connection.
    Part(Vec<u8>, usize),
    /// So much of a body, and then nothing.
    Stall(Vec<u8>, usize),
    /// Bytes without an end.
    Endless,
}

/// A registry that answers as told; it ends with the test's process.
struct Registry {
    address: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry = Self { address, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (Arc::clone(&registry.answers), Arc::clone(&registry.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                // A client that goes away is what some tests are about.
                std::thread::spawn(move || drop(answer(stream, &answers, &asked)));
            }
        });
        registry
    }

    fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(format!("/v2/app/{path}"), answer);
    }

    /// An image of one layer, with the layer's blob answered like this.
    fn image(&self, layer: &[u8], diff_id: &str, answer: impl FnOnce(Vec<u8>) -> Answer) {
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let (config_digest, layer_digest) = (digest(config.as_bytes()), digest(layer));
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer_digest}","size":{}}}]}}"#,
            config.len(),
            layer.len()
        );
        self.set("manifests/1", Answer::Body("application/vnd.oci.image.manifest.v1+json", manifest.into()));
        self.set(&format!("blobs/{config_digest}"), Answer::Body("application/octet-stream", config.into()));
        self.set(&format!("blobs/{layer_digest}"), answer(layer.to_vec()));
    }

    fn name(&self) -> String {
        format!("{}/app:1", self.address)
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &Mutex<BTreeMap<String, Answer>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        // TLS is what the client tries first.
        if head[0] == 0x16 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    asked.lock().unwrap().push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or_default();
    let found = answers.lock().unwrap().get(path).cloned();
    let start = head.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse().ok());
    let mut send = |kind: &str, body: &[u8], sent: usize| {
        let start: usize = start.unwrap_or(0);
        let status = match start {
            0 => "200 OK\r\n".to_owned(),
            _ => format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\n",
                body.len() - 1,
                body.len()
            ),
        };
        let length = body.len() - start;
        write!(
            stream,
            "HTTP/1.1 {status}Connection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(&body[start..sent])
    };
    match found {
        None => write!(stream, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        Some(Answer::Body(kind, body)) => send(kind, &body, body.len()),
        Some(Answer::Part(body, sent)) => send("application/octet-stream", &body, sent),
        Some(Answer::Stall(body, sent)) => {
            send("application/octet-stream", &body, sent)?;
            // Until the client is gone.
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
        Some(Answer::Endless) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 65536])?;
            }
        }
    }
}

fn piped(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writing = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap().stdout;
    writing.join().unwrap();
    output
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", &String::from_utf8_lossy(&piped("sha256sum", &[], content))[..64])
}

/// A file tree of a few megabytes that do not compress, as a tar.
fn tree(e: &Engine) -> Vec<u8> {
    let dir = e.path("tree");
    std::fs::create_dir_all(&dir).unwrap();
    let mut random = vec![0; 3 << 20];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    std::fs::write(dir.join("random"), random).unwrap();
    let out = Command::new("tar").arg("-C").arg(&dir).args(["-cf", "-", "."]).output().unwrap();
    out.stdout
}

/// What a pull may leave: names of images, blobs, ingests, layers.
fn kept(e: &Engine) -> Vec<String> {
    let mut kept = e.files_below("data/content");
    kept.extend(e.files_below("data/snapshots"));
    // Layers are synced when there is time, and marked then.
    kept.retain(|file| !file.ends_with("/synced"));
    kept.push(e.run(&["images", "-aq"]).ok());
    kept
}

fn resident_kb(e: &Engine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", e.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_registries_get_wrong_leaves_nothing() {
    let Some(e) = Engine::start() else { return };
    let before = kept(&e);
    let tar = tree(&e);
    let (plain, packed) = (digest(&tar), piped("gzip", &["-1"], &tar));
    // A frame of zstd that asks for a window of two gigabytes, with one block of a byte.
    let window: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 9, 0, 0, b'x'];
    let page = b"<html>Log in to this network first</html>";
    let whole = |body| Answer::Body("application/octet-stream", body);
    let wrong = |mut body: Vec<u8>| {
        body[1000] ^= 1;
        Answer::Body("application/octet-stream", body)
    };
    let json = "application/json";
    type Set<'a> = Box<dyn Fn(&Registry) + 'a>;
    let cases: Vec<(&str, Set<'_>)> = vec![
        (
            "answered with \"text/html\"",
            Box::new(|r| r.set("manifests/1", Answer::Body("text/html", page.to_vec()))),
        ),
        ("more than 4194304 bytes", Box::new(|r| r.set("manifests/1", Answer::Endless))),
        (
            "schema 1 manifest",
            Box::new(|r| r.set("manifests/1", Answer::Body(json, br#"{"schemaVersion":1}"#.to_vec()))),
        ),
        ("as promised", Box::new(|r| r.image(&packed, &plain, wrong))),
        ("the manifest", Box::new(|r| r.image(&packed, &plain, |b| whole([&b[..], b"more"].concat())))),
        ("more for blob", Box::new(|r| r.image(&packed, &plain, |_| Answer::Endless))),
        (
            "failed to register layer",
            Box::new(|r| r.image(&[&packed[..], b"trailing"].concat(), &plain, whole)),
        ),
        ("failed to register layer", Box::new(|r| r.image(&packed, &digest(b"other"), whole))),
        ("failed to register layer", Box::new(|r| r.image(&packed[..packed.len() - 1000], &plain, whole))),
        ("emory", Box::new(|r| r.image(window, &plain, whole))),
    ];
    for (said, set) in cases {
        let registry = Registry::start();
        set(&registry);
        let done = e.run(&["pull", &registry.name()]);
        assert!(done.code != 0 && done.err.contains(said), "{said}: {}{}", done.out, done.err);
        assert_eq!(kept(&e), before, "{said}: {}", done.err);
    }
    assert!(resident_kb(&e) < 300 << 10, "{} kB", resident_kb(&e));
    e.run(&["run", "--rm", "busybox", "true"]).ok();
}

#[test]
fn a_pull_that_breaks_or_is_given_up_goes_on() {
    let Some(e) = Engine::start() else { return };
    let tar = tree(&e);
    let (plain, packed) = (digest(&tar), piped("gzip", &["-1"], &tar));
    let ingests = || e.files_below("data/content/ingest");
    let length = || ingests().first().map_or(0, |f| std::fs::metadata(f).map_or(0, |m| m.len()));
    for given_up in [false, true] {
        let registry = Registry::start();
        let half = 1 << 20;
        if given_up {
            registry.image(&packed, &plain, |body| Answer::Stall(body, half));
            let mut client = e.wharf().args(["pull", &registry.name()]).spawn().unwrap();
            eventually("half of it", || length() == half as u64);
            rustix::process::kill_process(
                rustix::process::Pid::from_child(&client),
                rustix::process::Signal::INT,
            )
            .unwrap();
            client.wait().unwrap();
        } else {
            registry.image(&packed, &plain, |body| Answer::Part(body, half));
            registry.set(&format!("blobs/{}", digest(&packed)), Answer::Part(packed.clone(), half));
            let done = e.run(&["pull", &registry.name()]);
            assert!(done.code != 0 && done.err.contains("blob"), "{}", done.err);
            assert_eq!(length(), half as u64, "{}", done.err);
        }
        registry.image(&packed, &plain, |body| Answer::Body("application/octet-stream", body));
        registry.asked.lock().unwrap().clear();
        e.run(&["pull", &registry.name()]).ok();
        let asked = registry.asked.lock().unwrap().join("");
        assert!(asked.contains(&format!("range: bytes={half}-")), "{asked}");
        assert_eq!(ingests(), Vec::<String>::new());
        let sum = run_limited(e.wharf().args(["create", "--name", "cc", &registry.name(), "x"]), "");
        sum.ok();
        e.run(&["rm", "cc"]).ok();
        e.run(&["rmi", &registry.name()]).ok();
    }
}

#[test]
fn registries_that_stall_hold_up_nothing_else() {
    /// More than the daemon has threads for work that ends by itself.
    const STALLED: u8 = 80;
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let mut clients = Vec::new();
    for number in 0..STALLED {
        let registry = Registry::start();
        let layer = vec![number; 4096];
        registry.image(&layer, &digest(&layer), |body| Answer::Stall(body, 1024));
        let mut client = std::os::unix::net::UnixStream::connect(e.path("s.sock")).unwrap();
        let name = format!("{}/app", registry.address);
        write!(
            client,
            "POST /images/create?fromImage={name}&tag=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        clients.push((client, registry));
    }
    // A part of each lies on the disk: their writers wait for more.
    let parts = || {
        let begun = e.files_below("data/content/ingest");
        begun.iter().filter(|f| std::fs::metadata(f).is_ok_and(|m| m.len() == 1024)).count()
    };
    eventually("all of them stall", || parts() == usize::from(STALLED));
    assert_eq!(e.run(&["run", "--rm", "-v", "v1:/v", "busybox", "echo", "on"]).ok(), "on");
    let (tar, registry) = (tree(&e), Registry::start());
    registry.image(&piped("gzip", &["-1"], &tar), &digest(&tar), |body| {
        Answer::Body("application/octet-stream", body)
    });
    e.run(&["pull", &registry.name()]).ok();
    drop(clients);
    eventually("they are given up", || e.run(&["rmi", &registry.name()]).code == 0);
}
