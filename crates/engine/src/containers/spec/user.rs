//! Who a container's processes run as: `user[:group]` looked up in the image's own files.

use std::path::Path;
use wharf_model::snapshots::{Snapshots, Tree};
use wharf_model::{Error, Result};
use wharf_oci::runtime_spec::User;

/// A resolved user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// Numbers.
    pub user: User,
}

/// The largest `/etc/passwd` or `/etc/group` that is read; one of a directory server's size is not in images.
const FILE_LIMIT: u64 = 4 << 20;

/// Reads a file of a tree as text, following links within it; `None` when it is not there.
pub fn read_file(snapshots: &dyn Snapshots, tree: Tree<'_>, path: &str) -> Result<Option<String>> {
    let bytes = snapshots.read_file(tree, Path::new(path), FILE_LIMIT)?;
    Ok(bytes.map(|b| String::from_utf8_lossy(&b).into_owned()))
}

/// Resolves `user[:group]` and additional groups. `files` reads `/etc/passwd` and `/etc/group`, only when they
/// are needed.
pub fn resolve(
    text: &str,
    groups: &[String],
    files: &dyn Fn(&str) -> Result<Option<String>>,
) -> Result<Identity> {
    let (name, group) = text.split_once(':').unwrap_or((text, ""));
    let mut user = User::default();
    if !name.is_empty() || !groups.is_empty() {
        let passwd = files("/etc/passwd")?.unwrap_or_default();
        let line = passwd
            .lines()
            .map(|l| l.split(':').collect::<Vec<_>>())
            .find(|f| f.len() >= 4 && (f[0] == name || (f[2] == name && name.parse::<u32>().is_ok())));
        match (line, name.parse::<u32>()) {
            (Some(fields), _) => {
                user.uid = number(fields[2], text)?;
                user.gid = number(fields[3], text)?;
                if group.is_empty() {
                    user.additional_gids = memberships(fields[0], &files("/etc/group")?.unwrap_or_default());
                }
            }
            (None, Ok(uid)) => user.uid = in_range(uid)?,
            (None, Err(_)) if name.is_empty() => {}
            (None, Err(_)) if is_number(name) => return Err(out_of_range()),
            (None, Err(_)) => {
                return Err(Error::invalid(format!(
                    "unable to find user {name}: no matching entries in passwd file"
                )));
            }
        }
    }
    if !group.is_empty() {
        user.gid = group_number(group, files)?;
    }
    for group in groups {
        let gid = group_number(group, files)?;
        if !user.additional_gids.contains(&gid) {
            user.additional_gids.push(gid);
        }
    }
    // The primary group is one of the further ones, too (CVE-2022-36109): a set-group-id program then takes no right away.
    if !user.additional_gids.contains(&user.gid) {
        user.additional_gids.insert(0, user.gid);
    }
    Ok(Identity { user })
}

fn number(text: &str, whole: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::invalid(format!("user {whole:?}: {text:?} in /etc/passwd is no number")))
}

fn group_number(group: &str, files: &dyn Fn(&str) -> Result<Option<String>>) -> Result<u32> {
    if is_number(group) {
        return group.parse().map_err(|_| out_of_range()).and_then(in_range);
    }
    let text = files("/etc/group")?.unwrap_or_default();
    let gid = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() >= 3 && fields[0] == group).then(|| fields[2].parse().ok()).flatten()
    });
    gid.ok_or_else(|| {
        Error::invalid(format!("unable to find group {group}: no matching entries in group file"))
    })
}

/// Docker's bound: 32-bit programs take ids for signed.
const LARGEST: u32 = i32::MAX as u32;

fn in_range(id: u32) -> Result<u32> {
    if id > LARGEST { Err(out_of_range()) } else { Ok(id) }
}

fn out_of_range() -> Error {
    Error::invalid(format!("uids and gids must be in range 0-{LARGEST}"))
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn memberships(user: &str, text: &str) -> Vec<u32> {
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let member = fields.len() >= 4 && fields[3].split(',').any(|m| m == user);
            member.then(|| fields[2].parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &str) -> Result<Option<String>> {
        Ok(match path {
            "/etc/passwd" => Some("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n".to_owned()),
            "/etc/group" => Some("root:x:0:\nstaff:x:50:web,other\nwheel:x:10:root\n".to_owned()),
            _ => None,
        })
    }

    fn of(text: &str) -> (u32, u32, Vec<u32>) {
        let user = resolve(text, &[], &files).unwrap().user;
        (user.uid, user.gid, user.additional_gids)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(of(""), (0, 0, vec![0]));
        assert_eq!(of("web"), (33, 34, vec![34, 50]));
        assert_eq!(of("33"), (33, 34, vec![34, 50]));
        assert_eq!(of("web:staff"), (33, 50, vec![50]));
        assert_eq!(of("1000:1000"), (1000, 1000, vec![1000]));
        assert_eq!(of("4000"), (4000, 0, vec![0]));
    }

    #[test]
    fn unknown_names_are_errors() {
        let message = resolve("nobody2", &[], &files).unwrap_err().full();
        assert_eq!(message, "unable to find user nobody2: no matching entries in passwd file");
        for text in ["-1", "2147483648", "99999999999", "0:-1", "0:99999999999"] {
            let message = resolve(text, &[], &files).unwrap_err().full();
            assert_eq!(message, "uids and gids must be in range 0-2147483647", "{text}");
        }
        assert!(resolve("0:nogroup", &[], &files).is_err());
        assert_eq!(resolve("", &["staff".into()], &files).unwrap().user.additional_gids, [0, 50]);
    }
}
