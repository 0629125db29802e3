//! `manifest inspect`.

use super::store::{Entry, Store};
use super::{entry, fetch, full, list, with_digest};
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use serde::Serialize;
use serde_json::Value;

/// Flags of `manifest inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Without effect: the engine's insecure-registries decide
    #[arg(long, hide = true)]
    insecure: bool,
    /// Show where each manifest is and what runs it
    #[arg(short = 'v', long)]
    verbose: bool,
    #[arg(value_name = "NAME", required = true, num_args = 1..=2, hide = true)]
    names: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::new(&context.config_dir);
    if let [list_name, name] = &options.names[..] {
        let found = store.entries(list_name)?.into_iter().find(|entry| entry.reference == full(name));
        let found = found.ok_or_else(|| Failure::new(format!("no such manifest: {}", full(name))))?;
        return show(&one(&found, options.verbose)?);
    }
    let name = &options.names[0];
    if store.exists(name) {
        let entries = store.entries(name)?;
        return show(&many(&entries, list(&entries).1, options.verbose));
    }
    let fetched = fetch(context, name).await?;
    if !fetched.is_list() {
        return show(&match options.verbose {
            true => entry(context, name).await?.shown(),
            false => fetched.json()?,
        });
    }
    let document = fetched.json()?;
    if !options.verbose {
        return show(&document);
    }
    let mut entries = Vec::new();
    for descriptor in document["manifests"].as_array().into_iter().flatten() {
        let of_list = with_digest(name, descriptor["digest"].as_str().unwrap_or_default());
        let raw = fetch(context, &of_list).await?.raw;
        let descriptor = descriptor.as_object().cloned().unwrap_or_default();
        entries.push(Entry { reference: of_list, descriptor, raw });
    }
    show(&many(&entries, document, true))
}

fn one(entry: &Entry, verbose: bool) -> Result<Value, Failure> {
    if verbose {
        return Ok(entry.shown());
    }
    serde_json::from_slice(&entry.raw).map_err(|e| Failure::new(format!("read the manifest: {e}")))
}

fn many(entries: &[Entry], plain: Value, verbose: bool) -> Value {
    if verbose { entries.iter().map(Entry::shown).collect() } else { plain }
}

/// With tabs, as Docker shows it.
fn show(value: &Value) -> Outcome {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value.serialize(&mut serializer).map_err(|e| Failure::new(format!("write the manifest: {e}")))?;
    line(String::from_utf8_lossy(&text))?;
    Ok(0)
}
