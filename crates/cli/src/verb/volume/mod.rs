//! Verbs about volumes.

pub(super) mod clone;
pub(super) mod create;
pub(super) mod export;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rename;
pub(super) mod rm;
pub(super) mod update;

use wharf_docker_api::client::segment;

/// The path of something about a volume.
fn path(name: &str, below: &str) -> String {
    format!("/volumes/{}{below}", segment(name))
}
