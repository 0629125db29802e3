//! What a bind that shares mounts with the host needs of the host's side (mount_namespaces(7), shared subtrees).

use std::path::Path;
use wharf_model::container::ContainerRecord;
use wharf_model::{Error, ErrorKind, Result};

/// Refuses binds whose source cannot pass mounts on.
pub fn check(record: &ContainerRecord) -> Result<()> {
    let asks = |option: &str| match option {
        "shared" | "rshared" => Some(false),
        "slave" | "rslave" => Some(true),
        _ => None,
    };
    for mount in record.mounts.iter().filter(|m| m.kind == "bind") {
        if let Some(slave_will_do) = mount.options.iter().find_map(|o| asks(o)) {
            let table = std::fs::read_to_string("/proc/self/mountinfo")
                .map_err(|e| Error::wrap(ErrorKind::Internal, "read /proc/self/mountinfo", e))?;
            let real = std::fs::canonicalize(&mount.source).map_err(|e| {
                Error::wrap(ErrorKind::Invalid, format!("find {}", mount.source.display()), e)
            })?;
            passes_on(&table, &real, slave_will_do).map_err(Error::internal)?;
        }
    }
    Ok(())
}

fn passes_on(table: &str, path: &Path, slave_will_do: bool) -> Result<(), String> {
    let lines = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let point = fields.get(4)?.replace("\\040", " ");
        let optional: Vec<&str> = fields.iter().skip(6).take_while(|f| **f != "-").copied().collect();
        path.starts_with(&point).then(|| (point, optional.join(" ")))
    });
    // The later one lies on the earlier.
    let Some((point, optional)) = lines.max_by_key(|(point, _)| point.len()) else { return Ok(()) };
    if optional.contains("shared:") || slave_will_do && optional.contains("master:") {
        return Ok(());
    }
    let wanted = if slave_will_do { "a shared or slave mount" } else { "a shared mount" };
    Err(format!("path {} is mounted on {point} but it is not {wanted}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let table = "22 1 0:1 / / rw - ext4 d rw\n23 22 0:2 / /a rw shared:1 - tmpfs t rw\n24 22 0:3 / /b rw master:1 - tmpfs t rw\n";
        let of = |path: &str, slave| passes_on(table, Path::new(path), slave);
        assert!(of("/a/x", false).is_ok() && of("/a", true).is_ok() && of("/b", true).is_ok());
        assert_eq!(of("/b", false).unwrap_err(), "path /b is mounted on /b but it is not a shared mount");
        assert_eq!(
            of("/c", true).unwrap_err(),
            "path /c is mounted on / but it is not a shared or slave mount"
        );
    }
}
