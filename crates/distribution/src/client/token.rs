//! Tokens: asked of the server that a registry names, by query or by form (distribution, "Token Authentication
//! Specification"; "OAuth2 Token Authentication").

use super::answer::{answered, collect, encode, failure};
use super::auth::Token;
use super::send::bytes_body;
use super::{Client, Credentials, MAX_SMALL_BODY};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use wharf_model::{Error, ErrorKind, Result};

/// How this client calls itself to token servers.
const CLIENT_ID: &str = "wharf";

/// A token that is wanted.
struct Wanted<'a> {
    realm: &'a str,
    service: &'a str,
    scopes: &'a [&'a str],
}

impl Client {
    /// Asks the server that a registry names for a token. An identity token goes by form alone; a password by query, or
    /// by form to a server that knows no other way.
    pub(super) async fn token(
        &self,
        registry: &str,
        credentials: &Credentials,
        realm: &str,
        service: Option<&str>,
        scopes: &[&str],
    ) -> Result<Token> {
        let uri: Uri = realm.parse().map_err(|e| {
            Error::wrap(ErrorKind::Invalid, format!("{registry} names the token server {realm:?}"), e)
        })?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        if uri.scheme_str() != Some("https") && !self.transport.is_insecure(&host) {
            let text = format!("{registry} wants credentials sent in the clear to {realm}: refused");
            return Err(Error::new(ErrorKind::Unauthorised, text));
        }
        let wanted = Wanted { realm, service: service.unwrap_or_default(), scopes };
        let response = match credentials {
            Credentials::IdentityToken(token) => {
                self.by_form(&wanted, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await?
            }
            Credentials::Password { user, password } => match self.by_query(&wanted, credentials).await? {
                response
                    if matches!(
                        response.status(),
                        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                    ) =>
                {
                    let form = [
                        ("grant_type", "password"),
                        ("access_type", "offline"),
                        ("username", user),
                        ("password", password),
                    ];
                    self.by_form(&wanted, &form).await?
                }
                response => response,
            },
            _ => self.by_query(&wanted, credentials).await?,
        };
        if !response.status().is_success() {
            let doing = format!("get a token for {registry} from {host}");
            let error = failure(response, self.silence, &doing).await;
            // Token servers answer 400 or 403 to wrong passwords, too.
            let kind = match error.kind() {
                ErrorKind::Invalid | ErrorKind::Forbidden => ErrorKind::Unauthorised,
                kind => kind,
            };
            return Err(Error::new(kind, error.full()));
        }
        Token::parse(&collect(response, MAX_SMALL_BODY, self.silence).await?, realm)
    }

    async fn by_query(&self, wanted: &Wanted<'_>, credentials: &Credentials) -> Result<Response<Incoming>> {
        let mut query: Vec<(&str, &str)> = vec![("service", wanted.service)];
        query.extend(wanted.scopes.iter().map(|scope| ("scope", *scope)));
        if let Credentials::Password { user, .. } = credentials {
            query.extend([("account", &user[..]), ("client_id", CLIENT_ID), ("offline_token", "true")]);
        }
        let separator = if wanted.realm.contains('?') { '&' } else { '?' };
        let mut request = Request::get(format!("{}{separator}{}", wanted.realm, encode(&query)));
        if let Some(basic) = credentials.basic() {
            request = request.header(AUTHORIZATION, basic);
        }
        self.ask(request, wanted, Bytes::new()).await
    }

    async fn by_form(&self, wanted: &Wanted<'_>, form: &[(&str, &str)]) -> Result<Response<Incoming>> {
        let scope = wanted.scopes.join(" ");
        let common = [("service", wanted.service), ("client_id", CLIENT_ID), ("scope", &scope[..])];
        let request = Request::post(wanted.realm).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(request, wanted, encode(&[form, &common].concat()).into()).await
    }

    async fn ask(
        &self,
        request: http::request::Builder,
        wanted: &Wanted<'_>,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let length = body.len();
        let (body, _) = bytes_body(&body)?;
        let request = request.header(USER_AGENT, &self.user_agent).header(CONTENT_LENGTH, length).body(body);
        let request = request.map_err(|e| {
            Error::wrap(ErrorKind::Internal, format!("ask the token server {}", wanted.realm), e)
        })?;
        answered(self.transport.send(request), self.silence).await
    }
}
