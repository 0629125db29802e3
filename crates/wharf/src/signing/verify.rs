//! `wharf verify`. Prints what was signed as `cosign verify` does, and has its exit statuses.

use super::far::{Ways, reference, resolve};
use super::{FAILED, block_on, pair, print, say};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::reference::Reference;
use wharf_signing::check::{Demand, Unverified, verify};
use wharf_signing::key::PublicKey;

/// The exit status when an image has no signature.
const NO_SIGNATURE: i32 = 10;
/// When the name means nothing.
const NO_IMAGE: i32 = 11;
/// When none of its signatures counts.
const NO_MATCH: i32 = 12;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// What was signed, as JSON
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A public key; may be repeated: one of them is enough
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// So many of the keys have to have signed
    #[arg(long, value_name = "COUNT", default_value = "1")]
    threshold: usize,
    /// What has to be signed besides the image, as key=value; may be repeated
    #[arg(short = 'a', long = "annotations", value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value = "json")]
    output: Output,
    /// There is no transparency log to ask
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    insecure_ignore_tlog: Option<bool>,
    #[command(flatten)]
    ways: Ways,
    /// Names of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Verify {
    pub(super) fn run(self) -> Result<i32> {
        if self.key.is_empty() {
            return Err(Error::invalid(
                "--key is missing: signatures are verified offline, with public keys; keyless ones, which need Fulcio and \
                 Rekor, are not",
            ));
        }
        if self.insecure_ignore_tlog == Some(false) {
            return Err(Error::unsupported("--insecure-ignore-tlog=false: there is no transparency log"));
        }
        let keys = self.key.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>>>()?;
        if !(1..=keys.len()).contains(&self.threshold) {
            return Err(Error::invalid("--threshold is from 1 to the number of keys"));
        }
        block_on(async {
            let mut all = Vec::new();
            for image in &self.images {
                match self.verify(&keys, &reference(image)?).await {
                    Ok(payloads) => all.extend(payloads),
                    Err(Failed(status, error)) => {
                        say(&format!("Error: {image}: {}", error.full()));
                        return Ok(status);
                    }
                }
            }
            print(&Value::from(all).to_string())?;
            Ok(0)
        })
    }

    async fn verify(&self, keys: &[PublicKey], image: &Reference) -> std::result::Result<Vec<Value>, Failed> {
        let repository = self.ways.repository(image)?;
        let found = resolve(&repository, image).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => Failed(NO_IMAGE, e),
            _ => e.into(),
        })?;
        let signatures = repository.signatures(&found.digest).await?;
        let annotations: BTreeMap<String, String> = self.annotations.iter().cloned().collect();
        let demand = Demand {
            digest: &found.digest,
            name: &image.familiar(),
            keys,
            threshold: self.threshold,
            annotations: &annotations,
            repository: None,
        };
        let verified = verify(&signatures, &demand).map_err(|e| {
            let status = if e == Unverified::None { NO_SIGNATURE } else { NO_MATCH };
            Failed(status, Error::new(ErrorKind::Forbidden, e.to_string()))
        })?;
        say(&format!("\nVerification for {} --", image.familiar()));
        say("The following checks were performed on each of these signatures:");
        if !annotations.is_empty() {
            say("  - The specified annotations were verified.");
        }
        say("  - The cosign claims were validated");
        say("  - The signatures were verified against the specified public key");
        Ok(verified.into_iter().map(|signature| signature.payload).collect())
    }
}

/// A failure with its exit status.
struct Failed(i32, Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(FAILED, error)
    }
}
