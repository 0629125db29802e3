//! What a container may ask of a network, as far as that is known before it starts.

use std::net::IpAddr;
use wharf_model::container::EndpointSpec;
use wharf_model::network::{NetworkSpec, in_block};
use wharf_model::{Error, Result};

/// Checks the addresses that a container asks for.
///
/// # Errors
/// `Invalid`, with all that is wrong, one a line.
pub(crate) fn check(network: &NetworkSpec, wish: &EndpointSpec) -> Result<()> {
    let asked: Vec<IpAddr> = wish.ipv4.map(IpAddr::V4).into_iter().chain(wish.ipv6.map(IpAddr::V6)).collect();
    let mut wrong = Vec::new();
    if network.name == "bridge" && !asked.is_empty() {
        wrong.push("user specified IP address is supported on user defined networks only".to_owned());
    }
    for address in &asked {
        if !network.subnets.iter().any(|subnet| in_block(subnet.base, subnet.prefix, *address)) {
            wrong.push(format!("no configured subnet or ip-range contain the IP address {address}"));
        }
    }
    let told = match &wrong[..] {
        [] => return Ok(()),
        [one] => one.clone(),
        all => all.iter().map(|line| format!("* {line}")).collect::<Vec<_>>().join("\n"),
    };
    Err(Error::invalid(format!(
        "invalid config for network {}: invalid endpoint settings:\n{told}",
        network.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_model::network::Subnet;

    fn network(name: &str) -> NetworkSpec {
        let block = |base: &str, prefix| Subnet {
            base: base.parse().unwrap(),
            prefix,
            gateway: base.parse().unwrap(),
            range: None,
            auxiliary: Default::default(),
        };
        let mut spec = wharf_model::network::conformance::spec(1);
        name.clone_into(&mut spec.name);
        spec.subnets = vec![block("10.9.0.0", 16), block("fd00:9::", 64)];
        spec
    }

    #[test]
    fn addresses_lie_in_a_subnet() {
        let wish = |v4: &str, v6: Option<&str>| EndpointSpec {
            ipv4: Some(v4.parse().unwrap()),
            ipv6: v6.map(|a| a.parse().unwrap()),
            ..EndpointSpec::default()
        };
        assert!(check(&network("back"), &wish("10.9.200.1", Some("fd00:9::5"))).is_ok());
        let one = check(&network("back"), &wish("10.10.0.1", None)).unwrap_err().full();
        assert!(
            one.ends_with("settings:\nno configured subnet or ip-range contain the IP address 10.10.0.1")
        );
        let two = check(&network("back"), &wish("10.10.0.1", Some("fd01::1"))).unwrap_err().full();
        assert_eq!(two.matches("\n* ").count(), 2, "{two}");
        assert!(check(&network("bridge"), &wish("10.9.0.7", None)).is_err());
        assert!(check(&network("bridge"), &EndpointSpec::default()).is_ok());
    }
}
