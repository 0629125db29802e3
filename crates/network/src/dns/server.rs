//! The sockets on a gateway's port 53 and the tasks that serve them.

use super::answer::{Decision, Transport, decide, failure};
use super::directory::Directory;
use super::resolv_conf::ResolvConf;
use super::upstream::{ask, read_message, write_message};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wharf_model::ids::NetworkId;

/// Forwarded questions at a time, over all networks: each holds a socket. Beyond it the asker tries again.
const MAX_FORWARDED: usize = 256;
/// TCP connections at a time, over all networks.
const MAX_CONNECTIONS: usize = 128;
/// A connection without a question for this long is closed (RFC 7766 asks for seconds).
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pending connections of a listener.
const BACKLOG: i32 = 64;
/// Questions are small; larger datagrams are cut and then malformed.
const MAX_QUERY_BYTES: usize = 4096;
const PORT: u16 = 53;

/// What all servers of an engine share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: RwLock<Directory>,
    pub(crate) resolv_conf: ResolvConf,
    forwarded: Semaphore,
    connections: Semaphore,
    turn: AtomicUsize,
}

impl Shared {
    /// Nothing is known yet; upstream servers come from `resolv_conf`.
    pub(crate) fn new(resolv_conf: ResolvConf) -> Arc<Self> {
        Arc::new(Self {
            directory: RwLock::default(),
            resolv_conf,
            forwarded: Semaphore::new(MAX_FORWARDED),
            connections: Semaphore::new(MAX_CONNECTIONS),
            turn: AtomicUsize::new(0),
        })
    }

    /// Changes the directory.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.directory.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn decide(&self, network: &NetworkId, asker: IpAddr, query: &[u8], transport: Transport) -> Decision {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        decide(&directory, network, asker, query, transport, turn)
    }

    /// The answer of name servers, the host's where none are given, or a failure that the asker understands.
    async fn forward(&self, servers: Vec<IpAddr>, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(_permit) = self.forwarded.try_acquire() else { return failure(query) };
        let servers =
            if servers.is_empty() { self.resolv_conf.current().nameservers.clone() } else { servers };
        match ask(&servers, query, transport).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%error, "forwarded DNS query failed");
                failure(query)
            }
        }
    }
}

/// The server of one network; ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    tasks: Vec<JoinHandle<()>>,
    listeners: Vec<Arc<TcpListener>>,
}

impl Server {
    /// Binds the gateways' ports in the network namespace of the calling thread and serves them on `runtime`.
    pub(crate) fn start(
        runtime: &Handle,
        shared: &Arc<Shared>,
        network: &NetworkId,
        gateways: &[IpAddr],
    ) -> io::Result<Self> {
        let mut server = Self { tasks: Vec::new(), listeners: Vec::new() };
        for gateway in gateways {
            let sockets = bind_both(SocketAddr::new(*gateway, PORT))?;
            server.add(runtime, shared, network, sockets, None)?;
        }
        Ok(server)
    }

    /// Serves bound sockets. What they are asked counts as asked by `asker`, where it is given.
    pub(crate) fn with(
        runtime: &Handle,
        shared: &Arc<Shared>,
        network: &NetworkId,
        sockets: (OwnedFd, OwnedFd),
        asker: Option<IpAddr>,
    ) -> io::Result<Self> {
        let mut server = Self { tasks: Vec::new(), listeners: Vec::new() };
        server.add(runtime, shared, network, sockets, asker)?;
        Ok(server)
    }

    fn add(
        &mut self,
        runtime: &Handle,
        shared: &Arc<Shared>,
        network: &NetworkId,
        (udp, tcp): (OwnedFd, OwnedFd),
        asker: Option<IpAddr>,
    ) -> io::Result<()> {
        let _context = runtime.enter();
        let udp = UdpSocket::from_std(udp.into())?;
        let tcp = Arc::new(TcpListener::from_std(tcp.into())?);
        self.listeners.push(Arc::clone(&tcp));
        let zone = || Zone { shared: Arc::clone(shared), network: network.clone(), asker };
        self.tasks.push(runtime.spawn(serve_udp(zone(), udp)));
        self.tasks.push(runtime.spawn(serve_tcp(zone(), tcp)));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The tasks end a little later; the port is free for a successor at once.
        for listener in &self.listeners {
            if let Err(error) = rustix::net::shutdown(listener, Shutdown::Both) {
                tracing::debug!(%error, "DNS listener was not shut down");
            }
        }
    }
}

/// What a socket serves.
#[derive(Debug, Clone)]
struct Zone {
    shared: Arc<Shared>,
    network: NetworkId,
    /// Who asks, where the source address does not tell.
    asker: Option<IpAddr>,
}

impl Zone {
    fn decide(&self, from: SocketAddr, query: &[u8], transport: Transport) -> Decision {
        self.shared.decide(&self.network, self.asker.unwrap_or(from.ip()), query, transport)
    }
}

/// A UDP socket and a listening TCP socket of an address, in the network namespace of the calling thread.
pub(crate) fn bind_both(address: SocketAddr) -> Result<(OwnedFd, OwnedFd), Errno> {
    let udp = bind(address, SocketType::DGRAM)?;
    let tcp = bind(address, SocketType::STREAM)?;
    rustix::net::listen(&tcp, BACKLOG)?;
    Ok((udp, tcp))
}

fn bind(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    // Goes beside a resolver of the host that listens on every address and allows this; ours is the more
    // specific address.
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

async fn serve_udp(zone: Zone, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; MAX_QUERY_BYTES];
    loop {
        let (len, asker) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // Errors here are those of earlier answers that did not arrive.
            Err(error) => {
                tracing::debug!(%error, "DNS answer was not delivered");
                continue;
            }
        };
        match zone.decide(asker, &buffer[..len], Transport::Udp) {
            Decision::Ignore => {}
            Decision::Reply(answer) => send(&socket, &answer, asker).await,
            Decision::Forward(servers) => {
                let (shared, socket, query) =
                    (Arc::clone(&zone.shared), Arc::clone(&socket), buffer[..len].to_vec());
                tokio::spawn(async move {
                    if let Some(answer) = shared.forward(servers, &query, Transport::Udp).await {
                        send(&socket, &answer, asker).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], asker: SocketAddr) {
    if let Err(error) = socket.send_to(answer, asker).await {
        tracing::debug!(%asker, %error, "DNS answer was not delivered");
    }
}

async fn serve_tcp(zone: Zone, listener: Arc<TcpListener>) {
    loop {
        // Nobody is accepted whom we could not serve.
        let Ok(permit) = zone.shared.connections.acquire().await else { return };
        let (stream, asker) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "DNS connection was not accepted");
                // Out of descriptors or memory: nothing tells when that ends.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        permit.forget();
        let zone = zone.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(&zone, stream, asker).await {
                tracing::debug!(%asker, %error, "DNS connection ended");
            }
            zone.shared.connections.add_permits(1);
        });
    }
}

async fn converse(zone: &Zone, mut stream: TcpStream, asker: SocketAddr) -> io::Result<()> {
    while let Ok(query) = timeout(IDLE_TIMEOUT, read_message(&mut stream)).await {
        let Some(query) = query? else { return Ok(()) };
        let answer = match zone.decide(asker, &query, Transport::Tcp) {
            Decision::Ignore => None,
            Decision::Reply(answer) => Some(answer),
            Decision::Forward(servers) => zone.shared.forward(servers, &query, Transport::Tcp).await,
        };
        let Some(answer) = answer else { return Ok(()) };
        timeout(IDLE_TIMEOUT, write_message(&mut stream, &answer)).await??;
    }
    Ok(())
}
