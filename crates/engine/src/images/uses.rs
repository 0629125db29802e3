//! When each image was last used: kept in memory, written behind everybody's back.
//!
//! Whoever starts a container pays for an entry in a table. A crash loses what was noted since the last writing, so an
//! image may look unused for that much longer than it was.

use super::Images;
use super::tag::now_ns;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use wharf_model::Result;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_oci::digest::Digest;

/// How long notes wait to be written: long enough to make one write of many, short against any sensible policy.
const WRITE_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
pub(super) struct Uses(Arc<State>);

#[derive(Default)]
struct State {
    table: Mutex<HashMap<Digest, Use>>,
    noted: Notify,
}

#[derive(Clone, Copy)]
struct Use {
    at_ns: i64,
    written: bool,
}

impl Uses {
    /// What was written, and for images of which nothing was, this moment: they may have been used just now.
    pub(super) fn read<'a>(records: &dyn Records, images: impl Iterator<Item = &'a Digest>) -> Result<Self> {
        let mut written: BTreeMap<String, i64> = BTreeMap::new();
        for (id, body) in records.list(RecordKind::ImageUse)? {
            // One that cannot be read is none.
            written.extend(std::str::from_utf8(&body).ok().and_then(|t| t.parse().ok()).map(|at| (id, at)));
        }
        let uses = Self::default();
        for id in images {
            let known = written.get(id.as_str());
            let one = Use { at_ns: known.copied().unwrap_or_else(now_ns), written: known.is_some() };
            uses.table().insert(id.clone(), one);
        }
        uses.0.noted.notify_one();
        Ok(uses)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Digest, Use>> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not known is now.
    pub(super) fn at_ns(&self, image: &Digest) -> i64 {
        self.table().get(image).map_or_else(now_ns, |one| one.at_ns)
    }

    pub(super) fn note(&self, image: &Digest) {
        self.table().insert(image.clone(), Use { at_ns: now_ns(), written: false });
        self.0.noted.notify_one();
    }
}

impl Images {
    /// An image is used, or was until now.
    pub fn used(&self, image: &Digest) {
        self.uses.note(image);
    }

    /// When an image was last used, named or made, nanoseconds since 1970; what is not known is now.
    pub fn last_used_ns(&self, image: &Digest) -> i64 {
        self.uses.at_ns(image)
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn write_uses(&self) -> Result<()> {
        let mut batch = Vec::new();
        {
            let images = self.table();
            let mut table = self.uses.table();
            table.retain(|id, one| {
                let (kind, there) = (RecordKind::ImageUse, images.images.contains_key(id));
                match (there, one.written) {
                    (true, true) => {}
                    (true, false) => {
                        batch.push(Change::Put {
                            kind,
                            id: id.to_string(),
                            body: one.at_ns.to_string().into_bytes(),
                        });
                    }
                    (false, _) => batch.push(Change::Delete { kind, id: id.to_string() }),
                }
                one.written = true;
                there
            });
        }
        if batch.is_empty() { Ok(()) } else { self.records.commit(batch, Durability::Process) }
    }

    /// Writes what is noted, each time a while after the first note. Never ends; an idle engine has no timer running.
    pub async fn keep_uses(self) {
        loop {
            self.uses.0.noted.notified().await;
            tokio::time::sleep(WRITE_AFTER).await;
            let images = self.clone();
            if let Err(e) = super::blocking(move || images.write_uses()).await {
                tracing::warn!("{}", e.full());
            }
        }
    }
}
