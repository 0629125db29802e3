//! `network create`.

use crate::context::{Context, line, note};
use crate::failure::{Failure, Outcome};
use crate::parse::{env, pair};
use std::net::IpAddr;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::Map;
use wharf_docker_api::types::network::{ConfigReference, CreateRequest, CreateResponse, Ipam, IpamConfig};

/// Flags of `network create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Containers may join it by hand
    #[arg(long)]
    attachable: bool,
    /// Address to keep free, as name=ip
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// Network whose configuration to copy
    #[arg(long, value_name = "string")]
    config_from: Option<String>,
    /// Only a configuration to copy from
    #[arg(long)]
    config_only: bool,
    /// What makes the network
    #[arg(short = 'd', long, value_name = "string", default_value = "bridge")]
    driver: String,
    /// Address of the gateway
    #[arg(long, value_name = "list")]
    gateway: Vec<String>,
    /// Network of a swarm's routing mesh
    #[arg(long)]
    ingress: bool,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// Part of the subnet that containers get addresses from
    #[arg(long, value_name = "list")]
    ip_range: Vec<String>,
    /// What gives out addresses
    #[arg(long, value_name = "string", default_value = "default")]
    ipam_driver: String,
    /// Option of what gives out addresses, as key=value
    #[arg(long, value_name = "map")]
    ipam_opt: Vec<String>,
    /// Give containers IPv4 addresses
    #[arg(long, value_name = "bool", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    ipv4: Option<bool>,
    /// Give containers IPv6 addresses
    #[arg(long, value_name = "bool", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    ipv6: Option<bool>,
    /// Label of the network, as key=value
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Option of the driver, as key=value
    #[arg(short = 'o', long, value_name = "map")]
    opt: Vec<String>,
    /// How far the network reaches
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    scope: String,
    /// Subnet, such as 10.5.0.0/16
    #[arg(long, value_name = "list")]
    subnet: Vec<String>,
    #[arg(value_name = "NETWORK", required = true, hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let ipam = Ipam {
        driver: options.ipam_driver.clone(),
        options: Some(map(&options.ipam_opt)),
        config: Some(subnets(&options).map_err(Failure::new)?),
    };
    let labels = env::labels(&[], &options.label).map_err(Failure::new)?;
    let request = CreateRequest {
        name: options.name,
        driver: options.driver,
        scope: options.scope,
        enable_ipv4: options.ipv4,
        enable_ipv6: options.ipv6,
        ipam: Some(ipam),
        internal: options.internal,
        attachable: options.attachable,
        ingress: options.ingress,
        config_only: options.config_only,
        config_from: options.config_from.map(|network| ConfigReference { network }),
        options: Some(map(&options.opt).into()),
        labels: Some(labels.into_iter().collect()),
        ..CreateRequest::default()
    };
    let created: CreateResponse = context.client.json(Call::post("/networks/create").json(&request)?).await?;
    if !created.warning.is_empty() {
        note(format!("WARNING: {}", created.warning));
    }
    line(created.id)?;
    Ok(0)
}

fn map(list: &[String]) -> Map<String> {
    list.iter().map(|text| pair(text)).collect()
}

/// Each subnet with the range, gateway and other addresses that lie in it.
fn subnets(options: &Options) -> Result<Vec<IpamConfig>, String> {
    if options.subnet.len() < options.ip_range.len() || options.subnet.len() < options.gateway.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".into());
    }
    let mut configs: Vec<(IpAddr, u8, IpamConfig)> = Vec::new();
    for subnet in &options.subnet {
        let (base, prefix) = cidr(subnet)?;
        configs.push((base, prefix, IpamConfig { subnet: subnet.clone(), ..IpamConfig::default() }));
    }
    let mut within = |ip: IpAddr, what: &str| {
        configs
            .iter_mut()
            .position(|(base, prefix, _)| contains(*base, *prefix, ip))
            .ok_or_else(|| format!("no matching subnet for {what} {ip}"))
    };
    let mut ranges = Vec::new();
    for range in &options.ip_range {
        ranges.push((within(cidr(range)?.0, "range")?, range.clone()));
    }
    let mut gateways = Vec::new();
    for gateway in &options.gateway {
        let ip = gateway.parse().map_err(|_| format!("invalid gateway address: {gateway}"))?;
        gateways.push((within(ip, "gateway")?, gateway.clone()));
    }
    let mut others = Vec::new();
    for text in &options.aux_address {
        let (name, address) = pair(text);
        let ip = address.parse().map_err(|_| format!("invalid aux-address: {text}"))?;
        others.push((within(ip, "aux-address")?, name, address));
    }
    for (at, range) in ranges {
        configs[at].2.ip_range = range;
    }
    for (at, gateway) in gateways {
        configs[at].2.gateway = gateway;
    }
    for (at, name, address) in others {
        configs[at].2.auxiliary_addresses.get_or_insert_default().insert(name, address);
    }
    Ok(configs.into_iter().map(|(_, _, config)| config).collect())
}

fn cidr(text: &str) -> Result<(IpAddr, u8), String> {
    let invalid = || format!("invalid CIDR address: {text}");
    let (base, prefix) = text.split_once('/').ok_or_else(invalid)?;
    Ok((base.parse().map_err(|_| invalid())?, prefix.parse().map_err(|_| invalid())?))
}

fn contains(base: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let ((base, bits), (ip, other_bits)) = (number(base), number(ip));
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix).min(128)).unwrap_or(0);
    bits == other_bits && base & mask == ip & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(words: &[&str]) -> Result<Vec<IpamConfig>, String> {
        let command = Options::augment_args(clap::Command::new("create"));
        let matches = command.get_matches_from(std::iter::once(&"create").chain(words));
        subnets(&Options::from_arg_matches(&matches).map_err(|e| e.to_string())?)
    }

    #[test]
    fn addresses_find_their_subnet() {
        let found = parse(&[
            "n",
            "--subnet",
            "10.1.0.0/16",
            "--subnet",
            "fd00::/64",
            "--gateway",
            "fd00::9",
            "--ip-range",
            "10.1.2.0/24",
        ])
        .unwrap();
        assert_eq!((found[0].ip_range.as_str(), found[0].gateway.as_str()), ("10.1.2.0/24", ""));
        assert_eq!(found[1].gateway, "fd00::9");
        assert!(parse(&["n", "--gateway", "10.0.0.1"]).is_err());
        assert!(parse(&["n", "--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1"]).is_err());
    }
}
