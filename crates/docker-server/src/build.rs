//! `POST /build`: the classic builder.

use crate::body::reader;
use crate::error::{ApiError, ApiResult};
use crate::images::MessageStream;
use crate::images::describe::publish;
use crate::params::Params;
use crate::peer::Peer;
use crate::{Api, convert};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_build::remote::Remote;
use wharf_build::{Context, CredentialsFor, Options, Output};
use wharf_docker_api::types::build::{BuildResult, Message};
use wharf_docker_api::types::host_config::{Resources, Ulimit};
use wharf_engine::containers::StepHost;
use wharf_engine::transfer;

pub(crate) async fn build(
    State(api): State<Api>,
    params: Params,
    headers: HeaderMap,
    peer: Peer,
    body: Body,
) -> ApiResult {
    let options = options(&params, &headers)?;
    let (stream, messages) = MessageStream::new();
    tokio::spawn(async move {
        let quiet = params.flag("q");
        let remote = params.get("remote").map(str::to_owned);
        let work = run(api, options, (remote, body), stream.clone(), quiet);
        let result = tokio::select! {
            result = work => result,
            // The client went away: dropping the work ends what it runs.
            () = stream.abandoned(peer) => return,
        };
        if let Err(e) = result {
            stream.error(e, 1);
        }
    });
    messages.answer().await
}

/// What clients of old call a context that is in the request.
fn is_sent(remote: &str) -> bool {
    matches!(remote, "" | "client-session" | "context")
}

async fn run(
    api: Api,
    mut options: Options,
    (remote, body): (Option<String>, Body),
    stream: MessageStream,
    quiet: bool,
) -> wharf_model::Result<()> {
    let scratch = api.builder.scratch.clone();
    let context = match remote.filter(|remote| !is_sent(remote)) {
        Some(remote) => {
            let (client, session) = (api.images.client(), &*options.session);
            let fetched = Remote { client, scratch: &scratch, session }.context(&remote).await?;
            if let Some(name) = fetched.dockerfile {
                options.dockerfile = name;
            }
            fetched.context
        }
        None => transfer::run(move || Context::receive(reader(body), &scratch)).await??,
    };
    let news = stream.clone();
    let sink = Arc::new(move |output| match output {
        Output::Said(text) | Output::Text(text) if !quiet => news.text(text),
        // In red, as Docker sends it.
        Output::ErrorText(text) if !quiet => news.text(format!("\x1b[91m{text}\x1b[0m")),
        Output::Said(_) | Output::Text(_) | Output::ErrorText(_) => {}
        // The classic builder's words say it.
        Output::Step(_) | Output::Cached | Output::Done => {}
        Output::Pull(event) if !quiet => news.event(event),
        Output::Pull(_) => {}
        Output::Built(id) => {
            let aux = serde_json::to_value(BuildResult { id: id.to_string() }).ok();
            news.send(Message { aux, ..Message::default() });
        }
    });
    let sink: wharf_build::Sink = sink;
    let image = api.builder.build(context, &options, &sink).await?;
    publish(&api, "create", &image.id, image.id.as_str());
    for tag in &options.tags {
        publish(&api, "tag", &image.id, &tag.clone().or_latest().familiar());
    }
    if quiet {
        stream.text(format!("{}\n", image.id));
    }
    Ok(())
}

fn options(params: &Params, headers: &HeaderMap) -> ApiResult<Options> {
    if params.get("version") == Some("2") {
        let message = "BuildKit builds come by POST /grpc: build with buildx, or set DOCKER_BUILDKIT=0";
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message));
    }
    if params.flag("squash") {
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "squash is not supported yet"));
    }
    let tags =
        params.all("t").into_iter().map(|t| t.parse().map_err(|e| ApiError::bad_request(format!("{e}"))));
    Ok(Options {
        dockerfile: params.get("dockerfile").unwrap_or("Dockerfile").to_owned(),
        tags: tags.collect::<ApiResult<_>>()?,
        args: map(params, "buildargs")?,
        labels: map::<String>(params, "labels")?,
        target: params.get("target").map(str::to_owned),
        no_cache: params.flag("nocache"),
        cache_from: list(params, "cachefrom")?,
        pull: params.flag("pull"),
        platform: params
            .get("platform")
            .map(str::parse)
            .transpose()
            .map_err(|e| ApiError::bad_request(format!("{e}")))?,
        network: params.get("networkmode").unwrap_or("default").to_owned(),
        host: host(params)?,
        credentials: credentials(headers),
        ..Options::default()
    })
}

/// What RUN steps run with.
fn host(params: &Params) -> ApiResult<StepHost> {
    let text = |name| params.get(name).unwrap_or_default().to_owned();
    let number = |name| Ok::<i64, ApiError>(params.number(name)?.unwrap_or(0));
    let wire = Resources {
        memory: number("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: number("cpushares")?,
        cpu_period: number("cpuperiod")?,
        cpu_quota: number("cpuquota")?,
        cpuset_cpus: text("cpusetcpus"),
        cpuset_mems: text("cpusetmems"),
        ..Resources::default()
    };
    let ulimits: Vec<Ulimit> = list(params, "ulimits")?;
    Ok(StepHost {
        extra_hosts: params.all("extrahosts").iter().map(ToString::to_string).collect(),
        resources: convert::resources(&wire)?,
        ulimits: ulimits.iter().map(|u| convert::rlimit(&u.name, u.hard, u.soft)).collect(),
        shm_size: number("shmsize")?,
        cgroup_parent: text("cgroupparent"),
    })
}

/// A parameter that is a JSON list.
fn list<T: serde::de::DeserializeOwned>(params: &Params, name: &str) -> ApiResult<Vec<T>> {
    let Some(text) = params.get(name) else { return Ok(Vec::new()) };
    let list: Option<Vec<T>> = serde_json::from_str(text).map_err(|e| {
        ApiError::bad_request(format!("invalid parameter {name}: a JSON list is expected: {e}"))
    })?;
    Ok(list.unwrap_or_default())
}

/// A parameter that is a JSON object.
fn map<T: serde::de::DeserializeOwned>(params: &Params, name: &str) -> ApiResult<BTreeMap<String, T>> {
    match params.get(name) {
        None => Ok(BTreeMap::new()),
        Some(text) => serde_json::from_str(text).map_err(|e| {
            ApiError::bad_request(format!("invalid parameter {name}: a JSON object is expected: {e}"))
        }),
    }
}

/// Credentials by registry.
fn credentials(headers: &HeaderMap) -> CredentialsFor {
    let known = crate::images::credentials_by_registry(headers);
    Arc::new(move |reference| {
        let found = known.get(reference.domain()).cloned().unwrap_or_default();
        Box::pin(async { found })
    })
}
