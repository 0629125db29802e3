//! The way of a request: who, how often, what, allowed, done, written down.

use super::access::{Identity, Verdict};
use super::audit::{Line, timestamp};
use super::auth::Wrong;
use super::incoming::Request;
use super::live::Live;
use super::reply::{self, API_VERSION, CONTENT_DIGEST, Refusal, Reply};
use super::route::{self, Route, Selector, Unrouted};
use super::settings::Action;
use super::{App, blobs, lists, manifests, mirrors, pages, status};
use http::header::{AUTHORIZATION, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use hyper::body::Body;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
    /// The common name of the client's certificate.
    pub(super) certificate: Option<String>,
}

/// A request's surroundings, for those who answer it.
pub(super) struct Context {
    pub(super) app: Arc<App>,
    pub(super) live: Arc<Live>,
    pub(super) who: Identity,
}

impl Context {
    pub(super) fn may(&self, repository: &str, action: Action) -> bool {
        self.live.access.judge(&self.who, repository, action) == Verdict::Allowed
    }
}

/// What the audit log says of a request besides its head and its answer.
#[derive(Default)]
struct Seen {
    who: Option<String>,
    route: Option<Route>,
}

/// Answers a request.
pub(super) async fn answer(app: Arc<App>, peer: &Peer, request: Request) -> Reply {
    let started = Instant::now();
    let live = app.live();
    let method = request.method().clone();
    let mut seen = Seen::default();
    let handled = handle(&app, &live, peer, request, &mut seen).await;
    let mut reply = handled.unwrap_or_else(Refusal::into_reply);
    reply.headers_mut().insert(API_VERSION, http::HeaderValue::from_static("registry/2.0"));
    if let (Some(audit), Some(route)) = (&live.audit, &seen.route)
        && let Some(repository) = route.repository()
    {
        let digest = reply.headers().get(CONTENT_DIGEST).and_then(|v| v.to_str().ok());
        let (reference, digest) = match route {
            Route::Manifest(_, selector) => (Some(selector.as_str()), digest),
            Route::Blob(_, digest) | Route::Referrers(_, digest) => (None, Some(digest.as_str())),
            _ => (None, digest),
        };
        audit.write(&Line {
            time: timestamp(SystemTime::now()),
            user: seen.who.as_deref(),
            from: peer.address.to_string(),
            action: route.action(&method).as_str(),
            repository,
            reference,
            digest,
            method: method.as_str(),
            status: reply.status().as_u16(),
        });
    }
    if method == Method::HEAD {
        // The length stays, the body goes.
        *reply.body_mut() = reply::empty(StatusCode::NO_CONTENT).into_body();
    } else if let Some(size) = reply.body().size_hint().exact().or_else(|| reply::length(&reply)) {
        app.metrics.bytes_out.fetch_add(size, Ordering::Relaxed);
    }
    app.metrics.request(method.as_str(), reply.status().as_u16(), started.elapsed());
    reply
}

/// The address of this registry as the client sees it.
fn here(peer: &Peer, request: &Request) -> String {
    let host = request.headers().get(HOST).and_then(|v| v.to_str().ok()).unwrap_or("localhost");
    format!("{}://{host}", if peer.tls { "https" } else { "http" })
}

/// The refusal of one who asks too often.
fn limited(live: &Live, who: &str, count: f64) -> Option<Reply> {
    let seconds = live.limits.as_ref()?.take(who, count, Instant::now()).err()?;
    let text = format!("too many requests: try again in {seconds} seconds");
    let mut answer = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", text).into_reply();
    reply::set(&mut answer, RETRY_AFTER, &seconds.to_string());
    Some(answer)
}

fn unauthorised(live: &Live, here: &str, scope: Option<&str>, basic: bool, wrong: bool) -> Reply {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    let mut answer = refusal.into_reply();
    let challenge = match basic {
        true => "Basic realm=\"Wharf registry\"".to_owned(),
        false => live.auth.challenge(here, scope, wrong),
    };
    reply::set(&mut answer, WWW_AUTHENTICATE, &challenge);
    answer
}

