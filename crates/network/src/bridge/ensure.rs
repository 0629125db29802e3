//! Making the kernel agree with a network's specification, and removing a network.

use super::state::{NetworkState, random_mac};
use super::{BridgeNetwork, kernel, lock};
use crate::dns::server::Server;
use crate::ipam::Pool;
use crate::link::{self, BridgeWish};
use crate::nft::content::BridgeRules;
use crate::nft::foreign::chains_that_drop_forwarded;
use crate::remove::remove;
use rustix::io::Errno;
use std::net::IpAddr;
use std::{fs, io};
use wharf_model::error::{Error, ErrorKind, Result};
use wharf_model::ids::NetworkId;
use wharf_model::network::{Driver, GatewayMode, NetworkSpec, Subnet};

/// Longest name of an interface in bytes (IFNAMSIZ less the zero byte).
const MAX_NAME: usize = 15;
const FORWARDING_V4: &str = "/proc/sys/net/ipv4/ip_forward";
const CONF_V6: &str = "/proc/sys/net/ipv6/conf";

impl BridgeNetwork {
    pub(super) fn ensure_network(&self, spec: &NetworkSpec) -> Result<()> {
        let mut state = lock(&self.state);
        state.check(spec)?;
        let index = match spec.driver {
            Driver::Bridge => self.ensure_bridge(spec)?,
            Driver::Macvlan(_) | Driver::Ipvlan(..) => self.ensure_parent(spec)?,
            Driver::Host | Driver::None => 0,
        };
        self.dns.update(|directory| directory.set_network(spec));
        if let Some(known) = state.networks.get_mut(&spec.id)
            && known.spec.subnets == spec.subnets
            && known.index == index
        {
            known.spec = spec.clone();
            return Ok(());
        }
        let pools = spec.subnets.iter().map(Pool::new).collect::<Result<Vec<_>>>()?;
        let mut network = NetworkState { spec: spec.clone(), index, pools, server: None };
        if state.endpoints.keys().any(|(id, _)| *id == spec.id) {
            return self.keep_pools(&mut state.networks, network);
        }
        // The old server must have let go of the addresses before the new one takes them.
        state.networks.remove(&spec.id);
        network.server = self.start_dns(spec);
        state.networks.insert(spec.id.clone(), network);
        Ok(())
    }

    /// A bridge that was made anew under living endpoints keeps their reservations.
    fn keep_pools(
        &self,
        networks: &mut std::collections::HashMap<NetworkId, NetworkState>,
        mut network: NetworkState,
    ) -> Result<()> {
        let id = network.spec.id.clone();
        if let Some(known) = networks.remove(&id) {
            if known.spec.subnets != network.spec.subnets {
                let name = known.spec.name.clone();
                networks.insert(id, known);
                return Err(Error::conflict(format!(
                    "the subnets of network {name} cannot change while it has active endpoints"
                )));
            }
            network.pools = known.pools;
        }
        network.server = self.start_dns(&network.spec);
        networks.insert(id, network);
        Ok(())
    }

    fn ensure_bridge(&self, spec: &NetworkSpec) -> Result<u32> {
        let name = spec.bridge.as_str();
        if name.is_empty() || name.len() > MAX_NAME || name.contains(['/', ' ', '\0']) {
            return Err(Error::invalid(format!(
                "invalid bridge name {name:?}: 1 to {MAX_NAME} bytes without blanks and slashes are expected"
            )));
        }
        // A wrong subnet is refused before anything is made.
        spec.subnets.iter().map(Pool::new).collect::<Result<Vec<_>>>()?;
        if !spec.internal {
            allow_forwarding(spec)?;
        }
        let mac = random_mac()?;
        let own = with_gateway(spec);
        let wish = BridgeWish { name, alias: &self.mark, mac, mtu: spec.mtu, subnets: &own };
        let mut route = lock(&self.route);
        let failed = |what: &str, errno| kernel(format!("{what} bridge {name}"), errno);
        let mut created = false;
        let mut found = link::find(&mut route, name).map_err(|e| failed("look for", e))?;
        if found.is_none() {
            link::create_bridge(&mut route, &wish).map_err(|e| failed("create", e))?;
            created = true;
            found = link::find(&mut route, name).map_err(|e| failed("look for", e))?;
        }
        let bridge = found.ok_or_else(|| failed("look for", Errno::NODEV))?;
        if bridge.kind != "bridge" || !(bridge.alias.is_empty() || bridge.alias == self.mark) {
            return Err(Error::conflict(format!(
                "interface {name} exists and is not ours: remove it or name the bridge otherwise"
            )));
        }
        let undo = |route: &mut _, error: Error| {
            if !created {
                return error;
            }
            match link::delete(route, name) {
                Ok(()) => error,
                Err(errno) => {
                    Error::wrap(error.kind(), format!("{error} (and it was left behind: {errno})"), error)
                }
            }
        };
        if let Err(errno) = link::configure_bridge(&mut route, bridge.index, &wish) {
            return Err(undo(&mut route, failed("configure", errno)));
        }
        if !created {
            let addresses = link::addresses(&mut route).map_err(|e| failed("list addresses of", e))?;
            for (_, ip, prefix) in addresses.into_iter().filter(|(index, ..)| *index == bridge.index) {
                if !is_link_local(ip) && !own.iter().any(|s| s.gateway == ip && s.prefix == prefix) {
                    link::remove_address(&mut route, bridge.index, ip, prefix)
                        .map_err(|e| failed("remove an old address of", e))?;
                }
            }
        }
        let modes = [spec.gateway_modes.0, spec.gateway_modes.1];
        let rules = BridgeRules {
            internal: spec.internal,
            masquerade: modes.map(|mode| spec.masquerade && mode == GatewayMode::Nat),
            routed: modes.map(|mode| mode == GatewayMode::Routed),
            closed: !spec.icc,
            subnets: spec.subnets.iter().map(|subnet| (subnet.base, subnet.prefix)).collect(),
        };
        lock(&self.table).set_bridge(name, &rules).map_err(|errno| {
            let error = kernel(format!("add bridge {name} to nftables table {}", self.table_name), errno);
            undo(&mut route, error)
        })?;
        if created && !spec.internal {
            warn_of_dropping_firewall(name);
        }
        Ok(bridge.index)
    }

