//! Interfaces that sit on another: macvlan, ipvlan, VLANs; and parents with nothing behind them.

use super::{
    IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK,
    IFLA_LINKINFO, IFLA_MTU, IFLA_NET_NS_FD, RTM_NEWLINK, VETH_INFO_PEER, all, delete, link_header,
};
use crate::netlink::message::{ACK, Batch, CREATE, EXCL, REQUEST};
use crate::netlink::socket::Socket;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use wharf_model::network::Driver;
use wharf_model::network::parent::{IpvlanFlag, IpvlanLayer, MacvlanMode};

const IFLA_VLAN_ID: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

/// What an interface inside a container shall be like that sits on one of the host.
#[derive(Debug)]
pub(crate) struct ChildWish<'a> {
    pub(crate) driver: &'a Driver,
    /// Index of the parent.
    pub(crate) parent: u32,
    pub(crate) name: &'a str,
    /// Zeros leave the parent's.
    pub(crate) mac: [u8; 6],
    /// 0 leaves the parent's.
    pub(crate) mtu: u32,
    pub(crate) netns: BorrowedFd<'a>,
}

/// Creates an interface that is born in `netns`, down.
pub(crate) fn create_child(socket: &mut Socket, wish: &ChildWish<'_>) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch
        .message(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &link_header(0, 0))
        .text(IFLA_IFNAME, wish.name)
        .u32(IFLA_LINK, wish.parent)
        .attr(IFLA_NET_NS_FD, &wish.netns.as_raw_fd().to_ne_bytes());
    if wish.mac != [0; 6] {
        batch.attr(IFLA_ADDRESS, &wish.mac);
    }
    if wish.mtu > 0 {
        batch.u32(IFLA_MTU, wish.mtu);
    }
    batch.nest(IFLA_LINKINFO, |b| {
        b.text(IFLA_INFO_KIND, kind(wish.driver)).nest(IFLA_INFO_DATA, |b| match wish.driver {
            Driver::Macvlan(mode) => {
                b.u32(IFLA_MACVLAN_MODE, macvlan_mode(*mode));
            }
            Driver::Ipvlan(layer, flag) => {
                b.attr(IFLA_IPVLAN_MODE, &ipvlan_mode(*layer).to_ne_bytes())
                    .attr(IFLA_IPVLAN_FLAGS, &ipvlan_flag(*flag).to_ne_bytes());
            }
            Driver::Bridge | Driver::Host | Driver::None => {}
        });
    });
    all(socket.each(&batch)?)
}

/// Whether the kernel makes links of a kind at all; a module is loaded for it where there is one.
///
/// The request lacks what every kind asked about here needs, so nothing is made.
pub(crate) fn is_known(socket: &mut Socket, kind: &str) -> Result<bool, Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &link_header(0, 0)).nest(IFLA_LINKINFO, |b| {
        b.text(IFLA_INFO_KIND, kind);
    });
    match all(socket.each(&batch)?) {
        Ok(()) => Err(Errno::EXIST),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::INVAL | Errno::NODEV | Errno::NXIO) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Creates the interface of a VLAN, up and with an alias. Nothing is left when it fails.
pub(crate) fn create_vlan(
    socket: &mut Socket,
    name: &str,
    alias: &str,
    parent: u32,
    id: u16,
) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch
        .message(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &link_header(0, 0))
        .text(IFLA_IFNAME, name)
        .u32(IFLA_LINK, parent)
        .nest(IFLA_LINKINFO, |b| {
            b.text(IFLA_INFO_KIND, "vlan").nest(IFLA_INFO_DATA, |b| {
                b.attr(IFLA_VLAN_ID, &id.to_ne_bytes());
            });
        });
    all(socket.each(&batch)?)?;
    finish(socket, name, alias)
}

/// Creates an interface that is up and has nothing behind it: a dummy, or on a kernel without those one end of a veth pair,
/// whose other end `far` takes what is sent and says nothing. Nothing is left when it fails.
pub(crate) fn create_dead_end(socket: &mut Socket, name: &str, far: &str, alias: &str) -> Result<(), Errno> {
    let create = |kind: &str, far: Option<&str>| {
        let mut batch = Batch::default();
        batch
            .message(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &link_header(0, 0))
            .text(IFLA_IFNAME, name)
            .nest(IFLA_LINKINFO, |b| {
                b.text(IFLA_INFO_KIND, kind);
                let Some(far) = far else { return };
                b.nest(IFLA_INFO_DATA, |b| {
                    b.nest(VETH_INFO_PEER, |b| {
                        b.raw(&link_header(0, 0)).text(IFLA_IFNAME, far);
                    });
                });
            });
        batch
    };
    match all(socket.each(&create("dummy", None))?) {
        Err(Errno::OPNOTSUPP) => {
            all(socket.each(&create("veth", Some(far)))?)?;
            // Without its other end up, this one has no carrier, and what sits on it neither.
            finish(socket, far, "")?;
        }
        made => made?,
    }
    finish(socket, name, alias)
}

/// Gives a new link its alias and brings it up; removes it when that fails.
fn finish(socket: &mut Socket, name: &str, alias: &str) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch.message(RTM_NEWLINK, REQUEST | ACK, &link_header(0, IFF_UP)).text(IFLA_IFNAME, name);
    if !alias.is_empty() {
        batch.text(IFLA_IFALIAS, alias);
    }
    let Err(errno) = all(socket.each(&batch)?) else { return Ok(()) };
    delete(socket, name)?;
    Err(errno)
}

/// The kernel's word for the links of a driver.
pub(crate) fn kind(driver: &Driver) -> &'static str {
    match driver {
        Driver::Macvlan(_) => "macvlan",
        Driver::Ipvlan(..) => "ipvlan",
        Driver::Bridge | Driver::Host | Driver::None => "veth",
    }
}

/// `MACVLAN_MODE_*` of linux/if_link.h.
fn macvlan_mode(mode: MacvlanMode) -> u32 {
    match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => 8,
    }
}

/// `IPVLAN_MODE_*`.
fn ipvlan_mode(layer: IpvlanLayer) -> u16 {
    match layer {
        IpvlanLayer::L2 => 0,
        IpvlanLayer::L3 => 1,
        IpvlanLayer::L3s => 2,
    }
}

/// `IPVLAN_F_*`.
fn ipvlan_flag(flag: IpvlanFlag) -> u16 {
    match flag {
        IpvlanFlag::Bridge => 0,
        IpvlanFlag::Private => 1,
        IpvlanFlag::Vepa => 2,
    }
}
