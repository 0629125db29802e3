//! Who makes a request: passwords, tokens, clients' certificates; and the tokens that are issued here.

mod htpasswd;
mod issuer;
mod jwt;
mod keys;

use super::access::{Access, Grant, Identity};
use super::route::{self, parameters};
use super::settings::{Action, Settings, Trust};
use htpasswd::{Htpasswd, credentials};
use issuer::Issuer;
use keys::Key;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use wharf_model::Result;

pub(super) use wharf_signing::der::common_name;

/// Tokens remembered: verifying one takes longer than answering a request.
const MAX_REMEMBERED: usize = 1024;
/// Repositories that one token is for; a push with mounts needs a few.
const MAX_SCOPES: usize = 32;
/// What the registry is called when nothing is said.
const SERVICE: &str = "wharf-registry";

/// Credentials that are wrong; nothing is said of what would be right.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

/// Knows users.
pub(super) struct Auth {
    users: Option<Arc<Htpasswd>>,
    issuer: Option<Issuer>,
    trusted: Option<(Trust, Vec<Key>)>,
    realm: Option<String>,
    service: String,
    tokens: Mutex<HashMap<[u8; 32], (Identity, u64)>>,
}

impl Auth {
    /// Opens the files that are named. With `keep`, a key that is made is kept.
    pub(super) fn open(settings: &Settings, access: &Access, root: &Path, keep: bool) -> Result<Self> {
        let auth = &settings.auth;
        let users = auth.htpasswd.clone().map(Htpasswd::open).transpose()?.map(Arc::new);
        let trusted = match &auth.trust {
            Some(trust) => Some((trust.clone(), keys::read(&trust.keys)?)),
            None => None,
        };
        // Clients that are let in without a password never send one later; with tokens they do.
        let mixed = users.is_some() && trusted.is_none() && access.lets_everybody();
        let token = auth.token.clone().or_else(|| mixed.then(Default::default));
        let service = token.as_ref().and_then(|t| t.service.clone()).unwrap_or_else(|| SERVICE.to_owned());
        let issuer = match &token {
            Some(token) => {
                let lifetime = token.lifetime.map_or(issuer::LIFETIME, |span| span.0);
                Some(Issuer::open(&root.join("token-key"), keep, &service, lifetime)?)
            }
            None => None,
        };
        let realm = token.and_then(|t| t.realm);
        Ok(Self { users, issuer, trusted, realm, service, tokens: Mutex::default() })
    }

    /// Whether tokens are issued here.
    pub(super) fn issues(&self) -> bool {
        self.issuer.is_some()
    }

    /// Whose request it is: that of the `Authorization` header if there is one, else of the client's certificate.
    pub(super) async fn identify(
        &self,
        header: Option<&str>,
        certificate: Option<&str>,
    ) -> std::result::Result<Identity, Wrong> {
        let Some(header) = header else {
            return Ok(Identity { user: certificate.map(str::to_owned), ..Identity::default() });
        };
        if let Some((user, password)) = credentials(header) {
            let Some(users) = &self.users else {
                return Err(Wrong("there are no passwords here".into()));
            };
            return match Arc::clone(users).verify(&user, &password).await {
                true => Ok(Identity { user: Some(user), ..Identity::default() }),
                false => Err(Wrong(format!("wrong password or no such user: {user:?}"))),
            };
        }
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.bearer(token.trim()),
            _ => Err(Wrong("unknown kind of credentials".into())),
        }
    }

    fn bearer(&self, token: &str) -> std::result::Result<Identity, Wrong> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let now = jwt::now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((identity, _)) = tokens.get(&hash).filter(|(_, expires)| *expires > now) {
            return Ok(identity.clone());
        }
        let claims = match (&self.issuer, &self.trusted) {
            (Some(issuer), _) => issuer.verify(token, now),
            (None, Some((trust, keys))) => jwt::verify(token, keys, &trust.issuer, &trust.service, now),
            (None, None) => Err("there are no tokens here".into()),
        };
        let claims = claims.map_err(Wrong)?;
        let identity = Identity {
            user: Some(claims.sub).filter(|user| !user.is_empty()),
            grants: Some(claims.access.unwrap_or_default()),
            foreign: self.issuer.is_none(),
        };
        if tokens.len() >= MAX_REMEMBERED {
            tokens.retain(|_, (_, expires)| *expires > now);
            if tokens.len() >= MAX_REMEMBERED {
                tokens.clear();
            }
        }
        tokens.insert(hash, (identity.clone(), claims.exp));
        Ok(identity)
    }

    /// What a client is told that has to show who it is: the `WWW-Authenticate` header. `scope` is what it needs.
    pub(super) fn challenge(&self, here: &str, scope: Option<&str>, wrong: bool) -> String {
        let (realm, service) = match (&self.issuer, &self.trusted) {
            (Some(_), _) => {
                (self.realm.clone().unwrap_or_else(|| format!("{here}/token")), self.service.as_str())
            }
            (None, Some((trust, _))) => (trust.realm.clone(), trust.service.as_str()),
            (None, None) => return "Basic realm=\"Wharf registry\"".into(),
        };
        let mut text = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
        if let Some(scope) = scope {
            text.push_str(&format!(",scope=\"{scope}\""));
        }
        if wrong {
            text.push_str(",error=\"invalid_token\"");
        }
        text
    }

    /// A token for what a query (or form) asks for, as far as the rules allow it: the answer's body.
    pub(super) async fn token(
        &self,
        access: &Access,
        query: &str,
        header: Option<&str>,
        certificate: Option<&str>,
    ) -> std::result::Result<String, Wrong> {
        let Some(issuer) = &self.issuer else { return Err(Wrong("no tokens are issued here".into())) };
        let user =
            match (route::parameter(Some(query), "username"), route::parameter(Some(query), "password")) {
                (Some(user), Some(password)) => {
                    let known = match &self.users {
                        Some(users) => Arc::clone(users).verify(&user, &password).await,
                        None => false,
                    };
                    if !known {
                        return Err(Wrong(format!("wrong password or no such user: {user:?}")));
                    }
                    Some(user)
                }
                _ => {
                    let identity =
                        self.identify(header.filter(|h| credentials(h).is_some()), certificate).await?;
                    identity.user
                }
            };
        let wanted: Vec<String> = parameters(Some(query), "scope");
        let wanted = wanted.iter().flat_map(|s| s.split(' ')).filter(|s| !s.is_empty()).take(MAX_SCOPES);
        let grants: Vec<Grant> = wanted.filter_map(|scope| grant(access, user.as_deref(), scope)).collect();
        let (token, seconds) = issuer.issue(user.as_deref(), grants).map_err(|e| Wrong(e.full()))?;
        Ok(serde_json::json!({"token": token, "access_token": token, "expires_in": seconds}).to_string())
    }
}

/// What of a scope (`repository:name:pull,push`) a user gets.
fn grant(access: &Access, user: Option<&str>, scope: &str) -> Option<Grant> {
    // A name may have a port in it, and so colons.
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let allowed: Vec<String> = match kind {
        "repository" => actions
            .split(',')
            .flat_map(|action| match action {
                "*" => vec![Action::Pull, Action::Push, Action::Delete],
                "pull" => vec![Action::Pull],
                "push" => vec![Action::Push],
                "delete" => vec![Action::Delete],
                _ => vec![],
            })
            .filter(|action| access.rules_allow(user, name, *action))
            .map(|action| action.as_str().to_owned())
            .collect(),
        "registry" if name == "catalog" => vec!["*".into()],
        _ => vec![],
    };
    Some(Grant { kind: kind.into(), name: name.into(), actions: allowed })
}
