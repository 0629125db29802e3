//! The `Launcher` seam on monitors: translates between the engine's words and the runtime's.

mod connection;
mod spawner;
mod translate;

use async_trait::async_trait;
use connection::{ask, connect};
use spawner::Spawner;
use std::collections::HashMap;
use std::io;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use wharf_failpoint::failpoint;
use wharf_model::launcher::{
    ExecSpec, ExecStarted, FailedStage, LaunchSpec, Launcher, MonitorEvent, StreamSet, Usage, Watch,
};
use wharf_model::{ContainerId, Error, ErrorKind, Result};
use wharf_oci::runtime_spec::{Resources, Seccomp};
use wharf_runtime::bundle;
use wharf_runtime::protocol::{EXIT_FILE, Exec, Exit, LAUNCH_FILE, Launch, Reply, Request};
use wharf_runtime::spawner::MAX_DESCRIPTORS;
use wharf_sys::cgroup::{Cgroup, Layout};
use wharf_sys::erofs::Mounts;

/// Containers under monitors, with their run directories below one directory.
pub(crate) struct MonitorLauncher {
    directory: PathBuf,
    filters: PathBuf,
    spawner: Spawner,
    layout: Layout,
    mounts: Arc<Mounts>,
    /// Where the end of each container's monitor is seen: the channel closes. It holds the container's first process.
    ends: Mutex<HashMap<ContainerId, watch::Receiver<i32>>>,
}

fn internal(what: impl Into<String>, error: io::Error) -> Error {
    Error::wrap(ErrorKind::Internal, what, error)
}

/// The environment is nobody else's.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

impl MonitorLauncher {
    /// Starts the spawner. Run directories are made below `exec_root`.
    pub(crate) fn new(exec_root: &Path, layout: Layout, mounts: Arc<Mounts>) -> Result<Self> {
        let (directory, filters) = (exec_root.join("containers"), exec_root.join("seccomp"));
        for d in [&directory, &filters] {
            std::fs::create_dir_all(d).map_err(|e| internal(format!("make {}", d.display()), e))?;
        }
        let spawner = Spawner::start().map_err(|e| internal("start the spawner", e))?;
        Ok(Self { directory, filters, spawner, layout, mounts, ends: Mutex::default() })
    }

    fn cgroup(&self, path: &str) -> Result<Cgroup> {
        Cgroup::at(self.layout.clone(), path).map_err(|e| internal("name the cgroup", e))
    }

