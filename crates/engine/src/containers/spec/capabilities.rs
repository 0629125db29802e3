//! Which capabilities a container has.

/// Docker's default set.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All there are (capabilities(7)).
pub const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// `NET_ADMIN`, `net_admin`, `CAP_NET_ADMIN` as the kernel's name; `None` when there is no such capability.
/// `ALL` stays.
pub fn normalise(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" || upper == "CAP_ALL" {
        return Some("ALL".to_owned());
    }
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    ALL.contains(&full.as_str()).then_some(full)
}

/// The default set with additions and removals, both normalised.
pub fn resolve(add: &[String], drop: &[String], privileged: bool) -> Vec<String> {
    let has = |list: &[String], name: &str| list.iter().any(|n| n == name);
    let base = |name: &str| {
        if privileged {
            // As Docker: what is dropped of a privileged container stays.
            true
        } else if has(add, "ALL") {
            !has(drop, name)
        } else if has(drop, "ALL") {
            has(add, name)
        } else {
            DEFAULT.contains(&name) && !has(drop, name) || has(add, name)
        }
    };
    ALL.iter().filter(|name| base(name)).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| normalise(n).unwrap()).collect()
    }

    #[test]
    fn sets() {
        assert_eq!(resolve(&[], &[], false).len(), DEFAULT.len());
        assert_eq!(resolve(&[], &[], true).len(), ALL.len());
        assert_eq!(resolve(&list(&["net_admin"]), &list(&["ALL"]), false), ["CAP_NET_ADMIN"]);
        assert_eq!(resolve(&list(&["ALL"]), &list(&["SYS_ADMIN"]), false).len(), ALL.len() - 1);
        assert!(!resolve(&[], &list(&["CAP_CHOWN"]), false).contains(&"CAP_CHOWN".to_owned()));
        assert!(
            resolve(&list(&["net_admin"]), &list(&["net_admin"]), false)
                .contains(&"CAP_NET_ADMIN".to_owned())
        );
        assert_eq!(resolve(&[], &list(&["CHOWN"]), true).len(), ALL.len());
        assert_eq!(normalise("warp"), None);
    }
}
