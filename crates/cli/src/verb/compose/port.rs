//! `compose port`.

use super::work::Work;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use wharf_compose::run::container;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::Inspect;

/// Flags of `compose port`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    /// tcp or udp
    #[arg(long, value_name = "string", default_value = "tcp")]
    protocol: String,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    service: String,
    #[arg(value_name = "PRIVATE_PORT", required = true, hide = true)]
    port: u16,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    let one = work.container(context, &options.service, options.index).await?;
    let now: Inspect = context.client.json(Call::get(container(&one.id, "/json"))).await?;
    let key = format!("{}/{}", options.port, options.protocol);
    let binding = now.network_settings.ports.get(&key).and_then(|bindings| bindings.as_ref()?.first());
    match binding {
        Some(binding) => line(format!("{}:{}", binding.host_ip, binding.host_port))?,
        None => return Err(Failure::new(format!("no port {key} for container {}", one.name))),
    }
    Ok(0)
}
