//! `cargo xtask bench registry`: our registry beside Debian's docker-registry, when it is installed.

use super::{Row, table, write};
use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BEGIN: &str = "<!-- registry -->";
const END: &str = "<!-- /registry -->";
/// Ports that nothing else is likely to have.
const PORTS: [u16; 2] = [45_112, 45_111];
const CONNECTIONS: usize = 16;
/// How long manifests are asked for.
const SPAN: Duration = Duration::from_secs(4);
/// A large layer.
const BLOB: usize = 256 << 20;
/// Times that the blob is fetched by each client, from one registry after the other; the best counts, as all that
/// disturbs makes it slower. What limits a single client is its own reading: the rates of two runs differ by a half.
const ROUNDS: usize = 8;
/// How long a registry may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that ends with the measurement.
struct Registry {
    name: &'static str,
    child: Child,
    address: String,
    blob: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures and writes the table. `WHARF_BIN` names a binary that is built already.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let binary = match std::env::var_os("WHARF_BIN") {
        Some(binary) => binary.into(),
        None => crate::build_release(root)?,
    };
    let directory = std::env::temp_dir().join(format!("wharf-bench-registry-{}", std::process::id()));
    std::fs::create_dir_all(&directory).context("make a directory")?;
    let measured = measure(&binary, &directory);
    std::fs::remove_dir_all(&directory).context("remove the directory")?;
    let table = table(&measured?);
    print!("{table}");
    write(root, BEGIN, END, &table)
}

fn measure(binary: &Path, directory: &Path) -> anyhow::Result<Vec<Row>> {
    let mut serve = Command::new(binary);
    serve.args(["registry", "serve", "--listen", &format!("127.0.0.1:{}", PORTS[0]), "--root"]);
    let mut registries = vec![Registry::start("Wharf", serve.arg(directory.join("ours")), PORTS[0])?];
    if let Some(peer) = peer(directory)? {
        registries.push(peer);
    }
    let content = noise();
    let mut rows: Vec<Row> = Vec::new();
    let mut row = |what: &str, unit, one: &mut dyn FnMut(&mut Registry) -> anyhow::Result<f64>| {
        let figures = registries.iter_mut().map(|r| Ok((r.name.to_owned(), one(r)?)));
        figures.collect::<anyhow::Result<Vec<_>>>().map(|figures| rows.push((what.to_owned(), figures, unit)))
    };
    row("push of 256 MiB", "MB/s", &mut |r| r.push(&content))?;
    rows.extend(pulls(&registries)?);
    let mut row = |what: &str, unit, one: &mut dyn FnMut(&mut Registry) -> anyhow::Result<f64>| {
        let figures = registries.iter_mut().map(|r| Ok((r.name.to_owned(), one(r)?)));
        figures.collect::<anyhow::Result<Vec<_>>>().map(|figures| rows.push((what.to_owned(), figures, unit)))
    };
    row("manifests by tag, 16 connections", "req/s", &mut |r| r.manifests())?;
    row("memory at its highest", "MiB", &mut |r| r.memory())?;
    Ok(rows)
}

/// Pulls, by one client and by four, and what the registries' processors do for them.
fn pulls(registries: &[Registry]) -> anyhow::Result<Vec<Row>> {
    let before: Vec<f64> = registries.iter().map(Registry::processor_ms).collect::<anyhow::Result<_>>()?;
    let mut rows = Vec::new();
    for (what, clients) in [("the same pulled", 1), ("the same pulled by four at once", 4)] {
        let mut figures: Vec<(String, f64)> = registries.iter().map(|r| (r.name.to_owned(), 0.0)).collect();
        for _ in 0..ROUNDS {
            for (registry, (_, best)) in registries.iter().zip(&mut figures) {
                *best = best.max(registry.pull(clients)?);
            }
        }
        rows.push((what.to_owned(), figures, "MB/s"));
    }
    let gib = (5 * ROUNDS * BLOB) as f64 / f64::from(1 << 30);
    let spent = registries
        .iter()
        .zip(before)
        .map(|(registry, before)| Ok((registry.name.to_owned(), (registry.processor_ms()? - before) / gib)));
    let spent = spent.collect::<anyhow::Result<Vec<_>>>()?;
    rows.push(("the registry's processor time for a GiB pulled".to_owned(), spent, "ms"));
    Ok(rows)
}

fn peer(directory: &Path) -> anyhow::Result<Option<Registry>> {
    let Ok(found) = Command::new("docker-registry").arg("--version").output() else {
        println!("Debian's docker-registry is not installed: there is no peer");
        return Ok(None);
    };
    ensure!(found.status.success(), "docker-registry --version failed");
    let file = directory.join("peer.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  cache: {{blobdescriptor: inmemory}}\n  \
         filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"127.0.0.1:{}\"}}\n",
        directory.join("peer").display(),
        PORTS[1]
    );
    std::fs::write(&file, text).context("write the peer's configuration")?;
    Registry::start("docker-registry", Command::new("docker-registry").arg("serve").arg(file), PORTS[1])
        .map(Some)
}

