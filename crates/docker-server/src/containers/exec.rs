//! `/exec`, and `POST /containers/{id}/exec`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, bytes, json};
use crate::stream::hijack;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::IdResponse;
use wharf_docker_api::types::exec::{ExecCreateRequest, ExecInspect, ExecStartRequest, ProcessConfig};
use wharf_engine::execs::{ExecState, NewExec};
use wharf_oci::runtime_spec::ConsoleSize;

pub(crate) async fn create(State(api): State<Api>, Path(id): Path<String>, body: Body) -> ApiResult {
    let request: ExecCreateRequest = json(body).await?;
    let record = api.containers.find(&id)?.record();
    let exec = api.containers.create_exec(
        &record,
        NewExec {
            command: request.cmd.unwrap_or_default().0,
            tty: request.tty,
            attach: (request.attach_stdin, request.attach_stdout, request.attach_stderr),
            env: request.env.unwrap_or_default(),
            working_dir: request.working_dir,
            user: request.user,
            privileged: request.privileged,
            detach_keys: request.detach_keys,
        },
    )?;
    Ok((StatusCode::CREATED, Json(IdResponse { id: exec.id.to_string() })).into_response())
}

pub(crate) async fn start(State(api): State<Api>, Path(id): Path<String>, request: Request) -> ApiResult {
    let exec = api.execs.find(&id)?;
    let (parts, body) = request.into_parts();
    let body = bytes(body).await?;
    let wanted: ExecStartRequest = serde_json::from_slice(if body.is_empty() { b"{}" } else { &body })
        .map_err(|e| ApiError::bad_request(format!("invalid JSON: {e}")))?;
    let size =
        wanted.console_size.map(|[height, width]| ConsoleSize { height: height as u16, width: width as u16 });
    let started = api.containers.start_exec(&exec, !wanted.detach, size).await?;
    if wanted.detach {
        return Ok(StatusCode::OK.into_response());
    }
    let tty = exec.spec.tty;
    // The exit code is known before the client sees the end: it asks for it next.
    let ended = async move {
        exec.wait().await;
    };
    hijack(Request::from_parts(parts, Body::empty()), tty, async move { Some(started.stream) }, ended)
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
        can_remove: !running,
        container_id: exec.container.to_string(),
        detach_keys: exec.spec.detach_keys.clone(),
        pid: pid.into(),
    };
    Ok(Json(response).into_response())
}
