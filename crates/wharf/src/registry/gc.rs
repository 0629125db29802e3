//! `wharf registry gc`.

use super::{Place, open};
use anyhow::Context;
use clap::Args;
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct Gc {
    #[command(flatten)]
    place: Place,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let settings = self.place.settings()?;
        let registry = open(&self.place.root(&settings), settings)?;
        let collected = wharf_distribution::server::collect(registry, self.dry_run)
            .map_err(|e| anyhow::anyhow!(e.full()))?;
        let mut out = std::io::stdout().lock();
        let names = collected.tags.iter().chain(&collected.manifests);
        let digests = collected.blobs.iter().map(wharf_oci::digest::Digest::as_str);
        for name in names.map(String::as_str).chain(digests) {
            writeln!(out, "{name}").context("print")?;
        }
        for (name, why) in &collected.unreadable {
            let text = "cannot be read: nothing of its repository was collected. Push it again, or delete it";
            writeln!(std::io::stderr(), "{name} {text} ({why})").context("print")?;
        }
        let verb = if self.dry_run { "would be" } else { "were" };
        writeln!(
            out,
            "{} tags, {} manifests and {} blobs {verb} removed, {} bytes freed",
            collected.tags.len(),
            collected.manifests.len(),
            collected.blobs.len(),
            collected.bytes
        )
        .context("print")
    }
}
