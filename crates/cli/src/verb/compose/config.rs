//! `compose config`: the project as it was understood.

use super::load;
use crate::context::{Context, line, print};
use crate::failure::{Failure, Outcome};
use crate::format::table;
use std::collections::BTreeMap;
use wharf_compose::files::interpolate::{self, Variable};
use wharf_compose::project::{Loaded, Project, hash, json, normalize, profiles, tree, yaml};

/// Flags of `compose config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print the variables that the files are filled with
    #[arg(long)]
    environment: bool,
    /// Show as yaml or json
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print the hash of services' configurations: all (*) or those named, with commas
    #[arg(long, value_name = "string")]
    hash: Option<String>,
    /// Print the names of images
    #[arg(long)]
    images: bool,
    /// Print only the digests of images, as an override file
    #[arg(long)]
    lock_image_digests: bool,
    /// Print the names of models
    #[arg(long)]
    models: bool,
    /// Print the names of networks
    #[arg(long)]
    networks: bool,
    /// Do not check that what is named is there
    #[arg(long)]
    no_consistency: bool,
    /// Leave env_file as it is written
    #[arg(long)]
    no_env_resolution: bool,
    /// Leave variables as they are written
    #[arg(long)]
    no_interpolate: bool,
    /// Leave out what the files do not say
    #[arg(long)]
    no_normalize: bool,
    /// Leave paths as they are written
    #[arg(long)]
    no_path_resolution: bool,
    /// Write to a file
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
    /// Print the names of profiles
    #[arg(long)]
    profiles: bool,
    /// Print nothing: check alone
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Name images by their digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print the names of services
    #[arg(long)]
    services: bool,
    /// Print the variables that the files ask for
    #[arg(long)]
    variables: bool,
    /// Print the names of volumes
    #[arg(long)]
    volumes: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    names: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut loaded = load(context, |project| {
        project.no_interpolate = options.no_interpolate;
        project.no_normalize = options.no_normalize;
        project.no_paths = options.no_path_resolution;
        project.no_consistency = options.no_consistency || options.no_interpolate;
        project.no_env_resolution =
            options.no_env_resolution || options.no_interpolate || options.hash.is_some();
    })?;
    if options.quiet {
        return Ok(0);
    }
    if options.variables {
        return variables(context, &options);
    }
    if options.environment {
        for (name, value) in loaded.environment.iter() {
            line(format!("{name}={value}"))?;
        }
        return Ok(0);
    }
    if options.no_interpolate {
        return written(&loaded.raw, &options);
    }
    if options.volumes || options.networks {
        normalize::prune(&mut loaded.project);
    }
    if options.profiles
        || options.services
        || options.volumes
        || options.networks
        || options.models
        || options.images
    {
        return lists(&loaded, &options);
    }
    if let Some(wanted) = &options.hash {
        return hashes(&loaded, wanted);
    }
    profiles::enable(&mut loaded.project, &mut loaded.disabled, &options.names)?;
    profiles::select(&mut loaded.project, &options.names, true)?;
    if !options.no_consistency && !options.no_normalize {
        profiles::settle(&mut loaded.project, &loaded.disabled)?;
    }
    if !context.compose.all_resources {
        normalize::prune(&mut loaded.project);
    }
    if options.resolve_image_digests || options.lock_image_digests {
        digests(context, &mut loaded.project).await?;
    }
    let text =
        if options.lock_image_digests { locks(&loaded.project) } else { text(&loaded.project, &options)? };
    put(text.replace('$', "$$"), &options)
}

/// Prints it, or writes it to the file that was named.
fn put(text: String, options: &Options) -> Outcome {
    match &options.output {
        Some(path) => std::fs::write(path, text).map_err(|e| Failure::file("write", path, &e))?,
        None => print(text)?,
    }
    Ok(0)
}

fn text(project: &Project, options: &Options) -> Result<String, Failure> {
    match options.format.as_deref() {
        None | Some("yaml" | "") => Ok(yaml::text(&shown(project))),
        Some("json") => Ok(json::pretty(&sorted(project))),
        Some(other) => Err(Failure::new(format!("unsupported format {other:?}: yaml or json"))),
    }
}

/// The project without sections that say nothing, but with its services.
fn shown(project: &Project) -> tree::Tree {
    let mut shown = tree::of(project);
    if let tree::Tree::Struct(entries) = &mut shown
        && project.services.is_empty()
    {
        entries.insert(1, ("services".into(), tree::Tree::Map(Vec::new())));
    }
    shown
}

