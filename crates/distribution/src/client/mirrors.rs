//! Mirrors: other places that are asked before a registry itself.

use super::{Client, Credentials, Repository};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wharf_model::{Error, ErrorKind};

/// A mirror that failed is left alone for so long: the next layer need not wait for it again.
const REST: Duration = Duration::from_secs(60);

/// Mirrors that failed, and when.
#[derive(Default)]
pub(super) struct Resting(Mutex<HashMap<String, Instant>>);

impl Client {
    fn is_resting(&self, authority: &str) -> bool {
        let mut resting = self.mirrors.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, since| since.elapsed() < REST);
        resting.contains_key(authority)
    }
}

impl Repository {
    /// The same repository in its registry's mirrors. They are asked as anybody: credentials are for the registry.
    pub(super) fn mirrors(&self) -> Vec<Repository> {
        let settings = self.client.settings();
        let mirrors = settings.mirrors.get(&self.registry).map(Vec::as_slice).unwrap_or_default();
        let mirrors = mirrors.iter().filter(|mirror| !self.client.is_resting(&mirror.authority));
        mirrors
            .map(|mirror| Repository {
                client: self.client.clone(),
                registry: mirror.authority.clone(),
                path: format!("{}{}", mirror.prefix, self.path),
                credentials: Credentials::Anonymous,
                attempts: 1,
            })
            .collect()
    }

    /// Whether mirrors are asked.
    pub fn has_mirrors(&self) -> bool {
        self.client.settings().mirrors.get(&self.registry).is_some_and(|mirrors| !mirrors.is_empty())
    }

    /// This one is a mirror, and failed.
    pub(super) fn disappoints(&self, error: &Error) {
        // What it has not, it may have next time.
        if error.kind() == ErrorKind::NotFound {
            return tracing::debug!(
                mirror = self.registry,
                error = error.full(),
                "a mirror has not what is wanted"
            );
        }
        tracing::warn!(mirror = self.registry, error = error.full(), "a mirror failed: asking the next");
        let mut resting = self.client.mirrors.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.insert(self.registry.clone(), Instant::now());
    }
}
