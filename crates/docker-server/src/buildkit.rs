//! `POST /session` and `POST /grpc`: connections that become BuildKit's.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use std::future::Future;
use wharf_buildkit::{Hello, Status};

/// What both become.
const PROTOCOL: &str = "h2c";

/// The user's program serves on this connection, and the engine calls it.
pub(crate) async fn session(State(api): State<Api>, request: Request) -> ApiResult {
    let hello = Hello::parse(request.headers()).map_err(ApiError::bad_request)?;
    api.buildkit.sessions().admit(&hello).map_err(|why| ApiError::new(StatusCode::CONFLICT, why))?;
    become_stream(request, async move |connection| api.buildkit.sessions().run(hello, connection).await)
}

/// The engine serves, and the user's program calls.
pub(crate) async fn grpc(State(api): State<Api>, request: Request) -> ApiResult {
    become_stream(request, async move |connection| api.buildkit.serve(connection).await)
}

fn become_stream<S, F>(request: Request, serve: S) -> ApiResult
where
    S: FnOnce(TokioIo<hyper::upgrade::Upgraded>) -> F + Send + 'static,
    F: Future<Output = Result<(), Status>> + Send,
{
    if !wants(request.headers()) {
        return Err(ApiError::bad_request(format!(
            "no upgrade proto in request: Upgrade: {PROTOCOL} is expected"
        )));
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(connection) = upgrade.await else { return };
        if let Err(e) = serve(TokioIo::new(connection)).await {
            // A client that goes away in the middle is everyday life.
            tracing::debug!("a connection of BuildKit: {e}");
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

fn wants(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(PROTOCOL))
}