/// Bytes that do not compress; the same each time.
fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let mut content = Vec::with_capacity(BLOB);
    while content.len() < BLOB {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content
}

/// The head of an answer whose body is still to be read.
fn ask(stream: &mut TcpStream, head: &str, body: &[u8]) -> anyhow::Result<String> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(stream.read(&mut byte)? == 1, "the connection ended");
        answer.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn sha256(content: &[u8]) -> anyhow::Result<String> {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("standard input")?.write_all(content)?;
    let out = String::from_utf8(child.wait_with_output()?.stdout)?;
    Ok(format!("sha256:{}", out.split(' ').next().unwrap_or_default()))
}

impl Registry {
    fn start(name: &'static str, command: &mut Command, port: u16) -> anyhow::Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("start {name}"))?;
        let registry = Self { name, child, address: format!("127.0.0.1:{port}"), blob: String::new() };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(&registry.address).is_err() {
            ensure!(Instant::now() < deadline, "{name} does not listen");
        }
        Ok(registry)
    }

    fn upload(&self, content: &[u8], digest: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        let begun = ask(
            &mut stream,
            "POST /v2/bench/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            b"",
        )?;
        let location = header(&begun, "location").context("no location")?;
        let path = location.find("/v2/").map_or(location, |at| &location[at..]);
        let separator = if path.contains('?') { '&' } else { '?' };
        let head = format!(
            "PUT {path}{separator}digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        let answer = ask(&mut stream, &head, content)?;
        ensure!(answer.starts_with("HTTP/1.1 201"), "{}: {answer}", self.name);
        Ok(())
    }

    fn push(&mut self, content: &[u8]) -> anyhow::Result<f64> {
        let (digest, config) = (sha256(content)?, sha256(b"{}")?);
        let start = Instant::now();
        self.upload(content, &digest)?;
        let took = start.elapsed();
        self.upload(b"{}", &config)?;
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{}}}"#,
            content.len()
        );
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{}]}}"#,
            vec![layer; 8].join(",")
        );
        let head = format!(
            "PUT /v2/bench/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: {MANIFEST}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = ask(&mut TcpStream::connect(&self.address)?, &head, body.as_bytes())?;
        ensure!(answer.starts_with("HTTP/1.1 201"), "{}: {answer}", self.name);
        self.blob = digest;
        Ok(content.len() as f64 / took.as_secs_f64() / 1e6)
    }

    fn fetch(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        ask(&mut stream, &format!("GET /v2/bench/blobs/{} HTTP/1.1\r\nHost: x\r\n\r\n", self.blob), b"")?;
        let (mut buffer, mut left) = (vec![0; 1 << 20], BLOB);
        while left > 0 {
            match stream.read(&mut buffer)? {
                0 => bail!("{}: the blob broke off", self.name),
                n => left -= n,
            }
        }
        Ok(())
    }

    fn pull(&self, clients: usize) -> anyhow::Result<f64> {
        let start = Instant::now();
        together(clients, || self.fetch().map(|()| 0))?;
        Ok((clients * BLOB) as f64 / start.elapsed().as_secs_f64() / 1e6)
    }

    /// What it has had of the processors, in milliseconds (proc_pid_stat(5), utime and stime).
    fn processor_ms(&self) -> anyhow::Result<f64> {
        /// Ticks a second, of every kernel that there is for user space.
        const TICKS: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).context("no times");
        Ok((ticks(11)? + ticks(12)?) / TICKS * 1000.0)
    }

    fn manifests(&self) -> anyhow::Result<f64> {
        let start = Instant::now();
        let request = format!("GET /v2/bench/manifests/v1 HTTP/1.1\r\nHost: x\r\nAccept: {MANIFEST}\r\n\r\n")
            .into_bytes();
        let done = together(CONNECTIONS, || {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.set_nodelay(true)?;
            let (mut buffer, mut count) = (vec![0; 64 << 10], 0);
            let mut expected = None;
            while start.elapsed() < SPAN {
                stream.write_all(&request)?;
                let mut got = stream.read(&mut buffer)?;
                // All answers are as long as the first, whose head tells how long it is.
                let length = match expected {
                    Some(length) => length,
                    None => {
                        let head = String::from_utf8_lossy(&buffer[..got]).into_owned();
                        ensure!(head.starts_with("HTTP/1.1 200"), "{}: {head}", self.name);
                        let end = head.find("\r\n\r\n").context("half a head")? + 4;
                        let body: usize = header(&head, "content-length").context("no length")?.parse()?;
                        *expected.insert(end + body)
                    }
                };
                while got < length {
                    match stream.read(&mut buffer)? {
                        0 => bail!("{}: the connection ended", self.name),
                        n => got += n,
                    }
                }
                count += 1;
            }
            Ok(count)
        })?;
        Ok(done as f64 / start.elapsed().as_secs_f64())
    }

    fn memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

/// What several do at once, added up.
fn together(count: usize, one: impl Fn() -> anyhow::Result<usize> + Sync) -> anyhow::Result<usize> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(&one)).collect();
        all.into_iter().map(|t| t.join().unwrap_or_else(|_| bail!("a client failed"))).sum()
    })
}
