//! Addresses of repositories, as Docker and BuildKit read them: `https://host/path.git#REF:DIRECTORY`.

use wharf_model::{Error, Result};

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Git's own daemon (git-daemon(1)).
    Git,
    /// HTTP, encrypted or not.
    Http,
}

/// A repository, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// How it is reached.
    pub scheme: Scheme,
    /// Its address without fragment, query and credentials.
    pub url: String,
    /// User and password that the address names.
    pub credentials: Option<(String, String)>,
    /// A branch, a tag or a commit; empty is the repository's own branch.
    pub reference: String,
    /// The commit it must be, as `?checksum=` says.
    pub checksum: Option<String>,
    /// A directory in it; empty is all.
    pub directory: String,
    /// Submodules come, too.
    pub submodules: bool,
}

impl Address {
    /// Whether a text is meant to be a repository rather than a file or a document.
    pub fn is_one(text: &str) -> bool {
        if ["git://", "git@", "ssh://", "github.com/"].iter().any(|prefix| text.starts_with(prefix)) {
            return true;
        }
        let path = text.split(['#', '?']).next().unwrap_or_default();
        (text.starts_with("https://") || text.starts_with("http://")) && path.ends_with(".git")
    }

    /// Reads an address.
    ///
    /// # Errors
    /// `Unsupported` for SSH, with the address to use instead; `Invalid` for what is none.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with("ssh://") || !text.contains("://") && text.contains('@') {
            return Err(Error::unsupported(format!(
                "{}: repositories are not fetched by SSH: use {}, or a clone",
                shown(text),
                over_https(text)
            )));
        }
        let whole = match text.strip_prefix("github.com/") {
            Some(path) => format!("https://github.com/{path}"),
            None => text.to_owned(),
        };
        let (rest, fragment) = whole.split_once('#').unwrap_or((&whole, ""));
        let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
        let scheme = match url.split_once("://") {
            Some(("git", _)) => Scheme::Git,
            Some(("http" | "https", _)) => Scheme::Http,
            _ => return Err(Error::invalid(format!("{:?} is no address of a Git repository", shown(text)))),
        };
        let (url, credentials) = without_credentials(url);
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut address = Self {
            scheme,
            url,
            credentials,
            reference: reference.to_owned(),
            checksum: None,
            directory: directory.trim_matches('/').to_owned(),
            submodules: true,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            address.option(pair)?;
        }
        if address.directory.split('/').any(|part| part == "..") {
            return Err(Error::invalid(format!(
                "{:?}: the directory leads out of the repository",
                shown(text)
            )));
        }
        Ok(address)
    }

    fn option(&mut self, pair: &str) -> Result<()> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "ref" => value.clone_into(&mut self.reference),
            "branch" => self.reference = format!("refs/heads/{value}"),
            "tag" => self.reference = format!("refs/tags/{value}"),
            "commit" | "checksum" => self.checksum = Some(value.to_ascii_lowercase()),
            "subdir" => value.trim_matches('/').clone_into(&mut self.directory),
            "submodules" => self.submodules = !matches!(value, "0" | "false"),
            "keep-git-dir" if matches!(value, "0" | "false") => {}
            other => return Err(Error::unsupported(format!("{other:?} of a Git address is not supported"))),
        }
        Ok(())
    }

    /// The address of a submodule, which may be relative to this one.
    pub(crate) fn submodule(&self, url: &str) -> Result<Self> {
        if !url.starts_with("./") && !url.starts_with("../") {
            return Self::parse(url);
        }
        let mut base: Vec<&str> = self.url.trim_end_matches('/').split('/').collect();
        for part in url.split('/') {
            match part {
                "." | "" => {}
                // The scheme and the host stay.
                ".." if base.len() > 3 => drop(base.pop()),
                ".." => return Err(Error::invalid(format!("submodule {url:?} leads out of {}", self.url))),
                part => base.push(part),
            }
        }
        let credentials = self.credentials.clone();
        Ok(Self { credentials, ..Self::parse(&base.join("/"))? })
    }
}

/// An address as it may be told: without a password.
fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => format!("{scheme}://{}", &rest[user.len() + 1..]),
        _ => text.to_owned(),
    }
}

fn without_credentials(url: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((user, host)) = host.rsplit_once('@') else { return (url.to_owned(), None) };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    (format!("{scheme}://{host}/{path}"), Some((name.to_owned(), password.to_owned())))
}

/// The same repository without SSH, as the usual hosts have it.
fn over_https(text: &str) -> String {
    let text = text.strip_prefix("ssh://").unwrap_or(text);
    let text = text.split_once('@').map_or(text, |(_, rest)| rest);
    format!("https://{}", text.replacen(':', "/", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn what_is_one() {
        for yes in ["https://x/y.git", "https://x/y.git#main:sub", "git://x/y", "git@x:y", "github.com/a/b"] {
            assert!(Address::is_one(yes), "{yes}");
        }
        for no in ["https://x/y", "./x.git", "x.git", "https://x/y.tar.gz#a.git", "/a"] {
            assert!(!Address::is_one(no), "{no}");
        }
    }

    #[test]
    fn parts() {
        let a = of("https://me:pw@x/y.git#v1:sub/dir");
        assert_eq!((a.url.as_str(), a.scheme), ("https://x/y.git", Scheme::Http));
        assert_eq!(a.credentials, Some(("me".into(), "pw".into())));
        assert_eq!((a.reference.as_str(), a.directory.as_str()), ("v1", "sub/dir"));
        assert_eq!(of("github.com/a/b").url, "https://github.com/a/b");
        let q = of("https://x/y.git?branch=main&subdir=/a/&commit=AB&submodules=false");
        assert_eq!((q.reference.as_str(), q.directory.as_str()), ("refs/heads/main", "a"));
        assert_eq!((q.checksum.as_deref(), q.submodules), (Some("ab"), false));
        assert_eq!(of("git://h:99/p").scheme, Scheme::Git);
        assert_eq!(of("https://x/a/y.git").submodule("../z.git").unwrap().url, "https://x/a/z.git");
        assert_eq!(of("https://x/a").submodule("git://h/z").unwrap().url, "git://h/z");
    }

    #[test]
    fn what_is_refused() {
        for (bad, why) in [
            ("git@github.com:a/b.git", "https://github.com/a/b.git"),
            ("ssh://git@h/a.git", "https://h/a.git"),
            ("https://x/y.git#main:../..", "leads out"),
            ("https://x/y.git?keep-git-dir=true", "not supported"),
            ("ftp://x/y.git", "no address"),
        ] {
            let error = Address::parse(bad).unwrap_err().full();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(of("https://x/a").submodule("../../../z").is_err());
        let error = Address::parse("https://me:secret@x/y.git#main:..").unwrap_err().full();
        assert!(error.contains("x/y.git") && !error.contains("secret"), "{error}");
    }
}
