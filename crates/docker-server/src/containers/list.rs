//! `GET /containers/json`.

use super::endpoints::{self, NetworkIds};
use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::{Filters, Params};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use regex_lite::Regex;
use std::sync::Arc;
use wharf_docker_api::types::container::{Port, Summary, SummaryHostConfig, SummaryNetworkSettings};
use wharf_engine::clock::now_ns;
use wharf_model::container::{ContainerRecord, NetworkMode};
use wharf_model::health::HealthStatus;
use wharf_model::ports::{ContainerPort, PublishedPort};
use wharf_model::state::Status;

const FILTERS: [&str; 18] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "annotation",
    "driver",
];

pub(crate) async fn list(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&FILTERS)?;
    let names = verify(&filters)?;
    let limit: Option<usize> =
        params.number::<i64>("limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let all = params.flag("all")
        || limit.is_some()
        || !filters.values("status").is_empty()
        || !filters.values("exited").is_empty();
    // Tasks are a swarm's.
    if filters.flag("is-task")? == Some(true) {
        return Ok(Json(Vec::<Summary>::new()).into_response());
    }
    let bounds = Bounds::find(&api, &filters)?;
    let networks = named_networks(&api, &filters);
    let mut ids = NetworkIds::of(&api);
    let mut summaries = Vec::new();
    for record in api.containers.list().iter().map(|h| h.record()) {
        if !all && !record.status.is_running() && record.status != Status::Restarting {
            continue;
        }
        if !bounds.allow(&record) || !matches(&record, &filters, &names, &networks) {
            continue;
        }
        let mut summary = summary(&mut ids, &record);
        if params.flag("size") {
            let (own, whole) = super::inspect::sizes(&api, &record).await?;
            (summary.size_rw, summary.size_root_fs) = (Some(own), Some(whole));
        }
        summaries.push(summary);
        if limit == Some(summaries.len()) {
            break;
        }
    }
    Ok(Json(summaries).into_response())
}

/// Values that select nothing because there is no such thing are mistakes. Returns the patterns of names.
fn verify(filters: &Filters) -> ApiResult<Vec<Regex>> {
    const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
    filters.one_of("status", "state", &STATES)?;
    filters.one_of("health", "health", &["none", "starting", "healthy", "unhealthy"])?;
    if let Some(code) = filters.values("exited").iter().find(|v| v.parse::<i32>().is_err()) {
        return Err(ApiError::bad_request(format!("invalid filter 'exited={code}': a number is expected")));
    }
    for name in ["publish", "expose"] {
        if let Some(port) = filters.values(name).iter().find(|v| port_range(v).is_none()) {
            return Err(ApiError::bad_request(format!("error while looking up for {name} {port}: no port")));
        }
    }
    let pattern = |name: &String| {
        Regex::new(name).map_err(|e| ApiError::bad_request(format!("invalid filter 'name={name}': {e}")))
    };
    filters.values("name").iter().map(pattern).collect()
}

/// `before` and `since`: creation times of other containers.
struct Bounds(Option<i128>, Option<i128>);

impl Bounds {
    fn find(api: &Api, filters: &Filters) -> ApiResult<Self> {
        let created = |name: &str| match filters.values(name).first() {
            Some(other) => Ok::<_, ApiError>(Some(api.containers.find(other)?.record().created_ns)),
            None => Ok(None),
        };
        Ok(Self(created("before")?, created("since")?))
    }

    fn allow(&self, record: &ContainerRecord) -> bool {
        self.0.is_none_or(|t| record.created_ns < t) && self.1.is_none_or(|t| record.created_ns > t)
    }
}

/// The networks that are asked for, by any of their names.
fn named_networks(api: &Api, filters: &Filters) -> Vec<String> {
    let name = |v: &String| api.networks.find(v).map_or_else(|_| v.clone(), |n| n.spec.name);
    filters.values("network").iter().map(name).collect()
}

fn matches(record: &Arc<ContainerRecord>, filters: &Filters, names: &[Regex], networks: &[String]) -> bool {
    let ended = matches!(record.status, Status::Exited);
    let in_network = || {
        let of = endpoints::names(record);
        networks.iter().any(|name| of.contains(name))
    };
    filters.allows("id", |v| record.id.as_str().starts_with(v.as_str()))
        && (names.is_empty() || names.iter().any(|pattern| name_matches(pattern, &record.name)))
        && filters.allows("status", |v| v == record.status.as_str())
        && filters.allows("exited", |v| ended && v.parse() == Ok(record.exit_code))
        && filters.allows("ancestor", |v| {
            record.spec.image == *v
                || record.image.as_str() == v
                || record.image.hex().starts_with(v.as_str())
                || record.spec.image.split(':').next() == Some(v)
        })
        && filters.allows("volume", |v| {
            record.mounts.iter().any(|m| m.name == *v || m.target == *v || m.source.to_str() == Some(v))
        })
        && (networks.is_empty() || in_network())
        && filters.allows("publish", |v| port_matches(v, record.published.iter().map(published)))
        && filters.allows("expose", |v| port_matches(v, record.spec.exposed.iter().copied()))
        && filters.allows("health", |v| v == record.health.as_ref().map_or("none", |h| h.status.as_str()))
        && filters.labels(&record.spec.labels)
}

