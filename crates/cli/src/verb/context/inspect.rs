//! `context inspect`.

use super::known;
use crate::config::contexts::{DEFAULT, Store, TLS_FILES, harmless};
use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use crate::format::list::unescape;
use crate::template::Template;
use serde_json::{Value, json};

/// Flags of `context inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "CONTEXT", hide = true)]
    names: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::of(&context.config_dir);
    let names = if options.names.is_empty() { vec![context.chosen.clone()] } else { options.names };
    let mut found = Vec::new();
    for name in &names {
        found.push(shown(&store, name)?);
    }
    match options.format.as_deref().filter(|format| !format.is_empty()) {
        None => {
            let text = serde_json::to_string_pretty(&found)
                .map_err(|e| Failure::new(format!("encode the contexts: {e}")))?;
            print(text.replace("  ", "    ") + "\n")?;
        }
        Some(format) => {
            let format = if format == "json" { "{{json .}}".to_owned() } else { unescape(format) };
            let template = Template::parse(&format)?;
            for value in &found {
                print(harmless_lines(&template.run(value)?) + "\n")?;
            }
        }
    }
    Ok(0)
}

/// Line ends and tabs may be the template's own.
fn harmless_lines(text: &str) -> String {
    let pieces = text.split_inclusive(['\n', '\t']);
    pieces
        .map(|piece| match piece.char_indices().last() {
            Some((at, end @ ('\n' | '\t'))) => format!("{}{end}", harmless(&piece[..at])),
            _ => harmless(piece),
        })
        .collect()
}

fn shown(store: &Store, name: &str) -> Result<Value, Failure> {
    let engine = known(store, name)?;
    let is_stored = name != DEFAULT;
    let place =
        |path: std::path::PathBuf| if is_stored { path.display().to_string() } else { "<IN MEMORY>".into() };
    let tls = TLS_FILES.iter().zip(store.tls_of(name)?);
    let files: Vec<&str> = tls.filter_map(|(file, content)| content.map(|_| *file)).collect();
    let material = if files.is_empty() { json!({}) } else { json!({"docker": files}) };
    let storage = json!({"MetadataPath": place(store.meta(name)), "TLSPath": place(store.tls(name))});
    Ok(json!({
        "Name": engine.name, "Metadata": engine.metadata, "Endpoints": engine.endpoints, "TLSMaterial": material,
        "Storage": storage,
    }))
}
