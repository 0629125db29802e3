//! `network connect`.

use super::path;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::parse::pair;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::network::{ConnectRequest, EndpointIpam, EndpointSettings};

/// Flags of `network connect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Further name in the first network
    #[arg(long, value_name = "list")]
    alias: Vec<String>,
    /// Option of the network's driver, as key=value
    #[arg(long, value_name = "list")]
    driver_opt: Vec<String>,
    /// Which network's gateway leads out: the highest
    #[arg(
        long,
        value_name = "int",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    gw_priority: i64,
    /// IPv4 address to have
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip: String,
    /// IPv6 address to have
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip6: String,
    /// Container to know by name, as NAME[:alias]
    #[arg(long, value_name = "list")]
    link: Vec<String>,
    /// Link-local address to have
    #[arg(long, value_name = "list")]
    link_local_ip: Vec<String>,
    #[arg(value_name = "NETWORK", required = true, hide = true)]
    network: String,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if let Some(bad) = options.driver_opt.iter().find(|option| !option.contains('=')) {
        return Err(Failure::new(format!("invalid key/value pair format in driver options: {bad}")));
    }
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let settings = EndpointSettings {
        ipam_config: Some(EndpointIpam {
            ipv4_address: options.ip,
            ipv6_address: options.ip6,
            link_local_ips: some(options.link_local_ip),
        }),
        links: some(options.link),
        aliases: some(options.alias),
        driver_opts: Some(options.driver_opt.iter().map(|text| pair(text)).collect()),
        gw_priority: options.gw_priority,
        ..EndpointSettings::default()
    };
    let request = ConnectRequest { container: options.container, endpoint_config: Some(settings) };
    context.client.done(Call::post(path(&options.network, "/connect")).json(&request)?).await?;
    Ok(0)
}
