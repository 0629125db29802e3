//! Modes of the drivers that put containers on an interface of the host: macvlan and ipvlan.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Who of one parent's macvlan interfaces may talk to whom (ip-link(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// All with each other, inside the kernel.
    #[default]
    Bridge,
    /// All with each other, through a switch that turns their packets round.
    Vepa,
    /// Nobody with another.
    Private,
    /// One interface alone, which takes the parent over.
    Passthru,
}

impl FromStr for MacvlanMode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "" | "bridge" => Ok(Self::Bridge),
            "vepa" => Ok(Self::Vepa),
            "private" => Ok(Self::Private),
            "passthru" => Ok(Self::Passthru),
            _ => Err(()),
        }
    }
}

/// Where the packets of one parent's ipvlan interfaces are decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanLayer {
    /// By the container: it speaks ARP, and its gateway lies behind the parent.
    #[default]
    L2,
    /// By the host's routes: no broadcast, no ARP, no gateway.
    L3,
    /// As `L3`, and the host's connection tracking sees them.
    L3s,
}

impl FromStr for IpvlanLayer {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "" | "l2" => Ok(Self::L2),
            "l3" => Ok(Self::L3),
            "l3s" => Ok(Self::L3s),
            _ => Err(()),
        }
    }
}

/// Who of one parent's ipvlan interfaces may talk to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// All with each other.
    #[default]
    Bridge,
    /// Nobody with another.
    Private,
    /// All with each other, through a switch that turns their packets round.
    Vepa,
}

impl FromStr for IpvlanFlag {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "" | "bridge" => Ok(Self::Bridge),
            "private" => Ok(Self::Private),
            "vepa" => Ok(Self::Vepa),
            _ => Err(()),
        }
    }
}

/// The name of a VLAN's interface, `parent.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanName {
    /// The interface that the VLAN lies on.
    pub parent: String,
    /// 1–4094.
    pub id: u16,
}

/// Why a name is not one of a VLAN's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotVlan {
    /// It has no dot.
    Plain,
    /// It has several dots, or no number behind the dot.
    Form,
    /// The number is none of a VLAN.
    Id(u64),
}

impl FromStr for VlanName {
    type Err = NotVlan;
    fn from_str(text: &str) -> Result<Self, NotVlan> {
        let Some((parent, id)) = text.split_once('.') else { return Err(NotVlan::Plain) };
        let number: u64 = id.parse().map_err(|_| NotVlan::Form)?;
        match u16::try_from(number) {
            Ok(id @ 1..=4094) => Ok(Self { parent: parent.to_owned(), id }),
            _ => Err(NotVlan::Id(number)),
        }
    }
}

impl fmt::Display for VlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.parent, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlan_names() {
        let name: VlanName = "eth0.50".parse().unwrap();
        assert_eq!((name.parent.as_str(), name.id, name.to_string()), ("eth0", 50, "eth0.50".into()));
        assert_eq!("eth0".parse::<VlanName>(), Err(NotVlan::Plain));
        assert_eq!("a.b.c".parse::<VlanName>(), Err(NotVlan::Form));
        for id in [0, 4095, 70_000] {
            assert_eq!(format!("eth0.{id}").parse::<VlanName>(), Err(NotVlan::Id(id)));
        }
    }
}
