//! Verbs about images.

pub(super) mod build;
pub(super) mod builder_prune;
pub(crate) mod buildkit;
pub(super) mod check;
pub(super) mod copy;
pub(super) mod history;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod load;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod rm;
pub(super) mod save;
pub(super) mod search;
pub(super) mod tag;
mod tree;

/// The path of a call about an image. Names keep their slashes, as the engine's routes expect.
fn path(image: &str, call: &str) -> String {
    format!("/images/{}{call}", encoded(image))
}

/// The path of a call about what a registry has.
pub(in crate::verb) fn distribution(image: &str, call: &str) -> String {
    format!("/distribution/{}{call}", encoded(image))
}

fn encoded(image: &str) -> String {
    let encoded: Vec<String> = image.split('/').map(wharf_docker_api::client::segment).collect();
    encoded.join("/")
}
