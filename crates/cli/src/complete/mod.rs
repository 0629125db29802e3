//! Names that may be typed next, for the scripts of `completion`: `wharf __names WORD... TYPED`, a name a line.

mod wanted;

use crate::config::contexts::{DEFAULT, Store};
use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use wanted::{Kind, wanted};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::{container, image, network, volume};

/// What the scripts call.
pub(crate) const VERB: &str = "__names";

/// Prints what fits. An engine that is not there has no names, and is not started for them.
pub(crate) async fn run(context: &Context, words: &[String]) -> Outcome {
    let Some((typed, before)) = words.split_last() else { return Ok(0) };
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let Some(wanted) = wanted(&before, typed) else { return Ok(0) };
    let mut names = names(context, wanted.kind).await.unwrap_or_default();
    names.sort();
    let fitting = names.into_iter().map(|name| format!("{}{name}\n", wanted.head));
    print(fitting.filter(|name| name.starts_with(typed.as_str())).collect::<String>())?;
    Ok(0)
}

async fn names(context: &Context, kind: Kind) -> Result<Vec<String>, Failure> {
    let client = &context.client;
    Ok(match kind {
        Kind::Containers(statuses) => {
            let statuses = statuses.iter().map(|status| ("status", *status));
            let query = Query::new().flag("all", true).filters(statuses);
            let list: Vec<container::Summary> =
                client.json(Call::get("/containers/json").query(query)).await?;
            // Names with a further slash are other containers' for this one.
            let own = list.into_iter().flat_map(|one| one.names);
            own.filter_map(|name| name.strip_prefix('/').map(str::to_owned))
                .filter(|n| !n.contains('/'))
                .collect()
        }
        Kind::Images => {
            let list: Vec<image::Summary> = client.json(Call::get("/images/json")).await?;
            let tags = list.into_iter().flat_map(|one| one.repo_tags);
            tags.map(|tag| tag.strip_suffix(":latest").unwrap_or(&tag).to_owned()).collect()
        }
        Kind::Networks => {
            let list: Vec<network::Inspect> = client.json(Call::get("/networks")).await?;
            list.into_iter().map(|one| one.name).collect()
        }
        Kind::Volumes => {
            let list: volume::ListResponse = client.json(Call::get("/volumes")).await?;
            list.volumes.into_iter().map(|one| one.name).collect()
        }
        Kind::Contexts => {
            let (stored, _) = Store::of(&context.config_dir).list()?;
            std::iter::once(DEFAULT.to_owned()).chain(stored.into_iter().map(|one| one.name)).collect()
        }
        Kind::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
    })
}
