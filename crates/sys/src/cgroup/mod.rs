//! Control groups: version 1, version 2 and the hybrid of both (kernel Documentation/admin-guide/cgroup-v1, -v2).
//!
//! A [`Cgroup`] is one path below every hierarchy that matters. On version 1 that is one directory a
//! controller; on version 2 a single one. In the hybrid the version 1 controllers decide and the unified tree
//! is left to systemd.

mod limits;
mod stats;

pub use limits::{DeviceLimit, Limits};
pub use stats::{BlockBytes, Stats};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the hierarchies of this host are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One unified tree.
    V2 {
        /// Its mount point.
        root: PathBuf,
    },
    /// One tree a controller, or for several.
    V1 {
        /// Controller names with mount points; co-mounted controllers share one.
        controllers: Vec<(String, PathBuf)>,
    },
}

/// The controllers of version 1 that a container is put under.
const V1_CONTROLLERS: [&str; 11] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "perf_event",
];

impl Layout {
    /// Finds the hierarchies, once for this process and its children: reading all mounts costs more than making a
    /// cgroup.
    pub fn detect() -> io::Result<Self> {
        static FOUND: OnceLock<Layout> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let found = Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?)?;
        Ok(FOUND.get_or_init(|| found).clone())
    }

    fn parse(mountinfo: &str) -> io::Result<Self> {
        let mut controllers: Vec<(String, PathBuf)> = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next().unwrap_or(""), right.nth(1).unwrap_or(""));
            match kind {
                "cgroup2" => {
                    unified.get_or_insert_with(|| PathBuf::from(point));
                }
                "cgroup" => {
                    for name in options.split(',').filter(|o| V1_CONTROLLERS.contains(o)) {
                        if controllers.iter().all(|(n, _)| n != name) {
                            controllers.push((name.to_owned(), PathBuf::from(point)));
                        }
                    }
                }
                _ => {}
            }
        }
        match (controllers.is_empty(), unified) {
            (true, Some(root)) => Ok(Self::V2 { root }),
            (false, _) => Ok(Self::V1 { controllers }),
            (true, None) => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup file system is mounted: mount one, such as `mount -t cgroup2 none /sys/fs/cgroup`",
            )),
        }
    }

    /// `1` or `2`, as `docker info` shows it.
    pub fn version(&self) -> u8 {
        match self {
            Self::V2 { .. } => 2,
            Self::V1 { .. } => 1,
        }
    }

    /// Every directory that the path stands for, each once.
    fn directories(&self, path: &str) -> Vec<PathBuf> {
        let path = path.trim_start_matches('/');
        match self {
            Self::V2 { root } => vec![root.join(path)],
            Self::V1 { controllers } => {
                let mut all: Vec<PathBuf> = controllers.iter().map(|(_, point)| point.join(path)).collect();
                all.sort();
                all.dedup();
                all
            }
        }
    }
}

/// One control group in every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    layout: Layout,
    path: String,
}

