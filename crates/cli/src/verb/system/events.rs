//! `events`.

use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::format::list::{pairs, unescape};
use crate::format::time::rfc3339_nanos;
use crate::parse::duration::moment;
use crate::template::Template;
use serde_json::Value;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::system::Event;

/// Flags of `events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what matches, as key=value
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show with a Go template, or as json
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// From then on: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Until then: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new()
        .maybe("since", moment(&options.since)?)
        .maybe("until", moment(&options.until)?)
        .filters(pairs(&options.filter)?);
    let template = match options.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(format) => Some(Template::parse(&unescape(format))?),
    };
    let stream = context.client.stream(Call::get("/events").query(query)).await?;
    let mut events = stream.json::<Value>();
    while let Some(value) = events.next().await? {
        match &template {
            Some(template) => line(template.run_with(&value, &|value, name, _| go_field(value, name))?)?,
            None => {
                let event: Event = serde_json::from_value(value)
                    .map_err(|e| Failure::new(format!("read an event of the engine: {e}")))?;
                line(show(&event))?;
            }
        }
    }
    Ok(0)
}

/// Fields by the names they have in Go, where those differ from the wire's.
fn go_field(value: &Value, name: &str) -> Option<Value> {
    let wire = match name {
        "Status" => "status",
        "ID" => "id",
        "From" => "from",
        "Scope" => "scope",
        "Time" => "time",
        "TimeNano" => "timeNano",
        _ => return None,
    };
    Some(value.get(wire).cloned().unwrap_or_else(|| "".into()))
}

fn show(event: &Event) -> String {
    let time = match (event.time_nano, event.time) {
        (0, seconds) => rfc3339_nanos(seconds.saturating_mul(1_000_000_000)),
        (nanos, _) => rfc3339_nanos(nanos),
    };
    let mut text = format!("{time} {} {} {}", event.kind, event.action, event.actor.id);
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !attributes.is_empty() {
        text += &format!(" ({})", attributes.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let json = r#"{"status":"start","id":"ab","Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"name":"web","image":"x"}},"scope":"local","time":1714564800,"timeNano":1714564800000000001}"#;
        let event: Event = serde_json::from_str(json).unwrap();
        assert_eq!(show(&event), "2024-05-01T12:00:00.000000001Z container start ab (image=x, name=web)");
        let value = serde_json::from_str(json).unwrap();
        let template = Template::parse("{{.Type}} {{.Status}} {{.Actor.Attributes.name}}").unwrap();
        assert_eq!(template.run_with(&value, &|v, n, _| go_field(v, n)).unwrap(), "container start web");
    }
}
