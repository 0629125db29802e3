//! `images --tree`: names of one image below each other.

use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use crate::format::list::{Listing, Row};
use crate::format::size::decimal;
use crate::verb::system::inspect::short_id;
use std::collections::BTreeSet;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::Summary as Container;
use wharf_docker_api::types::image::Summary;

const COLUMNS: Listing = Listing {
    columns: &[("N", "IMAGE"), ("I", "ID"), ("D", "DISK USAGE"), ("C", "CONTENT SIZE"), ("E", "EXTRA")],
    table: &["N", "I", "D", "C", "E"],
};

/// Says which switches do not go with it, as Docker's client does.
pub(super) fn check(quiet: bool, no_trunc: bool, digests: bool, format: bool) -> Result<(), Failure> {
    let given =
        [(quiet, "--quiet"), (no_trunc, "--no-trunc"), (digests, "--show-digest"), (format, "--format")];
    match given.iter().find(|(is_given, _)| *is_given) {
        Some((_, flag)) => Err(Failure::new(format!("{flag} is not yet supported with --tree"))),
        None => Ok(()),
    }
}

pub(super) async fn run(context: &Context, images: &[Summary]) -> Outcome {
    let call = Call::get("/containers/json").query(Query::new().flag("all", true));
    let containers: Vec<Container> = context.client.json(call).await?;
    let used: BTreeSet<&str> = containers.iter().map(|container| container.image_id.as_str()).collect();
    let rows: Vec<Row> =
        images.iter().flat_map(|image| rows(image, used.contains(image.id.as_str()))).collect();
    print(format!("Info: U is in use\n\n{}", COLUMNS.show(&rows, None)?))?;
    Ok(0)
}

/// A row for each name; the last has the rest.
fn rows(image: &Summary, in_use: bool) -> Vec<Row> {
    let mut names: Vec<&str> =
        image.repo_tags.iter().map(String::as_str).filter(|name| *name != "<none>:<none>").collect();
    let last = names.pop().unwrap_or("<untagged>");
    let row = |cells: [String; 5]| {
        let [name, id, disk, content, extra] = cells;
        Row::new([
            ("N", name.into()),
            ("I", id.into()),
            ("D", disk.into()),
            ("C", content.into()),
            ("E", extra.into()),
        ])
    };
    let named =
        |name: &str| row([name.to_owned(), String::new(), String::new(), String::new(), String::new()]);
    let mut rows: Vec<Row> = names.into_iter().map(named).collect();
    // What is compressed in a registry is no size of this engine's, as of Docker's without containerd's store.
    let extra = if in_use { "U" } else { "" };
    rows.push(row([last.to_owned(), short_id(&image.id), decimal(image.size), decimal(0), extra.to_owned()]));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_below_each_other() {
        let image = Summary {
            id: "sha256:0123456789abcdef".into(),
            repo_tags: vec!["a:1".into(), "b:2".into()],
            size: 2_000_000,
            ..Summary::default()
        };
        let text = COLUMNS.show(&rows(&image, true), None).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[1], "a:1");
        assert_eq!(lines[2], "b:2       0123456789ab   2MB          0B             U");
        let bare = Summary { repo_tags: vec!["<none>:<none>".into()], ..image };
        assert!(COLUMNS.show(&rows(&bare, false), None).unwrap().contains("<untagged>"));
        assert!(check(false, false, false, true).is_err() && check(false, false, false, false).is_ok());
    }
}
