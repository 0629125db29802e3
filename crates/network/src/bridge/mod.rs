//! The `Network` seam over bridges, veth pairs, macvlan, ipvlan, nftables and DNS.

mod connect;
mod ensure;
mod inside;
mod parent;
mod publish;
mod state;
mod subnet;
mod sweep;

use crate::dns::resolv_conf::ResolvConf;
use crate::dns::server::Shared as Dns;
use crate::hold::HeldPorts;
use crate::netlink::socket::Socket;
use crate::nft::table::Table;
use crate::nft::watch::Watch;
use rustix::io::Errno;
use state::State;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use wharf_model::error::{Error, ErrorKind, Result};
use wharf_model::ids::NetworkId;
use wharf_model::network::{
    Endpoint, EndpointRequest, Network, NetworkSpec, ResolverConfig, Subnet, Traffic,
};
use wharf_model::ports::{PortMapping, PublishedPort};

/// What distinguishes one engine's networks from another's.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the nftables table; also marks the engine's links. One engine on a host, one name.
    pub table: String,
    /// The resolver configuration of the host, usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Where DNS is served and the table is watched. Without a runtime neither happens.
    pub runtime: Option<Handle>,
}

/// Networks made of Linux bridges, in the network namespace of the thread that made this value; calls come
/// from threads of the same namespace.
///
/// Dropping it ends DNS and gives up the host ports, but leaves the kernel's side as it is: containers go
/// on, and a later process adopts them. `ensure` every network and `adopt` every endpoint, then `sweep`.
#[derive(Debug)]
pub struct BridgeNetwork {
    table_name: String,
    /// The alias of every link that is ours.
    mark: String,
    runtime: Option<Handle>,
    // Locked in this order, and never while waiting for anything but the kernel.
    state: Mutex<State>,
    ports: Mutex<HeldPorts>,
    table: Arc<Mutex<Table>>,
    route: Mutex<Socket>,
    dns: Arc<Dns>,
    watcher: Option<JoinHandle<()>>,
}

impl BridgeNetwork {
    /// Opens the netlink sockets and begins to watch the table; changes nothing in the kernel.
    pub fn new(config: Config) -> Result<Self> {
        let refused =
            |errno| kernel("open a netlink socket (nf_tables and rtnetlink are needed, and root)", errno);
        let table = Arc::new(Mutex::new(Table::new(&config.table).map_err(refused)?));
        let watcher = match &config.runtime {
            Some(runtime) => Some(watch(runtime, &config.table, &table).map_err(refused)?),
            None => None,
        };
        Ok(Self {
            mark: format!("wharf:{}", config.table),
            table_name: config.table,
            runtime: config.runtime,
            state: Mutex::default(),
            ports: Mutex::default(),
            table,
            route: Mutex::new(Socket::route().map_err(refused)?),
            dns: Dns::new(ResolvConf::new(config.resolv_conf)),
            watcher,
        })
    }
}

impl Drop for BridgeNetwork {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

impl Network for BridgeNetwork {
    fn ensure(&self, spec: &NetworkSpec) -> Result<()> {
        self.ensure_network(spec)
    }

    fn remove(&self, id: &NetworkId) -> Result<()> {
        self.remove_network(id)
    }

    fn free_subnet(&self) -> Result<Subnet> {
        self.choose_subnet()
    }

    fn reserve(&self, request: &EndpointRequest) -> Result<Endpoint> {
        lock(&self.state).reserve(request)
    }

    fn connect(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        self.connect_endpoint(endpoint, netns)
    }

    fn route(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>, on: bool) -> Result<()> {
        self.route_endpoint(endpoint, netns, on)
    }

    fn disconnect(&self, endpoint: &Endpoint) -> Result<()> {
        self.disconnect_endpoint(endpoint, false)
    }

    fn disconnect_live(&self, endpoint: &Endpoint) -> Result<()> {
        self.disconnect_endpoint(endpoint, true)
    }

    fn adopt(&self, endpoint: &Endpoint, published: &[PublishedPort], netns: BorrowedFd<'_>) -> Result<()> {
        self.adopt_endpoint(endpoint, published, netns)
    }

    fn publish(&self, endpoint: &Endpoint, mappings: &[PortMapping]) -> Result<Vec<PublishedPort>> {
        self.publish_ports(endpoint, mappings)
    }

    fn unpublish(&self, endpoint: &Endpoint, published: &[PublishedPort]) -> Result<()> {
        self.unpublish_ports(endpoint, published)
    }

    fn traffic(&self, endpoint: &Endpoint) -> Result<Traffic> {
        self.endpoint_traffic(endpoint)
    }

    fn resolver(&self, network: &NetworkId) -> Result<ResolverConfig> {
        let host = self.dns.resolv_conf.current();
        let state = lock(&self.state);
        let network = state.network(network)?;
        let knows_names = self.runtime.is_some() && network.serves_inside();
        let mut nameservers = Vec::new();
        if knows_names && (network.is_cut_off() || network.server.is_none()) {
            nameservers.push(inside::ADDRESS.into());
        } else if network.server.is_some() {
            nameservers.extend(network.spec.subnets.iter().map(|subnet| subnet.gateway));
        }
        // Should the daemon be down, names of the world still resolve: but not where containers call each other by name,
        // since musl asks all servers at once, and the host's may be the first to say that there is no such name.
        // Loopback is another one inside.
        if !knows_names && !network.spec.internal {
            nameservers.extend(host.nameservers.iter().filter(|ip| !is_loopback(**ip)));
        }
        let (search, options) = (host.search.clone(), host.options.clone());
        Ok(ResolverConfig { nameservers, search, options, knows_names })
    }

    fn sweep(&self, networks: &[NetworkSpec], endpoints: &[Endpoint]) -> Result<()> {
        self.sweep_leftovers(networks, endpoints)
    }

    fn teardown(&self) -> Result<()> {
        self.remove_everything()
    }
}

/// Restores the table whenever somebody else damages it.
fn watch(runtime: &Handle, name: &str, table: &Arc<Mutex<Table>>) -> Result<JoinHandle<()>, Errno> {
    let watch = Watch::new()?;
    let (name, table) = (name.to_owned(), Arc::clone(table));
    let own = lock(&table).port();
    Ok(runtime.spawn(async move {
        let restore = || match lock(&table).restore_if_used() {
            Ok(true) => {
                tracing::info!(table = name, "restored the nftables table that another program removed");
            }
            Ok(false) => {}
            Err(errno) => tracing::error!(table = name, %errno, "the nftables table could not be restored"),
        };
        if let Err(error) = watch.run(&name, own, restore).await {
            tracing::error!(%error, "nftables changes are no longer noticed");
        }
    }))
}

/// Locks; a panic elsewhere does not make the data unusable, as each change is complete before the next.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a refused request: what was being done, and why it failed.
fn kernel(what: impl Into<String>, errno: Errno) -> Error {
    let kind = match errno {
        Errno::EXIST | Errno::BUSY | Errno::ADDRINUSE => ErrorKind::Conflict,
        Errno::NODEV | Errno::NXIO => ErrorKind::NotFound,
        Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => ErrorKind::Unsupported,
        Errno::PERM | Errno::ACCESS => ErrorKind::Forbidden,
        _ => ErrorKind::Internal,
    };
    Error::wrap(kind, what, errno)
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}
