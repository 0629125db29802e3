//! `--userns-remap`: which ids of the host containers get, from `/etc/subuid` and `/etc/subgid` (subuid(5)).

use anyhow::{Context, ensure};
use std::path::Path;
use wharf_model::idmap::IdMap;
use wharf_oci::runtime_spec::IdMapping;

/// Whose ranges `default` takes; Docker's name, so that hosts that were set up for it serve here.
const DEFAULT: &str = "dockremap";

/// `default`, `USER[:GROUP]` or `UID[:GID]`.
pub(super) fn resolve(text: &str, etc: &Path) -> anyhow::Result<IdMap> {
    let (user, group) = match text {
        "default" => (DEFAULT, None),
        _ => text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group))),
    };
    ensure!(
        !user.is_empty() && group != Some(""),
        "--userns-remap {text}: USER[:GROUP] or UID[:GID] is expected"
    );
    let read = |name: &str| -> anyhow::Result<String> {
        let path = etc.join(name);
        std::fs::read_to_string(&path)
            .with_context(|| format!("--userns-remap {text}: read {}", path.display()))
    };
    let user = names(user, &std::fs::read_to_string(etc.join("passwd")).unwrap_or_default());
    ensure!(
        !user.iter().any(|name| name == "root" || name == "0"),
        "--userns-remap {text}: root cannot be mapped to itself"
    );
    let mut groups = user.clone();
    if let Some(group) = group {
        // As Docker: ranges of groups stand under the user's name, or else under the group's.
        groups.extend(names(group, &std::fs::read_to_string(etc.join("group")).unwrap_or_default()));
    }
    let found = |file: &str, owners: &[String]| -> anyhow::Result<Vec<IdMapping>> {
        let ranges = ranges(&read(file)?, owners);
        ensure!(
            !ranges.is_empty(),
            "--userns-remap {text}: {} has no range for {}: add a line such as {}:100000:65536",
            etc.join(file).display(),
            owners[0],
            owners[0]
        );
        Ok(ranges)
    };
    Ok(IdMap { uids: found("subuid", &user)?, gids: found("subgid", &groups)? })
}

/// The ways a user or group is written: name and number, by the lines of `/etc/passwd` or `/etc/group`.
fn names(text: &str, file: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    for line in file.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, number, ..] = fields[..]
            && (name == text || number == text)
        {
            all.extend([name.to_owned(), number.to_owned()]);
        }
    }
    all
}

/// The ranges of an owner one after another, from 0 on inside.
fn ranges(file: &str, owners: &[String]) -> Vec<IdMapping> {
    let mut next = 0u32;
    let mut found = Vec::new();
    for line in file.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [owner, first, size] = fields[..] else { continue };
        let (Ok(host_id), Ok(size)) = (first.parse::<u32>(), size.parse::<u32>()) else { continue };
        let Some(after) = next.checked_add(size).filter(|_| size > 0 && host_id > 0) else { continue };
        if owners.iter().any(|o| o == owner) {
            found.push(IdMapping { container_id: next, host_id, size });
            next = after;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etc() -> tempfile::TempDir {
        let etc = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(etc.path().join(name), text).unwrap();
        write("passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/:/bin/sh\n");
        write("group", "us:x:1001:\n");
        write("subuid", "dockremap:100000:65536\nme:200000:10\n# me\nme:300000:5\n7:1:2\n");
        write("subgid", "dockremap:110000:65536\n1000:400000:10\nus:500000:3\n7:1:2\n");
        etc
    }

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let etc = etc();
        let of = |text: &str| {
            resolve(text, etc.path()).map(|map| {
                let one = |m: &IdMapping| (m.container_id, m.host_id, m.size);
                (map.uids.iter().map(one).collect::<Vec<_>>(), map.gids.iter().map(one).collect::<Vec<_>>())
            })
        };
        assert_eq!(of("default").unwrap(), (vec![(0, 100_000, 65536)], vec![(0, 110_000, 65536)]));
        let mine = (vec![(0, 200_000, 10), (10, 300_000, 5)], vec![(0, 400_000, 10)]);
        assert_eq!((of("me").unwrap(), of("1000").unwrap()), (mine.clone(), mine));
        assert_eq!(of("me:us").unwrap().1, [(0, 400_000, 10), (10, 500_000, 3)]);
        assert_eq!(of("7").unwrap().0, [(0, 1, 2)]);
        for bad in ["root", "0", "nobody", "", "me:", ":x"] {
            let message = of(bad).unwrap_err().to_string();
            assert!(message.contains("--userns-remap"), "{message}");
        }
        assert!(of("nobody").unwrap_err().to_string().contains("nobody:100000:65536"));
    }
}
