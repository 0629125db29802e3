//! Which kernel parameters a container may set: those its own namespaces have, none of the host's.

use crate::error::{Doing, Error, Result};
use std::os::unix::fs::MetadataExt;
use wharf_oci::runtime_spec::{Linux, NamespaceKind};

/// Parameters of the IPC namespace; see ipc_namespaces(7).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// A parameter that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// As it was asked for.
    pub name: String,
    /// Below `/proc`.
    pub file: String,
    /// What to write.
    pub value: String,
}

/// The configuration's parameters, each checked to belong to a namespace that is not the caller's own.
///
/// # Errors
/// A name that is not one, and one that the host would share.
pub fn own(linux: &Linux) -> Result<Vec<Sysctl>> {
    linux.sysctl.iter().map(|(name, value)| check(linux, name, value)).collect()
}

fn check(linux: &Linux, name: &str, value: &str) -> Result<Sysctl> {
    let parts = parts(name);
    if parts.iter().any(|part| part.is_empty() || part == "..") {
        return Err(Error::setup(format!("sysctl {name:?} is not a name")));
    }
    let dotted = parts.join(".");
    let Some(kind) = namespace_of(&dotted) else {
        return Err(Error::setup(format!(
            "sysctl {name:?} is not in a separate kernel namespace: it would change the host; set it there"
        )));
    };
    if !is_separate(linux, kind)? {
        return Err(Error::setup(format!(
            "sysctl {name:?} is not allowed: the container shares the host's {kind:?} namespace"
        )));
    }
    Ok(Sysctl { name: name.into(), file: format!("sys/{}", parts.join("/")), value: value.into() })
}

/// The components of a name. The first separator decides, as in sysctl(8): `net/ipv4/conf/eth0.1/forwarding`
/// equals `net.ipv4.conf.eth0/1.forwarding`.
fn parts(name: &str) -> Vec<String> {
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') => name.split('/').map(str::to_owned).collect(),
        _ => name.split('.').map(|part| part.replace('/', ".")).collect(),
    }
}

fn namespace_of(dotted: &str) -> Option<NamespaceKind> {
    if IPC.contains(&dotted) || dotted.starts_with("fs.mqueue.") {
        Some(NamespaceKind::Ipc)
    } else if dotted.starts_with("net.") {
        Some(NamespaceKind::Network)
    } else if dotted == "kernel.domainname" {
        Some(NamespaceKind::Uts)
    } else {
        None
    }
}

fn is_separate(linux: &Linux, kind: NamespaceKind) -> Result<bool> {
    let Some(namespace) = linux.namespaces.iter().find(|n| n.kind == kind) else { return Ok(false) };
    if namespace.path.is_empty() {
        return Ok(true);
    }
    let file = match kind {
        NamespaceKind::Ipc => "/proc/self/ns/ipc",
        NamespaceKind::Network => "/proc/self/ns/net",
        _ => "/proc/self/ns/uts",
    };
    let identity = |path: &str| {
        std::fs::metadata(path)
            .map(|m| (m.dev(), m.ino()))
            .doing(format_args!("look at the namespace {path}"))
    };
    Ok(identity(&namespace.path)? != identity(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_oci::runtime_spec::Namespace;

    fn linux(kinds: &[(NamespaceKind, &str)]) -> Linux {
        let namespaces =
            kinds.iter().map(|(kind, path)| Namespace { kind: *kind, path: (*path).into() }).collect();
        Linux { namespaces, ..Linux::default() }
    }

    #[test]
    fn parameters_of_own_namespaces_pass() {
        let own = linux(&[(NamespaceKind::Network, ""), (NamespaceKind::Ipc, ""), (NamespaceKind::Uts, "")]);
        let file = |name| check(&own, name, "1").map(|s| s.file).unwrap();
        assert_eq!(file("net.ipv4.ip_forward"), "sys/net/ipv4/ip_forward");
        assert_eq!(file("net/ipv4/ip_forward"), "sys/net/ipv4/ip_forward");
        assert_eq!(file("net.ipv4.conf.eth0/1.forwarding"), "sys/net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(file("fs.mqueue.msg_max"), "sys/fs/mqueue/msg_max");
        assert_eq!(file("kernel.domainname"), "sys/kernel/domainname");
    }

    #[test]
    fn parameters_of_the_host_are_refused() {
        let own = linux(&[(NamespaceKind::Network, ""), (NamespaceKind::Ipc, ""), (NamespaceKind::Uts, "")]);
        for name in [
            "vm.swappiness",
            "kernel.core_pattern",
            "kernel/core_pattern",
            "fs.file-max",
            "kernel.shmmaxx",
            "net",
        ] {
            assert!(
                check(&own, name, "1").unwrap_err().message.contains("separate kernel namespace"),
                "{name}"
            );
        }
        for name in ["net..ipv4", "net/../kernel/core_pattern", "", "net.ipv4.", "net.//.kernel"] {
            assert!(check(&own, name, "1").is_err(), "{name}");
        }
    }

    #[test]
    fn a_shared_namespace_keeps_its_parameters() {
        let none = linux(&[]);
        let hosts = linux(&[(NamespaceKind::Network, "/proc/self/ns/net")]);
        for linux in [none, hosts] {
            let error = check(&linux, "net.ipv4.ip_forward", "1").unwrap_err();
            assert!(error.message.contains("shares the host's"), "{}", error.message);
        }
    }
}