    /// Removes run directories of containers that no record speaks of, and what runs in their cgroups.
    pub(crate) async fn sweep(&self, known: &[ContainerId], cgroup_parent: &str) -> Result<()> {
        let entries =
            std::fs::read_dir(&self.directory).map_err(|e| internal("read the run directories", e))?;
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<ContainerId>().ok());
            if let Some(id) = id.filter(|id| !known.contains(id)) {
                tracing::warn!(container = %id, "remove what an earlier engine left");
                let cgroup = cgroup_of(&entry.path()).unwrap_or_else(|| format!("/{cgroup_parent}/{id}"));
                self.clean(&id, &cgroup).await?;
            }
        }
        Ok(())
    }

    /// The file of a compiled filter; compiled once for each different one.
    fn filter_file(&self, seccomp: &Seccomp) -> Result<PathBuf> {
        let json = serde_json::to_vec(seccomp)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the filter", e))?;
        let file = self.filters.join(wharf_oci::digest::Digest::sha256(&json).hex());
        if !file.exists() {
            let program = bundle::compile(seccomp).map_err(|e| Error::invalid(e.message))?;
            let part = file.with_extension(format!("{:?}", std::thread::current().id()));
            let written =
                std::fs::write(&part, program.to_bytes()).and_then(|()| std::fs::rename(&part, &file));
            written.map_err(|e| internal("keep the compiled filter", e))?;
        }
        Ok(file)
    }

    fn write_launch(&self, spec: LaunchSpec) -> Result<(PathBuf, Vec<Arc<OwnedFd>>)> {
        let directory = self.run_directory(&spec.id);
        match std::fs::create_dir(&directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(internal(format!("make {}", directory.display()), e));
            }
            _ => {}
        }
        failpoint!("launch.directory");
        let seccomp_file = spec.seccomp.as_ref().map(|s| self.filter_file(s)).transpose()?;
        let mut launch = translate::launch(spec, seccomp_file);
        let mounts = self.mount_images(&mut launch);
        let bytes = serde_json::to_vec(&launch)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the launch", e))?;
        write_private(&directory.join(LAUNCH_FILE), &bytes).map_err(|e| internal("write the launch", e))?;
        failpoint!("launch.written");
        Ok((directory, mounts))
    }

    /// Mounts the container's images, which are shared with all others that have them. What cannot be mounted here the
    /// monitor tries, and says why not.
    fn mount_images(&self, launch: &mut Launch) -> Vec<Arc<OwnedFd>> {
        let room = MAX_DESCRIPTORS - 1 - launch.attached.len().min(MAX_DESCRIPTORS - 1);
        let mut mounts = Vec::new();
        for image in translate::images(launch).into_iter().take(room) {
            match self.mounts.get(&image) {
                Ok(mount) => {
                    launch.images.push(image);
                    mounts.push(mount);
                }
                Err(e) => tracing::debug!("mount {}: {e}", image.display()),
            }
        }
        mounts
    }

    fn follow(&self, id: &ContainerId, stream: UnixStream, end: watch::Sender<i32>) -> Watch {
        let (sender, events) = mpsc::unbounded_channel();
        let (go, going) = mpsc::unbounded_channel();
        let directory = self.run_directory(id);
        tokio::spawn(async move { connection::follow(stream, directory, sender, going, &end).await });
        Watch { events, go, streams: Vec::new() }
    }

    /// Asks a monitor, and waits as long as it may take to answer.
    async fn request(&self, id: &ContainerId, request: &Request) -> Result<(Reply, UnixStream)> {
        let limit = if matches!(request, Request::Exec(_)) { EXEC_LIMIT } else { ANSWER_LIMIT };
        match tokio::time::timeout(limit, self.request_unbounded(id, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::internal(format!(
                "the monitor of container {} does not answer: kill or remove the container by force",
                id.short()
            ))),
        }
    }

    async fn request_unbounded(&self, id: &ContainerId, request: &Request) -> Result<(Reply, UnixStream)> {
        let directory = self.run_directory(id);
        let stream = connect(&directory).await.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Error::not_found(format!("container {} is not running", id.short()))
            }
            _ => internal("connect to the monitor", e),
        })?;
        ask(stream, request).await.map_err(|e| internal("ask the monitor", e))
    }
}

/// How long a monitor may take to answer: it does within a millisecond, on a machine that is not starved.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The same for an exec, which the monitor itself gives up after 10 s.
const EXEC_LIMIT: Duration = Duration::from_secs(15);
/// How long a monitor may take to end after it told the exit: it lets go of the container's mounts.
const END_LIMIT: Duration = Duration::from_secs(10);

