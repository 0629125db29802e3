//! `cargo xtask story`: builds Wharf and lives the whole container story with it, showing every step.

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const REGISTRY: &str = "127.0.0.1:45000";
const PORT: u16 = 48081;
const ENGINE_ADDRESS: &str = "10.211.0.1";
/// How long the service may take to answer for the first time.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A directory with an engine and a registry in it; everything is gone when it is dropped.
struct Stage {
    wharf: PathBuf,
    directory: PathBuf,
    processes: Vec<Child>,
}

/// Goes through the story.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    println!("Building Wharf and the example: this takes a few minutes the first time.");
    let wharf = crate::build_release(root)?;
    let directory = std::env::temp_dir().join(format!("wharf-story-{}", std::process::id()));
    let mut stage = Stage { wharf, directory, processes: Vec::new() };
    std::fs::create_dir_all(stage.directory.join("context")).context("make a directory")?;
    stage.make_context(root)?;
    stage.start_engine()?;
    stage.start_registry()?;
    stage.tell()?;
    println!(
        "\nThat was the whole story: build, login, push, pull, run, curl, ps, logs, exec, top, stats, restart, stop, start, kill, rm, save, load, rmi."
    );
    Ok(())
}

impl Stage {
    fn host(&self) -> String {
        format!("unix://{}", self.directory.join("wharf.sock").display())
    }

