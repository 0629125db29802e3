//! Health, metrics and the token endpoint.

use super::auth::Wrong;
use super::incoming::Request;
use super::live::Live;
use super::metrics::Elsewhere;
use super::reply::{self, Refusal, Reply};
use super::request::Context;
use super::{App, access, blocking};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a form: a name, a password, some scopes.
const MAX_FORM: usize = 16 << 10;

/// `/healthz`: the process answers. `/ready`: its storage does, too.
pub(super) async fn health(app: &Arc<App>, path: &str) -> Option<Reply> {
    let ready = match path {
        "/healthz" => true,
        "/ready" => blocking(app, |app| Ok(app.is_ready())).await.unwrap_or(false),
        _ => return None,
    };
    let (status, text) = match ready {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the storage cannot be read\n"),
    };
    Some(reply::bytes(status, "text/plain; charset=utf-8", text.into()))
}

/// `/metrics`, for those who may see everything.
pub(super) fn metrics(context: &Context) -> Result<Reply, Refusal> {
    if !context.live.access.sees_all(&context.who) {
        return Err(Refusal::denied("metrics are for those who may pull from every repository"));
    }
    let app = &context.app;
    let elsewhere = Elsewhere {
        hits: app.store.cache.hits.load(Ordering::Relaxed),
        misses: app.store.cache.misses.load(Ordering::Relaxed),
        uploads: app.uploads.count(),
    };
    let text = app.metrics.text(&elsewhere);
    Ok(reply::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into()))
}

/// `/token`: by GET as the registry token specification has it, by POST as OAuth2 (RFC 6749).
pub(super) async fn token(
    app: &Arc<App>,
    live: &Live,
    certificate: Option<&str>,
    request: Request,
) -> Result<Reply, Refusal> {
    let header = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let query = match *request.method() {
        Method::GET => request.uri().query().unwrap_or_default().to_owned(),
        Method::POST => {
            let body = Limited::new(request.into_body(), MAX_FORM).collect().await.map_err(|e| {
                Refusal::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", format!("the form cannot be read: {e}"))
            })?;
            String::from_utf8_lossy(&body.to_bytes()).into_owned()
        }
        _ => {
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                "GET or POST is expected",
            ));
        }
    };
    let access: &access::Access = &live.access;
    match live.auth.token(access, &query, header.as_deref(), certificate).await {
        Ok(text) => {
            let mut answer = reply::bytes(StatusCode::OK, "application/json", text.into());
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(answer)
        }
        Err(Wrong(why)) => {
            tracing::info!(why, "no token was issued");
            app.metrics.refused_credentials.fetch_add(1, Ordering::Relaxed);
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "wrong credentials");
            let mut answer = refusal.into_reply();
            reply::set(&mut answer, WWW_AUTHENTICATE, "Basic realm=\"Wharf registry\"");
            Ok(answer)
        }
    }
}
