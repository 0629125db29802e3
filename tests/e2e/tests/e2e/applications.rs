//! Real programs of Debian's as several services: nginx before replicas of a Python application with PostgreSQL and Redis.
//!
//! `WHARF_APPLICATION` names an archive of the file tree that they all run in; `cargo xtask application` makes it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use wharf_e2e::{Done, Engine, eventually, run_limited};

/// Clients that ask at once during an update.
const CLIENTS: usize = 8;

/// The project in a directory of its own, driven by one of the two programs.
struct Shop<'a> {
    e: &'a Engine,
    directory: PathBuf,
    port: u16,
    plugin: Option<PathBuf>,
}

impl<'a> Shop<'a> {
    fn new(e: &'a Engine, plugin: Option<PathBuf>) -> Self {
        let directory = e.path(if plugin.is_some() { "shop-plugin" } else { "shop" });
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../applications/shop");
        let copied = Command::new("cp").arg("-r").arg(source).arg(&directory).status().unwrap();
        assert!(copied.success());
        std::fs::write(directory.join("db_password"), "geheim\n").unwrap();
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .map(|a| a.port())
            .unwrap();
        Self { e, directory, port, plugin }
    }

    fn compose(&self, version: u32, args: &[&str]) -> Done {
        let mut command = match &self.plugin {
            None => {
                let mut wharf = self.e.wharf();
                wharf.arg("compose");
                wharf
            }
            Some(plugin) => {
                let mut plugin = Command::new(plugin);
                plugin.env("DOCKER_HOST", self.e.host());
                plugin
            }
        };
        command.args(args).current_dir(&self.directory);
        command.env("SHOP_PORT", self.port.to_string()).env("VERSION", version.to_string());
        run_limited(&mut command, "")
    }

    fn ask(&self, path: &str) -> Option<String> {
        ask(self.port, path)
    }

    /// What different answers say under a name.
    fn seen(&self, key: &str) -> Vec<String> {
        let mut seen: Vec<String> = (0..40).filter_map(|_| field(&self.ask("/")?, key)).collect();
        seen.sort();
        seen.dedup();
        seen
    }
}

/// wrk, which keeps its connections and asks as fast as it is answered.
struct Wrk(Child);

impl Wrk {
    /// `None` where the host has no wrk.
    fn start(port: u16) -> Option<Self> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t2", "-c8", "-d600s", "--timeout", "10s", &format!("http://127.0.0.1:{port}/order")]);
        match wrk.stdout(Stdio::piped()).spawn() {
            Ok(child) => Some(Self(child)),
            Err(_) => {
                println!("skipped: Debian's package wrk is not installed; its part of the load");
                None
            }
        }
    }

    /// Ends it as Ctrl-C does; what it has seen.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        text
    }
}

/// The body of an answer of 200.
fn ask(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: shop\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
}

fn field(body: &str, key: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(body).ok()?;
    value.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
}

/// Clients that ask until they are told to stop; how many answers were good, and how many were not.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    bad: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let (stop, good, bad) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let client = || {
            let (stop, good, bad) = (Arc::clone(&stop), Arc::clone(&good), Arc::clone(&bad));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let counter = if ask(port, "/order").is_some() { &good } else { &bad };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..CLIENTS).map(|_| client()).collect();
        Self { stop, good, bad, threads }
    }

    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        (self.good.load(Ordering::Relaxed), self.bad.load(Ordering::Relaxed))
    }
}

fn base(e: &Engine) -> bool {
    let Some(archive) = std::env::var_os("WHARF_APPLICATION") else {
        println!("skipped: WHARF_APPLICATION names no archive; `cargo xtask application` makes one");
        return false;
    };
    e.run(&["import", &archive.to_string_lossy(), "shop-base"]).ok();
    true
}

