//! Networks: the engine's own bridge, users' bridges, and containers' places in them.

mod configuration;
mod leading;
mod live;
mod options;
mod republish;
pub(crate) mod settings;

pub use settings::check_without_network;

pub use configuration::{OPERATOR_FIELDS, OWN_CONFIGURATION};

use crate::clock::now_ns;
use crate::events::Events;
use crate::random;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use wharf_model::container::{ContainerRecord, ContainerSpec, EndpointSpec, NetworkMode};
use wharf_model::network::{
    Driver, Endpoint, EndpointRequest, Extras, Network, NetworkSpec, ResolverConfig, Subnet, Traffic,
};
use wharf_model::ports::{ContainerPort, PortMapping, PublishedPort};
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::{Error, ErrorKind, NetworkId, Result};

/// A network with what only people look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// What the kernel is told.
    pub spec: NetworkSpec,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver, as given.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub created_ns: i128,
    /// IPv6 was asked for.
    pub ipv6: bool,
    /// Containers may join it by hand (swarm); only shown.
    pub attachable: bool,
    /// It has no IPv4.
    #[serde(default)]
    pub without_ipv4: bool,
    /// Gateways that the engine chose in blocks that the user gave. Docker does not show them.
    #[serde(default)]
    pub chosen_gateways: BTreeSet<IpAddr>,
    /// It is only there for others to take their configuration from.
    #[serde(default)]
    pub config_only: bool,
    /// Name of the network whose configuration it took.
    #[serde(default)]
    pub config_from: String,
    /// What was asked for; only shown. Empty is `local`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Options of who gives out addresses; only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam_options: Option<BTreeMap<String, String>>,
}

/// A wish for a network.
#[derive(Debug, Clone, Default)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, or empty for it; `macvlan`, `ipvlan`.
    pub driver: String,
    /// Address blocks; without any the engine chooses one.
    pub subnets: Vec<Subnet>,
    /// No way out.
    pub internal: bool,
    /// Containers may not talk to each other.
    pub isolated: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// IPv6 was asked for.
    pub ipv6: bool,
    /// Only shown.
    pub attachable: bool,
    /// Addresses of IPv6 only.
    pub without_ipv4: bool,
    /// Gateways in `subnets` that nobody asked for.
    pub chosen_gateways: BTreeSet<IpAddr>,
    /// Only there for others to take their configuration from.
    pub config_only: bool,
    /// Name of the network to take the configuration from.
    pub config_from: String,
    /// Only shown.
    pub scope: String,
    /// Only shown.
    pub ipam_options: Option<BTreeMap<String, String>>,
}

/// The engine's own bridge.
#[derive(Debug, Clone)]
pub struct DefaultBridge {
    /// Name of the interface.
    pub interface: String,
    /// Its address block; `None` lets the engine choose a free one.
    pub subnet: Option<Subnet>,
}

/// The service.
pub struct Networks {
    driver: Arc<dyn Network>,
    records: Arc<dyn Records>,
    events: Events,
    known: RwLock<Vec<NetworkRecord>>,
    /// One network is made at a time: two would be given one subnet, or one name.
    creating: Mutex<()>,
}

const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

impl Networks {
    /// Loads the networks, makes the predefined ones where they are missing, and brings the kernel in line.
    pub fn open(
        driver: Arc<dyn Network>,
        records: Arc<dyn Records>,
        events: Events,
        own: &DefaultBridge,
    ) -> Result<Self> {
        let mut known = Vec::new();
        for (id, body) in records.list(RecordKind::Network)? {
            let record: NetworkRecord = serde_json::from_slice(&body).map_err(|e| {
                Error::wrap(ErrorKind::Internal, format!("read the record of network {id}"), e)
            })?;
            known.push(record);
        }
        let networks =
            Self { driver, records, events, known: RwLock::new(known), creating: Mutex::default() };
        for name in PREDEFINED {
            networks.provide_predefined(name, own)?;
        }
        for record in networks.list().iter().filter(|r| !r.config_only) {
            networks.driver.ensure(&record.spec)?;
        }
        Ok(networks)
    }

