//! A container's SELinux labels: given when it is created, and to its files when it starts.

use super::{Collaborators, Containers};
use crate::security::relabel::relabel;
use crate::security::selinux::HeldLevel;
use std::path::PathBuf;
use wharf_model::container::{ContainerRecord, ContainerSpec, NamespaceMode, NetworkMode};
use wharf_model::security::{Context, LabelOption, Relabel, level_of};
use wharf_model::{Error, Result};

impl Containers {
    /// Gives a new container its labels. Its level is nobody else's as long as the guard lives; then its record tells.
    ///
    /// # Errors
    /// `Invalid` when it shares namespaces of containers with different labels.
    pub(super) fn label(&self, record: &mut ContainerRecord) -> Result<Option<HeldLevel>> {
        let Some(selinux) = &self.shared.security.selinux else { return Ok(None) };
        let options = options(&record.spec, |name| Ok(self.find(name)?.record().process_label.clone()))?;
        let used = |level: &str| {
            self.registry.read(|handles| {
                handles.values().any(|handle| {
                    let other = handle.view.borrow();
                    level_of(&other.record.process_label) == level
                        || level_of(&other.record.mount_label) == level
                })
            })
        };
        let (labels, held) = selinux.labels(&options, used)?;
        (record.process_label, record.mount_label) = (labels.process, labels.mount);
        Ok(held)
    }
}

/// What is asked for, or follows from the namespaces that are shared. `label_of` finds another container's.
fn options(spec: &ContainerSpec, label_of: impl Fn(&str) -> Result<String>) -> Result<Vec<LabelOption>> {
    if !spec.label_options.is_empty() {
        return Ok(spec.label_options.clone());
    }
    if spec.privileged || spec.ipc == NamespaceMode::Host || spec.pid == NamespaceMode::Host {
        return Ok(vec![LabelOption::Disable]);
    }
    let of = |mode: &NamespaceMode| match mode {
        NamespaceMode::Container(name) => same_as(&label_of(name)?).map(Some),
        NamespaceMode::Private | NamespaceMode::Host => Ok(None),
    };
    match (of(&spec.ipc)?, of(&spec.pid)?) {
        (Some(ipc), Some(pid)) if ipc != pid => {
            Err(Error::invalid("--ipc and --pid containers SELinux labels aren't the same"))
        }
        (ipc, pid) => Ok(ipc.or(pid).unwrap_or_default()),
    }
}

fn same_as(label: &str) -> Result<Vec<LabelOption>> {
    if label.is_empty() { Ok(Vec::new()) } else { Ok(label.parse::<Context>()?.as_options()) }
}

impl Collaborators {
    /// Labels what is the container's own of its mounts: where that was asked for, and the engine's files. Blocks.
    pub(super) fn relabel(&self, record: &ContainerRecord, files: &[(PathBuf, &'static str)]) -> Result<()> {
        if record.mount_label.is_empty() {
            return Ok(());
        }
        let own = match record.spec.network {
            NetworkMode::Container(_) => Relabel::Shared,
            _ => Relabel::Private,
        };
        for (path, _) in files {
            relabel(path, &record.mount_label, own)?;
        }
        let asked = record.mounts.iter().filter(|m| !m.relabel.is_no());
        for mount in asked.filter(|m| matches!(m.kind.as_str(), "bind" | "volume")) {
            relabel(&mount.source, &record.mount_label, mount.relabel)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spec: &ContainerSpec) -> Result<Vec<LabelOption>> {
        options(spec, |name| Ok(if name == "plain" { String::new() } else { format!("u:r:{name}:s0:c1,c2") }))
    }

    #[test]
    fn who_has_the_hosts_namespaces_is_not_confined() {
        let host = ContainerSpec { pid: NamespaceMode::Host, ..ContainerSpec::default() };
        let privileged = ContainerSpec { privileged: true, ..ContainerSpec::default() };
        for spec in [&host, &privileged] {
            assert_eq!(of(spec).unwrap(), [LabelOption::Disable]);
        }
        let asked = vec![LabelOption::Type("t".into())];
        assert_eq!(of(&ContainerSpec { label_options: asked.clone(), ..privileged }).unwrap(), asked);
    }

    #[test]
    fn who_shares_namespaces_of_others_is_as_they_are() {
        let other = |name: &str| NamespaceMode::Container(name.to_owned());
        let spec = |ipc, pid| ContainerSpec { ipc, pid, ..ContainerSpec::default() };
        assert_eq!(of(&spec(other("a"), other("a"))).unwrap().len(), 4);
        assert_eq!(of(&spec(NamespaceMode::Private, other("a"))).unwrap().len(), 4);
        assert!(of(&spec(NamespaceMode::Private, other("plain"))).unwrap().is_empty());
        let error = of(&spec(other("a"), other("b"))).unwrap_err();
        assert!(error.to_string().contains("labels aren't the same"));
    }
}
