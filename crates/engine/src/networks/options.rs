//! What the options of a network mean to its driver, and which Docker refuses.

use super::NewNetwork;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use wharf_model::network::{Driver, GatewayMode, NetworkSpec};
use wharf_model::{Error, ErrorKind, NetworkId, Result};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const MTU: &str = "com.docker.network.driver.mtu";
const MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// Longest name of an interface in bytes.
const MAX_NAME: usize = 15;
/// Digits of the id in names of interfaces: with a prefix, the longest there may be.
const NAME_DIGITS: usize = 12;

/// The specification of a wished network, with the subnets that the user gave.
pub(super) fn spec(wish: &NewNetwork, id: NetworkId) -> Result<NetworkSpec> {
    if wish.without_ipv4 && !wish.ipv6 {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
    }
    let driver = driver(wish)?;
    let mut spec = NetworkSpec {
        name: wish.name.clone(),
        bridge: String::new(),
        parent: String::new(),
        subnets: wish.subnets.clone(),
        internal: wish.internal,
        icc: true,
        masquerade: true,
        mtu: parsed(wish, MTU, "Atoi")?.unwrap_or(0),
        gateway_modes: Default::default(),
        binding: None,
        driver,
        id,
    };
    if spec.driver.has_parent() {
        spec.parent = parent(wish, &spec)?;
    } else {
        bridge(wish, &mut spec)?;
    }
    Ok(spec)
}

fn driver(wish: &NewNetwork) -> Result<Driver> {
    let refused = |text: String| Error::new(ErrorKind::Forbidden, text);
    let option = |key: &str| wish.options.get(key).map_or("", String::as_str);
    match wish.driver.as_str() {
        "" | "bridge" | "default" => Ok(Driver::Bridge),
        "macvlan" => {
            let text = option("macvlan_mode");
            text.parse().map(Driver::Macvlan).map_err(|()| {
                Error::internal(format!(
                    "requested macvlan mode '{text}' is not valid, 'bridge' mode is the macvlan driver default"
                ))
            })
        }
        "ipvlan" => {
            let (mode, flag) = (option("ipvlan_mode"), option("ipvlan_flag"));
            let layer = mode.parse().map_err(|()| {
                Error::internal(format!(
                    "requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan driver default"
                ))
            })?;
            let flag = flag.parse().map_err(|()| {
                Error::internal(format!(
                    "requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default"
                ))
            })?;
            Ok(Driver::Ipvlan(layer, flag))
        }
        name @ ("host" | "null") => Err(refused(format!("only one instance of {name:?} network is allowed"))),
        "overlay" => Err(refused(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.".into(),
        )),
        name => Err(Error::not_found(format!("plugin {name:?} not found"))),
    }
}

/// The interface to sit on. Without one, an interface with nothing behind it.
fn parent(wish: &NewNetwork, spec: &NetworkSpec) -> Result<String> {
    match wish.options.get("parent").map_or("", String::as_str) {
        "" => Ok(format!("dm-{}", &spec.id.as_str()[..NAME_DIGITS])),
        "lo" => Err(Error::internal(format!(
            "loopback interface is not a valid {} parent link",
            super::driver_name(&spec.driver)
        ))),
        name => Ok(name.to_owned()),
    }
}

fn bridge(wish: &NewNetwork, spec: &mut NetworkSpec) -> Result<()> {
    spec.bridge = wish
        .options
        .get(BRIDGE_NAME)
        .cloned()
        .unwrap_or_else(|| format!("wh{}", &spec.id.as_str()[..NAME_DIGITS]));
    if spec.bridge.len() > MAX_NAME {
        return Err(Error::invalid(format!(
            "bridge name {:?} is longer than the {MAX_NAME} bytes of the kernel",
            spec.bridge
        )));
    }
    spec.icc = flag(wish, ICC)?.unwrap_or(true) && !wish.isolated;
    spec.masquerade = flag(wish, MASQUERADE)?.unwrap_or(true);
    spec.gateway_modes = (mode(wish, MODES[0])?, mode(wish, MODES[1])?);
    if let Some(text) = wish.options.get(BINDING).filter(|text| !text.is_empty()) {
        let ip: IpAddr = text.parse().ok().filter(IpAddr::is_ipv4).ok_or_else(|| {
            Error::invalid(format!("failed to parse {BINDING} value: {text} (expected an IPv4 address)"))
        })?;
        // Every address of IPv4 is said so, and then no address of IPv6 is meant.
        spec.binding = Some(ip);
    }
    Ok(())
}