async fn handle(
    app: &Arc<App>,
    live: &Arc<Live>,
    peer: &Peer,
    request: Request,
    seen: &mut Seen,
) -> Result<Reply, Refusal> {
    let path = request.uri().path();
    if let Some(answer) = status::health(app, path).await {
        return Ok(answer);
    }
    let address = peer.address.ip().to_string();
    let header = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let certificate = peer.certificate.as_deref();
    if path == "/token" && live.auth.issues() {
        if let Some(answer) = limited(live, &address, 1.0) {
            return Ok(answer);
        }
        return status::token(app, live, certificate, request).await;
    }
    let is_page = path == "/" || path == "/ui" || path.starts_with("/ui/") || path == "/metrics";
    if header.is_some()
        && let Some(answer) = limited(live, &address, 0.0)
    {
        return Ok(answer);
    }
    let who = match live.auth.identify(header, certificate).await {
        Ok(who) => who,
        Err(Wrong(why)) => {
            tracing::info!(from = %peer.address, why, "credentials refused");
            app.metrics.refused_credentials.fetch_add(1, Ordering::Relaxed);
            if let Some(answer) = limited(live, &address, 1.0) {
                return Ok(answer);
            }
            seen.route = route::parse(path).ok();
            return Ok(unauthorised(live, &here(peer, &request), None, is_page, true));
        }
    };
    seen.who.clone_from(&who.user);
    if let Some(answer) = limited(live, who.user.as_deref().unwrap_or(&address), 1.0) {
        return Ok(answer);
    }
    let context = Context { app: Arc::clone(app), live: Arc::clone(live), who };
    if is_page {
        if context.who.user.is_none() && live.access.knows_users() && !live.access.lets_everybody() {
            return Ok(unauthorised(live, "", None, true, false));
        }
        return match path {
            "/metrics" => status::metrics(&context),
            _ => pages::page(context, request.uri()).await,
        };
    }
    let route = route::parse(path).map_err(unrouted)?;
    let source = mounted_from(&route, &request);
    let verdict = match judge(&context, &route, request.method()) {
        // Mounting is worth another token: without it the client would send all that is here already.
        Verdict::Allowed if source.as_deref().is_some_and(|source| worth_another_token(&context, source)) => {
            Verdict::Unauthorised
        }
        verdict => verdict,
    };
    let scope = scope(&route, request.method(), source.as_deref());
    seen.route = Some(route.clone());
    match verdict {
        Verdict::Allowed => {}
        Verdict::Unauthorised => {
            return Ok(unauthorised(live, &here(peer, &request), scope.as_deref(), false, false));
        }
        Verdict::Denied => {
            let user = context.who.user.as_deref().unwrap_or("everybody");
            let action = route.action(request.method()).as_str();
            let text = format!("{user} may not {action} {}", route.repository().unwrap_or("here"));
            return Err(Refusal::denied(text));
        }
    }
    if live.settings.read_only && !route::is_read(request.method()) {
        let text = "the registry is read-only";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", text));
    }
    if !route::is_read(request.method())
        && let Err(error) = app.check_owner()
    {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error.full()));
    }
    if let Some(name) = route.repository()
        && route.action(request.method()) == Action::Push
        && mirrors::of(live, name).is_some()
    {
        return Err(Refusal::denied(format!("{name} is filled from another registry: push there")));
    }
    dispatch(context, route, request).await
}

fn judge(context: &Context, route: &Route, method: &Method) -> Verdict {
    let (access, who) = (&context.live.access, &context.who);
    match route.repository() {
        Some(repository) => access.judge(who, repository, route.action(method)),
        // A token without a name is what everybody gets where tokens are issued.
        None if who.user.is_none() && who.grants.is_none() && access.knows_users() => {
            let open = access.lets_everybody() && !context.live.auth.issues();
            if open { Verdict::Allowed } else { Verdict::Unauthorised }
        }
        None => Verdict::Allowed,
    }
}

