//! Requests: sent again after transient failures, with authentication, through redirects.

use super::answer::{absolute, answered, is_transient, retry_after};
use super::auth::{Challenge, parse_challenge};
use super::transport::RequestBody;
use super::{Client, Credentials, DOCKER_HUB, FIRST_PAUSE, MAX_PAUSE, MAX_REDIRECTS};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use wharf_model::{Error, ErrorKind, Result};

/// A request that can be sent more than once.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// A path on the registry, or a whole address.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: &'a (dyn Fn() -> Result<(RequestBody, Option<u64>)> + Sync),
    pub(super) scope: String,
}

pub(super) fn no_body() -> Result<(RequestBody, Option<u64>)> {
    bytes_body(&Bytes::new())
}

pub(super) fn bytes_body(bytes: &Bytes) -> Result<(RequestBody, Option<u64>)> {
    let length = bytes.len() as u64;
    Ok((Full::new(bytes.clone()).map_err(|e| match e {}).boxed_unsync(), Some(length)))
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, target: impl Into<String>, scope: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: HeaderMap::new(), body: &no_body, scope: scope.into() }
    }
}

/// The host a registry's name stands for.
pub(super) fn host_of(registry: &str) -> &str {
    if registry == wharf_oci::reference::DEFAULT_DOMAIN { DOCKER_HUB } else { registry }
}

impl Client {
    /// Sends a call, again after transient failures, with whatever authentication the registry wants.
    pub(super) async fn send(
        &self,
        registry: &str,
        credentials: &Credentials,
        call: &Call<'_>,
        attempts: u32,
    ) -> Result<Response<Incoming>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let pause = FIRST_PAUSE * 2u32.pow(attempt - 1);
            let pause = match self.send_authorised(registry, credentials, call).await {
                Ok((response, _)) if is_transient(response.status()) && attempt < attempts => {
                    tracing::debug!(registry, status = %response.status(), "the registry is busy");
                    retry_after(response.headers()).unwrap_or(pause)
                }
                Ok((response, _)) => return Ok(response),
                Err(error) if error.kind() == ErrorKind::Internal && attempt < attempts => {
                    tracing::debug!(registry, error = error.full(), "trying again");
                    pause
                }
                Err(error) => return Err(error),
            };
            // A pause before another attempt at a server that is in trouble, not a wait for something local.
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
        }
    }

    pub(super) async fn send_authorised(
        &self,
        registry: &str,
        credentials: &Credentials,
        call: &Call<'_>,
    ) -> Result<(Response<Incoming>, Option<String>)> {
        let header = self.tokens.header(registry, &call.scope, credentials);
        let (response, is_own) = self.send_once(registry, call, header.as_deref()).await?;
        // Where a redirect leads nobody is told who we are, nor asks for it with effect.
        if response.status() != StatusCode::UNAUTHORIZED || !is_own {
            return Ok((response, None));
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let mut challenges: Vec<Challenge> = challenges.filter_map(parse_challenge).collect();
        challenges.sort_by_key(|c| matches!(c, Challenge::Basic));
        let (header, identity) = match challenges.into_iter().next() {
            Some(Challenge::Basic) => {
                let Some(header) = credentials.basic() else { return Ok((response, None)) };
                self.tokens.keep_basic(registry, &call.scope, credentials);
                (header, None)
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let mut scopes: Vec<&str> = call.scope.split(' ').filter(|s| !s.is_empty()).collect();
                if scopes.is_empty() {
                    scopes.extend(scope.as_deref().filter(|s| !s.is_empty()));
                }
                let token = self.token(registry, credentials, &realm, service.as_deref(), &scopes).await?;
                self.tokens.keep_bearer(registry, &call.scope, credentials, &token);
                (format!("Bearer {}", token.value().unwrap_or_default()), token.refresh_token)
            }
            None => return Ok((response, None)),
        };
        Ok((self.send_once(registry, call, Some(&header)).await?.0, identity))
    }

    /// Sends a call once, following redirects. Credentials stay with the host they are for, and never go from TLS into the
    /// clear. Returns whether the answer is that host's own.
    async fn send_once(
        &self,
        registry: &str,
        call: &Call<'_>,
        authorization: Option<&str>,
    ) -> Result<(Response<Incoming>, bool)> {
        let host = host_of(registry);
        let scheme = self.transport.scheme(host).await?;
        let mut target = match call.target.starts_with('/') {
            true => format!("{scheme}://{host}{}", call.target),
            false => call.target.clone(),
        };
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = target.parse().map_err(|e| {
                Error::wrap(
                    ErrorKind::Invalid,
                    format!("{registry} leads to {target:?}, which is no address"),
                    e,
                )
            })?;
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            let plain_is_fine = self.transport.is_insecure(&authority) || self.transport.is_insecure(host);
            let why = match uri.scheme_str() {
                Some("https") => None,
                Some("http") if plain_is_fine => None,
                Some("http") => Some("in the clear"),
                _ => Some("which is neither https:// nor http://"),
            };
            if let Some(why) = why {
                let text = format!("{registry} leads to {target}, {why}: refused");
                return Err(Error::new(ErrorKind::Forbidden, text));
            }
            let is_own = authority == host && uri.scheme_str() == Some(scheme);
            let mut request =
                Request::builder().method(call.method.clone()).uri(uri).header(USER_AGENT, &self.user_agent);
            for (name, value) in &call.headers {
                request = request.header(name, value);
            }
            if let Some(authorization) = authorization.filter(|_| is_own) {
                let mut value = HeaderValue::from_str(authorization)
                    .map_err(|e| Error::wrap(ErrorKind::Unauthorised, "send the credentials", e))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let (body, length) = (call.body)()?;
            if let Some(length) =
                length.filter(|l| *l > 0 || !matches!(call.method, Method::GET | Method::HEAD))
            {
                request = request.header(CONTENT_LENGTH, length);
            }
            let request = request
                .body(body)
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("make a request to {registry}"), e))?;
            let response = answered(self.transport.send(request), self.silence).await?;
            let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            match (response.status(), location) {
                (
                    StatusCode::MOVED_PERMANENTLY
                    | StatusCode::FOUND
                    | StatusCode::SEE_OTHER
                    | StatusCode::TEMPORARY_REDIRECT
                    | StatusCode::PERMANENT_REDIRECT,
                    Some(location),
                ) if matches!(call.method, Method::GET | Method::HEAD) => {
                    target = absolute(&target, location);
                }
                _ => return Ok((response, is_own)),
            }
        }
        Err(Error::invalid(format!("{registry} redirects more than {MAX_REDIRECTS} times")))
    }
}