impl MonitorLauncher {
    /// Ends a monitor that does not answer; its container ends with it.
    async fn end_monitor(&self, id: &ContainerId) -> Result<()> {
        let what = || format!("end the monitor of container {}", id.short());
        let directory = self.run_directory(id);
        let connecting = tokio::time::timeout(ANSWER_LIMIT, connect(&directory)).await;
        let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|e| internal(what(), e))?;
        let pid = stream.peer_cred().map_err(|e| internal(what(), e))?.pid();
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::internal(what()))?;
        tracing::warn!(container = %id, "its monitor does not answer and is killed");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            .map_err(|e| internal(what(), e.into()))
    }

    /// Signals the first process of a container whose monitor lives and cannot be reached: somebody removed its socket.
    fn signal_directly(&self, id: &ContainerId, signal: i32) -> std::result::Result<(), ()> {
        let end = self.ends().get(id).cloned().ok_or(())?;
        let pid = *end.borrow();
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).map_err(drop)?;
        // While the monitor lives nobody else gets the number; it may be about to end.
        if end.has_changed().is_err() || pid == 0 || !cgroups.contains(id.as_str()) {
            return Err(());
        }
        tracing::warn!(container = %id, "its monitor's socket is gone: the signal is sent without it");
        wharf_sys::signals::send(pid, signal).map_err(drop)
    }

    /// Waits for the end of the container's monitor before, and tells where the end of the next is seen.
    async fn after_the_one_before(&self, id: &ContainerId) -> watch::Sender<i32> {
        let before = self.ends().get(id).cloned();
        if let Some(mut before) = before
            // The sender goes with the monitor.
            && tokio::time::timeout(END_LIMIT, async { while before.changed().await.is_ok() {} }).await.is_err()
        {
            tracing::warn!(container = %id, "the monitor of the run before is still there");
        }
        self.watch_end(id)
    }

    fn watch_end(&self, id: &ContainerId) -> watch::Sender<i32> {
        let (sender, end) = watch::channel(0);
        let mut ends = self.ends();
        ends.retain(|_, end| end.has_changed().is_ok());
        ends.insert(id.clone(), end);
        sender
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<ContainerId, watch::Receiver<i32>>> {
        // Changes are single insertions and removals: a panic leaves it whole.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cgroup that a container was launched with.
fn cgroup_of(directory: &Path) -> Option<String> {
    let launch: Launch = serde_json::from_slice(&std::fs::read(directory.join(LAUNCH_FILE)).ok()?).ok()?;
    launch.spec.linux.map(|linux| linux.cgroups_path).filter(|path| !path.is_empty())
}

/// How an ended container ended, from the file its monitor left.
fn read_exit(directory: &Path) -> Option<Exit> {
    serde_json::from_slice(&std::fs::read(directory.join(EXIT_FILE)).ok()?).ok()
}

#[async_trait]
impl Launcher for MonitorLauncher {
    async fn launch(&self, spec: LaunchSpec) -> Result<Watch> {
        let id = spec.id.clone();
        let end = self.after_the_one_before(&id).await;
        let attached = spec.attached.len();
        let (directory, images) = self.write_launch(spec)?;
        let launched = self.spawner.launch(&directory, attached, &images);
        let (stream, streams) = launched.map_err(|e| internal("ask the spawner", e))?;
        Ok(Watch { streams, ..self.follow(&id, stream, end) })
    }

    async fn adopt(&self, id: &ContainerId) -> Result<Option<Watch>> {
        let directory = self.run_directory(id);
        let connecting = connect(&directory);
        if let Ok(Ok(mut stream)) = tokio::time::timeout(ANSWER_LIMIT, connecting).await
            // A short line fits the socket's buffer: it waits for nobody.
            && connection::say(&mut stream, &Request::Watch).await.is_ok()
        {
            return Ok(Some(self.follow(id, stream, self.watch_end(id))));
        }
        let Some(exit) = read_exit(&directory) else { return Ok(None) };
        let (sender, events) = mpsc::unbounded_channel();
        // The receiver is right here.
        let _ = sender.send(MonitorEvent::Lost(Some(translate::exit(&exit))));
        Ok(Some(Watch { events, go: mpsc::unbounded_channel().0, streams: Vec::new() }))
    }

    async fn attach(&self, id: &ContainerId, streams: StreamSet) -> Result<UnixStream> {
        match self.request(id, &Request::Attach(translate::streams(streams))).await? {
            (Reply::Ok, stream) => Ok(stream),
            (reply, _) => Err(translate::refusal(reply)),
        }
    }

    async fn exec(
        &self,
        id: &ContainerId,
        exec: ExecSpec,
    ) -> Result<Result<ExecStarted, (FailedStage, String)>> {
        let request = Request::Exec(Box::new(Exec {
            id: exec.id,
            process: exec.process,
            seccomp_file: exec.seccomp.as_ref().map(|s| self.filter_file(s)).transpose()?,
            streams: translate::streams(exec.streams),
        }));
        match self.request(id, &request).await? {
            (Reply::Started { pid }, stream) => Ok(Ok(ExecStarted { pid, stream })),
            (Reply::Failed { stage, message }, _) => Ok(Err((translate::stage(stage), message))),
            (reply, _) => Err(translate::refusal(reply)),
        }
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<()> {
        let request = Request::Signal { signal };
        let asked = self.request_unbounded(id, &request);
        match tokio::time::timeout(ANSWER_LIMIT, asked).await {
            Ok(Ok((Reply::Ok, _))) => Ok(()),
            Ok(Ok((reply, _))) => Err(translate::refusal(reply)),
            Ok(Err(e)) if e.kind() == ErrorKind::NotFound => self.signal_directly(id, signal).map_err(|()| e),
            Ok(Err(e)) => Err(e),
            Err(_) if signal == 9 => self.end_monitor(id).await,
            Err(_) => {
                Err(Error::internal(format!("the monitor of container {} does not answer", id.short())))
            }
        }
    }

    async fn signal_exec(&self, id: &ContainerId, exec: &str, signal: i32) -> Result<()> {
        match self.request(id, &Request::SignalExec { exec: exec.to_owned(), signal }).await? {
            (Reply::Ok, _) => Ok(()),
            (Reply::Gone, _) => Err(Error::not_found(format!("exec {exec} is not running"))),
            (reply, _) => Err(translate::refusal(reply)),
        }
    }

    async fn resize(&self, id: &ContainerId, exec: Option<&str>, rows: u16, columns: u16) -> Result<()> {
        let request = Request::Resize { exec: exec.map(str::to_owned), rows, columns };
        match self.request(id, &request).await? {
            (Reply::Ok, _) => Ok(()),
            (reply, _) => Err(translate::refusal(reply)),
        }
    }

    async fn freeze(&self, id: &ContainerId, cgroup: &str, frozen: bool) -> Result<()> {
        let (cgroup, id) = (self.cgroup(cgroup)?, id.short().to_owned());
        blocking(move || {
            let ended = || Error::conflict(format!("container {id} is not running"));
            if !cgroup.exists() {
                return Err(ended());
            }
            match cgroup.freeze(frozen) {
                // It ended, and its cgroup went, while the kernel was asked.
                Err(_) if !cgroup.exists() => Err(ended()),
                done => done.map_err(|e| internal(if frozen { "pause" } else { "unpause" }, e)),
            }
        })
        .await
    }

    async fn is_frozen(&self, cgroup: &str) -> Result<bool> {
        let cgroup = self.cgroup(cgroup)?;
        blocking(move || cgroup.is_frozen().map_err(|e| internal("look at the freezer", e))).await
    }

    async fn update(&self, cgroup: &str, resources: &Resources) -> Result<()> {
        let cgroup = self.cgroup(cgroup)?;
        let limits = bundle::limits(resources).map_err(|e| Error::invalid(e.message))?;
        blocking(move || cgroup.apply(&limits).map_err(|e| internal("set the limits", e))).await
    }

    async fn usage(&self, cgroup: &str) -> Result<Usage> {
        let cgroup = self.cgroup(cgroup)?;
        blocking(move || Ok(translate::usage(cgroup.stats()))).await
    }

    async fn processes(&self, cgroup: &str) -> Result<Vec<i32>> {
        let cgroup = self.cgroup(cgroup)?;
        blocking(move || cgroup.processes().map_err(|e| internal("list the processes", e))).await
    }

    async fn forget(&self, id: &ContainerId) -> Result<()> {
        let directory = self.run_directory(id);
        blocking(move || remove_directory(&directory)).await
    }

    async fn clean(&self, id: &ContainerId, cgroup: &str) -> Result<()> {
        let (directory, cgroup) = (self.run_directory(id), self.cgroup(cgroup)?);
        blocking(move || {
            if cgroup.exists() {
                cgroup.signal_all(9).map_err(|e| internal("end the remaining processes", e))?;
                failpoint!("clean.signalled");
                cgroup.remove().map_err(|e| internal("remove the cgroup", e))?;
                failpoint!("clean.cgroup");
            }
            remove_directory(&directory)
        })
        .await
    }

    fn run_directory(&self, id: &ContainerId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    fn signal_number(&self, name: &str) -> Option<i32> {
        wharf_sys::signals::number(name)
    }
}

/// A monitor may still write the end of its container there: a few files, so that this ends.
fn remove_directory(directory: &Path) -> Result<()> {
    loop {
        match std::fs::remove_dir_all(directory) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(internal("remove the run directory", e));
            }
            _ => return Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal(format!("a worker failed: {e}"))),
    }
}
