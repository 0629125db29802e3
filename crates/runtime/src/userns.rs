//! User namespaces: the mapping of a container's ids to the host's, for its processes and for its mounts.
//!
//! ```text
//! monitor ──clone──▶ holder                 lives until its namespace is open and its mapping written
//!    └─────clone──▶ intermediate            root of the host: cgroup, joined namespaces, `Prepared`
//!                      └─setns, clone──▶ init   root of the namespace: all else
//! ```

use crate::error::{Doing, Error, Result};
use crate::init::images::Images;
use crate::init::{self, Plan};
use crate::init::{labels, mounts, options, overlay, rootfs};
use crate::launch;
use crate::protocol::Rootfs;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;
use wharf_oci::runtime_spec::{Device, IdMapping, Linux, Mount, NamespaceKind, Process, Spec};
use wharf_sys::mount::{Change, attr, set_attributes};
use wharf_sys::process::{self, Cloned, SingleThreaded, flag};
use wharf_sys::socket;

/// A user namespace with its mapping.
pub struct Namespace {
    fd: OwnedFd,
    /// Root's user and group on the host.
    root: (u32, u32),
    mapping: [Vec<IdMapping>; 2],
}

impl Namespace {
    /// Makes a namespace that nobody is in.
    ///
    /// # Errors
    /// When the kernel does not take the mapping.
    pub fn make(proof: &SingleThreaded, uids: &[IdMapping], gids: &[IdMapping]) -> Result<Self> {
        if uids.is_empty() || gids.is_empty() {
            return Err(Error::setup(
                "the configuration has a user namespace, but no uidMappings or no gidMappings",
            ));
        }
        with_holder(proof, flag::NEWUSER, None, |pid| {
            for (file, mapping) in [("uid_map", uids), ("gid_map", gids)] {
                let path = format!("/proc/{pid}/{file}");
                std::fs::write(&path, lines(mapping)).doing(format_args!("write {file}"))?;
            }
            Self::of_process(pid)
        })
    }

    /// Opens one that is there.
    ///
    /// # Errors
    /// When there is none at the path, or root is not mapped in it.
    pub fn open(proof: &SingleThreaded, path: &str) -> Result<Self> {
        let file = std::fs::File::open(path).doing(format_args!("join namespace {path}"))?;
        with_holder(proof, 0, Some(file.as_fd()), Self::of_process)
    }

    /// The namespace a configuration creates or joins.
    pub(crate) fn of_spec(proof: &SingleThreaded, linux: &Linux) -> Result<Option<Self>> {
        let Some(namespace) = linux.namespaces.iter().find(|n| n.kind == NamespaceKind::User) else {
            return Ok(None);
        };
        if namespace.path.is_empty() {
            return Self::make(proof, &linux.uid_mappings, &linux.gid_mappings).map(Some);
        }
        Self::open(proof, &namespace.path).map(Some)
    }

    /// The namespace of a process behind a descriptor, unless it is our own.
    pub(crate) fn of_pidfd(container: BorrowedFd<'_>) -> Result<Option<Self>> {
        let what = "find the container's user namespace";
        let about =
            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", container.as_raw_fd())).doing(what)?;
        let pid = about.lines().find_map(|l| l.strip_prefix("Pid:")).and_then(|p| p.trim().parse().ok());
        // One that has ended has -1; joining it says so.
        let Some(pid) = pid.filter(|pid| *pid > 0) else { return Ok(None) };
        let namespace = |process: &str| rustix::fs::stat(format!("/proc/{process}/ns/user"));
        let (own, its) = (namespace("self").doing(what)?, namespace(&format!("{pid}")).doing(what)?);
        if (own.st_dev, own.st_ino) == (its.st_dev, its.st_ino) {
            Ok(None)
        } else {
            Self::of_process(pid).map(Some)
        }
    }

    fn of_process(pid: i32) -> Result<Self> {
        let what = "read the mapping of a user namespace";
        let path = format!("/proc/{pid}/ns/user");
        let fd = std::fs::File::open(&path).doing(what)?;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).doing(what);
        let mapping = [parse(&read("uid_map")?), parse(&read("gid_map")?)];
        let root = |ids: &[IdMapping]| {
            outside(ids, 0).ok_or_else(|| Error::setup("the user namespace has no root: id 0 is not mapped"))
        };
        Ok(Self { fd: fd.into(), root: (root(&mapping[0])?, root(&mapping[1])?), mapping })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Shows the mount with ids mapped by this namespace.
    pub(crate) fn map(&self, mount: BorrowedFd<'_>, recursive: bool) -> std::io::Result<()> {
        let change = Change { set: attr::IDMAP, recursive, ..Change::default() };
        set_attributes(mount, change, Some(self.fd.as_fd()))
    }