/// JSON has the sections in the order of their names.
fn sorted(project: &Project) -> tree::Tree {
    let tree::Tree::Struct(mut entries) = shown(project) else { return tree::Tree::Null };
    let extensions = entries.iter().position(|(key, _)| key == "#x").map(|at| entries.remove(at).1);
    if let Some(tree::Tree::Map(extensions)) = extensions {
        entries.extend(extensions);
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    tree::Tree::Map(entries)
}

fn lists(loaded: &Loaded, options: &Options) -> Outcome {
    let project = &loaded.project;
    let mut names: Vec<String> = if options.services {
        project.services.keys().cloned().collect()
    } else if options.volumes {
        project.volumes.keys().cloned().collect()
    } else if options.networks {
        project.networks.keys().cloned().collect()
    } else if options.models {
        project.models.values().map(|model| model.model.clone()).collect()
    } else if options.profiles {
        let all = project.services.values().chain(loaded.disabled.values());
        all.flat_map(|service| service.profiles.clone()).collect()
    } else {
        project.services.iter().map(|(name, service)| loaded.image_of(name, service)).collect()
    };
    names.sort();
    if !options.images {
        names.dedup();
    }
    names.into_iter().try_for_each(line)?;
    Ok(0)
}

fn hashes(loaded: &Loaded, wanted: &str) -> Outcome {
    let names: Vec<&str> = match wanted {
        "*" => loaded.project.services.keys().map(String::as_str).collect(),
        names => names.split(',').collect(),
    };
    for name in names {
        line(format!("{name} {}", hash::service(loaded.project.service(name)?)))?;
    }
    Ok(0)
}

/// The variables that the files name, each with what stands for it.
fn variables(context: &Context, options: &Options) -> Outcome {
    let written = load(context, |project| {
        project.no_interpolate = true;
        project.no_normalize = true;
    })?;
    let mut found = BTreeMap::new();
    named(&written.raw, &mut found);
    if options.format.as_deref() == Some("json") {
        let one = |(name, variable): (&String, &Variable)| {
            let shown = serde_json::json!({
                "Name": name,
                "DefaultValue": variable.default,
                "PresenceValue": variable.alternate,
                "Required": variable.required,
            });
            (name.clone(), shown)
        };
        let all: serde_json::Map<String, serde_json::Value> = found.iter().map(one).collect();
        print(format!("{:#}\n", serde_json::Value::Object(all)))?;
        return Ok(0);
    }
    let head = "NAME\tREQUIRED\tDEFAULT VALUE\tALTERNATE VALUE".to_owned();
    let rows =
        found.iter().map(|(name, v)| format!("{name}\t{}\t{}\t{}", v.required, v.default, v.alternate));
    print(table::align_with(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), 20))?;
    Ok(0)
}

fn named(tree: &tree::Tree, found: &mut BTreeMap<String, Variable>) {
    match tree {
        tree::Tree::Text(text) => interpolate::variables(text, found),
        tree::Tree::List(items) => items.iter().for_each(|item| named(item, found)),
        tree::Tree::Map(entries) => entries.iter().for_each(|(_, value)| named(value, found)),
        _ => {}
    }
}

/// The files as they are written, variables and all: whole, or names of what they have.
fn written(raw: &tree::Tree, options: &Options) -> Outcome {
    let keys = |section: &str| match raw.get(section) {
        Some(tree::Tree::Map(entries)) => entries.iter().map(|(key, _)| key.clone()).collect(),
        _ => Vec::new(),
    };
    let mut names: Vec<String> = if options.services {
        keys("services")
    } else if options.volumes {
        keys("volumes")
    } else if options.networks {
        keys("networks")
    } else if options.images {
        let image = |name: &String| match raw.get("services")?.get(name)?.get("image")? {
            tree::Tree::Text(image) => Some(image.clone()),
            _ => None,
        };
        keys("services").iter().filter_map(image).collect()
    } else {
        let is_json = options.format.as_deref() == Some("json");
        let text = if is_json { json::pretty(raw) } else { yaml::text(raw) };
        return put(text, options);
    };
    names.sort();
    names.into_iter().try_for_each(line)?;
    Ok(0)
}

/// Puts the digests of registries behind the names of images.
async fn digests(context: &Context, project: &mut Project) -> Result<(), Failure> {
    use wharf_docker_api::client::Call;
    context.engine().await?;
    for service in project
        .services
        .values_mut()
        .filter(|service| !service.image.is_empty() && !service.image.contains('@'))
    {
        let call = Call::get(crate::verb::image::distribution(&service.image, "/json"));
        let found: serde_json::Value = context.client.json(call).await?;
        let digest = found["Descriptor"]["digest"].as_str().unwrap_or_default();
        service.image = format!("{}@{digest}", service.image);
    }
    Ok(())
}

/// An override file of nothing but images.
fn locks(project: &Project) -> String {
    use tree::Tree::{Map, Text};
    let service = |(name, service): (&String, &wharf_compose::project::Service)| {
        (name.clone(), Map(vec![("image".into(), Text(service.image.clone()))]))
    };
    let services =
        project.services.iter().filter(|(_, service)| !service.image.is_empty()).map(service).collect();
    yaml::text(&Map(vec![("services".into(), Map(services))]))
}
