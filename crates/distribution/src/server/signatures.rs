//! The signature policy of a registry: a tag is given, and an image is given out by a tag, only when it is signed.
//!
//! A signature comes after its image. So a manifest that lacks one is kept without the tag that it was to get: then it
//! can be signed by its digest, and pushed again. What is asked for by digest is given out: who knows a digest knows
//! what is meant, and the parts of an index are fetched so. Tags that belong to a digest (signatures, attestations)
//! need no signature.

use super::entries::Folder;
use super::live::Live;
use super::route::Selector;
use super::store::Store;
use super::{App, mirrors};
use wharf_model::{Error, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document};
use wharf_signing::check::{Found, Named};
use wharf_signing::format::{Holds, MAX_BUNDLE, MAX_SIGNATURES, is_attachment, is_signature, tag_of};
use wharf_signing::policy::{At, Subject};

/// Whether signatures have to be looked at before a tag is given or followed.
///
/// # Errors
/// `Forbidden` when the policy rejects the repository.
pub(super) fn wanted(live: &Live, repository: &str, tag: &str, at: At) -> Result<bool> {
    // What rejects all rejects these, too.
    Ok(live.signatures.wants(repository, at)? && !is_attachment(tag))
}

/// Refuses an image that is not signed as it has to be.
pub(super) fn judge(
    app: &App,
    live: &Live,
    repository: &str,
    tag: &str,
    digest: &Digest,
    at: At,
) -> Result<()> {
    let found = found(&app.store, repository, digest)?;
    // Who signs knows a mirrored repository by what it is called where it comes from.
    let signed_as =
        Named::Path(mirrors::of(live, repository).map_or(repository, |from| from.called(repository)));
    let subject = Subject { repository, digest, name: &format!("{repository}:{tag}"), signed_as };
    live.signatures.judge(&subject, at, &found).map(drop).map_err(|error| match at {
        At::Pull => error,
        At::Push => Error::new(
            error.kind(),
            format!(
                "{}. The manifest is kept as {repository}@{digest}, without the tag {tag}: sign it, as with `wharf sign`, \
                 and push again",
                error.full()
            ),
        ),
    })
}

/// All that may be a signature of a digest, of what is here.
fn found(store: &Store, repository: &str, digest: &Digest) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    gather(store, repository, &Selector::Tag(tag_of(digest)), &mut found)?;
    let folder = Folder::Referrers(repository, digest);
    store.entries.each(folder, &mut |name| {
        let descriptor = store.entries.get(folder, name)?;
        let descriptor = descriptor.and_then(|text| serde_json::from_str::<Descriptor>(&text).ok());
        match descriptor.filter(|d| found.len() < MAX_SIGNATURES && is_signature(d)) {
            Some(referrer) => gather(store, repository, &Selector::Digest(referrer.digest), &mut found),
            None => Ok(()),
        }
    })?;
    Ok(found)
}

fn gather(store: &Store, repository: &str, selector: &Selector, found: &mut Vec<Found>) -> Result<()> {
    let Some(stored) = store.manifest(repository, selector)? else { return Ok(()) };
    let Ok(Document::Manifest(manifest)) = Document::parse(&stored.body, Some(&stored.media_type)) else {
        return Ok(());
    };
    for layer in &manifest.layers {
        let Some(holds) = Holds::of(layer).filter(|_| found.len() < MAX_SIGNATURES) else { continue };
        if store.blob(repository, &layer.digest)?.is_none_or(|size| size > MAX_BUNDLE) {
            continue;
        }
        let content = store.blobs.read(&layer.digest)?;
        found.push(holds.with(content));
    }
    Ok(())
}