impl Cgroup {
    /// Names a group without touching the kernel. `path` has no `..` in it and is relative to the roots.
    pub fn at(layout: Layout, path: &str) -> io::Result<Self> {
        if path.split('/').any(|part| part == "..") || path.trim_matches('/').is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("cgroup path {path:?} is not allowed"),
            ));
        }
        Ok(Self { layout, path: path.to_owned() })
    }

    /// The path below the roots.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes the directories, parents included. On failure what was made is removed again.
    pub fn create(&self) -> io::Result<()> {
        let result = match &self.layout {
            Layout::V2 { root } => self.create_v2(root),
            Layout::V1 { .. } => self.create_v1(),
        };
        if result.is_err() {
            // The first failure is what the caller must see; what cannot be removed was not made by us.
            let _ = self.remove();
        }
        result
    }

    fn create_v1(&self) -> io::Result<()> {
        let cpuset = self.directory_of("cpuset");
        for directory in self.layout.directories(&self.path) {
            make_directory(&directory)?;
            if cpuset.as_ref() == Some(&directory) {
                inherit_cpuset(&directory)?;
            }
        }
        Ok(())
    }

    fn create_v2(&self, root: &Path) -> io::Result<()> {
        let mut directory = root.to_owned();
        for part in self.path.split('/').filter(|p| !p.is_empty()) {
            enable_controllers(&directory)?;
            directory.push(part);
            if !directory.is_dir() {
                make_directory(&directory)?;
            }
        }
        Ok(())
    }

    /// The directory under a controller; on version 2 always the one directory.
    pub fn directory_of(&self, controller: &str) -> Option<PathBuf> {
        let path = self.path.trim_start_matches('/');
        match &self.layout {
            Layout::V2 { root } => Some(root.join(path)),
            Layout::V1 { controllers } => {
                controllers.iter().find(|(name, _)| name == controller).map(|(_, point)| point.join(path))
            }
        }
    }

    /// On version 1, the name of every hierarchy's mount with the group's directory in it; else nothing.
    pub fn view_v1(&self) -> Vec<(String, PathBuf)> {
        let Layout::V1 { controllers } = &self.layout else { return Vec::new() };
        let mut points: Vec<&PathBuf> = controllers.iter().map(|(_, point)| point).collect();
        points.sort();
        points.dedup();
        let path = self.path.trim_start_matches('/');
        let name = |point: &Path| Some(point.file_name()?.to_str()?.to_owned());
        points.into_iter().filter_map(|point| Some((name(point)?, point.join(path)))).collect()
    }

    /// Whether the group is there.
    pub fn exists(&self) -> bool {
        self.layout.directories(&self.path).iter().any(|d| d.is_dir())
    }

    /// Whether a process is born in its group (version 2), or joins it.
    pub fn takes_births(&self) -> bool {
        matches!(self.layout, Layout::V2 { .. })
    }

    /// Opens the directory for clone3's CLONE_INTO_CGROUP; `None` on version 1.
    pub fn clone_target(&self) -> io::Result<Option<OwnedFd>> {
        match &self.layout {
            Layout::V2 { root } => Ok(Some(rustix::fs::open(
                root.join(self.path.trim_start_matches('/')),
                OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?)),
            Layout::V1 { .. } => Ok(None),
        }
    }

    /// Opens every membership file of version 1, so that a process of one thread may join after the paths are
    /// out of its sight: it writes `0` to each. Nothing on version 2, where a process is born in its group.
    ///
    /// It is `tasks`, not `cgroup.procs`: a thread that moves itself alone needs no lock over all forks of the
    /// machine, which the kernel takes with a wait for an RCU grace period (5–13 ms measured).
    pub fn membership_files(&self) -> io::Result<Vec<OwnedFd>> {
        let Layout::V1 { .. } = self.layout else { return Ok(Vec::new()) };
        let open = |d: &PathBuf| {
            let file = d.join("tasks");
            rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| with_path(&e.into(), &file))
        };
        self.layout.directories(&self.path).iter().map(open).collect()
    }

    /// Moves a process into the group.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        for directory in self.layout.directories(&self.path) {
            write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// The processes in the group and below, as the host numbers them.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let controller = if self.directory_of("pids").is_some() { "pids" } else { "memory" };
        let mut pids = Vec::new();
        if let Some(directory) = self.directory_of(controller) {
            collect_processes(&directory, &mut pids)?;
        }
        Ok(pids)
    }

    /// Stops (`true`) or continues all processes of the group and waits until it is so, 10 s at most.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        match &self.layout {
            Layout::V2 { .. } => self.freeze_v2(frozen),
            Layout::V1 { .. } => self.freeze_v1(frozen),
        }
    }

    fn freeze_v2(&self, frozen: bool) -> io::Result<()> {
        let directory = self.directory_of("freezer").ok_or_else(missing_freezer)?;
        write(&directory.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
        let wanted = format!("frozen {}", u8::from(frozen));
        poll("the freezer", || {
            Ok(std::fs::read_to_string(directory.join("cgroup.events"))?.lines().any(|l| l == wanted))
        })
    }

    fn freeze_v1(&self, frozen: bool) -> io::Result<()> {
        let file = self.directory_of("freezer").ok_or_else(missing_freezer)?.join("freezer.state");
        let state = if frozen { "FROZEN" } else { "THAWED" };
        poll("the freezer", || {
            // Written again each time: version 1 can hang in FREEZING when a task forks meanwhile.
            write(&file, state)?;
            Ok(std::fs::read_to_string(&file)?.trim() == state)
        })
    }

    /// Whether the group is frozen. One that is not there is not.
    pub fn is_frozen(&self) -> io::Result<bool> {
        let Some(directory) = self.directory_of("freezer") else { return Ok(false) };
        let (file, is_frozen): (_, fn(&str) -> bool) = match &self.layout {
            Layout::V2 { .. } => ("cgroup.events", |text| text.lines().any(|l| l == "frozen 1")),
            Layout::V1 { .. } => ("freezer.state", |text| text.trim() != "THAWED"),
        };
        match std::fs::read_to_string(directory.join(file)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            text => Ok(is_frozen(&text?)),
        }
    }

    /// Sends a signal to every process of the group. SIGKILL goes through `cgroup.kill` where the kernel has it.
    pub fn signal_all(&self, signal: i32) -> io::Result<()> {
        if let (Layout::V2 { .. }, libc::SIGKILL, Some(directory)) =
            (&self.layout, signal, self.directory_of(""))
            && write(&directory.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        if signal != libc::SIGKILL {
            return signal_each(&self.members()?, signal);
        }
        if self.is_frozen().unwrap_or(false) {
            // A frozen process does not even die (cgroup version 1).
            self.freeze(false)?;
        }
        // Processes may fork while the list is read: again, until only those are left that were signalled before.
        let mut signalled = Vec::new();
        for _ in 0..KILL_ROUNDS {
            let new: Vec<i32> = self.members()?.into_iter().filter(|pid| !signalled.contains(pid)).collect();
            if new.is_empty() {
                return Ok(());
            }
            signal_each(&new, signal)?;
            signalled.extend(new);
        }
        Err(io::Error::other(
            "the processes of the cgroup fork faster than they can be killed: limit their number",
        ))
    }

    /// The processes; none where there is no group, which another process may remove at any time.
    fn members(&self) -> io::Result<Vec<i32>> {
        match self.processes() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    /// Removes the directories, children first; nothing happens where there are none. Waits up to 10 s for
    /// processes that are just ending.
    pub fn remove(&self) -> io::Result<()> {
        let mut failure = None;
        for directory in self.layout.directories(&self.path) {
            if let Err(e) = remove_tree(&directory) {
                failure.get_or_insert(e);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// How many times the OOM killer struck in the group.
    pub fn oom_kills(&self) -> io::Result<u64> {
        let Some(directory) = self.directory_of("memory") else { return Ok(0) };
        let file = match &self.layout {
            Layout::V2 { .. } => "memory.events",
            Layout::V1 { .. } => "memory.oom_control",
        };
        let text = std::fs::read_to_string(directory.join(file))?;
        let value = text.lines().find_map(|l| l.strip_prefix("oom_kill "));
        Ok(value.and_then(|v| v.trim().parse().ok()).unwrap_or(0))
    }
}

/// Rounds of killing: one that forks all the time is met in the first few, as its children do not live to fork again.
const KILL_ROUNDS: usize = 1000;

fn signal_each(pids: &[i32], signal: i32) -> io::Result<()> {
    for pid in pids {
        match crate::signals::send(*pid, signal) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn missing_freezer() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this host has no freezer cgroup: containers cannot be paused")
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let parent = directory.parent().ok_or(e)?;
            make_directory(parent)?;
            if parent.join("cpuset.cpus").exists() {
                inherit_cpuset(parent)?;
                // What is made below is filled by the kernel from now on.
                write(&parent.join("cgroup.clone_children"), "1")?;
            }
            make_directory(directory)
        }
        Err(e) => Err(with_path(&e, directory)),
        Ok(()) => Ok(()),
    }
}

/// A new cpuset of version 1 is empty and takes no process until it is filled. So may its parent be, which
/// another process is just making.
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    // The last that is filled, by us and by the kernel.
    if !std::fs::read_to_string(directory.join("cpuset.mems"))?.trim().is_empty() {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if std::fs::read_to_string(&own)?.trim().is_empty() {
            let Some(parent) = directory.parent() else { continue };
            let value = || std::fs::read_to_string(parent.join(file));
            // The root's is never empty.
            if value()?.trim().is_empty() {
                inherit_cpuset(parent)?;
            }
            write(&own, value()?.trim())?;
        }
    }
    Ok(())
}

/// Hands every controller on to the children. A controller that cannot be (the group holds processes) is left
/// out: limits on it then fail by name.
fn enable_controllers(directory: &Path) -> io::Result<()> {
    let available = std::fs::read_to_string(directory.join("cgroup.controllers"))?;
    let file = directory.join("cgroup.subtree_control");
    let enabled = std::fs::read_to_string(&file)?;
    for name in available.split_whitespace().filter(|n| !enabled.split_whitespace().any(|e| e == *n)) {
        let _ = write(&file, &format!("+{name}"));
    }
    Ok(())
}

fn collect_processes(directory: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = match std::fs::read_to_string(directory.join("cgroup.procs")) {
        // Removed before, or between opening and reading.
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV) => {
            return Ok(());
        }
        Err(e) => return Err(with_path(&e, directory)),
        Ok(text) => text,
    };
    pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect_processes(&entry.path(), pids)?;
        }
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    poll("the last process of a cgroup", || match std::fs::remove_dir(directory) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => Ok(false),
        Err(e) => Err(with_path(&e, directory)),
    })
}