/// A regular expression for the name, which may be written with its slash.
fn name_matches(pattern: &Regex, name: &str) -> bool {
    pattern.is_match(name) || pattern.is_match(&format!("/{name}"))
}

/// `80`, `80/udp` or `80-90/tcp`: the first and the last.
fn port_range(text: &str) -> Option<(ContainerPort, ContainerPort)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |number: &str| format!("{number}/{protocol}").parse::<ContainerPort>().ok();
    Some((port(first)?, port(last)?)).filter(|(first, last)| first.port <= last.port)
}

fn port_matches(wanted: &str, mut ports: impl Iterator<Item = ContainerPort>) -> bool {
    port_range(wanted).is_some_and(|(first, last)| {
        ports.any(|p| p.protocol == first.protocol && (first.port..=last.port).contains(&p.port))
    })
}

pub(crate) fn summary(ids: &mut NetworkIds<'_>, record: &Arc<ContainerRecord>) -> Summary {
    let network_mode = super::inspect::network_mode(record);
    Summary {
        id: record.id.to_string(),
        names: vec![format!("/{}", record.name)],
        image: record.spec.image.clone(),
        image_id: record.image.to_string(),
        command: shown(&record.command()),
        created: (record.created_ns / 1_000_000_000) as i64,
        ports: ports(record),
        size_rw: None,
        size_root_fs: None,
        labels: record.spec.labels.clone(),
        state: record.status.as_str().to_owned(),
        status: status_text(record, now_ns()),
        host_config: SummaryHostConfig { network_mode, annotations: None },
        network_settings: SummaryNetworkSettings { networks: endpoints::networks(record, ids) },
        mounts: super::inspect::mounts(record),
    }
}

/// The port of the host, which is what the filter `publish` is for.
fn published(port: &PublishedPort) -> ContainerPort {
    ContainerPort { port: port.host_port, protocol: port.container.protocol }
}

/// A command as one line. What has blanks in it is quoted.
fn shown(command: &[String]) -> String {
    let word = |text: &String| match text.contains(char::is_whitespace) {
        true => format!("'{text}'"),
        false => text.clone(),
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn ports(record: &ContainerRecord) -> Vec<Port> {
    let mut ports: Vec<Port> = record
        .published
        .iter()
        .filter(|p| p.host_port != 0)
        .map(|p| Port {
            ip: p.host_ip.to_string(),
            private_port: p.container.port,
            public_port: p.host_port,
            kind: p.container.protocol.to_string(),
        })
        .collect();
    let own = !matches!(record.spec.network, NetworkMode::Host | NetworkMode::None);
    if record.status.is_running() && own {
        let image = record.image_config.exposed_ports.iter().filter_map(|p| p.parse::<ContainerPort>().ok());
        let exposed: std::collections::BTreeSet<ContainerPort> =
            record.spec.exposed.iter().copied().chain(image).collect();
        for port in exposed
            .iter()
            .filter(|p| !record.published.iter().any(|q| q.container == **p && q.host_port != 0))
        {
            ports.push(Port {
                ip: String::new(),
                private_port: port.port,
                public_port: 0,
                kind: port.protocol.to_string(),
            });
        }
    }
    ports
}

/// `Up 5 minutes`, `Exited (0) 2 hours ago`.
fn status_text(record: &ContainerRecord, now: i128) -> String {
    let ago = |then: i128| human_duration(((now - then).max(0) / 1_000_000_000) as u64);
    match record.status {
        Status::Created | Status::Starting => "Created".to_owned(),
        Status::Running => match record.health.as_ref().map(|h| h.status) {
            None => format!("Up {}", ago(record.started_ns)),
            Some(HealthStatus::Starting) => format!("Up {} (health: starting)", ago(record.started_ns)),
            Some(status) => format!("Up {} ({})", ago(record.started_ns), status.as_str()),
        },
        Status::Paused => format!("Up {} (Paused)", ago(record.started_ns)),
        Status::Restarting => format!("Restarting ({}) {} ago", record.exit_code, ago(record.finished_ns)),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Exited if record.finished_ns == 0 => "Created".to_owned(),
        Status::Exited => format!("Exited ({}) {} ago", record.exit_code, ago(record.finished_ns)),
    }
}

/// A duration in one unit, in the words Docker uses.
fn human_duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports() {
        let port = |text: &str| text.parse::<ContainerPort>().unwrap();
        for (wanted, of, is_so) in [
            ("80", "80/tcp", true),
            ("80/udp", "80/tcp", false),
            ("79-81", "80/tcp", true),
            ("79-81/udp", "81/udp", true),
            ("81-90/tcp", "80/tcp", false),
        ] {
            assert_eq!(port_matches(wanted, [port(of)].into_iter()), is_so, "{wanted} {of}");
        }
        assert!(["90-80", "x", "1-x/tcp", "1/x"].iter().all(|bad| port_range(bad).is_none()));
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (180, "3 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (200_000, "2 days"),
            (2_000_000, "3 weeks"),
            (9_000_000, "3 months"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }
}