    /// Serves names on the gateways. A port 53 that is taken costs the names, not the network.
    fn start_dns(&self, spec: &NetworkSpec) -> Option<Server> {
        let runtime = self.runtime.as_ref()?;
        let gateways: Vec<IpAddr> = with_gateway(spec).iter().map(|subnet| subnet.gateway).collect();
        if gateways.is_empty() || spec.driver != Driver::Bridge {
            return None;
        }
        match Server::start(runtime, &self.dns, &spec.id, &gateways) {
            Ok(server) => Some(server),
            Err(error) => {
                tracing::warn!(network = spec.name, ?gateways, %error,
                    "container names do not resolve in this network: port 53 of its gateway is not free");
                None
            }
        }
    }

    pub(super) fn remove_network(&self, id: &NetworkId) -> Result<()> {
        let mut state = lock(&self.state);
        let network = state.network(id)?;
        if state.endpoints.keys().any(|(network, _)| network == id) {
            return Err(Error::conflict(format!("network {} has active endpoints", network.spec.name)));
        }
        let bridge = network.spec.bridge.clone();
        if network.spec.driver.has_parent() {
            let is_shared = |n: &NetworkState| n.spec.id != *id && n.spec.parent == network.spec.parent;
            self.remove_parent(&network.spec, state.networks.values().any(is_shared))?;
        }
        if network.spec.driver == Driver::Bridge {
            lock(&self.table)
                .remove_bridge(&bridge)
                .map_err(|e| kernel(format!("remove bridge {bridge} from the nftables table"), e))?;
            remove(&bridge).map_err(|e| kernel(format!("remove bridge {bridge}"), e))?;
        }
        state.networks.remove(id);
        self.dns.update(|directory| directory.remove_network(id));
        Ok(())
    }
}

/// The subnets in which the bridge has an address.
fn with_gateway(spec: &NetworkSpec) -> Vec<Subnet> {
    let isolated = |s: &Subnet| {
        let mode = if s.base.is_ipv4() { spec.gateway_modes.0 } else { spec.gateway_modes.1 };
        mode == GatewayMode::Isolated
    };
    spec.subnets.iter().filter(|s| !isolated(s)).cloned().collect()
}

/// The host's firewall has the last word about forwarded packets; a policy that drops them is said, since
/// what a user sees is containers without a network.
fn warn_of_dropping_firewall(bridge: &str) {
    match chains_that_drop_forwarded() {
        Ok(chains) if chains.is_empty() => {}
        Ok(chains) => tracing::warn!(
            bridge,
            ?chains,
            "the host's firewall drops forwarded packets by default: containers reach nothing beyond this host, \
             and are not reached from beyond, until it accepts those of this bridge \
             (where Docker set that policy, in its chain DOCKER-USER)"
        ),
        Err(errno) => tracing::debug!(%errno, "the host's firewall could not be read"),
    }
}

/// Lets the host forward packets, as every bridge with a way out needs.
fn allow_forwarding(spec: &NetworkSpec) -> Result<()> {
    let refused = |path: &str| {
        let path = path.to_owned();
        move |error: io::Error| {
            Error::wrap(ErrorKind::Internal, format!("enable forwarding: write 1 to {path}"), error)
        }
    };
    if fs::read_to_string(FORWARDING_V4).map_err(refused(FORWARDING_V4))?.trim() == "0" {
        fs::write(FORWARDING_V4, "1").map_err(refused(FORWARDING_V4))?;
    }
    if !spec.subnets.iter().any(|subnet| subnet.base.is_ipv6()) {
        return Ok(());
    }
    let all = format!("{CONF_V6}/all/forwarding");
    if fs::read_to_string(&all).map_err(refused(&all))?.trim() != "0" {
        return Ok(());
    }
    // A forwarding host stops listening to router advertisements unless told to go on (2): without this,
    // a host that got its own address that way would lose it.
    for entry in fs::read_dir(CONF_V6).map_err(refused(CONF_V6))? {
        let path = entry.map_err(refused(CONF_V6))?.path().join("accept_ra");
        let shown = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(value) if value.trim() == "1" => fs::write(&path, "2").map_err(refused(&shown))?,
            Ok(_) => {}
            // The interface went away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(&shown)(error)),
        }
    }
    fs::write(&all, "1").map_err(refused(&all))
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