    fn provide_predefined(&self, name: &str, own: &DefaultBridge) -> Result<()> {
        let existing = self.list().into_iter().find(|r| r.spec.name == name);
        let driver = match name {
            "host" => Driver::Host,
            "none" => Driver::None,
            _ => Driver::Bridge,
        };
        let is_bridge = driver == Driver::Bridge;
        let subnet = match (&own.subnet, &existing) {
            (Some(subnet), _) => Some(subnet.clone()),
            (None, Some(record)) => record.spec.subnets.first().cloned(),
            (None, None) if is_bridge => Some(self.driver.free_subnet()?),
            (None, None) => None,
        };
        let spec = NetworkSpec {
            id: match &existing {
                Some(record) => record.spec.id.clone(),
                None => NetworkId::from_bytes(random::bytes()?),
            },
            name: name.to_owned(),
            driver,
            bridge: if is_bridge { own.interface.clone() } else { String::new() },
            parent: String::new(),
            subnets: subnet.filter(|_| is_bridge).into_iter().collect(),
            internal: false,
            icc: true,
            masquerade: true,
            mtu: 0,
            gateway_modes: Default::default(),
            binding: None,
        };
        let options = if is_bridge { options::shown(&spec) } else { BTreeMap::new() };
        let created_ns = existing.as_ref().map_or_else(now_ns, |r| r.created_ns);
        let record = NetworkRecord {
            spec,
            labels: BTreeMap::new(),
            options,
            created_ns,
            ipv6: false,
            attachable: false,
            without_ipv4: false,
            chosen_gateways: BTreeSet::new(),
            config_only: false,
            config_from: String::new(),
            scope: String::new(),
            ipam_options: None,
        };
        if existing.as_ref() == Some(&record) { Ok(()) } else { self.keep(record) }
    }

