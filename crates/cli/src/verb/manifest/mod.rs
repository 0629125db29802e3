//! Verbs about manifests and lists of them. Lists that are being made are kept beside the docker client's own, in its form.

pub(super) mod annotate;
pub(super) mod create;
pub(super) mod inspect;
pub(super) mod push;
pub(super) mod rm;
mod store;

use super::image::distribution;
use crate::config::registry_auth;
use crate::context::Context;
use crate::failure::Failure;
use crate::image_ref::{domain, tagged};
use serde_json::{Map, Value};
use store::Entry;
use wharf_docker_api::client::Call;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A document of a registry.
struct Fetched {
    media_type: String,
    digest: String,
    raw: Vec<u8>,
}

impl Fetched {
    fn is_list(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.raw).map_err(|e| Failure::new(format!("read the manifest: {e}")))
    }
}

/// The whole name: with registry and tag.
fn full(name: &str) -> String {
    let name = tagged(name);
    if domain(&name) != "docker.io" {
        return name;
    }
    let path = crate::image_ref::familiar(&name).to_owned();
    if path.contains('/') { format!("docker.io/{path}") } else { format!("docker.io/library/{path}") }
}

/// The same repository with a digest.
fn with_digest(name: &str, digest: &str) -> String {
    format!("{}@{digest}", repository(name))
}

/// The name without its tag or digest.
fn repository(name: &str) -> String {
    let whole = full(name);
    let name = whole.split_once('@').map_or(&whole[..], |(name, _)| name);
    crate::image_ref::split(name).0.to_owned()
}

async fn fetch(context: &Context, name: &str) -> Result<Fetched, Failure> {
    let auth = registry_auth(&context.config()?, name)?;
    let call = Call::get(distribution(name, "/manifest")).header("x-registry-auth", &auth)?;
    let (headers, raw) = context.client.whole(call).await.map_err(|e| absent(e, name))?;
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Fetched { media_type: text("content-type"), digest: text("docker-content-digest"), raw: raw.to_vec() })
}

/// Docker's words for what is not there.
fn absent(error: wharf_docker_api::client::Error, name: &str) -> Failure {
    let failure = Failure::from(error);
    if failure.message.contains("manifest unknown") || failure.message.contains("name unknown") {
        return Failure::new(format!("no such manifest: {}", full(name)));
    }
    failure
}

/// A manifest of a registry as an entry of a list, with the platform its configuration names.
async fn entry(context: &Context, name: &str) -> Result<Entry, Failure> {
    let fetched = fetch(context, name).await?;
    if fetched.is_list() {
        return Err(Failure::new(format!("{} is a manifest list", full(name))));
    }
    let auth = registry_auth(&context.config()?, name)?;
    let call = Call::get(distribution(name, "/json")).header("x-registry-auth", &auth)?;
    let inspect: Value = context.client.json(call).await?;
    let platform = inspect["Platforms"].get(0).cloned().unwrap_or(Value::Null);
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".into(), fetched.media_type.as_str().into());
    descriptor.insert("digest".into(), fetched.digest.as_str().into());
    descriptor.insert("size".into(), fetched.raw.len().into());
    if platform.is_object() {
        descriptor.insert("platform".into(), platform);
    }
    Ok(Entry { reference: full(name), descriptor, raw: fetched.raw })
}

/// A list as it is pushed: Docker's when all its manifests are, else OCI's.
fn list(entries: &[Entry]) -> (&'static str, Value) {
    let docker = entries.iter().all(|entry| entry.descriptor["mediaType"] == DOCKER_MANIFEST);
    let media_type = if docker { DOCKER_LIST } else { OCI_INDEX };
    let manifests: Vec<Value> = entries.iter().map(|entry| entry.descriptor.clone().into()).collect();
    (media_type, serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole() {
        assert_eq!(full("app"), "docker.io/library/app:latest");
        assert_eq!(full("me/app:1"), "docker.io/me/app:1");
        assert_eq!(full("127.0.0.1:5000/app"), "127.0.0.1:5000/app:latest");
        assert_eq!(with_digest("127.0.0.1:5000/app:1", "sha256:a"), "127.0.0.1:5000/app@sha256:a");
        assert_eq!(with_digest("app@sha256:b", "sha256:a"), "docker.io/library/app@sha256:a");
    }

    #[test]
    fn lists_are_dockers_only_of_dockers_manifests() {
        let entry = |kind: &str| Entry {
            reference: "x".into(),
            descriptor: Map::from_iter([("mediaType".to_owned(), kind.into())]),
            raw: Vec::new(),
        };
        assert_eq!(list(&[entry(DOCKER_MANIFEST)]).0, DOCKER_LIST);
        assert_eq!(list(&[entry(DOCKER_MANIFEST), entry(OCI_MANIFEST)]).0, OCI_INDEX);
    }
}
