//! `man`.

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::help;
use std::path::{Path, PathBuf};

/// Flags of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "DIRECTORY", required = true, hide = true)]
    directory: PathBuf,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    write(&options.directory, (context.hooks.programs)())
        .map_err(|e| Failure::new(format!("write manual pages to {}: {e}", options.directory.display())))?;
    Ok(0)
}

fn write(directory: &Path, programs: Vec<clap::Command>) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(help::tree(programs), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), vec![clap::Command::new("registry").about("a program")]).unwrap();
        assert!(directory.path().join("wharf-registry.1").exists());
        for (page, word) in
            [("wharf-run.1", "health"), ("wharf-network-connect.1", "alias"), ("wharf.1", "container")]
        {
            let text = std::fs::read_to_string(directory.path().join(page)).unwrap();
            assert!(text.contains(word), "{page}: {text}");
        }
    }
}
