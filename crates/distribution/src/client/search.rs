//! Looking for repositories by a part of their name.

use super::answer::escape;
use super::send::Call;
use super::{Client, Credentials};
use http::Method;
use serde::Deserialize;
use wharf_model::Result;

/// Where Docker Hub is searched.
const HUB_SEARCH: &str = "index.docker.io";

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name, with the registry's before it unless that is Docker Hub.
    pub name: String,
    /// What it is; registries other than Docker Hub do not tell.
    pub description: String,
    /// How many like it.
    pub star_count: i64,
    /// One of Docker's own.
    pub is_official: bool,
}

impl Client {
    /// Searches Docker Hub for `term`, or for `registry/term` the catalogue of another registry, which has no search
    /// of its own: those are names with the term in them. At most `limit`.
    pub async fn search(&self, term: &str, limit: u32, credentials: &Credentials) -> Result<Vec<Found>> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            results: Vec<Found>,
        }
        match registry_of(term) {
            Some((registry, term)) => {
                let names = self.catalog(registry, credentials).await?;
                let matching = names.into_iter().filter(|name| name.contains(term));
                let found =
                    matching.map(|name| Found { name: format!("{registry}/{name}"), ..Found::default() });
                Ok(found.take(limit as usize).collect())
            }
            None => {
                let target = format!("/v1/search?q={}&n={limit}", escape(term));
                let call = Call::new(Method::GET, target, "");
                let (page, _): (Page, _) = self.page(HUB_SEARCH, &Credentials::Anonymous, &call).await?;
                Ok(page.results)
            }
        }
    }
}

/// The registry before a term: a first part that can only be a host.
fn registry_of(term: &str) -> Option<(&str, &str)> {
    let (first, rest) = term.split_once('/')?;
    let is_host = first == "localhost" || first.contains(['.', ':']);
    (is_host && !matches!(first, "docker.io" | "index.docker.io")).then_some((first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_is_a_registry() {
        assert_eq!(registry_of("busybox"), None);
        assert_eq!(registry_of("library/busybox"), None);
        assert_eq!(registry_of("docker.io/library/busybox"), None);
        assert_eq!(registry_of("127.0.0.1:5000/busy"), Some(("127.0.0.1:5000", "busy")));
        assert_eq!(registry_of("quay.io/a/b"), Some(("quay.io", "a/b")));
    }
}