fn mode(wish: &NewNetwork, key: &str) -> Result<GatewayMode> {
    let mode = match wish.options.get(key).map_or("", String::as_str) {
        // `nat-unprotected` is refused: what is not published stays closed.
        "" | "nat" => GatewayMode::Nat,
        "routed" => GatewayMode::Routed,
        "isolated" => GatewayMode::Isolated,
        other => {
            let text = format!("failed to parse {key} value: {other} (unknown gateway mode {other})");
            return Err(Error::invalid(text));
        }
    };
    if mode == GatewayMode::Isolated && !wish.internal {
        return Err(Error::internal("gateway mode 'isolated' can only be used for an internal network"));
    }
    Ok(mode)
}

/// A yes or no in any of the spellings that Go reads.
fn flag(wish: &NewNetwork, key: &str) -> Result<Option<bool>> {
    let Some(text) = wish.options.get(key) else { return Ok(None) };
    match text.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
        _ => Err(unparsed(key, text, "ParseBool")),
    }
}

fn parsed<T: FromStr>(wish: &NewNetwork, key: &str, how: &str) -> Result<Option<T>> {
    let Some(text) = wish.options.get(key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| unparsed(key, text, how))
}

fn unparsed(key: &str, text: impl Display, how: &str) -> Error {
    Error::invalid(format!(
        "failed to parse {key} value: {text} (strconv.{how}: parsing \"{text}\": invalid syntax)"
    ))
}

/// The options that Docker shows of its own bridge.
pub(super) fn shown(spec: &NetworkSpec) -> BTreeMap<String, String> {
    // Without another wish the bridge has the MTU of Ethernet.
    let mtu = if spec.mtu == 0 { 1500 } else { spec.mtu };
    [
        ("com.docker.network.bridge.default_bridge", "true".to_owned()),
        (ICC, spec.icc.to_string()),
        (MASQUERADE, spec.masquerade.to_string()),
        (BINDING, "0.0.0.0".to_owned()),
        (BRIDGE_NAME, spec.bridge.clone()),
        (MTU, mtu.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(driver: &str, options: &[(&str, &str)]) -> NewNetwork {
        NewNetwork {
            name: "n".into(),
            driver: driver.into(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..NewNetwork::default()
        }
    }

    fn made(driver: &str, options: &[(&str, &str)]) -> Result<NetworkSpec> {
        spec(&wish(driver, options), NetworkId::from_bytes([7; 32]))
    }

    #[test]
    fn drivers_and_modes() {
        use wharf_model::network::parent::{IpvlanFlag, IpvlanLayer, MacvlanMode};
        assert_eq!(made("", &[]).unwrap().driver, Driver::Bridge);
        let lan = made("macvlan", &[("parent", "eth0.50"), ("macvlan_mode", "vepa")]).unwrap();
        assert_eq!((lan.driver, lan.parent.as_str()), (Driver::Macvlan(MacvlanMode::Vepa), "eth0.50"));
        assert_eq!(made("macvlan", &[]).unwrap().parent, "dm-070707070707");
        let lan = made("ipvlan", &[("ipvlan_mode", "l3s"), ("ipvlan_flag", "private")]).unwrap();
        assert_eq!(lan.driver, Driver::Ipvlan(IpvlanLayer::L3s, IpvlanFlag::Private));
    }

    #[test]
    fn refusals_have_dockers_words() {
        let text = |driver, options: &[(&str, &str)]| made(driver, options).unwrap_err().to_string();
        assert_eq!(text("nope", &[]), "plugin \"nope\" not found");
        assert_eq!(text("host", &[]), "only one instance of \"host\" network is allowed");
        assert!(text("macvlan", &[("macvlan_mode", "foo")]).contains("'foo' is not valid, 'bridge' mode"));
        assert_eq!(
            text("ipvlan", &[("parent", "lo")]),
            "loopback interface is not a valid ipvlan parent link"
        );
        assert!(
            text("bridge", &[(ICC, "zz")]).ends_with("(strconv.ParseBool: parsing \"zz\": invalid syntax)")
        );
        assert!(text("bridge", &[(MTU, "zz")]).ends_with("(strconv.Atoi: parsing \"zz\": invalid syntax)"));
        assert!(text("bridge", &[(MODES[0], "zz")]).ends_with("(unknown gateway mode zz)"));
        assert!(text("bridge", &[(MODES[0], "isolated")]).contains("internal network"));
    }
}
