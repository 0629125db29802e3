//! Fetching an application that was published: through the engine, into a directory by its digest.

use super::images::encoded_image;
use super::publish::{unserved, with_tag};
use crate::artifact::{self, File};
use crate::error::Error;
use std::path::{Path, PathBuf};
use wharf_docker_api::client::{Call, Client, Query};

/// Fetches an application into a cache; where its Compose file is. `auth` is the header with credentials for its registry.
pub async fn application(client: &Client, name: &str, auth: &str, cache: &Path) -> Result<PathBuf, Error> {
    let name = with_tag(name);
    let what = format!("failed to pull OCI resource {name:?}");
    let failed = |source| match unserved("an application from a registry", source) {
        Error::Engine { source, .. } => Error::engine(what.clone(), source),
        other => other,
    };
    let call = Call::get(format!("/distribution/{}/manifest", encoded_image(&name)))
        .header("x-registry-auth", auth)?;
    let (_, manifest) = client.whole(call).await.map_err(&failed)?;
    let digest = artifact::digest(&manifest);
    let dir = cache.join(digest.trim_start_matches("sha256:"));
    let file = dir.join("compose.yaml");
    if file.is_file() {
        return Ok(file);
    }
    let mut files = Vec::new();
    for layer in artifact::layers(&name, &manifest)? {
        let query = Query::new().with("digest", &layer.digest).with("size", layer.size);
        let call = Call::get(format!("/distribution/{}/blob", encoded_image(&name)))
            .query(query)
            .header("x-registry-auth", auth)?;
        let (_, content) = client.whole(call).await.map_err(&failed)?;
        if artifact::digest(&content) != layer.digest {
            return Err(Error::project(format!("{name}: {:?} is not what its manifest says", layer.name)));
        }
        files.push(File { kind: layer.kind, name: layer.name, content: content.to_vec() });
    }
    place(&dir, &files)?;
    Ok(file)
}

/// A repository of Git in the cache, by its commit; where the path in it is. `unpack` puts an archive into a directory.
pub async fn repository(
    client: &Client,
    (address, inside): (&str, &str),
    cache: &Path,
    unpack: &(dyn Fn(&[u8], &Path) -> std::io::Result<()> + Sync),
) -> Result<PathBuf, Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        commit: String,
    }
    let failed = |source| match unserved("a Git repository", source) {
        Error::Engine { source, .. } => Error::engine(format!("fetch {}", shown(address)), source),
        other => other,
    };
    if inside.split('/').any(|part| part == "..") {
        return Err(Error::project(format!("{inside:?} leads out of the repository")));
    }
    let query = || Query::new().with("remote", address);
    let found: Found = client.json(Call::get("/git/commit").query(query())).await.map_err(&failed)?;
    if found.commit.len() != 40 || !found.commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::project(format!("{}: the engine named no commit", shown(address))));
    }
    let dir = cache.join(&found.commit);
    if !dir.is_dir() {
        let (_, tar) = client.whole(Call::get("/git/files").query(query())).await.map_err(&failed)?;
        place_by(&dir, |beside| {
            unpack(&tar, beside).map_err(|source| Error::Read { path: dir.clone(), source })
        })?;
    }
    let wanted = dir.join(inside);
    // A link in the repository leads nowhere else.
    let real = wanted.canonicalize().map_err(|source| Error::Read { path: wanted.clone(), source })?;
    let top = dir.canonicalize().map_err(|source| Error::Read { path: dir.clone(), source })?;
    if real.starts_with(&top) {
        Ok(wanted)
    } else {
        Err(Error::project(format!("{inside:?} leads out of the repository")))
    }
}

/// An address without a password.
fn shown(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('@') {
            Some((user, rest)) if !user.contains('/') => format!("{scheme}://{rest}"),
            _ => address.to_owned(),
        },
        None => address.to_owned(),
    }
}

/// Writes files beside where they belong and then puts them there, whole or not at all.
fn place(dir: &Path, files: &[File]) -> Result<(), Error> {
    place_by(dir, |beside| artifact::write(beside, files))
}

fn place_by(dir: &Path, write: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    let beside = dir.with_extension(format!("new-{}", std::process::id()));
    let written = std::fs::create_dir_all(&beside).map_err(failed).and_then(|()| write(&beside));
    let placed = written.and_then(|()| std::fs::rename(&beside, dir).map_err(failed));
    if placed.is_err() {
        // What could not be removed is written over by nobody: its name has a process's id.
        let _ = std::fs::remove_dir_all(&beside);
    }
    // Another one may have been faster: it has the same.
    if placed.is_err() && dir.is_dir() { Ok(()) } else { placed }
}
