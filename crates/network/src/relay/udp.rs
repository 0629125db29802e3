//! Datagrams, passed on from a socket of its own for each client, so that what comes back finds its way.

use rustix::event::epoll;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use wharf_sys::datagram::{self, Ends};

/// Clients of one port at a time: each has a socket. The one that came first goes first.
const MAX_CLIENTS: usize = 1024;
/// How long a client may go without an answer and be remembered; Docker's time.
const IDLE: Duration = Duration::from_secs(90);
/// No datagram is longer.
const MAX_BYTES: usize = 64 << 10;

/// A port whose datagrams are passed on; ends when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// The one owner: tasks have the socket for a system call at a time, so that the port is free at once.
    _socket: Arc<OwnedFd>,
    task: JoinHandle<()>,
    clients: Arc<Clients>,
}

/// The clients with their sockets towards the container, the oldest first in `order`.
#[derive(Debug, Default)]
struct Clients(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sockets: HashMap<Ends, (Arc<UdpSocket>, AbortHandle)>,
    order: VecDeque<Ends>,
}

impl Relay {
    /// Passes what comes to a bound IPv6 socket on to `target`.
    pub(super) fn start(runtime: &Handle, socket: OwnedFd, target: (IpAddr, u16)) -> io::Result<Self> {
        let _context = runtime.enter();
        datagram::ask_for_destination(&socket)?;
        // What tells of datagrams and is no owner of the socket.
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&watch, &socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor may change; ours cannot"
        )]
        let watch = AsyncFd::with_interest(watch, Interest::READABLE)?;
        let (socket, clients) = (Arc::new(socket), Arc::new(Clients::default()));
        let port =
            Port { socket: Arc::downgrade(&socket), target: target.into(), clients: Arc::clone(&clients) };
        let task = runtime.spawn(port.forward(watch));
        Ok(Self { _socket: socket, task, clients })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.clients.forget_all();
    }
}

impl Clients {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self, client: &Ends) -> Option<Arc<UdpSocket>> {
        self.known().sockets.get(client).map(|(socket, _)| Arc::clone(socket))
    }

    fn add(&self, client: Ends, socket: Arc<UdpSocket>, answers: AbortHandle) {
        let mut known = self.known();
        if known.order.len() >= MAX_CLIENTS
            && let Some(oldest) = known.order.pop_front()
            && let Some((_, answers)) = known.sockets.remove(&oldest)
        {
            answers.abort();
        }
        known.order.push_back(client);
        known.sockets.insert(client, (socket, answers));
    }

    fn forget(&self, client: &Ends) {
        let mut known = self.known();
        known.sockets.remove(client);
        known.order.retain(|other| other != client);
    }

    fn forget_all(&self) {
        let mut known = self.known();
        known.order.clear();
        known.sockets.drain().for_each(|(_, (_, answers))| answers.abort());
    }
}

/// What the tasks of a port know.
#[derive(Clone)]
struct Port {
    socket: Weak<OwnedFd>,
    target: SocketAddr,
    clients: Arc<Clients>,
}

impl Port {
    async fn forward(self, watch: AsyncFd<OwnedFd>) {
        let mut buffer = vec![0; MAX_BYTES];
        while let Ok(mut ready) = watch.readable().await {
            let Some(socket) = self.socket.upgrade() else { return };
            let received = datagram::receive(&*socket, &mut buffer);
            drop(socket);
            let sent = match received {
                Ok((len, client)) => self.pass(client, &buffer[..len]).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    Ok(())
                }
                Err(error) => Err(error),
            };
            // A datagram may be lost; the next one has its own chance.
            if let Err(error) = sent {
                tracing::debug!(target = %self.target, %error, "a datagram was not passed on");
            }
        }
    }

    async fn pass(&self, client: Ends, datagram: &[u8]) -> io::Result<()> {
        let towards = match self.clients.socket(&client) {
            Some(known) => known,
            None => {
                let any: IpAddr = match self.target {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let towards = UdpSocket::bind((any, 0)).await?;
                towards.connect(self.target).await?;
                let towards = Arc::new(towards);
                let answers = tokio::spawn(self.clone().answers(client, Arc::clone(&towards)));
                self.clients.add(client, Arc::clone(&towards), answers.abort_handle());
                towards
            }
        };
        towards.send(datagram).await.map(|_| ())
    }

    /// Brings answers back until there are none for a while, or nobody is there to answer.
    async fn answers(self, client: Ends, towards: Arc<UdpSocket>) {
        while let Ok(Ok(())) = timeout(IDLE, towards.readable()).await {
            let mut buffer = vec![0; MAX_BYTES];
            let received = towards.try_recv(&mut buffer);
            let Some(socket) = self.socket.upgrade() else { return };
            let sent = match received {
                Ok(len) => datagram::send(&*socket, &buffer[..len], &client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => {
                    tracing::debug!(target = %self.target, %error, "nobody answers for a relayed port");
                    break;
                }
            };
            if let Err(error) = sent {
                tracing::debug!(target = %self.target, %error, "an answer was not brought back");
            }
        }
        self.clients.forget(&client);
    }
}
