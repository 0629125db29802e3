//! The paths of the distribution specification, parsed once.

use super::settings::Action;
use http::Method;
use wharf_oci::digest::Digest;
use wharf_oci::reference;

/// A manifest's name in its repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Selector {
    Tag(String),
    Digest(Digest),
}

impl Selector {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Base,
    Catalog,
    Tags(String),
    Manifest(String, Selector),
    Blob(String, Digest),
    Uploads(String),
    Upload(String, String),
    Referrers(String, Digest),
}

impl Route {
    /// The repository that it is about.
    pub(super) fn repository(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }

    /// What a request to it does there.
    pub(super) fn action(&self, method: &Method) -> Action {
        match self {
            // Cancelling one's own upload is part of pushing.
            Self::Uploads(_) | Self::Upload(..) => Action::Push,
            _ if is_read(method) => Action::Pull,
            _ if *method == Method::DELETE => Action::Delete,
            _ => Action::Push,
        }
    }
}

/// Why a path names nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unrouted {
    NotFound,
    Name(String),
    Digest(String),
    Tag(String),
}

pub(super) fn parse(path: &str) -> Result<Route, Unrouted> {
    let path = path.strip_prefix("/v2").ok_or(Unrouted::NotFound)?;
    match path {
        "" | "/" => return Ok(Route::Base),
        "/_catalog" => return Ok(Route::Catalog),
        _ => {}
    }
    let path = path.strip_prefix('/').ok_or(Unrouted::NotFound)?;
    // Names have slashes: the last known word decides.
    let parts: Vec<&str> = path.split('/').collect();
    let name = |count: usize| {
        let name = parts[..parts.len() - count].join("/");
        let valid = name.len() <= reference::MAX_PATH_LENGTH && reference::is_path(&name);
        if valid { Ok(name) } else { Err(Unrouted::Name(name)) }
    };
    let digest = |text: &str| text.parse::<Digest>().map_err(|_| Unrouted::Digest(text.to_owned()));
    match parts[..] {
        [_, .., "tags", "list"] => Ok(Route::Tags(name(2)?)),
        [_, .., "blobs", "uploads"] => Ok(Route::Uploads(name(2)?)),
        [_, .., "blobs", "uploads", ""] => Ok(Route::Uploads(name(3)?)),
        [_, .., "blobs", "uploads", id] => Ok(Route::Upload(name(3)?, id.to_owned())),
        [_, .., "blobs", text] => Ok(Route::Blob(name(2)?, digest(text)?)),
        [_, .., "referrers", text] => Ok(Route::Referrers(name(2)?, digest(text)?)),
        [_, .., "manifests", text] => {
            let name = name(2)?;
            let selector = if text.contains(':') {
                Selector::Digest(digest(text)?)
            } else if reference::is_tag(text) {
                Selector::Tag(text.to_owned())
            } else {
                return Err(Unrouted::Tag(text.to_owned()));
            };
            Ok(Route::Manifest(name, selector))
        }
        _ => Err(Unrouted::NotFound),
    }
}

/// A parameter of a query, percent-decoded.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    named(query, name).next()
}

/// All parameters of a name, percent-decoded.
pub(super) fn parameters(query: Option<&str>, name: &str) -> Vec<String> {
    named(query, name).collect()
}

fn named(query: Option<&str>, name: &str) -> impl Iterator<Item = String> {
    query.unwrap_or_default().split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut hex = || char::from(bytes.next()?).to_digit(16);
                match (hex(), hex()) {
                    (Some(high), Some(low)) => out.push(u8::try_from(high * 16 + low).unwrap_or(b'?')),
                    _ => out.push(b'?'),
                }
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a method only reads.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let digest = Digest::sha256(b"");
        assert_eq!(parse("/v2/"), Ok(Route::Base));
        assert_eq!(parse("/v2/a/b/tags/list"), Ok(Route::Tags("a/b".into())));
        assert_eq!(parse("/v2/tags/list/tags/list"), Ok(Route::Tags("tags/list".into())));
        assert_eq!(parse("/v2/a/manifests/v1"), Ok(Route::Manifest("a".into(), Selector::Tag("v1".into()))));
        assert_eq!(parse(&format!("/v2/a/blobs/{digest}")), Ok(Route::Blob("a".into(), digest)));
        assert_eq!(parse("/v2/a/blobs/uploads/"), Ok(Route::Uploads("a".into())));
        assert_eq!(parse("/v2/a/blobs/uploads/id"), Ok(Route::Upload("a".into(), "id".into())));
        assert!(matches!(parse("/v2/../x/manifests/v1"), Err(Unrouted::Name(_))));
        assert!(matches!(parse("/v2/a/manifests/sha256:00"), Err(Unrouted::Digest(_))));
        assert!(matches!(parse("/v2/a/manifests/..%2f"), Err(Unrouted::Tag(_))));
        assert_eq!(parse("/"), Err(Unrouted::NotFound));
        assert_eq!(parse("/v2/manifests/v1"), Err(Unrouted::NotFound));
    }

    #[test]
    fn queries() {
        assert_eq!(parameter(Some("a=1&digest=sha256%3Aab"), "digest").as_deref(), Some("sha256:ab"));
        assert_eq!(parameter(Some("a"), "a").as_deref(), Some(""));
        assert_eq!(parameter(Some("ab=1"), "a"), None);
        assert_eq!(parameters(Some("tag=a&x=1&tag=b"), "tag"), ["a", "b"]);
    }
}
