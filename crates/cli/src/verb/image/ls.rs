//! `images`.

use super::tree;
use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row};
use crate::format::size::{decimal, precise};
use crate::format::time::{absolute, ago};
use crate::image_ref::{familiar, split};
use crate::verb::system::inspect::short_id;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::Summary;

/// Flags of `images`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Intermediate images too
    #[arg(short = 'a', long)]
    all: bool,
    /// Show digests too
    #[arg(long)]
    digests: bool,
    /// Only what matches, as key=value
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Names of an image below each other
    #[arg(long)]
    tree: bool,
    #[arg(value_name = "REPOSITORY", hide = true)]
    reference: Option<String>,
}

const COLUMNS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const PLAIN: Listing =
    Listing { columns: COLUMNS, table: &["Repository", "Tag", "ID", "CreatedSince", "Size"] };
const WITH_DIGESTS: Listing =
    Listing { columns: COLUMNS, table: &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"] };

const NONE: &str = "<none>";

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.tree {
        tree::check(options.quiet, options.no_trunc, options.digests, options.format.is_some())?;
    }
    let mut filters = crate::format::list::pairs(&options.filter)?;
    if let Some(reference) = &options.reference {
        filters.push(("reference", reference));
    }
    let query = Query::new().flag("all", options.all).filters(filters);
    let images: Vec<Summary> = context.client.json(Call::get("/images/json").query(query)).await?;
    if options.tree {
        return tree::run(context, &images).await;
    }
    let id = |image: &Summary| if options.no_trunc { image.id.clone() } else { short_id(&image.id) };
    if options.quiet && options.format.is_none() {
        let mut ids: Vec<String> = Vec::new();
        for image in &images {
            let times = if options.all { 1 } else { image.repo_tags.len().max(1) };
            ids.extend(std::iter::repeat_n(id(image) + "\n", times));
        }
        print(ids.concat())?;
        return Ok(0);
    }
    let rows: Vec<Row> = images
        .iter()
        .flat_map(|image| {
            names(image, options.digests).into_iter().map(|(repository, tag, digest)| {
                let size = decimal(image.size);
                let shared = if image.shared_size < 0 { "N/A".into() } else { decimal(image.shared_size) };
                let containers =
                    if image.containers < 0 { "N/A".into() } else { image.containers.to_string() };
                Row::new([
                    ("Repository", repository.into()),
                    ("Tag", tag.into()),
                    ("Digest", digest.into()),
                    ("ID", id(image).into()),
                    (
                        "CreatedSince",
                        if image.created > 0 { ago(image.created) } else { "N/A".into() }.into(),
                    ),
                    ("CreatedAt", absolute(image.created).into()),
                    ("Size", size.into()),
                    ("VirtualSize", precise(image.size.max(0).cast_unsigned()).into()),
                    ("Containers", containers.into()),
                    ("SharedSize", shared.into()),
                    ("UniqueSize", "N/A".into()),
                ])
            })
        })
        .collect();
    let format = match &options.format {
        Some(format) => Some(format.clone()),
        None => context.config()?.text("imagesFormat").map(str::to_owned),
    };
    let listing = if options.digests { &WITH_DIGESTS } else { &PLAIN };
    print(listing.show(&rows, format.as_deref())?)?;
    Ok(0)
}

/// Repository, tag and digest of every name of an image.
fn names(image: &Summary, digests: bool) -> Vec<(String, String, String)> {
    let digest_of = |repository: &str| {
        let known = image.repo_digests.iter().find_map(|name| {
            let (known, digest) = name.split_once('@')?;
            (known == repository).then(|| digest.to_owned())
        });
        known.unwrap_or_else(|| NONE.into())
    };
    let mut found: Vec<(String, String, String)> = image
        .repo_tags
        .iter()
        .filter(|name| *name != "<none>:<none>")
        .map(|name| {
            let (repository, tag) = split(name);
            let digest = if digests { digest_of(repository) } else { NONE.into() };
            (familiar(repository).to_owned(), tag.unwrap_or(NONE).to_owned(), digest)
        })
        .collect();
    if found.is_empty() {
        let by_digest = image.repo_digests.iter().filter_map(|name| name.split_once('@'));
        found.extend(by_digest.filter(|(repository, _)| *repository != NONE).map(|(repository, digest)| {
            (familiar(repository).to_owned(), NONE.to_owned(), digest.to_owned())
        }));
    }
    if found.is_empty() {
        found.push((NONE.into(), NONE.into(), NONE.into()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        let image = |tags: &[&str], digests: &[&str]| Summary {
            repo_tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            repo_digests: digests.iter().map(|t| (*t).to_owned()).collect(),
            ..Summary::default()
        };
        let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(names(&image(&[], &[]), false), [three(NONE, NONE, NONE)]);
        assert_eq!(
            names(&image(&["a:1", "r:5000/b:2"], &[]), false),
            [three("a", "1", NONE), three("r:5000/b", "2", NONE)]
        );
        assert_eq!(names(&image(&["a:1"], &["a@sha256:x"]), true), [three("a", "1", "sha256:x")]);
        assert_eq!(names(&image(&[], &["a@sha256:x"]), false), [three("a", NONE, "sha256:x")]);
    }
}
