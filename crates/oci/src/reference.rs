//! Image references: `[domain/]path[:tag][@digest]`, in Docker's grammar (distribution/reference).
//!
//! People write the *familiar* form (`busybox`, `me/app:1`); everything stored or compared is the *canonical*
//! form (`docker.io/library/busybox:latest`). A first component is a registry when it has a dot, a colon or
//! an upper-case letter, or is `localhost`.

use crate::digest::{Digest, DigestError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The registry of names that name none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of names that have neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";
/// Bytes a repository's path may have (distribution specification, "Pulling manifests").
pub const MAX_PATH_LENGTH: usize = 255;
/// Bytes a tag may have (distribution specification, "Pulling manifests").
pub const MAX_TAG_LENGTH: usize = 128;

const OFFICIAL_PREFIX: &str = "library/";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";

/// Why a text is not a reference. The first words are Docker's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("invalid reference format: the name is empty")]
    Empty,
    /// It does not follow the grammar.
    #[error("invalid reference format: {0:?}")]
    Format(String),
    /// It has upper-case letters where none may be.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It is too long.
    #[error("repository name must not be more than {MAX_PATH_LENGTH} characters")]
    TooLong,
    /// It would be taken for an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The part after `@` is not a digest.
    #[error("invalid reference format: {0}")]
    Digest(#[from] DigestError),
}

/// A valid, normalised reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within its registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path without tag and digest: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Registry and path as people write them: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            // `library/a/b` would be read back as it stands, `a/b` would not be.
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people write it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// With the tag `latest` when there is neither a tag nor a digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format(tag.to_owned()));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with a digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository without tag and digest.
    #[must_use]
    pub fn name_only(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub fn selector(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let bad = || ReferenceError::Format(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (domain, remote) = split_domain(rest);
        let (path, tag) = match remote.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remote, None),
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(path.to_owned()));
        }
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL_PREFIX}{path}")
        } else {
            path.to_owned()
        };
        if !is_domain(domain) || !is_path(&path) || tag.is_some_and(|t| !is_tag(t)) {
            return Err(bad());
        }
        if path.len() > MAX_PATH_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }
}

fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// Whether a text is a registry's host, with or without a port: `example.com`, `localhost:5000`, `[::1]:5000`.
pub fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text[at..].contains(']') => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    if port.is_some_and(|p| p.is_empty() || p.len() > 5 || !p.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[') {
        return address
            .strip_suffix(']')
            .is_some_and(|a| !a.is_empty() && a.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'));
    }
    host.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Whether a text is a repository's path: lower-case components joined by `/`, each of letters and digits
/// with `.`, `_`, `__` or any number of `-` between them.
pub fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

fn is_path_component(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(plain) || !bytes.last().is_some_and(plain) {
        return false;
    }
    bytes.split(plain).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

/// Whether a text is a tag: `[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG_LENGTH
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Prints the canonical form.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn normalises_as_docker_does() {
        for (written, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("MyHost/app", "MyHost/app:latest", "MyHost/app:latest"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest", "a__b/c--d.e_f:latest"),
        ] {
            let reference = parse(written).or_latest();
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(parse(&reference.familiar()), reference);
        }
    }

    #[test]
    fn digests_and_tags_together() {
        let text = format!("reg.io/a:1@sha256:{HEX}");
        let reference = parse(&text);
        assert_eq!((reference.tag(), reference.selector()), (Some("1"), &*format!("sha256:{HEX}")));
        assert_eq!(reference.to_string(), text);
        assert_eq!(reference.clone().or_latest(), reference);
        assert_eq!(reference.with_tag("2").unwrap().to_string(), "reg.io/a:2");
        assert_eq!(reference.name_only().selector(), "latest");
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for bad in [
            "",
            "Busybox",
            "me/App",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:-x",
            "a@",
            "a@sha256:00",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "localhost:x/a",
            "localhost:/a",
            "reg.io",
            "-x.io/a",
            "a b",
            "ä",
            "a:b:c",
            "reg.io:5000/",
            "[::1/a",
            HEX,
        ] {
            // `reg.io` alone is a fine path, as Docker has it.
            assert_eq!(bad.parse::<Reference>().is_ok(), bad == "reg.io", "{bad}");
        }
        assert_eq!("A/B".parse::<Reference>(), Err(ReferenceError::Uppercase("B".into())));
        let long = "a".repeat(MAX_PATH_LENGTH + 1);
        assert_eq!(format!("reg.io/{long}").parse::<Reference>(), Err(ReferenceError::TooLong));
        assert!(format!("a:{}", "t".repeat(MAX_TAG_LENGTH)).parse::<Reference>().is_ok());
        assert!(format!("a:{}", "t".repeat(MAX_TAG_LENGTH + 1)).parse::<Reference>().is_err());
    }
}
