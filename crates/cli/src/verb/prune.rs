//! What the prune commands have in common.

use crate::context::{confirm, print};
use crate::failure::Failure;
use crate::format::list::pairs;
use crate::format::size::precise;
use crate::verb::image::rm::said;
use wharf_docker_api::types::image::DeleteResponse;

/// Flags of every prune.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Only what matches, such as label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
}

impl Flags {
    /// Asks whether to remove what `list` says, unless told not to.
    pub(super) fn agreed(&self, list: &str) -> Result<bool, Failure> {
        Ok(self.force
            || confirm(&format!("WARNING! This will remove{list}Are you sure you want to continue?"))?)
    }

    pub(super) fn filters(&self) -> Result<Vec<(&str, &str)>, Failure> {
        pairs(&self.filter)
            .map_err(|e| Failure::with_status(125, e.to_string().replace("\"-f, --filter\"", "\"--filter\"")))
    }

    /// The same, but for those of a name that a flag says better.
    pub(super) fn filters_without(&self, name: &str) -> Result<Vec<(&str, &str)>, Failure> {
        Ok(self.filters()?.into_iter().filter(|(n, _)| *n != name).collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.filter.iter().any(|f| f.split_once('=').is_some_and(|(n, _)| n == name))
    }
}

/// Lists what was removed, if anything was.
pub(super) fn deleted(title: &str, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() { Ok(()) } else { print(format!("Deleted {title}:\n{}\n\n", names.join("\n"))) }
}

pub(super) fn reclaimed(bytes: u64) -> Result<(), Failure> {
    print(format!("Total reclaimed space: {}\n", precise(bytes)))
}

/// `deleted: …` in lists, where `rmi` says `Deleted: …`.
pub(super) fn images(gone: &[DeleteResponse]) -> Vec<String> {
    let lowercase_first = |text: String| {
        let mut letters = text.chars();
        letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
    };
    gone.iter().map(said).map(lowercase_first).collect()
}
