//! The signature policy: what is let in and what is given a tag elsewhere.
//!
//! An image is judged by the digest of what its reference names, the index or the manifest, before anything of it is
//! fetched; from then on everything is fetched by digest. To be given a tag in another registry it has to be signed
//! there: it is sent without a tag first, so that it can be.

use super::Images;
use bytes::Bytes;
use std::sync::{Arc, PoisonError};
use wharf_distribution::client::{Credentials, Repository};
use wharf_model::{Error, Result};
use wharf_oci::digest::Digest;
use wharf_oci::reference::Reference;
use wharf_signing::check::Named;
use wharf_signing::policy::{At, Policy, Subject};

/// The policy in force, of all clones of the service.
pub(super) type Current = Arc<std::sync::RwLock<Arc<Policy>>>;

impl Images {
    /// Changes which signatures are demanded, from the next pull or push on.
    pub fn set_signature_policy(&self, policy: Policy) {
        *self.signatures.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.signatures.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses what the policy does not let in.
    pub(super) async fn admit(
        &self,
        repository: &Repository,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<()> {
        self.judge(repository, reference, digest, At::Pull).await
    }

    /// Whether images need signatures to be given a tag in a repository.
    ///
    /// # Errors
    /// `Forbidden` when none may be pushed there.
    pub(super) fn needs_signature(&self, reference: &Reference) -> Result<bool> {
        self.policy().wants(&reference.repository(), At::Push)
    }

    /// Refuses to give a tag to what is there and not signed.
    pub(super) async fn may_be_tagged(
        &self,
        repository: &Repository,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<()> {
        self.judge(repository, reference, digest, At::Push).await.map_err(|error| {
            let there = reference.name_only().with_digest(digest.clone()).familiar();
            Error::new(
                error.kind(),
                format!(
                    "{}. It is there without a tag: sign it, as with `wharf sign --key KEY {there}`, and push again",
                    error.full()
                ),
            )
        })
    }

    /// Makes a document what a reference means in its registry; what it names has to be there.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        credentials: Credentials,
        media_type: &str,
        body: Bytes,
    ) -> Result<Digest> {
        let repository = self.client.repository(reference, credentials);
        // Where nothing may be pushed, nothing is by its digest either.
        if self.needs_signature(reference)? && reference.digest().is_none() {
            let digest = Digest::sha256(&body);
            repository.put_manifest(digest.as_str(), media_type, body.clone()).await?;
            self.may_be_tagged(&repository, reference, &digest).await?;
        }
        repository.put_manifest(reference.selector(), media_type, body).await
    }

    async fn judge(
        &self,
        repository: &Repository,
        reference: &Reference,
        digest: &Digest,
        at: At,
    ) -> Result<()> {
        let (policy, name) = (self.policy(), reference.repository());
        if !policy.wants(&name, at)? {
            return Ok(());
        }
        let found = repository.signatures(digest).await?;
        let subject = Subject {
            repository: &name,
            digest,
            name: &reference.familiar(),
            signed_as: Named::Whole(&name),
        };
        let verified = policy.judge(&subject, at, &found)?;
        tracing::info!(image = reference.familiar(), %digest, signatures = verified.len(), "signatures verified");
        Ok(())
    }
}
