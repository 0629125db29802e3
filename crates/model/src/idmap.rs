//! How the ids of a container in a user namespace stand to the host's.

use serde::{Deserialize, Serialize};
use wharf_oci::runtime_spec::IdMapping;

/// The ranges of users and of groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

/// Who owns what the container has no number for, as the kernel shows it (`/proc/sys/kernel/overflowuid`).
const NOBODY: u32 = 65534;

impl IdMap {
    /// Reads what `/proc/PID/uid_map` and `gid_map` say; `None` when ids are the host's own.
    pub fn parse(uids: &str, gids: &str) -> Option<Self> {
        let own = [IdMapping { container_id: 0, host_id: 0, size: u32::MAX }];
        let map = Self { uids: ranges(uids), gids: ranges(gids) };
        (map.uids != own || map.gids != own).then_some(map)
    }

    /// The container's numbers for a user and a group of the host.
    pub fn inside(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let find = |ranges: &[IdMapping], id: u32| {
            let one = |m: &IdMapping| within(id, m.host_id, m.size)?.checked_add(m.container_id);
            ranges.iter().find_map(one).unwrap_or(NOBODY)
        };
        (find(&self.uids, uid), find(&self.gids, gid))
    }

    /// The host's numbers for a user and a group of the container; `None` when it has not both.
    pub fn outside(&self, (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
        let find = |ranges: &[IdMapping], id: u32| {
            ranges.iter().find_map(|m| within(id, m.container_id, m.size)?.checked_add(m.host_id))
        };
        Some((find(&self.uids, uid)?, find(&self.gids, gid)?))
    }
}

fn within(id: u32, first: u32, size: u32) -> Option<u32> {
    id.checked_sub(first).filter(|offset| *offset < size)
}

fn ranges(text: &str) -> Vec<IdMapping> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let text = "         0     100000      65536\n";
        let map = IdMap::parse(text, "0 200000 10\n").unwrap();
        assert_eq!(map.inside((100_033, 200_009)), (33, 9));
        assert_eq!(map.inside((0, 200_010)), (NOBODY, NOBODY));
        assert_eq!((map.outside((33, 9)), map.outside((33, 10))), (Some((100_033, 200_009)), None));
        assert_eq!(IdMap::parse("0 0 4294967295", "0 0 4294967295\n"), None);
    }
}
