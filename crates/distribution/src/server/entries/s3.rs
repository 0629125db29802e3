//! Entries as small objects of a bucket, named as the files are, but with the catalog's names as they stand: a store
//! lists keys in order of bytes.

use super::super::remote::Remote;
use super::{Entries, Folder};
use crate::s3::Query;
use bytes::Bytes;
use std::time::Duration;
use wharf_model::{Error, Result};

/// Bytes of a value: a descriptor with its annotations.
const MAX_VALUE: usize = 4 << 20;

/// The `Entries` seam on a bucket.
pub(in crate::server) struct BucketEntries(pub(in crate::server) Remote);

impl BucketEntries {
    fn prefix(&self, folder: Folder<'_>) -> String {
        let name = match folder {
            Folder::Catalog => "catalog/".to_owned(),
            Folder::Blobs(repository) => format!("repositories/{repository}/_blobs/"),
            Folder::Manifests(repository) => format!("repositories/{repository}/_manifests/"),
            Folder::Tags(repository) => format!("repositories/{repository}/_tags/"),
            Folder::Referrers(repository, subject) => {
                format!("repositories/{repository}/_referrers/{subject}/")
            }
        };
        self.0.key(&name)
    }

    fn key(&self, folder: Folder<'_>, name: &str) -> String {
        self.prefix(folder) + name
    }
}

impl Entries for BucketEntries {
    fn get(&self, folder: Folder<'_>, name: &str) -> Result<Option<String>> {
        let value = self.0.wait(self.0.bucket.read(&self.key(folder, name), MAX_VALUE))?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn put(&self, folder: Folder<'_>, name: &str, value: &str) -> Result<()> {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.0.wait(self.0.bucket.put(&self.key(folder, name), &value))
    }

    fn remove(&self, folder: Folder<'_>, name: &str) -> Result<bool> {
        let key = self.key(folder, name);
        let there = self.0.wait(self.0.bucket.head(&key))?.is_some();
        if there {
            self.0.wait(self.0.bucket.delete(&key))?;
        }
        Ok(there)
    }

    fn age(&self, folder: Folder<'_>, name: &str) -> Result<Option<Duration>> {
        let Some(head) = self.0.wait(self.0.bucket.head(&self.key(folder, name)))? else { return Ok(None) };
        head.age.map(Some).ok_or_else(|| Error::internal("the store tells no times of objects"))
    }

    fn renew(&self, folder: Folder<'_>, name: &str) -> Result<()> {
        match self.get(folder, name)? {
            Some(value) => self.put(folder, name, &value),
            None => Ok(()),
        }
    }

    fn page(&self, folder: Folder<'_>, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let prefix = self.prefix(folder);
        let after = after.map(|after| format!("{prefix}{after}"));
        let mut names = Vec::new();
        let mut next: Option<String> = None;
        while names.len() < limit {
            let query = Query {
                prefix: &prefix,
                after: after.as_deref(),
                next: next.as_deref(),
                limit: limit - names.len(),
            };
            let page = self.0.wait(self.0.bucket.list(query))?;
            names.extend(page.keys.iter().filter_map(|(key, _)| Some(key.strip_prefix(&prefix)?.to_owned())));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(names)
    }

    fn repositories(&self, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let root = self.0.key("repositories/");
        let mut after: Option<String> = None;
        loop {
            let query = Query { prefix: &root, after: after.as_deref(), next: None, limit: 1 };
            let page = self.0.wait(self.0.bucket.list(query))?;
            let Some((key, _)) = page.keys.first() else { return Ok(()) };
            // The first key of a repository; the next one that is asked for stands behind its last folder, `_tags`.
            let name = key.strip_prefix(&root).and_then(|rest| rest.split_once("/_"));
            after = Some(match name {
                Some((name, _)) => {
                    visit(name)?;
                    format!("{root}{name}/_u")
                }
                // Not ours.
                None => key.clone(),
            });
        }
    }

    fn tidy(&self, _repository: &str) -> Result<()> {
        // Folders are not things here: one without values is not there.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        let Some(server) = crate::s3::testing::Server::start() else { return };
        let storage: super::super::super::settings::Storage =
            serde_json::from_str(&server.settings()).unwrap();
        super::super::conformance::suite(&BucketEntries(Remote::open(&storage.s3).unwrap()));
    }
}
