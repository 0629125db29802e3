//! Networks on an interface of the host (macvlan, ipvlan): the parent, and the interfaces that sit on it.

use super::{BridgeNetwork, kernel, lock};
use crate::link::child::{self, ChildWish};
use crate::link::{self, Link};
use crate::namespace::within;
use crate::netlink::socket::Socket;
use crate::remove::remove;
use std::os::fd::BorrowedFd;
use wharf_model::error::{Error, ErrorKind, Result};
use wharf_model::network::parent::{NotVlan, VlanName};
use wharf_model::network::{Driver, Endpoint, NetworkSpec};

/// Digits of a network's id in the name of a parent that the engine makes: with the prefix, 15 characters.
const NAME_DIGITS: usize = 12;

impl BridgeNetwork {
    /// Finds the parent of a network, or makes it; its index.
    pub(super) fn ensure_parent(&self, spec: &NetworkSpec) -> Result<u32> {
        let mut route = lock(&self.route);
        must_know(&mut route, child::kind(&spec.driver))?;
        if let Some(link) = find(&mut route, &spec.parent)? {
            return Ok(link.index);
        }
        let digits = &spec.id.as_str()[..NAME_DIGITS];
        if spec.parent == format!("dm-{digits}") {
            child::create_dead_end(&mut route, &spec.parent, &format!("dp-{digits}"), &self.mark)
                .map_err(|errno| kernel(format!("create interface {}", spec.parent), errno))?;
        } else {
            self.create_vlan(&mut route, &spec.parent)?;
        }
        let made = find(&mut route, &spec.parent)?;
        made.map(|link| link.index).ok_or_else(|| Error::internal(format!("{} was not made", spec.parent)))
    }

    fn create_vlan(&self, route: &mut Socket, name: &str) -> Result<()> {
        // Docker's words and, for all of these, its status.
        let vlan: VlanName = name.parse().map_err(|e| {
            Error::internal(match e {
                NotVlan::Plain => format!("invalid subinterface vlan name {name}, example formatting is eth0.10"),
                NotVlan::Form => format!(
                    "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
                ),
                NotVlan::Id(id) => format!("vlan id must be between 1-4094, received: {id}"),
            })
        })?;
        let below = find(route, &vlan.parent)?.ok_or_else(|| {
            Error::internal(format!("-o parent interface was not found on the host: {}", vlan.parent))
        })?;
        must_know(route, "vlan")?;
        child::create_vlan(route, name, &self.mark, below.index, vlan.id)
            .map_err(|errno| kernel(format!("failed to create {name} vlan link"), errno))
    }

    /// Removes a parent that the engine made, when no other network sits on it.
    pub(super) fn remove_parent(&self, spec: &NetworkSpec, is_shared: bool) -> Result<()> {
        let found = find(&mut lock(&self.route), &spec.parent)?;
        match found {
            Some(link) if link.alias == self.mark && !is_shared => remove(&spec.parent)
                .map_err(|errno| kernel(format!("remove interface {}", spec.parent), errno)),
            _ => Ok(()),
        }
    }

    /// Makes an endpoint's interface on the network's parent, inside `netns`.
    pub(super) fn create_child(
        &self,
        endpoint: &Endpoint,
        spec: &NetworkSpec,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let mut route = lock(&self.route);
        // By name: the parent may have been made anew since the network was.
        let parent = find(&mut route, &spec.parent)?.ok_or_else(|| {
            Error::not_found(format!("the parent interface {} of network {} is gone", spec.parent, spec.name))
        })?;
        let wish = ChildWish {
            driver: &spec.driver,
            parent: parent.index,
            name: &endpoint.interface,
            mac: endpoint.mac,
            mtu: spec.mtu,
            netns,
        };
        child::create_child(&mut route, &wish).map_err(|errno| {
            let what = format!("create interface {} on {}", endpoint.interface, spec.parent);
            match errno {
                rustix::io::Errno::BUSY => Error::wrap(
                    ErrorKind::Conflict,
                    format!("{what}: {} is taken by an interface of another kind or mode", spec.parent),
                    errno,
                ),
                errno => kernel(what, errno),
            }
        })
    }
}

/// Removes an interface inside a namespace; nothing happens when there is none.
pub(super) fn delete_inside(name: &str, netns: BorrowedFd<'_>) -> Result<()> {
    within(netns, || link::delete(&mut Socket::route()?, name))
        .map_err(|errno| kernel(format!("remove interface {name}"), errno))
}

/// Refuses a network that cannot share its parent with another, in Docker's words.
pub(super) fn check_parent(spec: &NetworkSpec, other: &NetworkSpec) -> Result<()> {
    use wharf_model::network::parent::MacvlanMode::Passthru;
    if spec.parent.is_empty() || spec.parent != other.parent {
        return Ok(());
    }
    let (id, parent) = (&other.id, &spec.parent);
    let refusal = match (&spec.driver, &other.driver) {
        (Driver::Macvlan(Passthru), Driver::Macvlan(_)) => {
            format!(
                "cannot use mode passthru, macvlan network {id} is already using parent interface {parent}"
            )
        }
        (Driver::Macvlan(_), Driver::Macvlan(Passthru)) => {
            format!("macvlan network {id} is already using parent interface {parent} in mode passthru")
        }
        (Driver::Ipvlan(..), Driver::Ipvlan(..)) => {
            format!("network di-{} is already using parent interface {parent}", &id.as_str()[..NAME_DIGITS])
        }
        _ => return Ok(()),
    };
    Err(Error::internal(refusal))
}

/// Refuses what this kernel does not have, and says what would have to be there.
fn must_know(route: &mut Socket, kind: &str) -> Result<()> {
    let option = match kind {
        "macvlan" => "CONFIG_MACVLAN",
        "ipvlan" => "CONFIG_IPVLAN",
        _ => "CONFIG_VLAN_8021Q",
    };
    let module = if kind == "vlan" { "8021q" } else { kind };
    match child::is_known(route, kind) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::unsupported(format!(
            "this kernel has no {kind} interfaces: load its module {module}, or boot a kernel built with {option}"
        ))),
        Err(errno) => Err(kernel(format!("ask the kernel for {kind} interfaces"), errno)),
    }
}

fn find(route: &mut Socket, name: &str) -> Result<Option<Link>> {
    link::find(route, name).map_err(|errno| kernel(format!("look for interface {name}"), errno))
}