    /// The example's static binary beside its Dockerfile, and nothing else.
    fn make_context(&self, root: &Path) -> anyhow::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built =
            Command::new(cargo).current_dir(root).args(["build", "--release", "-p", "hello"]).status();
        ensure!(built.context("run cargo build")?.success(), "building examples/hello failed");
        let binary = self.wharf.with_file_name("hello");
        let context = self.directory.join("context");
        std::fs::copy(&binary, context.join("hello"))
            .with_context(|| format!("copy {}", binary.display()))?;
        std::fs::copy(root.join("examples/hello/Dockerfile"), context.join("Dockerfile"))
            .context("copy the Dockerfile")?;
        Ok(())
    }

    fn start_engine(&mut self) -> anyhow::Result<()> {
        let log =
            std::fs::File::create(self.directory.join("engine.log")).context("make the engine's log")?;
        println!("\n$ wharf daemon -H {} --data-root … --exec-root … &", self.host());
        let mut engine = Command::new(&self.wharf)
            .args(["daemon", "--tell-ready", "--bip", &format!("{ENGINE_ADDRESS}/24"), "-H", &self.host()])
            .arg("--data-root")
            .arg(self.directory.join("data"))
            .arg("--exec-root")
            .arg(self.directory.join("exec"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the engine")?;
        let out = engine.stdout.take().context("the engine has no standard output")?;
        self.processes.push(engine);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let log = || std::fs::read_to_string(self.directory.join("engine.log")).unwrap_or_default();
        ensure!(line.trim() == "ready", "the engine did not start:\n{}", log());
        Ok(())
    }

    /// With a password file of one user.
    fn start_registry(&mut self) -> anyhow::Result<()> {
        let line = self.output_with_input(&["registry", "htpasswd", "me"], "secret\n")?;
        let passwords = self.directory.join("htpasswd");
        std::fs::write(&passwords, line).context("write the password file")?;
        println!("$ wharf registry serve --listen {REGISTRY} --htpasswd … &");
        let log =
            std::fs::File::create(self.directory.join("registry.log")).context("make the registry's log")?;
        let registry = Command::new(&self.wharf)
            .args(["registry", "serve", "--listen", REGISTRY, "--htpasswd"])
            .arg(&passwords)
            .arg("--root")
            .arg(self.directory.join("registry"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the registry")?;
        self.processes.push(registry);
        let up = answers(|| TcpStream::connect(REGISTRY).is_ok());
        ensure!(up, "the registry did not start: is {REGISTRY} in use?");
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.wharf);
        // Credentials of the story stay in its directory.
        command.env("DOCKER_CONFIG", self.directory.join("config")).env("WHARF_HOST", self.host());
        command
    }

    fn output_with_input(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run wharf")?;
        child
            .stdin
            .take()
            .context("no standard input")?
            .write_all(input.as_bytes())
            .context("write to wharf")?;
        let output = child.wait_with_output().context("wait for wharf")?;
        ensure!(output.status.success(), "wharf {} ended with {}", args.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Shows a command, runs it and shows what it prints.
    fn show(&self, args: &[&str]) -> anyhow::Result<String> {
        println!("\n$ wharf {}", args.join(" "));
        let text = self.output_with_input(args, "")?;
        print!("{text}");
        Ok(text)
    }

    fn tell(&self) -> anyhow::Result<()> {
        let context = self.directory.join("context").display().to_string();
        let name = format!("{REGISTRY}/yourname/yourproject");
        self.show(&["build", "-t", "yourname/yourproject", &context])?;
        println!("\n$ wharf login {REGISTRY} -u me --password-stdin");
        print!(
            "{}",
            self.output_with_input(&["login", REGISTRY, "-u", "me", "--password-stdin"], "secret\n")?
        );
        self.show(&["tag", "yourname/yourproject", &name])?;
        self.show(&["push", &name])?;
        self.show(&["rmi", &name, "yourname/yourproject"])?;
        self.show(&["pull", &name])?;
        self.show(&["images"])?;
        self.show(&["run", "-d", "-p", &format!("{PORT}:8080"), "--name", "web", &name])?;
        self.visit("127.0.0.1")?;
        // The engine's bridge has one of the host's own addresses.
        self.visit(ENGINE_ADDRESS)?;
        let by_name = self.show(&["run", "--rm", &name, "get", "web:8080"])?;
        ensure!(by_name.contains("Hello from a container"), "another container gets: {by_name}");
        self.show(&["ps"])?;
        let logs = self.show(&["logs", "web"])?;
        ensure!(logs.contains("GET / HTTP/1.1"), "the log lacks the request");
        self.show(&["exec", "web", "/hello", "--version"])?;
        self.show(&["top", "web"])?;
        self.show(&["stats", "--no-stream", "web"])?;
        self.show(&["inspect", "--format", "{{.State.Status}} {{.NetworkSettings.IPAddress}}", "web"])?;
        self.show(&["restart", "-t", "1", "web"])?;
        self.visit("127.0.0.1")?;
        self.show(&["stop", "-t", "1", "web"])?;
        self.show(&["start", "web"])?;
        self.visit("127.0.0.1")?;
        self.show(&["kill", "web"])?;
        self.show(&["rm", "web"])?;
        let tar = self.directory.join("image.tar").display().to_string();
        self.show(&["save", "-o", &tar, &name])?;
        self.show(&["rmi", &name])?;
        self.show(&["load", "-i", &tar])?;
        self.show(&["rmi", &name])?;
        let left = self.show(&["ps", "-aq"])?;
        ensure!(left.is_empty(), "a container is left: {left}");
        Ok(())
    }

    fn visit(&self, address: &str) -> anyhow::Result<()> {
        println!("\n$ curl http://{address}:{PORT}/");
        let mut page = None;
        answers(|| {
            page = get(address).ok();
            page.is_some()
        });
        let page = page.context("the service does not answer")?;
        ensure!(page.contains("Hello from a container"), "the wrong page: {page}");
        print!("{page}");
        Ok(())
    }
}

/// Asks again until it is so, within a bound: a program that starts tells nobody when it listens.
fn answers(mut ready: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + ANSWER_LIMIT;
    while !ready() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The body of a page.
fn get(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((address, PORT))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    Ok(body.to_owned())
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whatever failed before is what the user must see, so failures here are only shown.
        let ids = self.output_with_input(&["ps", "-aq"], "").unwrap_or_default();
        for id in ids.lines() {
            if let Err(e) = self.output_with_input(&["rm", "-f", id], "") {
                println!("clean up: {e}");
            }
        }
        for process in self.processes.iter_mut().rev() {
            let ended =
                Command::new("kill").arg(process.id().to_string()).status().and_then(|_| process.wait());
            if let Err(e) = ended {
                println!("clean up: {e}");
            }
        }
        if let Err(e) = std::fs::remove_dir_all(&self.directory) {
            println!("clean up {}: {e}", self.directory.display());
        }
    }
}
