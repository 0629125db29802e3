//! `POST /containers/{id}/attach`.

use crate::Api;
use crate::error::ApiResult;
use crate::params::Params;
use crate::stream::hijack;
use axum::extract::{Path, Request, State};
use wharf_engine::logs::{self, LogRequest};
use wharf_model::launcher::StreamSet;

pub(crate) async fn attach(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> ApiResult {
    let handle = api.containers.find(&id)?;
    let record = handle.record();
    let streams = StreamSet {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    };
    if !params.flag("stream") {
        let request_logs =
            LogRequest { stdout: streams.stdout, stderr: streams.stderr, ..LogRequest::default() };
        let entries = logs::read(api.containers.log_file(&record), request_logs, handle.watch());
        return Ok(super::logs::respond(entries, record.spec.tty, false));
    }
    let pending = handle.attach(streams).await?;
    hijack(request, record.spec.tty, async move { pending.await.ok() }, std::future::ready(()))
}
