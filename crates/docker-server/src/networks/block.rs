//! Address blocks of networks, as requests write them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use wharf_docker_api::types::network::IpamConfig;
use wharf_model::network::Subnet;

/// The address as written, the base of its block, and the length.
fn block(text: &str) -> Option<(IpAddr, IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= bits).then(|| (address, masked(address, prefix), prefix))
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            IpAddr::V4((u32::from(a) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into())
        }
        IpAddr::V6(a) => {
            IpAddr::V6((u128::from(a) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

/// A block with its gateway: as given, or the first address. Else all that is wrong with it.
pub(crate) fn subnet(config: &IpamConfig) -> Result<Subnet, Vec<String>> {
    let text = &config.subnet;
    let Some((written, base, prefix)) = block(text) else {
        return Err(vec![format!("invalid subnet {text}: invalid CIDR block notation")]);
    };
    let mut faults = Vec::new();
    if written != base {
        faults.push(format!("invalid subnet {text}: it should be {base}/{prefix}"));
    }
    let lies_within = |ip: IpAddr| ip.is_ipv4() == base.is_ipv4() && masked(ip, prefix) == base;
    let mut address = |what: &str, text: &str| {
        let parsed: Option<IpAddr> = text.parse().ok();
        match parsed {
            None => faults.push(format!("invalid {what} {text}: invalid address")),
            Some(ip) if !lies_within(ip) => {
                faults.push(format!(
                    "invalid {what} {text}: parent subnet {base}/{prefix} doesn't contain this address"
                ));
            }
            Some(_) => {}
        }
        parsed
    };
    let gateway = match config.gateway.split('/').next().unwrap_or_default() {
        "" => None,
        text => address("gateway", text),
    };
    let mut auxiliary = BTreeMap::new();
    for (name, text) in config.auxiliary_addresses.iter().flatten() {
        if let Some(ip) = address("auxiliary address", text) {
            auxiliary.insert(name.clone(), ip);
        }
    }
    let range = block(&config.ip_range).map(|(_, base, prefix)| (base, prefix));
    match range {
        None if config.ip_range.is_empty() => {}
        None => faults.push(format!("invalid ip-range {}: invalid CIDR block notation", config.ip_range)),
        Some((first, _)) if !lies_within(first) => faults.push(format!(
            "invalid ip-range {}: parent subnet {base}/{prefix} doesn't contain ip-range",
            config.ip_range
        )),
        Some(_) => {}
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Subnet { base, prefix, gateway: gateway.unwrap_or_else(|| first(base)), range, auxiliary })
}

/// The first address of a block.
fn first(base: IpAddr) -> IpAddr {
    match base {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) | 1).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) | 1).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(subnet: &str, gateway: &str, range: &str) -> IpamConfig {
        IpamConfig {
            subnet: subnet.into(),
            gateway: gateway.into(),
            ip_range: range.into(),
            ..IpamConfig::default()
        }
    }

    #[test]
    fn blocks_have_a_gateway() {
        let s = subnet(&config("10.9.8.0/24", "", "")).unwrap();
        assert_eq!((s.base.to_string(), s.gateway.to_string()), ("10.9.8.0".into(), "10.9.8.1".into()));
        assert!(subnet(&config("10.0.0.0/33", "", "")).is_err());
    }

    #[test]
    fn faults_have_dockers_words() {
        let faults = |c: IpamConfig| subnet(&c).unwrap_err();
        assert_eq!(
            faults(config("10.1.2.3/24", "", "")),
            ["invalid subnet 10.1.2.3/24: it should be 10.1.2.0/24"]
        );
        assert_eq!(faults(config("zz", "", "")), ["invalid subnet zz: invalid CIDR block notation"]);
        assert_eq!(
            faults(config("10.91.0.0/24", "10.92.0.1", "10.92.0.0/28")),
            [
                "invalid gateway 10.92.0.1: parent subnet 10.91.0.0/24 doesn't contain this address",
                "invalid ip-range 10.92.0.0/28: parent subnet 10.91.0.0/24 doesn't contain ip-range",
            ]
        );
    }
}
