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

/// Writes files beside where they belong and then puts them there, whole or not at all.
fn place(dir: &Path, files: &[File]) -> Result<(), Error> {
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    let beside = dir.with_extension(format!("new-{}", std::process::id()));
    let written =
        std::fs::create_dir_all(&beside).map_err(failed).and_then(|()| artifact::write(&beside, files));
    let placed = written.and_then(|()| std::fs::rename(&beside, dir).map_err(failed));
    if placed.is_err() {
        // What could not be removed is written over by nobody: its name has a process's id.
        let _ = std::fs::remove_dir_all(&beside);
    }
    // Another one may have been faster: it has the same.
    if dir.join("compose.yaml").is_file() { Ok(()) } else { placed }
}
