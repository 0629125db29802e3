//! `GET /containers/{id}/logs`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::peer::Peer;
use crate::version::Version;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use wharf_engine::logs::{self, LogEntry, LogRequest};

pub(crate) async fn logs(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    peer: Peer,
    version: Version,
) -> ApiResult {
    let handle = api.containers.find(&id)?;
    let record = handle.record();
    let request = LogRequest {
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        since_ns: params.time("since")?,
        until_ns: params.time("until")?,
        tail: params.get("tail").and_then(|t| t.parse().ok()),
        follow: params.flag("follow"),
    };
    if !request.stdout && !request.stderr {
        return Err(ApiError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    if !record.spec.log.is_readable() {
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "configured logging driver does not support reading",
        ));
    }
    let entries = logs::read(api.containers.log_file(&record), request, handle.watch());
    let shown = Shown { timestamps: params.flag("timestamps"), details: params.flag("details") };
    // What is there already is sent to the end, also to a client that has ended its side.
    let peer = if params.flag("follow") { peer } else { Peer::default() };
    Ok(respond(entries, peer, record.spec.tty, shown, version))
}

/// What is shown before each line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    timestamps: bool,
    /// What the driver's options tell of the container.
    details: bool,
}

/// As in a query, which is how Docker writes details.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Entries as a body: raw for a terminal, else multiplexed.
fn respond(
    entries: mpsc::Receiver<wharf_model::Result<LogEntry>>,
    peer: Peer,
    tty: bool,
    shown: Shown,
    version: Version,
) -> Response {
    let stream = futures_util::stream::unfold(entries, move |mut entries| async move {
        let entry = entries.recv().await?;
        let bytes = entry.map(|e| encode(&e, tty, shown)).map_err(|e| std::io::Error::other(e.full()));
        Some((bytes, entries))
    });
    let mut response = peer.body(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(version.stream_type(tty)));
    response
}

pub(super) fn encode(entry: &LogEntry, tty: bool, shown: Shown) -> Vec<u8> {
    let mut text = Vec::with_capacity(entry.text.len() + 48);
    if shown.timestamps {
        text.extend_from_slice(entry.time.as_bytes());
        text.push(b' ');
    }
    if shown.details {
        let of = |(key, value): (&String, &String)| format!("{}={}", escaped(key), escaped(value));
        let details: Vec<String> = entry.attributes.iter().map(of).collect();
        text.extend_from_slice(details.join(",").as_bytes());
        text.push(b' ');
    }
    text.extend_from_slice(entry.text.as_bytes());
    if tty { text } else { crate::frames::frame(if entry.stderr { 2 } else { 1 }, &text) }
}
