//! The registry's configuration file: JSON, as daemon.json is. What is not known is refused by name.

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::pattern::Pattern;

/// What a registry is told. All but `listen` and `root` can be changed while it serves.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Address and port.
    pub listen: Option<SocketAddr>,
    /// Directory of the images.
    pub root: Option<PathBuf>,
    /// Where the images are; below `root` without it. Cannot be changed while it serves.
    pub storage: Option<Storage>,
    /// The server's certificate; plain HTTP without one.
    pub tls: Option<Tls>,
    /// How users are known.
    pub auth: Auth,
    /// Who may do what. Without rules every known user may do all, and all may where no users are known.
    pub access: Vec<Rule>,
    /// A file that gets a line for each request about a repository.
    pub audit_log: Option<PathBuf>,
    /// How many requests one user or address may make.
    pub rate_limit: Option<RateLimit>,
    /// Refuses everything that changes something.
    pub read_only: bool,
    /// Takes images whose blobs are not all there.
    pub allow_missing_blobs: bool,
    /// When and how content is collected that nothing names.
    pub gc: Gc,
    /// Which tags are kept.
    pub retention: Vec<Retention>,
    /// Tags that are never moved.
    pub immutable: Vec<Immutable>,
    /// Which repositories take, and give out, signed images only.
    pub signatures: Vec<wharf_signing::policy::Rule>,
    /// How many bytes repositories may have.
    pub quotas: Vec<Quota>,
    /// Registries that repositories are filled from when something is asked for.
    pub mirrors: Vec<Mirror>,
    /// Registries that get what is pushed here.
    pub replicas: Vec<Replica>,
}

/// A store elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Storage {
    /// A bucket of an S3-compatible store.
    pub s3: S3,
}

/// A bucket of an S3-compatible store. Its keys are in a file or in the environment, never here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct S3 {
    /// `https://HOST[:PORT]`, or `http://` in a network that is trusted.
    pub endpoint: String,
    /// What the store calls the place that it is in.
    #[serde(default = "region")]
    pub region: String,
    /// The bucket, which is there already.
    pub bucket: String,
    /// Stands before all keys.
    #[serde(default)]
    pub prefix: String,
    /// Whether the bucket is in the path, as most stores have it, and not in the host's name.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// A file with keys, as AWS's tools have it, read again when it changes; the environment's without it.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// A directory with certificates of private stores, HOST:PORT/ca.crt.
    #[serde(default)]
    pub certs_dir: Option<PathBuf>,
}

fn region() -> String {
    "us-east-1".into()
}

fn yes() -> bool {
    true
}

/// Certificate chain and key, PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// Authorities of clients' certificates; the common name is the user's name.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Lets clients without a certificate in; they are nobody, or who their password says.
    #[serde(default)]
    pub client_optional: bool,
}

/// How users are known.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Auth {
    /// A file of `user:bcrypt-hash` lines, read again when it changes.
    pub htpasswd: Option<PathBuf>,
    /// Tokens that this registry issues itself at `/token`.
    pub token: Option<Token>,
    /// A token server elsewhere whose tokens say what their bearer may do.
    pub trust: Option<Trust>,
}

/// Tokens of this registry's own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    /// The address of `/token` as clients see it; from the request's `Host` when absent.
    pub realm: Option<String>,
    /// What clients are told the registry is called.
    pub service: Option<String>,
    /// How long a token is good.
    pub lifetime: Option<Span>,
}

/// A token server that is trusted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trust {
    /// Where clients get tokens.
    pub realm: String,
    /// What the registry is called there: the tokens' audience.
    pub service: String,
    /// What the token server calls itself.
    pub issuer: String,
    /// Its public keys: a PEM file of keys or certificates, or a JSON Web Key Set.
    pub keys: PathBuf,
}

/// What one may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Remove.
    Delete,
}

impl Action {
    /// The word of the token specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// Lets users do something in repositories.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Patterns of names; `@anonymous` is everybody.
    pub users: Vec<Pattern>,
    /// Patterns of repositories.
    pub repositories: Vec<Pattern>,
    /// What they may do there.
    pub actions: Vec<Action>,
}

