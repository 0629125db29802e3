//! A private engine: its own directories, socket, bridge, table and cgroups; nothing of it is left at the end.

use crate::command::{Done, run_limited};
use crate::host::Holdings;
use crate::{binary, can_run, image};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Each engine of a test run has an address block of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running engine with the image `busybox`.
pub struct Engine {
    directory: tempfile::TempDir,
    bip: String,
    process: Option<Child>,
}

impl Engine {
    /// Starts an engine; `None` when the tests cannot run here.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        if !can_run() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("wharf-e2e").tempdir().expect("make a directory");
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() % 97 * 32;
        let bip = format!("10.213.{}.{}/27", number / 8 % 256, number % 8 * 32 + 1);
        let mut engine = Self { directory, bip, process: None };
        engine.launch();
        let tar = engine.directory.path().join("busybox.tar");
        image::busybox(&tar);
        engine.run(&["import", &tar.display().to_string(), "busybox"]).ok();
        Some(engine)
    }

    /// Starts the engine's process again, after [`Engine::kill`].
    pub fn launch(&mut self) {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("log"))
            .expect("open the log");
        let mut process = Command::new(binary())
            .args(["daemon", "--tell-ready", "--bip", &self.bip, "-H", &self.host()])
            .arg("--data-root")
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("exec"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start the engine");
        let mut line = String::new();
        let out = process.stdout.take().expect("standard output");
        BufReader::new(out).read_line(&mut line).expect("read from the engine");
        self.process = Some(process);
        assert_eq!(line.trim(), "ready", "the engine did not start:\n{}", self.log());
    }

    /// Ends the engine's process with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill the engine");
            process.wait().expect("reap the engine");
        }
    }

    /// The engine's process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// A path in the engine's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where its API is.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("s.sock").display())
    }

    /// What the engine logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Our command line, ready for further arguments.
    pub fn wharf(&self) -> Command {
        let mut command = Command::new(binary());
        command.env("WHARF_HOST", self.host()).env("DOCKER_CONFIG", self.path("config"));
        command
    }

    /// Runs our command line.
    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "")
    }

    /// Runs our command line with an input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Done {
        run_limited(self.wharf().args(args), input)
    }

    /// Runs Docker's own command line against the engine; `None` when there is none on this host.
    pub fn docker(&self, args: &[&str], input: &str) -> Option<Done> {
        let program = docker_client()?;
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.path("config"))
            .env("DOCKER_BUILDKIT", "0");
        Some(run_limited(command.args(args), input))
    }

    /// What is on the host that an engine could have made.
    pub fn holdings(&self) -> Holdings {
        Holdings::now(self.directory.path())
    }

    fn stop(&mut self) {
        let ids = self.run(&["ps", "-aq"]).ok();
        for id in ids.lines() {
            self.run(&["rm", "-f", "-v", id]);
        }
        let Some(mut process) = self.process.take() else { return };
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("end the engine");
        process.wait().expect("reap the engine");
    }
}

/// `DOCKER_BIN`, or a `docker` in the path.
fn docker_client() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("DOCKER_BIN") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join("docker")).find(|p| Path::new(p).is_file())
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the engine's log:\n{}", self.log());
        }
        if self.process.is_none() {
            self.launch();
        }
        self.stop();
        if !std::thread::panicking() {
            let left = Holdings::now(self.directory.path());
            assert!(left.of(self.directory.path(), &self.host()).is_empty(), "left behind: {left:?}");
        }
    }
}
