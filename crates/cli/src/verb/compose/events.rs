//! `compose events`.

use super::work::Work;
use crate::context::{Context, line};
use crate::failure::Outcome;
use crate::format::time::rfc3339_nanos;
use crate::parse::duration::moment;
use serde_json::json;
use wharf_compose::plan::label;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::system::Event;

/// Flags of `compose events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// From then on: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Until then: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    work.check(&options.services)?;
    let of = format!("{}={}", label::PROJECT, work.loaded.project.name);
    let query = Query::new()
        .maybe("since", moment(&options.since)?)
        .maybe("until", moment(&options.until)?)
        .filters([("type", "container"), ("label", of.as_str())]);
    let mut events = context.client.stream(Call::get("/events").query(query)).await?.json::<Event>();
    while let Some(event) = events.next().await? {
        let mut attributes = event.actor.attributes.clone();
        let service = attributes.get(label::SERVICE).cloned().unwrap_or_default();
        if attributes.get(label::ONE_OFF).is_some_and(|on| on == "True") || service.is_empty() {
            continue;
        }
        if !options.services.is_empty() && !options.services.contains(&service) {
            continue;
        }
        attributes.retain(|name, _| !name.starts_with("com.docker.compose."));
        // Docker tells commands of exec by their verb alone.
        let action = event.action.split(':').next().unwrap_or_default();
        if options.json {
            let time = rfc3339_nanos(event.time_nano);
            line(
                json!({"time": time, "type": "container", "service": service, "id": event.actor.id, "action": action, "attributes": attributes}),
            )?;
        } else {
            let shown: Vec<String> =
                attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let time = rfc3339_nanos(event.time_nano).replace('T', " ");
            let time = time.get(..26).unwrap_or(&time);
            line(format!("{time} container {action} {} ({})", event.actor.id, shown.join(", ")))?;
        }
    }
    Ok(0)
}