/// A steady rate with a reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RateLimit {
    /// Requests a second.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

/// Collection of what nothing names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gc {
    /// How often; never by itself when absent.
    pub every: Option<Span>,
    /// A blob that no manifest names is kept so long after it was last pushed or asked for.
    pub grace: Span,
    /// A manifest without a tag is kept so long; for ever when absent.
    pub untagged: Option<Span>,
}

impl Default for Gc {
    fn default() -> Self {
        // An hour: pushes that take longer between two requests have failed.
        Self { every: None, grace: Span(Duration::from_secs(3600)), untagged: None }
    }
}

/// Which tags of repositories are kept; the others go at the next collection. A tag is kept that any of these keeps.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retention {
    /// The repositories it is about.
    pub repositories: Vec<Pattern>,
    /// The tags it is about; all when absent.
    #[serde(default)]
    pub tags: Vec<Pattern>,
    /// The newest so many are kept.
    #[serde(default)]
    pub keep_last: Option<usize>,
    /// Those pushed within this time are kept.
    #[serde(default)]
    pub keep_within: Option<Span>,
    /// Those of these names are kept.
    #[serde(default)]
    pub keep: Vec<Pattern>,
}

/// Tags that stay with the manifest they were first pushed with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Immutable {
    /// The repositories it is about.
    pub repositories: Vec<Pattern>,
    /// The tags it is about.
    pub tags: Vec<Pattern>,
}

/// The most bytes of a repository; of several that fit the first counts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quota {
    /// The repositories it is about, each for itself.
    pub repositories: Vec<Pattern>,
    /// Bytes, with a unit: `10GB`.
    pub bytes: Size,
}

/// Repositories that are filled from another registry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// The first component of the repositories' names here: `hub` for `hub/library/busybox`. Empty: all of them.
    #[serde(default)]
    pub prefix: String,
    /// The registry's name: `docker.io`.
    pub upstream: String,
    /// Its user, when it wants one.
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Speaks plain HTTP to it.
    #[serde(default)]
    pub insecure: bool,
    /// A tag that somebody wants is asked for there again after this time.
    #[serde(default)]
    pub refresh: Option<Span>,
    /// All tags that are here are asked for there so often.
    #[serde(default)]
    pub every: Option<Span>,
}

/// A registry that gets a copy of what is pushed here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Replica {
    /// The repositories it gets.
    pub repositories: Vec<Pattern>,
    /// Its name.
    pub registry: String,
    /// Whether what is deleted here, by request or by collection, is deleted there; else it stays there.
    #[serde(default)]
    pub deletes: bool,
    /// Stands before the repositories' names there.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Its user, when it wants one.
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Speaks plain HTTP to it.
    #[serde(default)]
    pub insecure: bool,
}

/// A time with a unit: `90s`, `15m`, `24h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let unit = text.chars().last().unwrap_or_default();
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => 0,
        };
        let count = text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok()).filter(|_| seconds > 0);
        let span = count.and_then(|n| n.checked_mul(seconds)).map(|s| Self(Duration::from_secs(s)));
        span.ok_or_else(|| format!("{text:?} is no time: a number with s, m, h or d is expected, as in 24h"))
    }
}

