//! What an engine could leave on the host: mounts, cgroups, links, processes.

use std::collections::BTreeSet;
use std::path::Path;

/// A snapshot of the host, for comparing before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Mount points of the host's own namespace.
    pub mounts: BTreeSet<String>,
    /// Directories of containers in cgroup hierarchies, two levels below their roots.
    pub cgroups: BTreeSet<String>,
    /// Names of network interfaces.
    pub links: BTreeSet<String>,
    /// Monitors and spawners by command line and run directory.
    pub processes: BTreeSet<String>,
}

impl Holdings {
    /// Looks at the host; of the processes only those that hold files below `directory` are counted.
    pub fn now(directory: &Path) -> Self {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts = mountinfo.lines().filter_map(|l| l.split(' ').nth(4)).map(str::to_owned).collect();
        Self { mounts, cgroups: cgroups(), links: names("/sys/class/net"), processes: processes(directory) }
    }

    /// Those that belong to the engine with this directory and socket.
    pub fn of(&self, directory: &Path, host: &str) -> Vec<String> {
        let key = directory.display().to_string();
        let own = |text: &&String| text.contains(&key) || text.contains(host);
        self.mounts.iter().chain(&self.processes).filter(own).cloned().collect()
    }

    /// What is here and not in an earlier snapshot.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let new = |now: &BTreeSet<String>, then: &BTreeSet<String>| {
            now.difference(then).cloned().collect::<Vec<_>>()
        };
        [
            new(&self.mounts, &before.mounts),
            new(&self.cgroups, &before.cgroups),
            new(&self.links, &before.links),
            new(&self.processes, &before.processes),
        ]
        .concat()
    }
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Containers' groups: names of 64 digits below a group of an engine.
fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let below = |d: &Path| {
        std::fs::read_dir(d)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.is_dir())
            .collect::<Vec<_>>()
    };
    let top = Path::new("/sys/fs/cgroup");
    for level in below(top).into_iter().chain([top.to_owned()]) {
        for group in below(&level)
            .iter()
            .filter(|g| g.file_name().is_some_and(|n| n.to_string_lossy().starts_with("wharf")))
        {
            found.extend(below(group).iter().map(|p| p.display().to_string()));
        }
    }
    found
}

fn processes(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let files = std::fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
        let holds = files.filter_map(|f| std::fs::read_link(f.path()).ok()).any(|t| t.starts_with(directory));
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        // The test's own process and the engine hold files of the directory as well.
        if holds && name.starts_with("wharf-monitor") {
            found.insert(format!("{} {}", name.trim(), path.display()));
        }
    }
    found
}
