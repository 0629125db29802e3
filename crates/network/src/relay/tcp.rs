//! Connections, accepted and made a second time.

use rustix::net::Shutdown;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Connections of one port at a time: each holds two sockets.
const MAX_CONNECTIONS: usize = 512;
/// Pending connections (the kernel's own default bound, net.core.somaxconn).
const BACKLOG: i32 = 4096;
/// How long a container may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A port whose connections are passed on; ends when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    listener: Arc<TcpListener>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a bound socket and passes connections on to `target`.
    pub(super) fn start(runtime: &Handle, socket: OwnedFd, target: (IpAddr, u16)) -> io::Result<Self> {
        let _context = runtime.enter();
        // Connections that go on after the port was given up shall not keep it from its next holder. While
        // this socket listens, nobody else can have the port all the same.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let listener = StdListener::from(socket);
        listener.set_nonblocking(true)?;
        let listener = Arc::new(TcpListener::from_std(listener)?);
        let task = runtime.spawn(accept(Arc::clone(&listener), target.into()));
        Ok(Self { listener, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        // The task ends a little later; the port is free at once.
        if let Err(error) = rustix::net::shutdown(&self.listener, Shutdown::Both) {
            tracing::debug!(%error, "a relayed port was not shut down");
        }
    }
}

async fn accept(listener: Arc<TcpListener>, target: SocketAddr) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = pass(stream, target).await {
                        tracing::debug!(%target, %error, "relayed connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%target, %error, "connection was not accepted");
                // Out of descriptors or memory: nothing tells when that ends.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn pass(mut from: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut to = timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await??;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    copy_bidirectional(&mut from, &mut to).await.map(|_| ())
}
