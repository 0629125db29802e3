//! Names of users and groups of an image, for `--chown`.

use super::state::State;
use super::{Build, blocking};
use std::path::Path;
use std::sync::Arc;
use wharf_model::snapshots::Tree;
use wharf_model::{Error, Result};

/// Bytes a user database may have.
const MAX_DATABASE: u64 = 4 << 20;

impl Build<'_> {
    /// Numbers for `user[:group]`, names or numbers. A user without a group is followed by its own number, or
    /// by the group the image's database gives it.
    pub(super) async fn owner(&self, state: &State, text: &str) -> Result<(u32, u32)> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
            None => (text, None),
        };
        if let (Ok(uid), Ok(gid)) = (user.parse::<u32>(), group.unwrap_or(user).parse::<u32>()) {
            return Ok((uid, gid));
        }
        let (snapshots, chain) = (Arc::clone(&self.builder.snapshots), state.chain());
        let read = blocking(move || {
            let Some(chain) = chain else { return Ok((String::new(), String::new())) };
            let file = |path: &str| -> Result<String> {
                let bytes = snapshots.read_file(Tree::Layer(&chain), Path::new(path), MAX_DATABASE)?;
                Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
            };
            Ok((file("/etc/passwd")?, file("/etc/group")?))
        });
        let (passwd, groups) = read.await?;
        let unknown = |kind: &str, name: &str| {
            Error::invalid(format!(
                "unable to convert {kind} {name:?} of --chown={text} to a number: the image does not have it"
            ))
        };
        let find = |database: &str, name: &str| -> Option<Vec<String>> {
            let line = database.lines().find(|line| line.split(':').next() == Some(name))?;
            Some(line.split(':').map(str::to_owned).collect())
        };
        let number = |fields: &[String], at: usize| fields.get(at).and_then(|f| f.parse::<u32>().ok());
        let (uid, own_group) = match user.parse::<u32>() {
            Ok(uid) => (uid, uid),
            Err(_) => {
                let fields = find(&passwd, user).ok_or_else(|| unknown("user", user))?;
                let uid = number(&fields, 2).ok_or_else(|| unknown("user", user))?;
                (uid, number(&fields, 3).unwrap_or(uid))
            }
        };
        let gid = match group.map(|group| (group, group.parse::<u32>())) {
            None => own_group,
            Some((_, Ok(gid))) => gid,
            Some((group, Err(_))) => {
                let fields = find(&groups, group).ok_or_else(|| unknown("group", group))?;
                number(&fields, 2).ok_or_else(|| unknown("group", group))?
            }
        };
        Ok((uid, gid))
    }
}
