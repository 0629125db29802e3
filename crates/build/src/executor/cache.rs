//! The build cache: what a step depends on → the image it made.

use super::state::State;
use super::{Build, Output};
use std::sync::Arc;
use wharf_engine::images::Image;
use wharf_model::Result;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_oci::digest::Digest;

impl Build<'_> {
    /// The image before, the instruction as executed, and the content it takes in. The configuration counts
    /// apart, since arguments of FROM change it without a step.
    pub(super) fn cache_key(&self, state: &State, created_by: &str, content: &str) -> Digest {
        let parent = state.image.as_ref().map_or("scratch", |image| image.id.as_str());
        let platform = state.config.platform.to_string();
        let config = serde_json::to_string(&state.config.config).unwrap_or_default();
        // Lengths keep neighbouring parts from running into each other.
        let parts = [parent, &platform, &config, created_by, content];
        let text: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        Digest::sha256(text.as_bytes())
    }

    /// Goes on from the image of an earlier build, if there is one; false when the step has to be done.
    pub(super) fn use_cached(&self, state: &mut State, created_by: &str, content: &str) -> Result<bool> {
        if self.anew {
            return Ok(false);
        }
        let key = self.cache_key(state, created_by, content);
        let Some(body) = self.builder.records.get(RecordKind::BuildCache, key.as_str())? else {
            return Ok(false);
        };
        let id = String::from_utf8_lossy(&body).into_owned();
        // Removed since: the step is done again, and the record replaced.
        let Ok(image) = self.builder.images.resolve(&id) else { return Ok(false) };
        if !self.options.cache_from.is_empty() && !self.is_of_cache_from(&image) {
            return Ok(false);
        }
        (self.sink)(Output::Cached);
        self.say(" ---> Using cache\n");
        self.say(format!(" ---> {}\n", &image.id.hex()[..12]));
        state.adopt(image);
        Ok(true)
    }

    /// Whether an image is one of those that may be taken over, or was a step on the way to it.
    fn is_of_cache_from(&self, image: &Image) -> bool {
        let images = &self.builder.images;
        self.options.cache_from.iter().filter_map(|name| images.resolve(name).ok()).any(|source| {
            let parent = |image: &Arc<Image>| images.resolve(image.parent.as_ref()?.as_str()).ok();
            std::iter::successors(Some(source), parent).any(|step| step.id == image.id)
        })
    }

    pub(super) fn remember(&self, key: &Digest, image: &Digest) -> Result<()> {
        let body = image.as_str().as_bytes().to_vec();
        let put = Change::Put { kind: RecordKind::BuildCache, id: key.to_string(), body };
        self.builder.records.commit(vec![put], Durability::Process)
    }
}
