//! Verbs about containers.

mod api_socket;
pub(super) mod attach;
pub(super) mod commit;
pub(super) mod cp;
pub(super) mod create;
pub(super) mod diff;
pub(super) mod exec;
pub(super) mod export;
mod flags;
mod healthy;
pub(super) mod inspect;
pub(super) mod kill;
pub(super) mod logs;
pub(super) mod pause;
pub(super) mod port;
pub(in crate::verb) mod ports_column;
pub(super) mod prune;
pub(in crate::verb) mod ps;
pub(super) mod rename;
mod request;
pub(super) mod restart;
pub(super) mod rm;
pub(super) mod run;
pub(super) mod start;
pub(super) mod stats;
pub(super) mod stop;
pub(super) mod top;
pub(super) mod unpause;
pub(super) mod update;
pub(super) mod wait;

use wharf_docker_api::client::segment;

/// The path of a call about a container.
fn path(container: &str, call: &str) -> String {
    format!("/containers/{}{call}", segment(container))
}
