//! `manifest annotate`.

use super::full;
use super::store::Store;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use serde_json::{Map, Value};

/// Flags of `manifest annotate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Architecture, such as arm64
    #[arg(long, value_name = "string")]
    arch: Option<String>,
    /// Operating system
    #[arg(long, value_name = "string")]
    os: Option<String>,
    /// Features that the operating system needs
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Version of the operating system
    #[arg(long, value_name = "string")]
    os_version: Option<String>,
    /// Variant of the architecture, such as v8
    #[arg(long, value_name = "string")]
    variant: Option<String>,
    #[arg(value_name = "MANIFEST_LIST", required = true, hide = true)]
    list: String,
    #[arg(value_name = "MANIFEST", required = true, hide = true)]
    manifest: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::new(&context.config_dir);
    let name = full(&options.manifest);
    let found = store.entries(&options.list)?.into_iter().find(|entry| entry.reference == name);
    let mut entry = found.ok_or_else(|| {
        Failure::new(format!("manifest for image {name} does not exist in {}", options.list))
    })?;
    let platform = entry.descriptor.entry("platform").or_insert_with(|| Map::new().into());
    let platform = platform
        .as_object_mut()
        .ok_or_else(|| Failure::new(format!("the platform of {name} is kept in another form")))?;
    for (key, value) in [
        ("architecture", &options.arch),
        ("os", &options.os),
        ("os.version", &options.os_version),
        ("variant", &options.variant),
    ] {
        if let Some(value) = value {
            platform.insert(key.to_owned(), value.as_str().into());
        }
    }
    let features = platform.entry("os.features").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(features) = features.as_array_mut() {
        for feature in options.os_features {
            if !features.iter().any(|known| *known == feature) {
                features.push(feature.into());
            }
        }
    }
    platform.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    store.keep(&options.list, &entry)?;
    Ok(0)
}