/// Starts it, orders something, and tells how many orders there are.
fn open(shop: &Shop<'_>) -> String {
    shop.compose(1, &["up", "-d", "--build", "--wait"]).ok();
    // nginx has no check of its health: it runs, and listens soon.
    eventually("it answers", || shop.ask("/order").is_some());
    (0..3).for_each(|_| assert!(shop.ask("/order").is_some()));
    eventually("both replicas answer", || shop.seen("host").len() == 2);
    assert_eq!(shop.seen("version"), ["1"]);
    field(&shop.ask("/orders").unwrap(), "orders").unwrap()
}

/// Its end and another beginning: data stays, until told to go.
fn close(shop: &Shop<'_>, version: u32, orders: &str) {
    shop.compose(version, &["down"]).ok();
    assert!(shop.ask("/").is_none());
    assert_eq!(shop.e.run(&["ps", "-aq"]).ok(), "");
    shop.compose(version, &["up", "-d", "--wait"]).ok();
    eventually("it answers again", || shop.ask("/orders").is_some());
    assert_eq!(field(&shop.ask("/orders").unwrap(), "orders").as_deref(), Some(orders));
    shop.compose(version, &["down", "-v"]).ok();
    assert_eq!(shop.e.run(&["volume", "ls", "-q"]).ok(), "");
    assert_eq!(shop.e.run(&["network", "ls", "-q", "--filter", "type=custom"]).ok(), "");
}

#[test]
fn a_shop_is_opened_grows_is_renewed_under_load_and_closes() {
    let Some(e) = Engine::start() else { return };
    if !base(&e) {
        return;
    }
    let shop = Shop::new(&e, None);
    open(&shop);
    let logs = shop.compose(1, &["logs", "--no-color", "app"]).ok();
    assert!(logs.contains("app-1") && logs.contains("app-2") && logs.contains("version 1 serves"), "{logs}");
    shop.compose(1, &["up", "-d", "--wait", "--scale", "app=3", "--no-recreate"]).ok();
    eventually("three replicas answer", || shop.seen("host").len() == 3);
    shop.compose(1, &["scale", "app=2"]).ok();
    eventually("two replicas answer", || shop.seen("host").len() == 2);

    let load = Load::start(shop.port);
    let wrk = Wrk::start(shop.port);
    eventually("there is load", || load.good.load(Ordering::Relaxed) > 50);
    shop.compose(2, &["up", "-d", "--wait"]).ok();
    let after = load.good.load(Ordering::Relaxed);
    eventually("there is load afterwards", || load.good.load(Ordering::Relaxed) > after + 50);
    let (good, bad) = load.end();
    println!("during the update {good} answers were good, {bad} were not");
    assert_eq!(bad, 0, "of {good}");
    if let Some(wrk) = wrk {
        let seen = wrk.end();
        println!("{seen}");
        assert!(seen.contains("Requests/sec"), "{seen}");
        assert!(!seen.contains("Non-2xx") && !seen.contains("Socket errors"), "{seen}");
    }
    assert_eq!(shop.seen("version"), ["2"]);
    let orders = field(&shop.ask("/orders").unwrap(), "orders").unwrap();
    close(&shop, 2, &orders);
}

#[test]
fn dockers_plugin_does_the_same() {
    let Some(e) = Engine::start() else { return };
    let Some(plugin) = plugin() else { return };
    if !base(&e) {
        return;
    }
    let shop = Shop::new(&e, Some(plugin));
    let orders = open(&shop);
    shop.compose(2, &["up", "-d", "--wait"]).ok();
    assert_eq!(shop.seen("version"), ["2"]);
    close(&shop, 2, &orders);
}

/// Docker's Compose plugin beside the client of `DOCKER_BIN`.
fn plugin() -> Option<PathBuf> {
    let client = PathBuf::from(std::env::var_os("DOCKER_BIN")?);
    let beside = client.parent()?.join("cli-plugins/docker-compose");
    let found = [beside, client.parent()?.join("docker-compose")].into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no Compose plugin beside {}", client.display());
    }
    found
}
