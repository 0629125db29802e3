//! `wharf sign`.

use super::far::{Ways, reference, resolve};
use super::{block_on, pair, password, say};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::manifest::Descriptor;
use wharf_oci::reference::Reference;
use wharf_signing::format::{Signed, sign, tag_of};
use wharf_signing::key::PrivateKey;

/// Where a signature is kept.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Under the tag `sha256-<hex>.sig`
    Legacy,
    /// Among the image's referrers
    #[value(name = "oci-1-1")]
    Oci11,
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The private key; its password is COSIGN_PASSWORD, or asked for
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What else is signed, as key=value; may be repeated
    #[arg(short = 'a', long = "annotations", value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    /// Where the signature is kept in the registry
    #[arg(long, value_enum, default_value = "legacy")]
    registry_referrers_mode: Mode,
    /// Also write the signature, in base64, to a file
    #[arg(long, value_name = "FILE")]
    output_signature: Option<PathBuf>,
    /// Also write what was signed to a file
    #[arg(long, value_name = "FILE")]
    output_payload: Option<PathBuf>,
    /// Only write the files
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    upload: bool,
    /// Only false: there is no transparency log
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    tlog_upload: Option<bool>,
    /// Nothing is asked
    #[arg(short, long, hide = true)]
    yes: bool,
    #[command(flatten)]
    ways: Ways,
    /// Names of images, best with their digests
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Sign {
    pub(super) fn run(self) -> Result<()> {
        if self.tlog_upload == Some(true) {
            return Err(Error::unsupported(
                "--tlog-upload: signatures are made offline, with a key; there is no transparency log",
            ));
        }
        let key = PrivateKey::read(&self.key, || password("Enter password for private key: "))?;
        block_on(async {
            for image in &self.images {
                self.sign(&key, &reference(image)?).await?;
            }
            Ok(())
        })
    }

    async fn sign(&self, key: &PrivateKey, image: &Reference) -> Result<()> {
        let repository = self.ways.repository(image)?;
        let found = resolve(&repository, image).await?;
        if image.digest().is_none() {
            say(&format!("{} means {} now: that is signed, not the tag", image.familiar(), found.digest));
        }
        let annotations: BTreeMap<String, String> = self.annotations.iter().cloned().collect();
        let signed = sign(key, &image.repository(), &found.digest, &annotations)?;
        for (path, content) in [
            (&self.output_signature, signed.signature.as_bytes()),
            (&self.output_payload, signed.payload.as_slice()),
        ] {
            path.as_deref().map_or(Ok(()), |path| write(path, content))?;
        }
        if !self.upload {
            return Ok(());
        }
        let digest = found.digest.clone();
        match self.registry_referrers_mode {
            Mode::Legacy => repository.add_signature(&digest, &signed).await?,
            Mode::Oci11 => refer(&repository, found, &signed).await?,
        }
        let place = match self.registry_referrers_mode {
            Mode::Legacy => format!("{}:{}", image.repository(), tag_of(&digest)),
            Mode::Oci11 => format!("the referrers of {digest}"),
        };
        say(&format!("Signed {}@{digest}; the signature is in {place}", image.repository()));
        Ok(())
    }
}

async fn refer(
    repository: &wharf_distribution::client::Repository,
    subject: Descriptor,
    signed: &Signed,
) -> Result<()> {
    repository.add_referrer(subject, signed).await.map(drop)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content)
        .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))
}
