//! The daemon's side of the spawner: started by exec, asked over a socket, started again when it died.

use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixStream;
use wharf_sys::socket;

struct Running {
    socket: OwnedFd,
    process: Child,
}

/// The spawner process.
pub(super) struct Spawner(Mutex<Running>);

impl Spawner {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self(Mutex::new(spawn()?)))
    }

    /// Asks for a monitor of a run directory, which gets the mounts of its images; returns its control connection and
    /// those of the clients attached.
    pub(super) fn launch(
        &self,
        directory: &Path,
        attached: usize,
        images: &[Arc<OwnedFd>],
    ) -> io::Result<(UnixStream, Vec<UnixStream>)> {
        let pairs = (0..=attached).map(|_| socket::stream_pair()).collect::<io::Result<Vec<_>>>()?;
        let (ours, theirs): (Vec<OwnedFd>, Vec<OwnedFd>) = pairs.into_iter().unzip();
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent: Vec<_> =
            theirs.iter().map(AsFd::as_fd).chain(images.iter().map(|mount| mount.as_fd())).collect();
        let asked = wharf_runtime::spawner::request(running.socket.as_fd(), directory, &sent);
        if let Err(e) = asked {
            tracing::error!("the spawner is gone ({e}), starting another");
            // Reaps it; it is dead, its socket is closed.
            let _ = running.process.kill();
            let _ = running.process.wait();
            *running = spawn()?;
            wharf_runtime::spawner::request(running.socket.as_fd(), directory, &sent)?;
        }
        let mut ours = ours.into_iter().map(|fd| {
            let stream = std::os::unix::net::UnixStream::from(fd);
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        });
        let control = ours.next().ok_or(io::ErrorKind::InvalidInput)??;
        Ok((control, ours.collect::<io::Result<_>>()?))
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It ends by itself when its socket closes; this is sooner.
        let _ = running.process.kill();
        let _ = running.process.wait();
    }
}

fn spawn() -> io::Result<Running> {
    let (ours, theirs) = socket::message_pair()?;
    let process = Command::new("/proc/self/exe")
        .arg("spawner")
        .env_clear()
        .envs(wharf_failpoint::environment())
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Running { socket: ours, process })
}