    /// Makes files as the namespace's root, with all rights of the host's.
    pub(crate) fn as_its_root_on_files<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        process::as_user_on_files(self.root.0, self.root.1, work)
            .doing("act as the root of the user namespace")
    }

    /// Enters it. Whoever does so has all rights within, and none on the host.
    pub(crate) fn enter(&self) -> std::io::Result<()> {
        process::setns(self.fd.as_fd(), flag::NEWUSER)
    }

    /// Gives pipes to the namespace's root, who may then give them to the user. A pipe with a name is somebody else's.
    pub(crate) fn give_streams<'a>(&self, streams: impl Iterator<Item = BorrowedFd<'a>>) -> Result<()> {
        const PIPEFS_MAGIC: i64 = 0x5049_5045;
        for fd in streams {
            if rustix::fs::fstatfs(fd).is_ok_and(|found| found.f_type == PIPEFS_MAGIC) {
                let (uid, gid) = (Uid::from_raw(self.root.0), Gid::from_raw(self.root.1));
                rustix::fs::fchown(fd, Some(uid), Some(gid))
                    .doing("give standard streams to the container")?;
            }
        }
        Ok(())
    }

    fn owner(&self, device: &Device) -> (u32, u32) {
        let [uids, gids] = &self.mapping;
        let uid = device.uid.and_then(|id| outside(uids, id)).unwrap_or(self.root.0);
        (uid, device.gid.and_then(|id| outside(gids, id)).unwrap_or(self.root.1))
    }
}

/// What of a process only the host's root may set: limits above its own.
pub(crate) fn raise_ceilings(spec: &Process) -> Result<()> {
    for limit in &spec.rlimits {
        // An unknown name is refused where the limit is set.
        if let Some(number) = process::rlimit_number(&limit.kind) {
            process::raise_rlimit_ceiling(number, limit.hard).doing(format_args!("raise {}", limit.kind))?;
        }
    }
    Ok(())
}

/// What a container in a user namespace cannot make itself, made by the host's root.
pub struct Prepared {
    /// The root, attached nowhere.
    pub(crate) root: OwnedFd,
    /// By their place among the configuration's mounts.
    pub(crate) mounts: BTreeMap<usize, OwnedFd>,
    /// Directories of the cgroup, in the order of the plan's.
    pub(crate) cgroups: Vec<OwnedFd>,
    /// The configuration's devices in their order.
    pub(crate) devices: Vec<OwnedFd>,
}

impl Prepared {
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lists = self.cgroups.iter().chain(&self.devices).chain(self.mounts.values());
        lists.chain([&self.root]).map(AsFd::as_fd)
    }

    /// Called in a mount namespace of our own, as the host's root.
    fn make(plan: &Plan<'_>, namespace: &Namespace) -> Result<Self> {
        let spec = plan.spec;
        let devices = spec.linux.as_ref().map(|l| l.devices.as_slice()).unwrap_or_default();
        let mut mounts = BTreeMap::new();
        for (index, mount) in spec.mounts.iter().enumerate() {
            let about = |e: Error| Error {
                message: format!(
                    "error mounting {:?} to rootfs at {:?}: {}",
                    mount.source, mount.destination, e.message
                ),
                ..e
            };
            if let Some(made) = prepare_mount(plan, namespace, index, mount).map_err(about)? {
                mounts.insert(index, made);
            }
        }
        let view = plan.cgroup_view.iter().map(|(_, directory)| {
            mounts::bind(directory, false).doing(format_args!("bind {}", directory.display()))
        });
        Ok(Self {
            root: make_root(plan, namespace)?,
            cgroups: view.collect::<Result<_>>()?,
            devices: make_devices(devices, namespace, plan.mount_label())?,
            mounts,
        })
    }
}

fn make_root(plan: &Plan<'_>, namespace: &Namespace) -> Result<OwnedFd> {
    match plan.root {
        // As the specification has it: whoever made the bundle gave it the owners of the namespace.
        Rootfs::Bind { path } => {
            mounts::bind(path, true).doing(format_args!("bind the root {}", path.display()))
        }
        Rootfs::Overlay { lower, upper, work } => {
            let (point, paths) = (plan.mount_point, Some((upper.as_path(), work.as_path())));
            overlay::mount_mapped(point, lower, paths, &plan.images, namespace, plan.mount_label())
        }
    }
}

