//! `POST /containers/{id}/attach` and `GET /containers/{id}/attach/ws`.

use super::logs::Shown;
use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::stream::{Client, End, Framing, hijack, relay};
use crate::version::Version;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use wharf_docker_api::detach;
use wharf_engine::logs::{self, LogEntry, LogRequest};
use wharf_model::container::ContainerRecord;
use wharf_model::launcher::StreamSet;

/// What a client asked for.
struct Attachment {
    /// What was written before, when that is wanted.
    earlier: Option<mpsc::Receiver<wharf_model::Result<LogEntry>>>,
    /// The streams, once it runs, when those are wanted.
    live: Option<oneshot::Receiver<UnixStream>>,
    /// Keys that leave.
    keys: detach::Watch,
    record: Arc<ContainerRecord>,
}

/// The watch for the keys that leave a process with a terminal and input.
pub(super) fn keys(interactive: bool, text: Option<&str>) -> ApiResult<detach::Watch> {
    let keys = if interactive { text.unwrap_or(detach::DEFAULT) } else { "" };
    detach::Watch::parse(keys).map_err(ApiError::bad_request)
}

async fn prepare(api: &Api, id: &str, params: &Params) -> ApiResult<Attachment> {
    let handle = api.containers.find(id)?;
    let record = handle.record();
    if let Some(keys) = params.get("detachKeys").filter(|keys| detach::Watch::parse(keys).is_err()) {
        return Err(ApiError::bad_request(format!("Invalid detach keys ({keys}) provided")));
    }
    let streams = StreamSet {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    };
    let keys = keys(record.spec.tty && streams.stdin, params.get("detachKeys"))?;
    let earlier = (params.flag("logs") && record.spec.log.is_readable()).then(|| {
        let wanted = LogRequest { stdout: streams.stdout, stderr: streams.stderr, ..LogRequest::default() };
        logs::read(api.containers.log_file(&record), wanted, handle.watch())
    });
    let live = if params.flag("stream") { Some(handle.attach(streams).await?) } else { None };
    Ok(Attachment { earlier, live, keys, record })
}

pub(crate) async fn attach(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    version: Version,
    request: Request,
) -> ApiResult {
    let attachment = prepare(&api, &id, &params).await?;
    let tty = attachment.record.spec.tty;
    hijack(request, version, tty, move |client| serve(api, attachment, client))
}

async fn serve(api: Api, attachment: Attachment, mut client: Client) {
    let Attachment { earlier, live, keys, record } = attachment;
    if let Some(mut entries) = earlier {
        while let Some(entry) = entries.recv().await {
            let entry = match entry {
                Ok(entry) => super::logs::encode(&entry, record.spec.tty, Shown::default()),
                Err(e) => {
                    tracing::warn!("read the log of container {}: {}", record.name, e.full());
                    break;
                }
            };
            if client.write_all(&entry).await.is_err() {
                return;
            }
        }
    }
    if let Some(live) = live
        && let Ok(process) = live.await
        && relay(&mut client, process, Framing::AsIs, keys).await == End::Detached
    {
        api.containers.publish("detach", &record, &[]);
    }
    // The client may be gone.
    let _ = client.shutdown().await;
}

/// The same over a websocket: messages of plain bytes both ways.
pub(crate) async fn attach_websocket(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    upgrade: WebSocketUpgrade,
) -> ApiResult {
    let attachment = prepare(&api, &id, &params).await?;
    Ok(upgrade.on_upgrade(|socket| async move {
        if let Err(e) = serve_websocket(attachment, socket).await {
            tracing::debug!("attach over a websocket: {e}");
        }
    }))
}

async fn serve_websocket(attachment: Attachment, mut socket: WebSocket) -> Result<(), axum::Error> {
    let Attachment { earlier, live, mut keys, record } = attachment;
    if let Some(mut entries) = earlier {
        while let Some(entry) = entries.recv().await {
            let text = entry.map_err(axum::Error::new)?.text.into_bytes();
            socket.send(Message::Binary(text.into())).await?;
        }
    }
    let Some(live) = live else { return socket.send(Message::Close(None)).await };
    let Ok(mut process) = live.await else { return Ok(()) };
    let mut framing = crate::frames::Unframer::default();
    let mut piece = vec![0; 32 * 1024];
    loop {
        tokio::select! {
            read = process.read(&mut piece) => {
                let Ok(length @ 1..) = read else { return socket.send(Message::Close(None)).await };
                let bytes =
                    if record.spec.tty { piece[..length].to_vec() } else { framing.feed(&piece[..length]) };
                socket.send(Message::Binary(bytes.into())).await?;
            }
            message = socket.recv() => {
                let bytes = match message.transpose()? {
                    Some(Message::Binary(bytes)) => bytes,
                    Some(Message::Text(text)) => text.into(),
                    Some(Message::Ping(_) | Message::Pong(_)) => continue,
                    Some(Message::Close(_)) | None => return Ok(()),
                };
                let typed = keys.feed(&bytes);
                let written = process.write_all(&typed.bytes).await;
                if typed.detached || written.is_err() {
                    return socket.send(Message::Close(None)).await;
                }
            }
        }
    }
}
