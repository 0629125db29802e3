//! SELinux labels of containers: what the policy has for them, and levels that no two of them share.

use super::relabel;
use crate::random;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use wharf_model::security::{self, Contexts, LabelOption, Labels};
use wharf_model::{Error, Result};

/// f_type of the file system that SELinux is spoken to through.
const SELINUX_MAGIC: u32 = 0xf97c_ff8c;
/// How many random levels are tried. With 10,000 containers one in fifty is taken: that many tries fail only when
/// something is wrong.
const LEVEL_ATTEMPTS: u32 = 100;

/// SELinux of this kernel, with a policy loaded.
pub struct Selinux {
    contexts: Option<Contexts>,
    /// Levels of containers that are being made.
    taken: Arc<Mutex<HashSet<String>>>,
}

impl Selinux {
    /// Looks at the kernel and the policy's files; `None` where SELinux is not enabled or no policy is loaded.
    pub fn detect() -> Option<Self> {
        let found = rustix::fs::statfs("/sys/fs/selinux").ok()?;
        if found.f_type as u32 != SELINUX_MAGIC {
            return None;
        }
        // Before a policy is loaded everything is this.
        let own = std::fs::read_to_string("/proc/self/attr/current").ok()?;
        if own.trim_end_matches('\0').trim() == "kernel" {
            return None;
        }
        let read = |path: PathBuf| std::fs::read_to_string(path).ok();
        let text = read("/usr/share/containers/selinux/contexts".into())
            .or_else(|| read(policy_root(Path::new("/etc/selinux")).join("contexts/lxc_contexts")));
        Some(Self::with(text.and_then(|text| Contexts::parse(&text))))
    }

    fn with(contexts: Option<Contexts>) -> Self {
        Self { contexts, taken: Arc::default() }
    }

    /// What whoever runs the engine should know.
    pub fn warning(&self) -> Option<String> {
        self.contexts.is_none().then(|| {
            "SELinux: the policy has no labels for containers, they get none: install container-selinux (contexts/\
             lxc_contexts of the policy, or /usr/share/containers/selinux/contexts)"
                .to_owned()
        })
    }

    /// What files are known by that all containers read: their images, which the kernel looks at below a container's own
    /// mounts, too.
    pub fn image_label(&self) -> Option<String> {
        self.contexts.as_ref().map(|contexts| contexts.file.at("s0").to_string())
    }

    /// Labels the directory of layers, unless that was done; what is made in it later has its label.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn label_layers(&self, directory: &Path) -> Result<()> {
        self.image_label().map_or(Ok(()), |label| relabel::once(directory, &label))
    }

    /// The labels of a new container. `in_use` tells whether a container has a level.
    ///
    /// # Errors
    /// `Conflict` when no free level is found.
    pub fn labels(
        &self,
        options: &[LabelOption],
        in_use: impl Fn(&str) -> bool,
    ) -> Result<(Labels, Option<HeldLevel>)> {
        let Some(contexts) = &self.contexts else { return Ok(Default::default()) };
        let has_levels = !contexts.process.level().is_empty();
        let brings_one = |o: &LabelOption| matches!(o, LabelOption::Level(_) | LabelOption::Disable);
        if !has_levels || options.iter().any(brings_one) {
            return Ok((contexts.labels("", options), None));
        }
        let held = self.free_level(in_use)?;
        Ok((contexts.labels(&held.level, options), Some(held)))
    }

    fn free_level(&self, in_use: impl Fn(&str) -> bool) -> Result<HeldLevel> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..LEVEL_ATTEMPTS {
            let bytes = random::bytes()?;
            let number = |at: usize| u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            let Some(level) = security::level([number(0), number(2)]) else { continue };
            if !in_use(&level) && taken.insert(level.clone()) {
                return Ok(HeldLevel { level, taken: self.taken.clone() });
            }
        }
        Err(Error::conflict("no free level of SELinux was found: give one with --security-opt label=level:"))
    }
}

/// A level that nobody else gets, until there is a container that is seen to have it.
pub struct HeldLevel {
    level: String,
    taken: Arc<Mutex<HashSet<String>>>,
}

impl Drop for HeldLevel {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.level);
    }
}

/// The directory of the policy that `config` names.
fn policy_root(directory: &Path) -> PathBuf {
    let config = std::fs::read_to_string(directory.join("config")).unwrap_or_default();
    let name = config.lines().find_map(|line| line.trim().strip_prefix("SELINUXTYPE="));
    directory.join(name.unwrap_or_default().trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selinux() -> Selinux {
        Selinux::with(Contexts::parse("process=u:r:container_t:s0\nfile=u:object_r:container_file_t:s0"))
    }

    #[test]
    fn no_two_containers_have_a_level() {
        let selinux = selinux();
        let (first, held) = selinux.labels(&[], |_| false).unwrap();
        let level = security::level_of(&first.process).to_owned();
        assert_eq!(level, security::level_of(&first.mount));
        assert!(selinux.taken.lock().unwrap().contains(&level), "until the container is seen");
        drop(held);
        assert!(selinux.taken.lock().unwrap().is_empty());
        assert!(selinux.labels(&[], |_| true).is_err(), "the levels of others are not given again");
    }

    #[test]
    fn who_brings_a_level_takes_none() {
        let level = "level:s0:c1".parse().unwrap();
        let (labels, held) = selinux().labels(&[level], |_| true).unwrap();
        assert!(labels.process.ends_with(":s0:c1") && held.is_none());
        assert!(selinux().labels(&[LabelOption::Disable], |_| true).unwrap().0.process.is_empty());
    }

    #[test]
    fn a_policy_without_containers_labels_none() {
        let selinux = Selinux::with(None);
        assert_eq!(selinux.labels(&[], |_| false).unwrap().0, Labels::default());
        assert!(selinux.warning().unwrap().contains("container-selinux"));
    }
}