fn prepare_mount(
    plan: &Plan<'_>,
    namespace: &Namespace,
    index: usize,
    mount: &Mount,
) -> Result<Option<OwnedFd>> {
    let parsed = options::parse(&mount.options);
    if parsed.bind || mount.kind == "bind" {
        let own = plan.idmaps.get(&index);
        let ids = own.or_else(|| parsed.idmap.is_some().then_some(namespace));
        return mounts::open_source(mount, &parsed, ids).map(Some);
    }
    if !parsed.layers.is_empty() {
        let ids = parsed.idmap.is_some().then_some(namespace);
        return overlay::image(plan.mount_point, &parsed, &plan.images, ids, plan.mount_label()).map(Some);
    }
    let creates_cgroup = init::creates(plan.spec, NamespaceKind::Cgroup);
    match mount.kind.as_str() {
        // The host's hierarchy can only be mounted by its owner.
        "cgroup" | "cgroup2" if plan.cgroup_view.is_empty() && !creates_cgroup => {
            mounts::bind(Path::new("/sys/fs/cgroup"), true).doing("bind /sys/fs/cgroup").map(Some)
        }
        "tmpfs" if mount.destination == "/dev" => {
            let owner = [format!("uid={}", namespace.root.0), format!("gid={}", namespace.root.1)];
            let data = [parsed.data.as_slice(), &owner].concat();
            let data = labels::of_mount("tmpfs", &data, plan.mount_label());
            let made = mounts::file_system("tmpfs", "tmpfs", &data, parsed.set)?;
            namespace.as_its_root_on_files(|| rootfs::furnish_devices(made.as_fd()))??;
            Ok(Some(made))
        }
        _ => Ok(None),
    }
}

/// Device nodes on a file system that is mounted nowhere, each to be mounted by itself: a user namespace makes none.
fn make_devices(devices: &[Device], namespace: &Namespace, label: &str) -> Result<Vec<OwnedFd>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    // One inode each, and the directory.
    let data = [format!("nr_inodes={}", devices.len() + 1), "mode=700".to_owned()];
    let data = labels::of_mount("tmpfs", &data, label);
    let all = mounts::file_system("tmpfs", "tmpfs", &data, attr::NOSUID | attr::NOEXEC)?;
    let old = rustix::process::umask(Mode::empty());
    let make = |(index, device): (usize, &Device)| {
        let what = || format!("make device {}", device.path);
        let name = index.to_string();
        rootfs::make_node(all.as_fd(), &name, device, namespace.owner(device))
            .map_err(|e| Error::setup(format!("{}: {}", what(), e.message)))?;
        let node = rustix::fs::openat(
            &all,
            name.as_str(),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .doing(what())?;
        mounts::bind_fd(node.as_fd(), false).doing(what())
    };
    let made = devices.iter().enumerate().map(make).collect();
    rustix::process::umask(old);
    made
}

/// Everything the host's root does before the first process of a container is born in its user namespace.
pub(crate) fn go_before(plan: &mut Plan<'_>, namespace: &Namespace) -> Result<()> {
    process::unshare(flag::NEWNS).doing("create a mount namespace")?;
    mounts::isolate(mounts::root_propagation("slave")?)?;
    plan.prepared = Some(Prepared::make(plan, namespace)?);
    let inherited = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    match &plan.stdio {
        Some(stdio) => namespace.give_streams(stdio.iter().map(AsFd::as_fd))?,
        None => namespace.give_streams(inherited.into_iter())?,
    }
    if let Some(spec) = &plan.spec.process {
        raise_ceilings(spec)?;
        if let Some(score) = spec.oom_score_adj {
            init::identity::write_own_oom_score(score)?;
        }
    }
    init::join_namespaces(plan.spec)?;
    // Where the root will be attached: its path may be closed to the namespace's root, the directory we are in is not.
    rustix::process::chdir(plan.mount_point).doing("enter the bundle")
}

/// The namespaces that single mounts are mapped by, by their place among the configuration's mounts.
pub(crate) fn of_mounts(
    proof: &SingleThreaded,
    spec: &Spec,
    own: bool,
) -> Result<BTreeMap<usize, Namespace>> {
    let mut all = BTreeMap::new();
    for (index, mount) in spec.mounts.iter().enumerate() {
        let mapped = options::parse(&mount.options).idmap.is_some();
        if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
            all.insert(index, Namespace::make(proof, &mount.uid_mappings, &mount.gid_mappings)?);
        } else if mapped && !own {
            return Err(Error::setup(format!(
                "mount at {:?}: idmap needs uidMappings and gidMappings, or a user namespace of the container",
                mount.destination
            )));
        }
    }
    Ok(all)
}

