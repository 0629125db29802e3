//! A container's hooks, as its monitor runs them.

use crate::error::{Doing, Error, Result};
use crate::hooks::{self, Hooked};
use crate::init::{self, Message};
use crate::protocol::Launch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use wharf_oci::runtime_spec::{Hooks, Root, Spec, State};
use wharf_sys::process::{self, Cloned, SingleThreaded};
use wharf_sys::socket;

/// How long `poststart` hooks may go on when their container has ended; who starts it again waits as long.
const POSTSTART_LEFT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The hooks of one container.
pub(super) struct Kept {
    hooks: Hooks,
    state: State,
    poststart: Option<Poststart>,
}

/// The process that runs the `poststart` hooks one after the other: the monitor has streams to serve meanwhile.
struct Poststart {
    pid: i32,
    word: OwnedFd,
}

impl Kept {
    /// Takes the hooks from a launch. They find the configuration where a bundle has it, and nobody else does.
    pub(super) fn of(launch: &Launch, directory: &Path, mount_point: &Path) -> Result<Option<Self>> {
        let Some(hooks) = &launch.spec.hooks else { return Ok(None) };
        let readonly = launch.spec.root.as_ref().is_some_and(|r| r.readonly);
        let mut spec = launch.spec.clone();
        spec.root = Some(Root { path: mount_point.display().to_string(), readonly });
        write_config(directory, &spec).doing("write the configuration for hooks")?;
        let state = hooks::state(&spec, &launch.id, directory);
        Ok(Some(Self { hooks: hooks.clone(), state, poststart: None }))
    }

    /// What the container's first process and its parent need of them.
    pub(super) fn hooked<'a>(&'a self, proof: &'a SingleThreaded) -> Hooked<'a> {
        Hooked { proof, hooks: &self.hooks, state: self.state.clone() }
    }

    /// Begins with the `poststart` hooks. Returns whether there are any.
    pub(super) fn begin_poststart(&mut self, proof: &SingleThreaded, pid: i32) -> Result<bool> {
        if self.hooks.poststart.is_empty() {
            return Ok(false);
        }
        let what = "run the poststart hooks";
        let (word, told) = socket::message_pair().doing(what)?;
        match process::clone(proof, 0, None).doing(what)? {
            Cloned::Child => {
                // Who waits for the end of a connection of the monitor's must not wait for a hook.
                let closed = process::close_others(&[told.as_fd()], 0).doing(what);
                let state = hooks::at(&self.state, "running", Some(pid));
                let ran = closed.and_then(|()| {
                    hooks::run(proof, "poststart", &self.hooks.poststart, &state, Some(told.as_fd()))
                });
                let message = ran.map_or_else(|e| Message::Failed(e.cut()), |()| Message::Ready);
                let said = init::tell(told.as_fd(), &message, &[]);
                process::exit_now(i32::from(said.is_err()))
            }
            Cloned::Parent { pid, .. } => {
                self.poststart = Some(Poststart { pid, word });
                Ok(true)
            }
        }
    }

    /// What came of the `poststart` hooks, when this ended child ran them.
    pub(super) fn poststart_ended(&mut self, pid: i32) -> Option<Result<()>> {
        let Poststart { word, .. } = self.poststart.take_if(|p| p.pid == pid)?;
        Some(match init::hear(word.as_fd()) {
            Ok(Some((Message::Ready, _))) => Ok(()),
            Ok(Some((Message::Failed(error), _))) | Err(error) => Err(error),
            Ok(_) => Err(Error::setup("run the poststart hooks: their process ended without a word")),
        })
    }

    /// Whether `poststart` hooks still run.
    pub(super) fn runs_poststart(&self) -> bool {
        self.poststart.is_some()
    }

    /// Runs the `poststop` hooks. Returns what went wrong, which keeps nothing.
    pub(super) fn stop(&mut self, proof: &SingleThreaded) -> Vec<Error> {
        if let Some(Poststart { word, .. }) = self.poststart.take() {
            // They end with the connection, if not by themselves.
            let mut fds = [PollFd::new(&word, PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, Some(&POSTSTART_LEFT));
        }
        hooks::run_all(proof, &self.hooks.poststop, &hooks::at(&self.state, "stopped", None))
    }
}

/// The environment is nobody else's, but the container's root may have it: hooks in a user namespace run as that.
fn write_config(directory: &Path, spec: &Spec) -> std::io::Result<()> {
    let file = directory.join("config.json");
    match std::fs::remove_file(&file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let bytes = serde_json::to_vec(spec)?;
    let mut config = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
    config.write_all(&bytes)?;
    let mappings = spec.linux.as_ref().map(|l| l.gid_mappings.as_slice()).unwrap_or_default();
    if let Some(root) = mappings.iter().find(|m| m.container_id == 0 && m.size > 0) {
        std::os::unix::fs::fchown(&config, None, Some(root.host_id))?;
        config.set_permissions(std::fs::Permissions::from_mode(0o640))?;
    }
    Ok(())
}
