//! A private engine: its own directories, socket, bridge, table and cgroups; nothing of it is left at the end.

use crate::command::{Done, run_limited};
use crate::disk::{Disk, Mounted};
use crate::host::{Holdings, Identity};
use crate::{binary, can_run, eventually, image, within};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Each engine of a test run has an address block of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running engine with the image `busybox`.
pub struct Engine {
    disk: Option<Mounted>,
    directory: tempfile::TempDir,
    identity: Identity,
    bip: String,
    flags: Vec<String>,
    process: Option<Child>,
}

/// How layers are kept, when `WHARF_E2E_LAYERS` says so: the same tests for each way.
fn layers() -> Option<String> {
    std::env::var("WHARF_E2E_LAYERS").ok().map(|layout| format!("--layers={layout}"))
}

impl Engine {
    /// Starts an engine; `None` when the tests cannot run here.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts an engine with further flags.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(flags: &[&str]) -> Option<Self> {
        Self::start_on(flags, None)
    }

    /// Starts an engine whose data root is a tmpfs with these options (tmpfs(5)).
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_on_small_disk(options: &str) -> Option<Self> {
        Self::start_on(&[], Some(&Disk::Memory(options)))
    }

    /// Starts an engine whose data root is a file system of its own.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_on_disk(flags: &[&str], disk: &Disk<'_>) -> Option<Self> {
        Self::start_on(flags, Some(disk))
    }

    fn start_on(flags: &[&str], disk: Option<&Disk<'_>>) -> Option<Self> {
        if !can_run() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("wharf-e2e").tempdir().expect("make a directory");
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() % 97 * 32;
        let bip = format!("10.213.{}.{}/27", number / 8 % 256, number % 8 * 32 + 1);
        let identity = Identity::of(directory.path());
        let flags = flags.iter().map(ToString::to_string).collect();
        let disk = disk.map(|disk| disk.mount(&directory.path().join("data")));
        let mut engine = Self { disk, directory, identity, bip, flags, process: None };
        engine.launch();
        let tar = engine.directory.path().join("busybox.tar");
        image::busybox(&tar);
        engine.run(&["import", &tar.display().to_string(), "busybox"]).ok();
        Some(engine)
    }

    /// Starts the engine's process again, after [`Engine::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn launch(&mut self) {
        assert!(self.try_launch(), "the engine did not start:\n{}", self.log());
    }

    /// Starts the engine's process; whether it came to serve. When not, it has ended.
    ///
    /// # Panics
    /// When it cannot be executed.
    pub fn try_launch(&mut self) -> bool {
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
            .args(layers())
            .args(&self.flags)
            .env("WHARF_FAILPOINTS", self.path("failpoint"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start the engine");
        let mut line = String::new();
        let out = process.stdout.take().expect("standard output");
        BufReader::new(out).read_line(&mut line).expect("read from the engine");
        if line.trim() == "ready" {
            self.process = Some(process);
            return true;
        }
        process.wait().expect("reap the engine");
        false
    }

    /// Gives the engine a further flag, from its next launch on.
    pub fn add_flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// The process that comes to this step will kill itself there (`crates/failpoint`).
    pub fn arm(&self, failpoint: &str) {
        std::fs::write(self.path("failpoint"), failpoint).expect("arm a failpoint");
    }

    /// Whether no process came to the step that was armed.
    pub fn is_armed(&self) -> bool {
        self.path("failpoint").exists()
    }

    /// No process kills itself any more.
    pub fn disarm(&self) {
        // It disarms itself when it is reached.
        let _ = std::fs::remove_file(self.path("failpoint"));
    }

    /// Waits for the end of the engine's process, which is about to die.
    pub fn await_death(&mut self) {
        if let Some(mut process) = self.process.take() {
            eventually("the engine's death", || process.try_wait().expect("reap the engine").is_some());
        }
    }

    /// Files below a directory of the engine's, sorted.
    pub fn files_below(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut directories = vec![self.path(name)];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    directories.push(entry.path());
                } else {
                    found.push(entry.path().display().to_string());
                }
            }
        }
        found.sort();
        found
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

    /// The body of its API's answer to `GET`.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, path: &str) -> String {
        self.ask("GET", path, "").1
    }

    /// The status and the body of its API's answer to a request with a body of JSON.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.path("s.sock")).expect("connect");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: wharf\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read the answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, body.to_owned())
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

    /// Docker's own command line, ready for further arguments; `None` when there is none on this host.
    pub fn docker_command(&self) -> Option<Command> {
        docker_for(&self.host(), &self.path("config"))
    }

    /// Runs Docker's own command line against the engine; `None` when there is none on this host.
    pub fn docker(&self, args: &[&str], input: &str) -> Option<Done> {
        Some(run_limited(self.docker_command()?.args(args), input))
    }

    /// The process that watches over a running container.
    ///
    /// # Panics
    /// When it does not run.
    pub fn monitor_of(&self, container: &str) -> rustix::process::Pid {
        let pid = self.run(&["inspect", "--format", "{{.State.Pid}}", container]).ok();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the container runs");
        let parent = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).and_then(|p| p.parse().ok());
        parent.and_then(rustix::process::Pid::from_raw).expect("it has a parent")
    }

    /// What the engine holds on the host.
    pub fn holdings(&self) -> Holdings {
        Holdings::now(&self.identity)
    }

    /// Waits until the engine holds nothing that it did not hold before.
    ///
    /// # Panics
    /// When something stays.
    pub fn back_to(&self, before: &Holdings) {
        let mut more = Vec::new();
        let is_back = within(|| {
            more = self.holdings().beyond(before);
            more.is_empty()
        });
        assert!(is_back, "left behind: {more:#?}");
    }

    /// Removes all containers and ends the process.
    fn stop(&mut self) {
        let ids = self.run(&["ps", "-aq"]);
        for id in ids.out.lines() {
            self.run(&["rm", "-f", "-v", id]);
        }
        let Some(mut process) = self.process.take() else { return };
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("end the engine");
        eventually("the engine's end", || process.try_wait().expect("reap the engine").is_some());
        assert_eq!(ids.code, 0, "{}", ids.err);
    }

    /// Ends the engine and checks that nothing of it stays.
    fn end(&mut self) {
        if self.process.is_none() {
            self.launch();
        }
        self.stop();
        let mut left = Vec::new();
        // The spawner and the monitors notice the end of the engine by themselves.
        eventually("the engine's last process ends", || {
            left = Holdings::in_kernel(&self.identity).all();
            !left.iter().any(|l| l.starts_with("process"))
        });
        self.disk = None;
        left = Holdings::in_kernel(&self.identity).all();
        assert!(left.is_empty(), "left behind: {left:#?}");
        assert!(!self.path("s.sock").exists(), "the socket is left behind");
    }
}

/// Docker's own command line for an engine, with a configuration directory where the plugins are that lie beside the
/// client; `None` when there is no client on this host.
///
/// # Panics
/// When the directory cannot be made.
pub fn docker_for(host: &str, config: &Path) -> Option<Command> {
    let client = docker_client()?;
    let (beside, link) = (client.with_file_name("cli-plugins"), config.join("cli-plugins"));
    if beside.is_dir() && !link.exists() {
        std::fs::create_dir_all(config).expect("make the directory of the configuration");
        std::os::unix::fs::symlink(beside, link).expect("show the plugins");
    }
    let mut command = Command::new(client);
    command.env("DOCKER_HOST", host).env("DOCKER_CONFIG", config).env("DOCKER_BUILDKIT", "0");
    Some(command)
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
        if !std::thread::panicking() {
            return self.end();
        }
        println!("the engine's log:\n{}", self.log());
        // The test's own failure is what must be seen; a second panic would end all tests.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end())).is_err() {
            println!("the engine did not end cleanly either");
        }
    }
}