/// Bytes with a unit: `500MB`, `10GB`, `1TB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let factor: u64 = match unit.to_ascii_uppercase().as_str() {
            "" | "B" => 1,
            "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => 0,
        };
        let size = count.parse::<u64>().ok().filter(|_| factor > 0).and_then(|n| n.checked_mul(factor));
        size.map(Self).ok_or_else(|| {
            format!("{text:?} is no size: a number with B, KB, MB, GB or TB is expected, as in 10GB")
        })
    }
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// `Invalid` for a file that cannot be read, is not such JSON, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self> {
        let doing = || format!("read the configuration {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))?;
        Self::parse(&text).map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))
    }

    /// Parses the text of a file.
    pub fn parse(text: &str) -> Result<Self> {
        let settings: Self = match text.trim().is_empty() {
            true => Self::default(),
            false => serde_json::from_str(text).map_err(|e| Error::invalid(e.to_string()))?,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::invalid(text));
        if self.auth.token.is_some() && self.auth.trust.is_some() {
            return refuse(
                "auth: token and trust exclude each other: clients can be sent to one token server only",
            );
        }
        if self.auth.token.is_some() && self.auth.htpasswd.is_none() {
            return refuse("auth: token needs htpasswd, the users that tokens are for");
        }
        if self.rate_limit.is_some_and(|l| l.per_second == 0 || l.burst == 0) {
            return refuse("rate-limit: per-second and burst are at least 1");
        }
        if self
            .retention
            .iter()
            .any(|r| r.keep_last.is_none() && r.keep_within.is_none() && r.keep.is_empty())
        {
            return refuse("retention: a rule without keep-last, keep-within or keep would remove every tag");
        }
        for mirror in &self.mirrors {
            let prefix = &mirror.prefix;
            if !prefix.is_empty() && (!wharf_oci::reference::is_path(prefix) || prefix.contains('/')) {
                return refuse("mirrors: prefix is one component of a repository's name, as in \"hub\"");
            }
            if mirror.user.is_some() != mirror.password_file.is_some() {
                return refuse("mirrors: user and password-file belong together");
            }
        }
        if self.replicas.iter().any(|r| r.user.is_some() != r.password_file.is_some()) {
            return refuse("replicas: user and password-file belong together");
        }
        Ok(())
    }

    /// The quota of a repository.
    pub(super) fn quota(&self, repository: &str) -> Option<u64> {
        let fitting = self.quotas.iter().find(|q| any(&q.repositories, repository));
        fitting.map(|q| q.bytes.0)
    }

    /// Whether a tag stays where it is once it is there.
    pub(super) fn is_immutable(&self, repository: &str, tag: &str) -> bool {
        self.immutable.iter().any(|i| any(&i.repositories, repository) && any(&i.tags, tag))
    }
}

/// Whether any of some patterns fits.
pub(super) fn any(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_everything() {
        let text = r#"{
            "listen": "0.0.0.0:5000", "root": "/srv/registry", "read-only": false, "audit-log": "/var/log/a.jsonl",
            "tls": {"certificate": "c.pem", "key": "k.pem", "client-ca": "ca.pem", "client-optional": true},
            "auth": {"htpasswd": "users", "token": {"lifetime": "10m"}},
            "access": [{"users": ["@anonymous"], "repositories": ["public/*"], "actions": ["pull"]}],
            "rate-limit": {"per-second": 50, "burst": 200},
            "gc": {"every": "24h", "untagged": "7d"},
            "retention": [{"repositories": ["*"], "keep-last": 10, "keep": ["v*"]}],
            "immutable": [{"repositories": ["*"], "tags": ["v*"]}],
            "quotas": [{"repositories": ["team/*"], "bytes": "10GB"}]
        }"#;
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.gc.grace, Span(Duration::from_secs(3600)));
        assert_eq!((settings.quota("team/a"), settings.quota("x")), (Some(10_000_000_000), None));
        assert!(settings.is_immutable("a/b", "v1") && !settings.is_immutable("a/b", "latest"));
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            (r#"{"lisen": "x"}"#, "lisen"),
            (r#"{"gc": {"evry": "1h"}}"#, "evry"),
            (r#"{"gc": {"every": "1 hour"}}"#, "24h"),
            (r#"{"access": [{"users": ["a"], "repositories": ["b"], "actions": ["fly"]}]}"#, "fly"),
            (r#"{"quotas": [{"repositories": ["b"], "bytes": "10XB"}]}"#, "10XB"),
            (r#"{"auth": {"token": {}}}"#, "htpasswd"),
            (r#"{"retention": [{"repositories": ["*"]}]}"#, "every tag"),
            (r#"{"mirrors": [{"prefix": "a/b", "upstream": "docker.io"}]}"#, "prefix"),
            (r#"{"mirrors": [{"upstream": "docker.io", "user": "me"}]}"#, "password-file"),
            (r#"{"rate-limit": {"per-second": 0, "burst": 1}}"#, "per-second"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.kind() == ErrorKind::Invalid && error.full().contains(named), "{}", error.full());
        }
    }
}
