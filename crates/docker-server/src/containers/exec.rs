//! `/exec`, and `POST /containers/{id}/exec`.

use crate::error::{ApiError, ApiResult};
use crate::frames::frame;
use crate::params::{JsonBody, Params, bytes};
use crate::stream::{Client, End, Framing, hijack, relay};
use crate::version::Version;
use crate::{Api, verify};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use wharf_docker_api::detach::Watch;
use wharf_docker_api::types::IdResponse;
use wharf_docker_api::types::exec::{ExecCreateRequest, ExecInspect, ExecStartRequest, ProcessConfig};
use wharf_docker_api::words::without_numbers;
use wharf_engine::execs::{Exec, ExecState, NewExec};
use wharf_oci::runtime_spec::ConsoleSize;

pub(crate) async fn create(
    State(api): State<Api>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExecCreateRequest>,
) -> ApiResult {
    verify::environment(request.env.iter().flatten())?;
    if let Err(e) = Watch::parse(&request.detach_keys) {
        tracing::debug!("detach keys: {e}");
        return Err(ApiError::bad_request(format!("Invalid escape keys ({}) provided", request.detach_keys)));
    }
    let record = api.containers.find(&id)?.record();
    let wanted = NewExec {
        command: request.cmd.unwrap_or_default(),
        tty: request.tty,
        attach: (request.attach_stdin, request.attach_stdout, request.attach_stderr),
        env: request.env.unwrap_or_default(),
        working_dir: request.working_dir,
        user: request.user,
        privileged: request.privileged,
        detach_keys: request.detach_keys,
    };
    let exec = api.containers.create_exec(&record, wanted).await?;
    Ok((StatusCode::CREATED, Json(IdResponse { id: exec.id.to_string() })).into_response())
}

pub(crate) async fn start(
    State(api): State<Api>,
    Path(id): Path<String>,
    version: Version,
    request: Request,
) -> ApiResult {
    let exec = api.execs.find(&id)?;
    let (parts, body) = request.into_parts();
    let body = bytes(body).await?;
    let wanted: ExecStartRequest = serde_json::from_slice(if body.is_empty() { b"{}" } else { &body })
        .map_err(|e| ApiError::bad_request(format!("invalid JSON: {e}")))?;
    let size =
        wanted.console_size.map(|[height, width]| ConsoleSize { height: height as u16, width: width as u16 });
    if wanted.detach {
        api.containers.start_exec(&exec, false, size).await?;
        return Ok(StatusCode::OK.into_response());
    }
    api.containers.may_start(&exec)?;
    // The keys are those of its making, as with Docker.
    let text = Some(exec.spec.detach_keys.as_str()).filter(|text| !text.is_empty());
    let keys = super::attach::keys(exec.spec.tty && exec.spec.attach.0, text)?;
    let request = Request::from_parts(parts, Body::empty());
    hijack(request, version, wanted.tty, move |client| run(api, exec, size, wanted.tty, keys, client))
}

/// Starts the process and serves its streams. Why it could not be started is told in the stream, as with Docker: the
/// head of the answer is out by then.
async fn run(
    api: Api,
    exec: Arc<Exec>,
    size: Option<ConsoleSize>,
    plain: bool,
    keys: Watch,
    mut client: Client,
) {
    match api.containers.start_exec(&exec, true, size).await {
        Ok(started) => {
            let framing = Framing::of(exec.spec.tty, plain);
            match relay(&mut client, started.stream, framing, keys).await {
                // The exit code is known before the client sees the end: it asks for it next.
                End::Ended => drop(exec.wait().await),
                End::Detached => api.containers.publish_detached(&exec),
                End::Gone => {}
            }
        }
        Err(e) => {
            let text = format!("{}\r\n", without_numbers(&e.full())).into_bytes();
            let text = if plain { text } else { frame(1, &text) };
            // The client may be gone; whoever asks gets the exit code.
            let _ = client.write_all(&text).await;
        }
    }
    // The client may be gone.
    let _ = client.shutdown().await;
}

pub(crate) async fn resize(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let exec = api.execs.find(&id)?;
    let (rows, columns) = super::lifecycle::size(&params)?;
    api.containers.launcher().resize(&exec.container, Some(exec.id.as_str()), rows, columns).await?;
    Ok(StatusCode::OK.into_response())
}

pub(crate) async fn inspect(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let exec = api.execs.find(&id)?;
    let (running, exit_code, pid) = match exec.state() {
        ExecState::Created => (false, None, 0),
        ExecState::Running(pid) => (true, None, pid),
        ExecState::Ended(code) => (false, Some(i64::from(code)), 0),
    };
    let (entrypoint, arguments) =
        exec.spec.command.split_first().map(|(e, a)| (e.clone(), a.to_vec())).unwrap_or_default();
    let (stdin, stdout, stderr) = exec.spec.attach;
    let response = ExecInspect {
        id: exec.id.to_string(),
        running,
        exit_code,
        process_config: ProcessConfig {
            tty: exec.spec.tty,
            entrypoint,
            arguments,
            privileged: Some(exec.spec.privileged),
            user: exec.spec.user.clone(),
        },
        open_stdin: stdin,
        open_stderr: stderr,
        open_stdout: stdout,
        can_remove: false,
        container_id: exec.container.to_string(),
        detach_keys: exec.spec.detach_keys.clone(),
        pid: pid.into(),
    };
    Ok(Json(response).into_response())
}