/// Runs `look` while a process is in a new user namespace, or in the one given.
fn with_holder<T>(
    proof: &SingleThreaded,
    flags: u64,
    into: Option<BorrowedFd<'_>>,
    look: impl FnOnce(i32) -> Result<T>,
) -> Result<T> {
    let what = "create a user namespace";
    let (ours, theirs) = socket::message_pair().doing(what)?;
    match process::clone(proof, flags, None).doing(what)? {
        Cloned::Child => {
            drop(ours);
            let entered = into.map_or(Ok(()), |fd| process::setns(fd, flag::NEWUSER));
            let code = entered
                .as_ref()
                .err()
                .map_or(0, |e| e.raw_os_error().unwrap_or_else(|| Errno::IO.raw_os_error()));
            let told = socket::send(theirs.as_fd(), &code.to_le_bytes(), &[]);
            // Its end, not a word, is the news.
            let heard = socket::receive(theirs.as_fd(), &mut [0u8; 1]);
            process::exit_now(i32::from(told.is_err() || heard.is_err()))
        }
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let mut code = [0u8; 4];
            let heard = socket::receive(ours.as_fd(), &mut code).doing(what);
            let looked = heard.and_then(|(n, _)| match (n, i32::from_le_bytes(code)) {
                (4, 0) => look(pid),
                (4, code) => Err(std::io::Error::from_raw_os_error(code)).doing("enter the user namespace"),
                _ => Err(Error::setup(format!("{what}: its first process ended"))),
            });
            drop(ours);
            launch::reap(pid)?;
            looked
        }
    }
}

/// The format of `/proc/PID/uid_map`, user_namespaces(7).
fn lines(mapping: &[IdMapping]) -> String {
    let line = |m: &IdMapping| format!("{} {} {}\n", m.container_id, m.host_id, m.size);
    mapping.iter().map(line).collect()
}

fn parse(text: &str) -> Vec<IdMapping> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().filter_map(line).collect()
}

/// The host's id for one of the namespace.
fn outside(mapping: &[IdMapping], id: u32) -> Option<u32> {
    mapping.iter().find_map(|m| {
        let offset = id.checked_sub(m.container_id).filter(|offset| *offset < m.size)?;
        m.host_id.checked_add(offset)
    })
}

/// Finds out whether the kernel shows files of `directory` with ids mapped, by doing it once.
///
/// # Errors
/// Why it does not.
pub fn probe(directory: &Path, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    let proof = SingleThreaded::verify().doing("check for threads")?;
    let namespace = Namespace::make(&proof, uids, gids)?;
    let scratch = directory.join(format!("userns-probe-{}", std::process::id()));
    let made = ["lower", "upper", "work", "point"].map(|name| scratch.join(name));
    let what = || format!("make {}", scratch.display());
    for path in &made {
        std::fs::create_dir_all(path).doing(what())?;
    }
    let result = probe_apart(&proof, &namespace, &made);
    std::fs::remove_dir_all(&scratch).doing(format_args!("remove {}", scratch.display()))?;
    result
}

fn probe_apart(proof: &SingleThreaded, namespace: &Namespace, made: &[std::path::PathBuf; 4]) -> Result<()> {
    let (ours, theirs) = socket::message_pair().doing("fork")?;
    match process::clone(proof, 0, None).doing("fork")? {
        Cloned::Child => {
            drop(ours);
            let [lower, upper, work, point] = made;
            let tried = process::unshare(flag::NEWNS)
                .doing("create a mount namespace")
                .and_then(|()| mounts::isolate(mounts::root_propagation("slave")?))
                .and_then(|()| {
                    let lower = std::slice::from_ref(lower);
                    overlay::mount_mapped(
                        point,
                        lower,
                        Some((upper, work)),
                        &Images::default(),
                        namespace,
                        "",
                    )
                });
            let message = tried.map_or_else(|e| init::Message::Failed(e.cut()), |_| init::Message::Ready);
            let told = init::tell(theirs.as_fd(), &message, &[]);
            process::exit_now(i32::from(told.is_err()))
        }
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let heard = init::hear(ours.as_fd());
            launch::reap(pid)?;
            match heard? {
                Some((init::Message::Failed(error), _)) => Err(error),
                Some(_) => Ok(()),
                None => Err(Error::setup("the process that tried id-mapped mounts ended")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_and_written() {
        let mapping = [
            IdMapping { container_id: 0, host_id: 100_000, size: 1000 },
            IdMapping { container_id: 5000, host_id: 7, size: 1 },
        ];
        assert_eq!(parse(&lines(&mapping)), mapping);
        assert_eq!(parse("         0     100000       1000\n"), mapping[..1]);
        assert_eq!((outside(&mapping, 999), outside(&mapping, 1000)), (Some(100_999), None));
        assert_eq!((outside(&mapping, 5000), outside(&mapping, 4999)), (Some(7), None));
    }
}