/// Asks again with growing pauses: cgroup files have no event for these states. Bounded to 10 s, far beyond
/// what a kernel needs to freeze or reap.
fn poll(what: &str, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let mut pause_us = 50;
    let mut waited_us = 0;
    while !done()? {
        if waited_us > 10_000_000 {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{what} did not follow within 10 s"),
            ));
        }
        std::thread::sleep(std::time::Duration::from_micros(pause_us));
        waited_us += pause_us;
        pause_us = (pause_us * 2).min(20_000);
    }
    Ok(())
}

fn with_path(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    let fd = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| with_path(&e.into(), file))?;
    match rustix::io::write(&fd, value.as_bytes()) {
        Ok(_) => Ok(()),
        Err(e) => {
            let e = io::Error::from(e);
            Err(io::Error::new(e.kind(), format!("write {value:?} to {}: {e}", file.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";

    #[test]
    fn hybrid_is_version_1() {
        let layout = Layout::parse(HYBRID).unwrap();
        assert_eq!(layout.version(), 1);
        let group = Cgroup::at(layout.clone(), "/wharf/x").unwrap();
        assert_eq!(group.directory_of("pids").unwrap(), Path::new("/sys/fs/cgroup/pids/wharf/x"));
        assert_eq!(group.directory_of("memory"), None);
        assert_eq!(layout.directories("/a").len(), 2);
    }

    #[test]
    fn unified_alone_is_version_2() {
        let layout = Layout::parse("31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw").unwrap();
        assert_eq!(layout, Layout::V2 { root: "/sys/fs/cgroup".into() });
        assert!(Layout::parse("").is_err());
    }

    #[test]
    fn paths_cannot_climb() {
        let layout = Layout::V2 { root: "/sys/fs/cgroup".into() };
        assert!(Cgroup::at(layout.clone(), "/a/../../etc").is_err());
        assert!(Cgroup::at(layout, "/").is_err());
    }
}
