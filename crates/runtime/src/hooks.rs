//! Runs hooks (runtime-spec, config.md, "POSIX-platform Hooks").
//!
//! | hook | namespaces | when |
//! |---|---|---|
//! | `prestart`, `createRuntime` | the runtime's | the root is built, and not entered yet |
//! | `createContainer` | the container's; the host's tree is in sight | after these |
//! | `startContainer` | the container's, as its user | right before the program is executed |
//! | `poststart` | the runtime's | the program runs |
//! | `poststop` | the runtime's | the container is gone |

mod program;

use crate::error::{Doing, Error, Result};
use rustix::fd::BorrowedFd;
use std::path::Path;
use wharf_oci::runtime_spec::{Hook, Hooks, Spec, State};
use wharf_sys::process::SingleThreaded;

/// The hooks of a container with what they are told of it.
pub struct Hooked<'a> {
    /// Hooks are processes of their own.
    pub proof: &'a SingleThreaded,
    /// The hooks.
    pub hooks: &'a Hooks,
    /// The container's state, without status and process id.
    pub state: State,
}

/// Whether any hook runs while the root is built, by the parent of the container's first process.
pub(crate) fn waits_for_parent(hooks: &Hooks) -> bool {
    !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty()
}

/// A container's state as hooks hear it, but for status and process id.
pub(crate) fn state(spec: &Spec, id: &str, bundle: &Path) -> State {
    State {
        oci_version: crate::oci::SPEC_VERSION.to_owned(),
        id: id.to_owned(),
        status: String::new(),
        pid: None,
        bundle: bundle.display().to_string(),
        annotations: spec.annotations.clone(),
    }
}

/// A state at some moment.
pub(crate) fn at(state: &State, status: &str, pid: Option<i32>) -> State {
    State { status: status.to_owned(), pid, ..state.clone() }
}

/// Runs the hooks of one kind in order, each with the state on its standard input. The first failure ends it, and so does
/// the other end of the connection `tie`, who waits for the hooks, by closing it.
///
/// # Errors
/// When a hook cannot be started, fails, or takes longer than it may.
pub(crate) fn run(
    proof: &SingleThreaded,
    kind: &str,
    hooks: &[Hook],
    state: &State,
    tie: Option<BorrowedFd<'_>>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec(state).doing("encode the state")?;
    hooks.iter().enumerate().try_for_each(|(n, hook)| {
        program::run(proof, hook, &state.bundle, &json, tie).map_err(|e| {
            Error::setup(format!("error running {kind} hook #{n}: {}: {}", hook.path, e.message))
        })
    })
}

/// Runs all `poststop` hooks, whatever comes of each. Returns what went wrong, which the end survives.
pub(crate) fn run_all(proof: &SingleThreaded, hooks: &[Hook], state: &State) -> Vec<Error> {
    let each = hooks.iter().map(|hook| run(proof, "poststop", std::slice::from_ref(hook), state, None));
    each.filter_map(Result::err).collect()
}
