//! `inspect`: what the engine knows of things, in JSON.

use super::json::indent;
use crate::context::{Context, note, print};
use crate::failure::{FAILED, Failure, Outcome};
use crate::format::list::{ID_WIDTH, cut, unescape};
use crate::template::Template;
use serde_json::Value;
use wharf_docker_api::client::{Call, Error, Query, segment};

/// Flags of `inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    /// Sum up the sizes of a container's files
    #[arg(short = 's', long)]
    size: bool,
    /// Kind of thing: container, image, network or volume
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    #[arg(value_name = "NAME", required = true, hide = true)]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    fn path(self, name: &str) -> String {
        let name = match self {
            Self::Image => name.split('/').map(segment).collect::<Vec<_>>().join("/"),
            _ => segment(name),
        };
        match self {
            Self::Container => format!("/containers/{name}/json"),
            Self::Image => format!("/images/{name}/json"),
            Self::Network => format!("/networks/{name}"),
            Self::Volume => format!("/volumes/{name}"),
        }
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let kinds: &[Kind] = match options.kind.as_deref() {
        None | Some("") => &[Kind::Container, Kind::Image, Kind::Network, Kind::Volume],
        Some("container") => &[Kind::Container],
        Some("image") => &[Kind::Image],
        Some("network") => &[Kind::Network],
        Some("volume") => &[Kind::Volume],
        Some(other) => {
            return Err(Failure::new(format!(
                "unknown type: {other:?}: container, image, network or volume is expected"
            )));
        }
    };
    show(context, kinds, &options.names, options.format.as_deref(), &Query::new().flag("size", options.size))
        .await
}

/// Shows things; each name is looked for in the kinds in turn, with a query that means nothing to those it is not for.
pub(crate) async fn show(
    context: &Context,
    kinds: &[Kind],
    names: &[String],
    format: Option<&str>,
    query: &Query,
) -> Outcome {
    let template = match format {
        None | Some("") => None,
        Some("json") => None,
        Some(format) => Some(Template::parse(&unescape(format))?),
    };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(context, kinds, name, query).await {
            Ok(text) => found.push(text),
            Err(failure) => failures.push(failure),
        }
    }
    match template {
        None if format == Some("json") => print(format!("[{}]\n", found.join(",").replace('\n', "")))?,
        None => {
            let items: Vec<String> = found.iter().map(|text| indent(text, 1)).collect();
            let list =
                if items.is_empty() { "[]".into() } else { format!("[\n    {}\n]", items.join(",\n    ")) };
            print(list + "\n")?;
        }
        Some(template) => {
            for text in &found {
                let value: Value = serde_json::from_str(text)
                    .map_err(|e| Failure::new(format!("read the engine's answer: {e}")))?;
                print(template.run(&value)? + "\n")?;
            }
        }
    }
    failures.iter().for_each(note);
    Ok(if failures.is_empty() { 0 } else { FAILED })
}

async fn find(context: &Context, kinds: &[Kind], name: &str, query: &Query) -> Result<String, Failure> {
    for kind in kinds {
        match context.client.bytes(Call::get(kind.path(name)).query(query.clone())).await {
            Ok(bytes) => {
                return String::from_utf8(bytes.into())
                    .map_err(|_| Failure::new("the engine's answer is not UTF-8"));
            }
            Err(error @ Error::Api { .. }) if kinds.len() == 1 => return Err(error.into()),
            Err(error) if error.is_not_found() => {}
            // A name that one kind cannot have may be another's.
            Err(Error::Api { status: 400, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> String {
    cut(id.strip_prefix("sha256:").unwrap_or(id), ID_WIDTH)
}
