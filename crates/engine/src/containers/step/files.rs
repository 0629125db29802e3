//! Secrets and sockets of a build step: in its run directory, which is memory and goes with it.

use super::{StepMount, StepSource};
use crate::containers::blocking;
use bytes::Bytes;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use wharf_model::container::ResolvedMount;
use wharf_model::idmap::IdMap;
use wharf_model::security::Relabel;
use wharf_model::{Error, ErrorKind, Result};

/// The mounts as a container has them, and what serves them as long as it is kept.
pub(super) struct Served {
    pub(super) mounts: Vec<ResolvedMount>,
    pub(super) sockets: Vec<Listening>,
}

/// A socket that is listened on until this is dropped.
pub(super) struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn failed(doing: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let text = format!("{doing} {}", path.display());
    move |e| Error::wrap(ErrorKind::Internal, text.clone(), e)
}

/// Makes the files and sockets in a step's run directory.
pub(super) async fn provide(run: &Path, owners: Option<&IdMap>, mounts: Vec<StepMount>) -> Result<Served> {
    let mut served = Served { mounts: Vec::new(), sockets: Vec::new() };
    for (at, mount) in mounts.into_iter().enumerate() {
        let path = run.join(format!("mount-{at}"));
        let mut resolved = ResolvedMount {
            kind: "bind".to_owned(),
            source: path.clone(),
            target: mount.target,
            read_write: !mount.read_only,
            // Other steps may see the same, at another level.
            relabel: Relabel::Shared,
            ..ResolvedMount::default()
        };
        match mount.source {
            // As a volume's: mapped where there is a user namespace.
            StepSource::Path(path) => (resolved.kind, resolved.source) = ("volume".to_owned(), path),
            StepSource::Image { id, subpath } => {
                resolved.kind = "image".to_owned();
                resolved.image = Some(id);
                resolved.subpath = subpath;
            }
            StepSource::Tmpfs(size) => {
                resolved.kind = "tmpfs".to_owned();
                resolved.options.push("exec".to_owned());
                resolved.options.extend(size.map(|bytes| format!("size={bytes}")));
            }
            StepSource::File { content, mode, owner } => {
                let owner = outside(owners, owner)?;
                blocking(move || write(&path, &content, mode, owner)).await?;
            }
            StepSource::Socket { connected, mode, owner } => {
                let listener = listen(&path, mode, outside(owners, owner)?)?;
                served.sockets.push(Listening(tokio::spawn(accept(listener, connected))));
            }
        }
        served.mounts.push(resolved);
    }
    Ok(served)
}

fn outside(owners: Option<&IdMap>, owner: (u32, u32)) -> Result<(u32, u32)> {
    let Some(map) = owners else { return Ok(owner) };
    map.outside(owner).ok_or_else(|| {
        Error::invalid(format!("user {}, group {}: the engine's user namespace has none", owner.0, owner.1))
    })
}

fn make_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(failed("make", directory)(e)),
        _ => Ok(()),
    }
}

fn write(path: &Path, content: &Bytes, mode: u32, (uid, gid): (u32, u32)) -> Result<()> {
    make_directory(path)?;
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("make", path))?;
    file.write_all(content).map_err(failed("write", path))?;
    finish(path, mode, (uid, gid))
}

fn finish(path: &Path, mode: u32, (uid, gid): (u32, u32)) -> Result<()> {
    chown(path, Some(uid), Some(gid)).map_err(failed("set the owner of", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(failed("set the mode of", path))
}

fn listen(path: &Path, mode: u32, owner: (u32, u32)) -> Result<UnixListener> {
    make_directory(path)?;
    // A socket's address is short (unix(7): 108 bytes); the directory's own may be long.
    let directory = std::fs::File::open(path.parent().unwrap_or(path)).map_err(failed("open", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
        .map_err(failed("listen on", path))?;
    finish(path, mode, owner)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, connected: Arc<dyn Fn(UnixStream) + Send + Sync>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connected(stream),
            Err(e) => {
                tracing::warn!("a build step's socket: {e}");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn files_and_sockets_go_with_the_directory() {
        let base = tempfile::tempdir().unwrap();
        // Longer than a socket's address may be.
        let run = base.path().join("x".repeat(120));
        let connected = Arc::new(|mut stream: UnixStream| {
            tokio::spawn(async move { stream.write_all(b"hello").await });
        });
        let own = std::fs::metadata(base.path()).unwrap();
        let owner = (own.uid(), own.gid());
        let file = StepSource::File { content: Bytes::from_static(b"secret"), mode: 0o400, owner };
        assert_eq!(format!("{file:?}"), "File(6)", "the content is not shown");
        let sources = [
            file,
            StepSource::Socket { connected, mode: 0o600, owner },
            StepSource::Tmpfs(Some(9)),
            StepSource::Path("/cache".into()),
        ];
        let mount = |source| StepMount { target: "/t".into(), read_only: false, source };
        let served = provide(&run, None, sources.map(mount).into()).await.unwrap();
        let [file, socket, memory, path] = &served.mounts[..] else { panic!() };
        assert_eq!(std::fs::read(&file.source).unwrap(), b"secret");
        assert_eq!(std::fs::metadata(&file.source).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(
            (memory.kind.as_str(), &memory.options[..]),
            ("tmpfs", &["exec".into(), "size=9".to_owned()][..])
        );
        assert_eq!((path.kind.as_str(), path.source.as_path()), ("volume", Path::new("/cache")));
        let directory = std::fs::File::open(&run).unwrap();
        let name = socket.source.file_name().unwrap().to_string_lossy();
        let address = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
        let mut text = String::new();
        UnixStream::connect(&address).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        drop(served);
        tokio::task::yield_now().await;
        assert!(UnixStream::connect(&address).await.is_err(), "nobody listens any more");
    }
}
