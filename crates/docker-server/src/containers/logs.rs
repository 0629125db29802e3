//! `GET /containers/{id}/logs`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use wharf_engine::logs::{self, LogEntry, LogRequest};

pub(crate) async fn logs(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
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
    if record.spec.log.driver == "none" {
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "configured logging driver does not support reading",
        ));
    }
    let entries = logs::read(api.containers.log_file(&record), request, handle.watch());
    Ok(respond(entries, record.spec.tty, params.flag("timestamps")))
}

/// Entries as a body: raw for a terminal, else multiplexed.
fn respond(entries: mpsc::Receiver<wharf_model::Result<LogEntry>>, tty: bool, timestamps: bool) -> Response {
    let stream = futures_util::stream::unfold(entries, move |mut entries| async move {
        let entry = entries.recv().await?;
        let bytes = entry.map(|e| encode(&e, tty, timestamps)).map_err(|e| std::io::Error::other(e.full()));
        Some((bytes, entries))
    });
    let kind =
        if tty { "application/vnd.docker.raw-stream" } else { "application/vnd.docker.multiplexed-stream" };
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn encode(entry: &LogEntry, tty: bool, timestamps: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(entry.text.len() + 48);
    if timestamps {
        text.extend_from_slice(entry.time.as_bytes());
        text.push(b' ');
    }
    text.extend_from_slice(entry.text.as_bytes());
    if tty { text } else { crate::frames::frame(if entry.stderr { 2 } else { 1 }, &text) }
}
