//! What one engine holds on the host: mounts, cgroups, links, firewall elements, processes, directories.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How deep below a hierarchy's root groups of containers are looked for.
const DEPTH: u32 = 6;

/// What names an engine's things: its directory, and the digits that follow from its data root.
#[derive(Debug, Clone)]
pub struct Identity {
    directory: PathBuf,
    suffix: String,
}

impl Identity {
    /// Of the engine whose data root is `directory/data`.
    ///
    /// # Panics
    /// When `sha256sum` of coreutils does not run.
    pub(crate) fn of(directory: &Path) -> Self {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run sha256sum");
        let data = directory.join("data");
        let mut stdin = child.stdin.take().expect("standard input");
        stdin.write_all(data.as_os_str().as_encoded_bytes()).expect("write to sha256sum");
        drop(stdin);
        let output = child.wait_with_output().expect("wait for sha256sum");
        let suffix = String::from_utf8_lossy(&output.stdout)[..8].to_owned();
        Self { directory: directory.to_owned(), suffix }
    }
}

/// A snapshot of what an engine holds, one line a thing, for comparing before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings(BTreeSet<String>);

impl Holdings {
    /// Looks at the host.
    pub fn now(engine: &Identity) -> Self {
        let mut found = Self::in_kernel(engine).0;
        let top = &engine.directory;
        // Layers of images are in the snapshots' directory too: a failed start adds none.
        for directory in
            ["exec/containers", "data/containers", "data/snapshots", "data/snapshots/t", "data/tmp"]
        {
            found.extend(names(&top.join(directory)).map(|n| format!("directory {directory}/{n}")));
        }
        // Made ahead for the next container, whenever there is time.
        found.remove("directory data/snapshots/next");
        Self(found)
    }

    /// Only what outlasts the removal of the engine's directories.
    pub fn in_kernel(engine: &Identity) -> Self {
        let mut found = BTreeSet::new();
        found.extend(mounts(engine));
        found.extend(cgroups(engine));
        found.extend(links(engine));
        found.extend(firewall(engine));
        found.extend(processes(engine));
        Self(found)
    }

    /// What is here and not in an earlier snapshot.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// Everything.
    pub fn all(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned())
}

fn mounts(engine: &Identity) -> Vec<String> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let key = engine.directory.display().to_string();
    mountinfo.lines().filter(|l| l.contains(&key)).map(|l| format!("mount {l}")).collect()
}

/// The engine's groups and all below them, in every hierarchy.
fn cgroups(engine: &Identity) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![(PathBuf::from("/sys/fs/cgroup"), 0, false)];
    while let Some((directory, depth, ours)) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            let ours = ours || entry.file_name().to_string_lossy().contains(&engine.suffix);
            if ours {
                found.push(format!("cgroup {}", entry.path().display()));
            }
            if depth < DEPTH {
                directories.push((entry.path(), depth + 1, ours));
            }
        }
    }
    found
}

/// The engine's bridges and what is attached to them.
fn links(engine: &Identity) -> Vec<String> {
    let top = Path::new("/sys/class/net");
    let is_ours = |name: &str| {
        let master = std::fs::read_link(top.join(name).join("master"));
        let master = master.ok().and_then(|m| Some(m.file_name()?.to_string_lossy().into_owned()));
        name.contains(&engine.suffix) || master.is_some_and(|m| m.contains(&engine.suffix))
    };
    names(top).filter(|n| is_ours(n)).map(|n| format!("link {n}")).collect()
}

/// The lines of the engine's table, where the program `nft` is there to list it.
fn firewall(engine: &Identity) -> Vec<String> {
    let table = format!("wharf-{}", engine.suffix);
    let listed = Command::new("nft").args(["list", "table", "inet", &table]).output();
    let listed = listed.ok().filter(|o| o.status.success()).map(|o| o.stdout).unwrap_or_default();
    String::from_utf8_lossy(&listed).lines().map(|l| format!("nft {}", l.trim())).collect()
}

/// Processes in the engine's cgroups, and ours that name its directory or hold files in it.
fn processes(engine: &Identity) -> Vec<String> {
    let key = engine.directory.display().to_string();
    let mut found = Vec::new();
    for pid in names(Path::new("/proc")).filter(|n| n.bytes().all(|b| b.is_ascii_digit())) {
        let at = |name: &str| Path::new("/proc").join(&pid).join(name);
        let text =
            |name: &str| String::from_utf8_lossy(&std::fs::read(at(name)).unwrap_or_default()).into_owned();
        let comm = text("comm");
        let contained = text("cgroup").contains(&engine.suffix);
        let holds = || {
            let files = std::fs::read_dir(at("fd")).into_iter().flatten().flatten();
            let mut targets = files.filter_map(|f| std::fs::read_link(f.path()).ok());
            targets.any(|t| t.starts_with(&engine.directory))
        };
        // A test's own process, and clients it started, may hold files of the directory as well.
        let is_ours = || comm.starts_with("wharf") && (text("cmdline").contains(&key) || holds());
        if !contained && comm.trim() == "wharf" && is_ours() {
            // The engine and its spawner have other numbers after a restart.
            found.push("process wharf".to_owned());
        } else if contained || is_ours() {
            found.push(format!("process {pid} {}", comm.trim()));
        }
    }
    found
}
