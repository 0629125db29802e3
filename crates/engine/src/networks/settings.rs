//! What a container may ask of a network, as far as that is known before it starts.

use std::net::IpAddr;
use wharf_model::container::EndpointSpec;
use wharf_model::network::{NetworkSpec, in_block};
use wharf_model::{Error, Result};

/// Checks what a container asks of a network of its user's, or of the engine's bridge.
///
/// # Errors
/// `Invalid`, with all that is wrong, one a line.
pub(crate) fn check(network: &NetworkSpec, wish: &EndpointSpec) -> Result<()> {
    let mut wrong = if network.name == "bridge" { of_own_networks(wish) } else { Vec::new() };
    for address in &addresses(wish) {
        if !network.subnets.iter().any(|subnet| in_block(subnet.base, subnet.prefix, *address)) {
            wrong.push(format!("no configured subnet or ip-range contain the IP address {address}"));
        }
    }
    told(&network.name, &wrong)
}

/// Checks what a container asks of `host`, `none` or another container's network, of which it gets nothing.
///
/// # Errors
/// As [`check`].
pub fn check_without_network(mode: &str, wish: &EndpointSpec) -> Result<()> {
    let mut wrong = of_own_networks(wish);
    // Docker looks for the subnets of these two, which have none.
    if matches!(mode, "host" | "none") && !addresses(wish).is_empty() {
        wrong.push(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .to_owned(),
        );
    }
    told(mode, &wrong)
}

fn addresses(wish: &EndpointSpec) -> Vec<IpAddr> {
    wish.ipv4.map(IpAddr::V4).into_iter().chain(wish.ipv6.map(IpAddr::V6)).collect()
}

/// What only networks have that users made.
fn of_own_networks(wish: &EndpointSpec) -> Vec<String> {
    let wishes = [
        (!addresses(wish).is_empty(), "user specified IP address is supported on user defined networks only"),
        (
            !wish.aliases.is_empty(),
            "network-scoped alias is supported only for containers in user defined networks",
        ),
    ];
    wishes.into_iter().filter(|(wished, _)| *wished).map(|(_, text)| text.to_owned()).collect()
}

fn told(network: &str, wrong: &[String]) -> Result<()> {
    let told = match wrong {
        [] => return Ok(()),
        [one] => one.clone(),
        all => all.iter().map(|line| format!("* {line}")).collect::<Vec<_>>().join("\n"),
    };
    Err(Error::invalid(format!("invalid config for network {network}: invalid endpoint settings:\n{told}")))
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

    #[test]
    fn who_has_no_network_asks_nothing_of_it() {
        let wish = EndpointSpec {
            ipv4: Some("10.9.0.7".parse().unwrap()),
            aliases: vec!["a".into()],
            ..Default::default()
        };
        let lines = |mode| check_without_network(mode, &wish).unwrap_err().full().matches("\n* ").count();
        assert_eq!((lines("container:x"), lines("host")), (2, 3));
        let alias = EndpointSpec { ipv4: None, ..wish.clone() };
        assert!(check(&network("bridge"), &alias).unwrap_err().full().ends_with("user defined networks"));
        assert!(check(&network("back"), &alias).is_ok());
        assert!(check_without_network("container:x", &EndpointSpec::default()).is_ok());
    }
}