/// The repository that a request takes a blob from.
fn mounted_from(route: &Route, request: &Request) -> Option<String> {
    let query = request.uri().query();
    let mounts = matches!(route, Route::Uploads(_)) && route::parameter(query, "mount").is_some();
    let source = route::parameter(query, "from").filter(|_| mounts)?;
    let valid =
        source.len() <= wharf_oci::reference::MAX_PATH_LENGTH && wharf_oci::reference::is_path(&source);
    valid.then_some(source)
}

fn worth_another_token(context: &Context, source: &str) -> bool {
    let issues = context.live.auth.issues();
    issues && context.live.access.another_token_allows(&context.who, source, Action::Pull)
}

/// What a token has to allow for a request, which may take a blob from a second repository.
fn scope(route: &Route, method: &Method, source: Option<&str>) -> Option<String> {
    let Some(repository) = route.repository() else {
        return matches!(route, Route::Catalog).then(|| "registry:catalog:*".into());
    };
    let actions = match route.action(method) {
        Action::Pull => "pull",
        // Who pushes asks first what is there.
        Action::Push => "pull,push",
        Action::Delete => "delete",
    };
    let scope = format!("repository:{repository}:{actions}");
    Some(match source {
        Some(source) if source != repository => format!("{scope} repository:{source}:pull"),
        _ => scope,
    })
}

fn unrouted(why: Unrouted) -> Refusal {
    match why {
        Unrouted::NotFound => {
            Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is nothing at this path")
        }
        Unrouted::Name(name) => {
            Refusal::new(StatusCode::NOT_FOUND, "NAME_INVALID", format!("invalid repository name {name:?}"))
        }
        Unrouted::Digest(text) => Refusal::digest_invalid(format!("invalid digest {text:?}")),
        Unrouted::Tag(tag) => Refusal::manifest_unknown(&tag),
    }
}

async fn dispatch(context: Context, route: Route, request: Request) -> Result<Reply, Refusal> {
    let method = request.method().clone();
    let query = request.uri().query();
    match (route, method) {
        (Route::Base, Method::GET | Method::HEAD) => {
            Ok(reply::bytes(StatusCode::OK, "application/json", "{}".into()))
        }
        (Route::Catalog, Method::GET | Method::HEAD) => lists::catalog(context, query).await,
        (Route::Tags(name), Method::GET | Method::HEAD) => lists::tags(context, name, query).await,
        (Route::Referrers(name, digest), Method::GET | Method::HEAD) => {
            lists::referrers(context, name, digest, query).await
        }
        (Route::Manifest(name, selector), method) => match method {
            Method::GET | Method::HEAD => manifests::get(context, name, selector, &request).await,
            Method::PUT => manifests::put(context, name, selector, request).await,
            Method::DELETE => manifests::delete(context, name, selector).await,
            _ => Err(method_not_allowed()),
        },
        (Route::Blob(name, digest), method) => match method {
            Method::GET | Method::HEAD => blobs::get(context, name, digest, &request).await,
            Method::DELETE => blobs::delete(context, name, digest).await,
            _ => Err(method_not_allowed()),
        },
        (Route::Uploads(name), Method::POST) => blobs::begin(context, name, request).await,
        (Route::Upload(name, id), method) => match method {
            Method::GET | Method::HEAD => blobs::status(context, name, id).await,
            Method::PATCH => blobs::patch(context, name, id, request).await,
            Method::PUT => blobs::finish(context, name, id, request).await,
            Method::DELETE => blobs::cancel(context, name, id).await,
            _ => Err(method_not_allowed()),
        },
        _ => Err(method_not_allowed()),
    }
}

fn method_not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this path does not know the method")
}

/// Whether the client has what it asks for already (`If-None-Match`).
pub(super) fn is_known(request: &Request, digest: &wharf_oci::digest::Digest) -> bool {
    let known = request.headers().get(http::header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    known.is_some_and(|tags| {
        tags.split(',')
            .map(str::trim)
            .any(|tag| tag.trim_start_matches("W/").trim_matches('"') == digest.as_str())
    })
}

/// A selector from its text, which comes of a checked path.
pub(super) fn tag_of(selector: &Selector) -> Option<&str> {
    match selector {
        Selector::Tag(tag) => Some(tag),
        Selector::Digest(_) => None,
    }
}