    fn keep(&self, record: NetworkRecord) -> Result<()> {
        let (kind, id) = (RecordKind::Network, record.spec.id.to_string());
        let body = serde_json::to_vec(&record)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the network's record", e))?;
        let claim = Change::Claim { kind, name: record.spec.name.clone(), id: id.clone() };
        self.records.commit(vec![claim, Change::Put { kind, id, body }], Durability::Process)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|r| r.spec.id != record.spec.id);
        known.push(record);
        Ok(())
    }

    /// All networks, oldest first.
    pub fn list(&self) -> Vec<NetworkRecord> {
        let mut all = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by_key(|r| r.created_ns);
        all
    }

    /// Finds one by id, name, or the beginning of its id.
    pub fn find(&self, name: &str) -> Result<NetworkRecord> {
        let is_meant = |r: &&NetworkRecord| r.spec.id.as_str() == name || r.spec.name == name;
        let exact = {
            // Asked for each line of `ps`: no other record is copied.
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().filter(is_meant).min_by_key(|r| r.created_ns).cloned()
        };
        if let Some(record) = exact {
            return Ok(record);
        }
        let all = self.list();
        let mut matching = all.iter().filter(|r| !name.is_empty() && r.spec.id.as_str().starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(record), None) => Ok(record.clone()),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("network {name} is ambiguous: several ids begin so")))
            }
            _ => Err(Error::not_found(format!("network {name} not found"))),
        }
    }

    /// Makes a network.
    pub fn create(&self, mut wish: NewNetwork) -> Result<NetworkRecord> {
        // Docker takes any other name, one with blanks or slashes too.
        if wish.name.trim().is_empty() {
            return Err(Error::invalid("invalid name: name is empty"));
        }
        if PREDEFINED.contains(&wish.name.as_str()) {
            return Err(Error::new(
                ErrorKind::Forbidden,
                format!("operation is not permitted on predefined {} network", wish.name),
            ));
        }
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if self.list().iter().any(|r| r.spec.name == wish.name) {
            return Err(Error::conflict(format!("network with name {} already exists", wish.name)));
        }
        self.configure(&mut wish)?;
        let id = NetworkId::from_bytes(random::bytes()?);
        let mut spec =
            if wish.config_only { configuration::spec(&wish, id) } else { options::spec(&wish, id)? };
        if wish.config_only {
            let record = recorded(wish, spec);
            self.keep(record.clone())?;
            self.publish("create", &record, None);
            return Ok(record);
        }
        if !wish.without_ipv4 && !spec.subnets.iter().any(|s| s.base.is_ipv4()) {
            spec.subnets.insert(0, self.driver.free_subnet()?);
        }
        if wish.ipv6 && !spec.subnets.iter().any(|s| s.base.is_ipv6()) {
            spec.subnets.push(local_ipv6(&spec.id)?);
        }
        let record = recorded(wish, spec);
        // Intent first: a crash after this line makes the bridge at the next start.
        self.keep(record.clone())?;
        if let Err(e) = self.driver.ensure(&record.spec) {
            self.drop_record(&record)?;
            return Err(match e.kind() {
                ErrorKind::Conflict if e.to_string().starts_with("Pool overlaps") => {
                    Error::new(ErrorKind::Forbidden, format!("invalid pool request: {e}"))
                }
                _ => e,
            });
        }
        self.publish("create", &record, None);
        Ok(record)
    }

    /// Removes a network that nobody is in.
    pub fn remove(&self, name: &str) -> Result<()> {
        let record = self.find(name)?;
        if PREDEFINED.contains(&record.spec.name.as_str()) {
            let message = format!("{} is a pre-defined network and cannot be removed", record.spec.name);
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let gone = if record.config_only {
            self.unused(&record.spec.name)
        } else {
            self.driver.remove(&record.spec.id)
        };
        gone.map_err(|e| match e.kind() {
            ErrorKind::Conflict => Error::new(
                ErrorKind::Forbidden,
                format!(
                    "error while removing network: network {} id {} has active endpoints",
                    record.spec.name, record.spec.id
                ),
            ),
            _ => e,
        })?;
        self.drop_record(&record)?;
        self.publish("destroy", &record, None);
        Ok(())
    }

    fn drop_record(&self, record: &NetworkRecord) -> Result<()> {
        let kind = RecordKind::Network;
        let changes = vec![
            Change::Delete { kind, id: record.spec.id.to_string() },
            Change::Release { kind, name: record.spec.name.clone() },
        ];
        self.records.commit(changes, Durability::Process)?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).retain(|r| r.spec.id != record.spec.id);
        Ok(())
    }

    fn publish(&self, action: &str, record: &NetworkRecord, container: Option<&str>) {
        let mut attributes = BTreeMap::from([
            ("name".to_owned(), record.spec.name.clone()),
            ("type".to_owned(), driver_name(&record.spec.driver).to_owned()),
        ]);
        attributes.extend(container.map(|id| ("container".to_owned(), id.to_owned())));
        self.events.publish("network", action, record.spec.id.as_str(), attributes);
    }

    /// The names of the networks a container joins.
    ///
    /// # Errors
    /// `NotFound` when one is not there.
    pub fn names(&self, spec: &ContainerSpec) -> Result<BTreeSet<String>> {
        spec.network_names().iter().map(|name| Ok(self.find(name)?.spec.name)).collect()
    }

    /// What a container asks of a network.
    fn wish<'a>(&self, spec: &'a ContainerSpec, name: &str) -> Option<&'a EndpointSpec> {
        let id = || self.find(name).map(|network| network.spec.id.to_string()).ok();
        spec.endpoints.get(name).or_else(|| spec.endpoints.get(&id()?))
    }

    /// Reserves a container's places. All or none.
    pub fn reserve(&self, record: &ContainerRecord) -> Result<Vec<(String, Endpoint)>> {
        let first = match &record.spec.network {
            NetworkMode::Named(name) => self.find(name).map(|network| network.spec.name).unwrap_or_default(),
            _ => "bridge".to_owned(),
        };
        // `eth0` is the network it was created with.
        let mut names: Vec<(bool, String)> = self
            .names(&record.spec)
            .map_err(unconnected)?
            .into_iter()
            .map(|name| (name != first, name))
            .collect();
        names.sort();
        let mut reserved = Vec::new();
        for (number, (_, name)) in names.iter().enumerate() {
            match self.reserve_one(record, name, format!("eth{number}")) {
                Ok(endpoint) => reserved.push(endpoint),
                Err(e) => {
                    self.release(&reserved, &[])?;
                    return Err(match e.kind() {
                        ErrorKind::Conflict | ErrorKind::Forbidden => unconnected(e),
                        _ => e,
                    });
                }
            }
        }
        let leading = leading::names(&reserved, |name| self.gateway_priority(record, name));
        for (name, endpoint) in &mut reserved {
            endpoint.default_route = leading.contains(name);
        }
        // The first has the ports.
        reserved.sort_by_key(|(name, _)| leading.first() != Some(name));
        Ok(reserved)
    }

    fn gateway_priority(&self, record: &ContainerRecord, name: &str) -> i64 {
        self.wish(&record.spec, name).map_or(0, |wish| wish.gw_priority)
    }

    fn reserve_one(
        &self,
        record: &ContainerRecord,
        name: &str,
        interface: String,
    ) -> Result<(String, Endpoint)> {
        let network = self.find(name)?;
        if network.config_only {
            let message = "cannot create endpoint on configuration-only network";
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let none = EndpointSpec::default();
        let wish = self.wish(&record.spec, &network.spec.name).unwrap_or(&none);
        let mut names = vec![record.name.clone(), record.id.short().to_owned()];
        names.extend(wish.aliases.iter().cloned());
        if !record.spec.hostname.is_empty() {
            names.push(record.spec.hostname.clone());
        }
        let interface = wish.driver_options.get(INTERFACE_OPTION).cloned().unwrap_or(interface);
        let endpoint = self.driver.reserve(&EndpointRequest {
            network: network.spec.id.clone(),
            container: record.id.clone(),
            interface,
            ipv4: wish.ipv4,
            ipv6: wish.ipv6,
            mac: wish.mac,
            names,
            default_route: false,
            extras: Extras { dns: record.spec.name_servers(), ..extras(wish)? },
        });
        let endpoint = endpoint.map_err(|e| match e.kind() {
            ErrorKind::Invalid => Error::invalid(format!(
                "invalid config for network {}: invalid endpoint settings:\n{e}",
                network.spec.name
            )),
            _ => e,
        })?;
        Ok((network.spec.name, endpoint))
    }

    /// Connects a container's reserved places to the namespace of a process, and publishes its ports.
    pub fn connect(&self, record: &ContainerRecord, pid: i32) -> Result<Vec<PublishedPort>> {
        if record.endpoints.is_empty() {
            return Ok(Vec::new());
        }
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))
            .map_err(|e| Error::wrap(ErrorKind::Internal, "open the container's network namespace", e))?;
        for (name, endpoint) in &record.endpoints {
            self.driver.connect(endpoint, namespace.as_fd())?;
            if let Ok(network) = self.find(name) {
                self.publish("connect", &network, Some(record.id.as_str()));
            }
        }
        let mappings = mappings(record);
        let Some((_, endpoint)) = record.endpoints.first().filter(|_| !mappings.is_empty()) else {
            return Ok(Vec::new());
        };
        self.driver.publish(endpoint, &mappings).map_err(|e| {
            let what = unpublished(record, endpoint);
            Error::wrap(e.kind(), format!("failed to set up container networking: {what}"), e)
        })
    }

    /// Gives places and ports back. Goes on after a failure, and reports the first.
    pub fn release(&self, endpoints: &[(String, Endpoint)], published: &[PublishedPort]) -> Result<()> {
        let mut results = Vec::new();
        if let Some((_, first)) = endpoints.first().filter(|_| !published.is_empty()) {
            results.push(self.driver.unpublish(first, published));
        }
        for (name, endpoint) in endpoints {
            results.push(self.driver.disconnect(endpoint));
            if let Ok(network) = self.find(name) {
                self.publish("disconnect", &network, Some(endpoint.container.as_str()));
            }
        }
        results.into_iter().collect()
    }

    /// Takes over the places of a running container of an earlier process.
    pub fn adopt(&self, record: &ContainerRecord) -> Result<()> {
        if record.endpoints.is_empty() {
            return Ok(());
        }
        let namespace = live::namespace_of(record)?;
        for (number, (_, endpoint)) in record.endpoints.iter().enumerate() {
            let published: &[PublishedPort] = if number == 0 { &record.published } else { &[] };
            self.driver.adopt(endpoint, published, namespace.as_fd())?;
        }
        Ok(())
    }

    /// Removes what earlier processes left in the kernel that no record speaks of.
    pub fn sweep(&self, endpoints: &[Endpoint]) -> Result<()> {
        let specs: Vec<NetworkSpec> =
            self.list().into_iter().filter(|r| !r.config_only).map(|r| r.spec).collect();
        self.driver.sweep(&specs, endpoints)
    }

    /// The host as containers reach it, whatever network they are in: the address of the engine's own bridge.
    pub fn host_gateway(&self) -> Option<IpAddr> {
        let subnets = self.find("bridge").ok()?.spec.subnets;
        subnets.iter().map(|subnet| subnet.gateway).find(IpAddr::is_ipv4)
    }

    /// The resolver of a container's first network; `None` without one.
    pub fn resolver(&self, record: &ContainerRecord) -> Result<Option<ResolverConfig>> {
        match record.endpoints.first() {
            Some((_, endpoint)) => self.driver.resolver(&endpoint.network).map(Some),
            None => Ok(None),
        }
    }

    /// Counters of a container's places by interface.
    pub fn traffic(&self, record: &ContainerRecord) -> Result<Vec<(String, Traffic)>> {
        let mut counters = Vec::new();
        for (_, endpoint) in &record.endpoints {
            match self.driver.traffic(endpoint) {
                Ok(traffic) => counters.push((endpoint.interface.clone(), traffic)),
                // Somebody removed the interface.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(counters)
    }
}

fn unconnected(why: Error) -> Error {
    Error::wrap(why.kind(), "failed to set up container networking", why)
}

fn recorded(wish: NewNetwork, spec: NetworkSpec) -> NetworkRecord {
    NetworkRecord {
        spec,
        labels: wish.labels,
        options: wish.options,
        created_ns: now_ns(),
        ipv6: wish.ipv6,
        attachable: wish.attachable,
        without_ipv4: wish.without_ipv4,
        chosen_gateways: wish.chosen_gateways,
        config_only: wish.config_only,
        config_from: wish.config_from,
        scope: wish.scope,
        ipam_options: wish.ipam_options,
    }
}

/// A block of unique local addresses (RFC 4193): the network's id is as random as the global id has to be.
fn local_ipv6(id: &NetworkId) -> Result<Subnet> {
    let digits = id.as_str();
    let text = format!("fd{}:{}:{}::", &digits[..2], &digits[2..6], &digits[6..10]);
    let base: Ipv6Addr =
        text.parse().map_err(|e| Error::wrap(ErrorKind::Internal, format!("make the subnet {text}"), e))?;
    let gateway = Ipv6Addr::from_bits(base.to_bits() + 1);
    Ok(Subnet {
        base: base.into(),
        prefix: 64,
        gateway: gateway.into(),
        range: None,
        auxiliary: Default::default(),
    })
}

/// Name of the interface inside.
const INTERFACE_OPTION: &str = "com.docker.network.endpoint.ifname";
/// Kernel parameters of the interface: `net.ipv4.conf.IFNAME.log_martians=1,…`.
const SYSCTLS_OPTION: &str = "com.docker.network.endpoint.sysctls";

fn extras(wish: &EndpointSpec) -> Result<Extras> {
    let mut sysctls = BTreeMap::new();
    let given = wish.driver_options.get(SYSCTLS_OPTION).map_or("", String::as_str);
    for setting in given.split(',').filter(|setting| !setting.is_empty()) {
        let invalid = || Error::invalid(format!("invalid sysctl {setting:?}: expected net.X.Y.IFNAME.Z=V"));
        let (key, value) = setting.split_once('=').ok_or_else(invalid)?;
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        let known = ["net.ipv4.", "net.ipv6.", "net.mpls."].iter().any(|family| key.starts_with(family));
        if !known || !key.contains(".IFNAME.") || !key.split('.').all(is_word) {
            return Err(invalid());
        }
        sysctls.insert(key.to_owned(), value.to_owned());
    }
    Ok(Extras {
        links: wish.links.iter().map(|l| (l.alias.to_lowercase(), l.container.to_lowercase())).collect(),
        link_local: wish.link_local.clone(),
        sysctls,
        dns: Vec::new(),
    })
}

/// What has failed where a port could not be published, in Docker's words.
fn unpublished(record: &ContainerRecord, endpoint: &Endpoint) -> String {
    format!(
        "driver failed programming external connectivity on endpoint {} ({})",
        record.name,
        endpoint_id(endpoint)
    )
}

/// An id for an endpoint, which the engine itself names by container and network.
pub fn endpoint_id(endpoint: &Endpoint) -> String {
    wharf_oci::digest::Digest::sha256(format!("{} {}", endpoint.container, endpoint.network).as_bytes())
        .hex()
        .to_owned()
}

/// The driver's name on the wire.
pub fn driver_name(driver: &Driver) -> &'static str {
    match driver {
        Driver::Bridge => "bridge",
        Driver::Host => "host",
        Driver::None => "null",
        Driver::Macvlan(_) => "macvlan",
        Driver::Ipvlan(..) => "ipvlan",
    }
}

/// What a container publishes: as asked, and with `-P` every documented port that was not.
fn mappings(record: &ContainerRecord) -> Vec<PortMapping> {
    let mut mappings = record.spec.ports.clone();
    if record.spec.publish_all {
        let image = record.image_config.exposed_ports.iter().filter_map(|p| p.parse::<ContainerPort>().ok());
        let exposed: BTreeSet<ContainerPort> = record.spec.exposed.iter().copied().chain(image).collect();
        for container in exposed {
            if !mappings.iter().any(|m| m.container == container) {
                mappings.push(PortMapping { container, host_ip: None, host_ports: None });
            }
        }
    }
    mappings
}
