//! Files of a container: changes, export, archive.

use crate::Api;
use crate::body::reader;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use std::io::{self, Write};
use std::path::PathBuf;
use tokio::sync::mpsc;
use wharf_docker_api::types::container::{Change, PathStat as WireStat};
use wharf_engine::clock::rfc3339;
use wharf_engine::images::plain;
use wharf_engine::transfer;
use wharf_model::snapshots::{ChangeKind, PathStat, WriteOptions};
use wharf_model::{Error, ErrorKind};

/// Pieces of a tar waiting for a slow client.
const QUEUE: usize = 8;

pub(crate) async fn changes(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let record = api.containers.find(&id)?.record();
    let of = |c: wharf_model::snapshots::PathChange| Change {
        path: c.path.display().to_string(),
        kind: match c.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        },
    };
    let changes: Vec<Change> = api.containers.changes(&record).await?.into_iter().map(of).collect();
    Ok(Json(Some(changes).filter(|list| !list.is_empty())).into_response())
}

/// A writer whose bytes become the pieces of a body.
struct BodyWriter(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(bytes.to_vec())).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that a blocking writer fills.
pub(crate) fn written_body(
    work: impl FnOnce(&mut dyn Write) -> wharf_model::Result<()> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(QUEUE);
    transfer::spawn(move || {
        let mut out = io::BufWriter::with_capacity(64 * 1024, BodyWriter(sender.clone()));
        let result = work(&mut out)
            .and_then(|()| out.flush().map_err(|e| Error::wrap(ErrorKind::Internal, "write the archive", e)));
        if let Err(e) = result {
            // A client that went away needs no error; another sees its transfer broken off.
            let _ = sender.blocking_send(Err(io::Error::other(e.full())));
        }
    });
    Body::from_stream(futures_util::stream::unfold(receiver, |mut r| async {
        r.recv().await.map(|item| (item, r))
    }))
}

/// An answer that is a tar.
pub(crate) fn tar(body: Body) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    response
}

pub(crate) async fn export(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let record = api.containers.find(&id)?.record();
    api.containers.publish("export", &record, &[]);
    Ok(tar(written_body(move |out| api.containers.export(&record, out))))
}

fn path_of(params: &Params) -> ApiResult<PathBuf> {
    let path = params.get("path").ok_or_else(|| ApiError::bad_request("missing parameter: path"))?;
    Ok(PathBuf::from(format!("/{}", path.trim_start_matches('/'))))
}

async fn stat(api: &Api, id: &str, path: &std::path::Path) -> ApiResult<HeaderValue> {
    let record = api.containers.find(id)?.record();
    let (containers, looked) = (api.containers.clone(), path.to_owned());
    let found = tokio::task::spawn_blocking(move || containers.stat_path(&record, &looked)).await;
    let found = found
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    let name = match path.file_name() {
        _ if path.to_string_lossy().ends_with("/.") => ".".to_owned(),
        Some(name) => name.to_string_lossy().into_owned(),
        None => "/".to_owned(),
    };
    let link = found.link.as_ref().map(|link| led(path, link));
    let json = serde_json::to_vec(&wire_stat(name, &found, link)).unwrap_or_default();
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    HeaderValue::from_str(&text).map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

/// Where a link leads, from the root.
fn led(from: &std::path::Path, link: &std::path::Path) -> String {
    wharf_oci::path::clean(&from.parent().unwrap_or(from).join(link).to_string_lossy())
}

fn wire_stat(name: String, stat: &PathStat, link: Option<String>) -> WireStat {
    WireStat {
        name,
        size: stat.size as i64,
        mode: go_mode(stat.mode),
        mtime: rfc3339(i128::from(stat.mtime) * 1_000_000_000),
        link_target: link.unwrap_or_default(),
    }
}

/// Go's `os.FileMode`: permission bits, and kinds in the high bits.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => 1 << 26 | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix != 0 { 1 << go } else { 0 };
    (mode & 0o777) | kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20)
}

const STAT_HEADER: &str = "X-Docker-Container-Path-Stat";

pub(crate) async fn head(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let path = path_of(&params)?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(STAT_HEADER, stat(&api, &id, &path).await?);
    Ok(response)
}

pub(crate) async fn get(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let path = path_of(&params)?;
    let header = stat(&api, &id, &path).await?;
    let record = api.containers.find(&id)?.record();
    api.containers.publish("archive-path", &record, &[]);
    let mut response = tar(written_body(move |out| api.containers.read_path(&record, &path, out)));
    response.headers_mut().insert(STAT_HEADER, header);
    Ok(response)
}

pub(crate) async fn put(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    body: Body,
) -> ApiResult {
    let record = api.containers.find(&id)?.record();
    let path = path_of(&params)?;
    let options = WriteOptions { keep_kinds: params.flag("noOverwriteDirNonDir"), ..WriteOptions::default() };
    let written = transfer::run(move || {
        let mut archive =
            plain(reader(body)).map_err(|e| Error::wrap(ErrorKind::Invalid, "read the archive", e))?;
        api.containers.write_path(&record, &path, &mut archive, options)?;
        api.containers.publish("extract-to-dir", &record, &[]);
        Ok::<_, Error>(())
    });
    written.await??;
    Ok(StatusCode::OK.into_response())
}
