//! `GET /containers/{id}/stats`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::peer::Peer;
use crate::version::Version;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::Duration;
use wharf_docker_api::types::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats, ThrottlingData,
};
use wharf_engine::clock::rfc3339;
use wharf_engine::containers::{Handle, Sample};

/// Docker's pause between samples of a stream.
const INTERVAL: Duration = Duration::from_secs(1);
/// The pause between the two samples of one answer: long enough for a load to show.
const SHORT: Duration = Duration::from_millis(100);
/// The version 1.x from which on one sample can be asked for.
const ONE_SHOT: u32 = 41;

pub(crate) async fn stats(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    version: Version,
    peer: Peer,
) -> ApiResult {
    let handle = api.containers.find(&id)?;
    let one_shot = params.flag("one-shot") && !version.is_before(ONE_SHOT);
    if params.flag_or_true("stream") && one_shot {
        return Err(ApiError::bad_request("cannot have stream=true and one-shot=true"));
    }
    if !params.flag_or_true("stream") {
        let before = if one_shot { None } else { sample(&api, &handle).await? };
        if before.is_some() {
            tokio::time::sleep(SHORT).await;
        }
        let now = sample(&api, &handle).await?;
        return Ok(Json(wire(&handle, now.as_ref(), before.as_ref())).into_response());
    }
    let first = (api, handle, None::<Sample>, true);
    let stream = futures_util::stream::unfold(first, |(api, handle, before, is_first)| async move {
        if !is_first {
            tokio::time::sleep(INTERVAL).await;
        }
        if handle.watch().borrow().removed {
            return None;
        }
        let now = sample(&api, &handle).await.ok()?;
        let mut line = serde_json::to_vec(&wire(&handle, now.as_ref(), before.as_ref())).ok()?;
        line.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(line), (api, handle, now, false)))
    });
    let mut response = peer.body(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Nothing for a container that does not run.
async fn sample(api: &Api, handle: &Arc<Handle>) -> ApiResult<Option<Sample>> {
    let record = handle.record();
    if !record.status.is_running() {
        return Ok(None);
    }
    Ok(Some(api.containers.sample(&record).await?))
}

fn wire(handle: &Handle, now: Option<&Sample>, before: Option<&Sample>) -> Stats {
    let record = handle.record();
    let mut stats = Stats {
        name: format!("/{}", record.name),
        id: record.id.to_string(),
        read: rfc3339(now.map_or(0, |s| s.at_ns)),
        preread: rfc3339(before.map_or(0, |s| s.at_ns)),
        ..Stats::default()
    };
    if let Some(before) = before {
        stats.precpu_stats = cpu(before);
    }
    let Some(now) = now else { return stats };
    stats.cpu_stats = cpu(now);
    stats.pids_stats = PidsStats { current: now.usage.pids, limit: now.usage.pids_limit };
    stats.memory_stats = MemoryStats {
        usage: now.usage.memory,
        max_usage: now.usage.memory_peak,
        stats: Some(now.usage.memory_stat.clone()),
        failcnt: now.usage.memory_failures,
        limit: now.usage.memory_limit.min(now.host_memory),
    };
    stats.blkio_stats = blkio(now);
    let networks = now.traffic.iter().map(|(name, t)| {
        let counters = NetworkStats {
            rx_bytes: t.rx_bytes,
            rx_packets: t.rx_packets,
            rx_errors: t.rx_errors,
            rx_dropped: t.rx_dropped,
            tx_bytes: t.tx_bytes,
            tx_packets: t.tx_packets,
            tx_errors: t.tx_errors,
            tx_dropped: t.tx_dropped,
        };
        (name.clone(), counters)
    });
    stats.networks = (!now.traffic.is_empty()).then(|| networks.collect());
    stats
}

fn cpu(sample: &Sample) -> CpuStats {
    let (total, user, system) = sample.usage.cpu_ns;
    let (periods, throttled_periods, throttled_time) = sample.usage.throttling;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: total,
            percpu_usage: None,
            usage_in_kernelmode: system,
            usage_in_usermode: user,
        },
        system_cpu_usage: sample.host_cpu_ns,
        online_cpus: sample.online_cpus,
        throttling_data: ThrottlingData { periods, throttled_periods, throttled_time },
    }
}

/// A device's counters as the launcher gives them.
type Device = (u32, u32, u64, u64, u64, u64);

fn blkio(sample: &Sample) -> BlkioStats {
    let entries = |values: fn(&Device) -> (u64, u64)| {
        let both = |d: &Device| {
            let (read, write) = values(d);
            let entry = |op: &str, value| BlkioEntry {
                major: d.0.into(),
                minor: d.1.into(),
                op: op.to_owned(),
                value,
            };
            [entry("read", read), entry("write", write)]
        };
        let list: Vec<BlkioEntry> = sample.usage.block.iter().flat_map(both).collect();
        (!list.is_empty()).then_some(list)
    };
    BlkioStats {
        io_service_bytes_recursive: entries(|d| (d.2, d.3)),
        io_serviced_recursive: entries(|d| (d.4, d.5)),
        ..BlkioStats::default()
    }
}
