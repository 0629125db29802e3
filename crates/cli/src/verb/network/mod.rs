//! Verbs about networks.

pub(super) mod connect;
pub(super) mod create;
pub(super) mod disconnect;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rm;

/// The path of a call about a network.
fn path(network: &str, call: &str) -> String {
    format!("/networks/{}{call}", wharf_docker_api::client::segment(network))
}
