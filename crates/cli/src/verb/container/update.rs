//! `update`.

use super::path;
use super::request::restart;
use crate::context::{Context, each, note};
use crate::failure::{Failure, Outcome};
use crate::parse::ports::{Published, publish, unpublish};
use crate::parse::size::{bytes, bytes_or_unlimited, cpus};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::{Inspect, PortBinding, UpdateResponse};

/// Flags of `update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Share of block I/O, 10 to 1000; 0 leaves it
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// CFS period in microseconds
    #[arg(long, value_name = "int")]
    cpu_period: Option<i64>,
    /// CFS quota in microseconds a period
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Real-time period in microseconds
    #[arg(long, value_name = "int")]
    cpu_rt_period: Option<i64>,
    /// Real-time runtime in microseconds
    #[arg(long, value_name = "int")]
    cpu_rt_runtime: Option<i64>,
    /// Share of CPU time against others
    #[arg(short = 'c', long, value_name = "int")]
    cpu_shares: Option<i64>,
    /// How many CPUs' worth of time, such as 1.5
    #[arg(long, value_name = "decimal", value_parser = cpus)]
    cpus: Option<i64>,
    /// CPUs to run on, such as 0-3 or 0,1
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0-3 or 0,1
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Most memory, such as 512m
    #[arg(short = 'm', long, value_name = "bytes", value_parser = bytes)]
    memory: Option<i64>,
    /// Memory to shrink to when the host is short
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Most memory and swap together; -1 for any amount of swap
    #[arg(long, value_name = "bytes", value_parser = bytes_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Most processes; -1 for any number
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Port to publish too, as [[ip:]host:]container[/protocol]
    #[arg(long, value_name = "list")]
    publish_add: Vec<String>,
    /// Port not to publish any more, as [[ip:]host:]container[/protocol]
    #[arg(long, value_name = "list")]
    publish_rm: Vec<String>,
    /// What to do at the end: no, always, unless-stopped, on-failure[:max]
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    // Only what was asked for is sent: the rest stays as it is.
    let mut changes: Map<String, Value> = [
        ("BlkioWeight", options.blkio_weight.map(Value::from)),
        ("CpuPeriod", options.cpu_period.map(Value::from)),
        ("CpuQuota", options.cpu_quota.map(Value::from)),
        ("CpuRealtimePeriod", options.cpu_rt_period.map(Value::from)),
        ("CpuRealtimeRuntime", options.cpu_rt_runtime.map(Value::from)),
        ("CpuShares", options.cpu_shares.map(Value::from)),
        ("NanoCpus", options.cpus.map(Value::from)),
        ("CpusetCpus", options.cpuset_cpus.as_deref().map(Value::from)),
        ("CpusetMems", options.cpuset_mems.as_deref().map(Value::from)),
        ("Memory", options.memory.map(Value::from)),
        ("MemoryReservation", options.memory_reservation.map(Value::from)),
        ("MemorySwap", options.memory_swap.map(Value::from)),
        ("PidsLimit", options.pids_limit.map(Value::from)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    if let Some(policy) = &options.restart {
        let policy = restart(policy).map_err(Failure::new)?;
        changes.insert("RestartPolicy".into(), serde_json::json!(policy));
    }
    let has_ports = !options.publish_add.is_empty() || !options.publish_rm.is_empty();
    if changes.is_empty() && !has_ports {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    each(&options.containers, async |name| {
        let mut changes = changes.clone();
        if has_ports {
            let container: Inspect = context.client.json(Call::get(path(name, "/json"))).await?;
            let bindings = ports(&container, &options).map_err(Failure::new)?;
            changes.insert("PortBindings".into(), serde_json::json!(bindings));
        }
        let call = Call::post(path(name, "/update")).json(&changes)?;
        let updated: UpdateResponse = context.client.json(call).await?;
        updated.warnings.unwrap_or_default().iter().for_each(note);
        Ok(name.to_owned())
    })
    .await
}

/// What is published once the flags are obeyed: first what goes, so that a port can move.
fn ports(container: &Inspect, options: &Options) -> Result<Published, String> {
    let full = |bindings: &BTreeMap<String, Option<Vec<PortBinding>>>| -> Published {
        bindings.iter().map(|(port, all)| (port.clone(), all.clone().unwrap_or_default())).collect()
    };
    let mut published = container.host_config.port_bindings.as_ref().map(full).unwrap_or_default();
    let actual = full(&container.network_settings.ports);
    for text in &options.publish_rm {
        unpublish(text, &mut published, &actual)?;
    }
    for text in &options.publish_add {
        let mut wanted = Published::new();
        publish(text, &mut wanted)?;
        for (port, bindings) in wanted {
            let list = published.entry(port).or_default();
            let is_new = |b: &PortBinding| b.host_port.is_empty() || !list.contains(b);
            let new: Vec<PortBinding> = bindings.into_iter().filter(is_new).collect();
            list.extend(new);
        }
    }
    Ok(published)
}
