//! `port`.

use super::path;
use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::{Inspect, PortBinding};

/// Flags of `port`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
    #[arg(value_name = "PRIVATE_PORT", hide = true)]
    port: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let container: Inspect = context.client.json(Call::get(path(&options.container, "/json"))).await?;
    let ports = &container.network_settings.ports;
    if let Some(port) = options.port {
        let key = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        let Some(Some(bindings)) = ports.get(&key) else {
            return Err(Failure::new(format!(
                "Error: No public port '{port}' published for {}",
                container.name.trim_start_matches('/')
            )));
        };
        print(bindings.iter().map(|binding| address(binding) + "\n").collect::<String>())?;
        return Ok(0);
    }
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (port, bindings) in ports {
        let number = port.split('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        for binding in bindings.iter().flatten() {
            lines.push((number, format!("{port} -> {}\n", address(binding))));
        }
    }
    lines.sort_by_key(|(number, _)| *number);
    print(lines.into_iter().map(|(_, line)| line).collect::<String>())?;
    Ok(0)
}

fn address(binding: &PortBinding) -> String {
    if binding.host_ip.contains(':') {
        format!("[{}]:{}", binding.host_ip, binding.host_port)
    } else {
        format!("{}:{}", binding.host_ip, binding.host_port)
    }
}
