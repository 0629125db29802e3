//! The API's sockets: to the unix socket only root and the group `wharf` may connect.

use super::config::Host;
use anyhow::{Context, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::{TcpListener, UnixListener};
use wharf_distribution::server::acceptor;
use wharf_docker_server::Listener;

/// Listens at one of the API's addresses.
pub(super) async fn open(host: &Host) -> anyhow::Result<Listener> {
    let listener = match host {
        Host::Unix(path) => {
            let listener = listen(path)?;
            tracing::info!("API listens on unix://{}", path.display());
            Listener::Unix(listener)
        }
        Host::Tcp(address, tls) => {
            let files =
                tls.as_ref().map(|tls| acceptor(&tls.certificate, &tls.key, tls.clients.as_deref(), false));
            let acceptor = files.transpose().map_err(|e| anyhow::anyhow!(e.full()))?;
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("listen on tcp://{address}"))?;
            let address = listener.local_addr().context("find the address of a socket")?;
            tracing::info!("API listens on tcp://{address}");
            match (acceptor, tls) {
                (Some(acceptor), Some(tls)) => {
                    if tls.clients.is_none() {
                        tracing::warn!(
                            "everybody who reaches tcp://{address} is root on this machine: ask clients for a certificate with --tlsverify"
                        );
                    }
                    Listener::Tls(listener, acceptor)
                }
                _ => {
                    tracing::warn!(
                        "everybody who reaches tcp://{address} is root on this machine, and everybody on the way may listen: use --tlsverify"
                    );
                    Listener::Tcp(listener)
                }
            }
        }
    };
    Ok(listener)
}

/// Takes the socket's file away.
pub(super) fn close(host: &Host) {
    if let Host::Unix(path) = host {
        // The next engine replaces one that is left.
        let _ = std::fs::remove_file(path);
    }
}

/// Listens at a path; a socket that a dead engine left is replaced, a live one is not.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("an engine already listens on {}: stop it, or choose another socket with -H", path.display());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("replace {}", path.display()));
        }
        _ => {}
    }
    // Nobody gets in between the socket's making and its permissions.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()));
    rustix::process::umask(before);
    let listener = listener?;
    if let Some(group) = group("wharf") {
        std::os::unix::fs::chown(path, None, Some(group))
            .with_context(|| format!("set the group of {}", path.display()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("set the permissions of {}", path.display()))?;
    Ok(listener)
}

fn group(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&name)).then(|| fields.get(2)?.parse().ok()).flatten()
    })
}
