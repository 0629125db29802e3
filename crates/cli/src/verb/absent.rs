//! Docker's commands that are not there, and what is instead.

const SWARM: &str = "this engine is in no swarm and joins none: compose runs several services on one host";

const BUILDKIT: &str = "Docker's own plugin works with this engine; here build makes images, image copy and manifest lists of them";

const ABSENT: [(&str, &str); 11] = [
    ("bake", BUILDKIT),
    ("buildx", BUILDKIT),
    ("checkpoint", "containers cannot be checkpointed"),
    ("config", SWARM),
    ("node", SWARM),
    ("plugin", "plugins are not supported: the drivers of logs, volumes and networks are built in"),
    ("secret", SWARM),
    ("service", SWARM),
    ("stack", SWARM),
    ("swarm", SWARM),
    ("trust", "content trust is not supported: sign and verify use cosign's signatures"),
];

/// Why a group of Docker's is not there, or only a part of it.
pub(crate) fn why(group: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(name, _)| *name == group).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::find;

    #[test]
    fn what_is_there_is_not_called_absent() {
        for (name, _) in ABSENT {
            assert!(find(&[name]).is_none(), "{name}");
            assert!(why(name).is_some());
        }
        assert!(why("ps").is_none());
    }
}
