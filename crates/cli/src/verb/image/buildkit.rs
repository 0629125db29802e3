//! `build` through BuildKit's API, for what the classic call cannot carry.

use super::build::{Options, is_remote, proxied_args};
use crate::buildkit::{Agent, Build, Directory, Offers, Output, Plain, Secret, Wanted, solve};
use crate::config::ConfigFile;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::parse::{env, ulimit};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use wharf_compose::run::Dockerfile;
use wharf_compose::run::solve::{SecretSource, Solve};
use wharf_grpc::proto::control::{CacheOptions, CacheOptionsEntry, Exporter};

/// Flags that only BuildKit has.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Flags {
    /// Let RUN do more, such as network.host or security.insecure
    #[arg(long, value_name = "stringArray")]
    allow: Vec<String>,
    /// Further files or image that the Dockerfile names, as name=path or name=docker-image://image
    #[arg(long, value_name = "stringArray")]
    build_context: Vec<String>,
    /// Place for the cache elsewhere, such as type=inline
    #[arg(long, value_name = "stringArray")]
    cache_to: Vec<String>,
    /// File to write what is known of the result to, as JSON
    #[arg(long, value_name = "string")]
    metadata_file: Option<String>,
    /// Stage whose steps are run anew
    #[arg(long, value_name = "stringArray")]
    no_cache_filter: Vec<String>,
    /// Where the result goes, as a directory, - or type=local|tar|oci|docker|image,dest=path
    #[arg(short = 'o', long, value_name = "stringArray")]
    output: Vec<String>,
    /// Send the image to its registry
    #[arg(long)]
    push: bool,
    /// Secret for RUN --mount=type=secret, as id=name[,src=path][,env=NAME]
    #[arg(long, value_name = "stringArray")]
    secret: Vec<String>,
    /// SSH agent for RUN --mount=type=ssh, as default or id=socket
    #[arg(long, value_name = "stringArray")]
    ssh: Vec<String>,
}

impl Flags {
    /// Whether one of them is given.
    pub(super) fn are_given(&self) -> bool {
        let lists = [
            &self.allow,
            &self.build_context,
            &self.cache_to,
            &self.no_cache_filter,
            &self.output,
            &self.secret,
            &self.ssh,
        ];
        self.push || self.metadata_file.is_some() || lists.iter().any(|list| !list.is_empty())
    }
}

pub(super) async fn run(context: &Context, options: &Options) -> Outcome {
    refuse(options)?;
    let (build, exports) = request(context, options)?;
    let mut plain = Plain::default();
    let quiet = options.quiet || options.progress.as_deref() == Some("quiet");
    let said = solve(&context.client, build, &mut |news| {
        let lines = plain.lines(news);
        if !quiet && !lines.is_empty() {
            // Whoever closed our error output does not want it.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), lines.as_bytes());
        }
    })
    .await?;
    let id = said.get("containerimage.config.digest").or_else(|| said.get("containerimage.digest"));
    if let Some(path) = &options.iidfile {
        let id = id.ok_or_else(|| Failure::new("the engine did not say which image it built"))?;
        std::fs::write(path, id).map_err(|e| Failure::file("write", path, &e))?;
    }
    if let Some(path) = &options.buildkit.metadata_file {
        let all: Map<String, Value> =
            said.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let text = serde_json::to_string_pretty(&all).map_err(|e| Failure::new(e.to_string()))?;
        std::fs::write(path, text).map_err(|e| Failure::file("write", path, &e))?;
    }
    if let Some(id) = id.filter(|_| options.quiet && exports) {
        line(id)?;
    }
    Ok(0)
}

/// Limits of RUN go with the classic call alone, as with Docker's clients.
fn refuse(options: &Options) -> Result<(), Failure> {
    let given = [
        (options.cpu_period.is_some(), "--cpu-period"),
        (options.cpu_quota.is_some(), "--cpu-quota"),
        (options.cpu_shares.is_some(), "--cpu-shares"),
        (options.cpuset_cpus.is_some(), "--cpuset-cpus"),
        (options.cpuset_mems.is_some(), "--cpuset-mems"),
        (options.memory.is_some(), "--memory"),
        (options.memory_swap.is_some(), "--memory-swap"),
        (options.squash, "--squash"),
        (!options.security_opt.is_empty(), "--security-opt"),
    ];
    match given.iter().find(|(is_given, _)| *is_given) {
        Some((_, flag)) => Err(Failure::new(format!(
            "{flag} does not go with --secret, --ssh, --build-context, --output and others of BuildKit's"
        ))),
        None => Ok(()),
    }
}

/// The build, and whether an image is made.
fn request(context: &Context, options: &Options) -> Result<(Build, bool), Failure> {
    let flags = &options.buildkit;
    let config = context.config()?;
    let proxies = config.proxies(&context.client.endpoint().to_string());
    let mut build =
        Build { offers: Offers { config: Some(config), ..Offers::default() }, ..Build::default() };
    build.entitlements.clone_from(&flags.allow);
    source(&mut build, options)?;
    let mut set = |name: &str, value: String| drop(build.attributes.insert(name.to_owned(), value));
    for (name, value) in proxied_args(options, proxies) {
        if let Some(value) = value {
            set(&format!("build-arg:{name}"), value);
        }
    }
    for (name, value) in env::labels(&[], &options.label).map_err(Failure::new)? {
        set(&format!("label:{name}"), value);
    }
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let given = [
        ("target", text(&options.target)),
        ("platform", text(&options.platform)),
        ("force-network-mode", text(&options.network)),
        ("cgroup-parent", text(&options.cgroup_parent)),
        ("shm-size", options.shm_size.map(|size| size.to_string())),
        (
            "no-cache",
            (options.no_cache || !flags.no_cache_filter.is_empty()).then(|| match options.no_cache {
                true => String::new(),
                false => flags.no_cache_filter.join(","),
            }),
        ),
        ("image-resolve-mode", options.pull.then(|| "pull".to_owned())),
        (
            "add-hosts",
            joined(options.add_host.iter().map(|host| match host.contains('=') {
                true => host.clone(),
                false => host.replacen(':', "=", 1),
            })),
        ),
        ("ulimit", joined(limits(&options.ulimit)?)),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            set(name, value);
        }
    }
    for given in &flags.build_context {
        let (name, source) = given
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("invalid context value: {given}, expected key=value")))?;
        build.context(name, source)?;
    }
    for given in &flags.secret {
        let (id, secret) = secret(given)?;
        build.offers.secrets.insert(id, secret);
    }
    for given in &flags.ssh {
        let (id, agent) = Agent::parse(given)?;
        build.offers.agents.insert(id, agent);
    }
    build.cache = cache(&options.cache_from, &flags.cache_to)?;
    let exports = exporters(&mut build, options)?;
    Ok((build, exports))
}

/// A build of a Compose project.
pub(crate) fn of_project(from: Solve<'_>, config: ConfigFile) -> Result<Build, Failure> {
    let mut build = Build {
        attributes: from.attributes,
        entitlements: from.entitlements,
        offers: Offers { config: Some(config), ..Offers::default() },
        cache: cache(&from.cache_from, &from.cache_to)?,
        ..Build::default()
    };
    let offers = &mut build.offers;
    match from.dockerfile {
        Dockerfile::Inline(text) => {
            let file = Directory::File("Dockerfile".into(), text.as_bytes().to_vec());
            offers.directories.insert("dockerfile".into(), file);
            build.attributes.insert("filename".into(), "Dockerfile".into());
            build.attributes.insert("dockerfilekey".into(), "dockerfile".into());
        }
        Dockerfile::File(path) if !is_remote(from.context) => {
            let (directory, name) = of_file(Path::new(from.context), Some(&path.to_string_lossy()))?;
            offers.directories.insert("dockerfile".into(), directory);
            build.attributes.insert("filename".into(), name);
        }
        Dockerfile::File(path) => {
            build.attributes.insert("filename".into(), path.to_string_lossy().into_owned());
        }
    }
    if is_remote(from.context) {
        build.attributes.insert("context".into(), from.context.to_owned());
    } else {
        let directory = Directory::open(Path::new(from.context))?;
        build.offers.directories.insert("context".into(), directory);
    }
    for (name, source) in &from.contexts {
        build.context(name, source)?;
    }
    for (id, source) in from.secrets {
        let secret = match source {
            SecretSource::File(path) => Secret::File(path),
            SecretSource::Variable(name) => Secret::Variable(name),
        };
        build.offers.secrets.insert(id, secret);
    }
    for agent in &from.agents {
        let (id, agent) = Agent::parse(agent)?;
        build.offers.agents.insert(id, agent);
    }
    let attrs = BTreeMap::from([("name".to_owned(), from.names.join(","))]);
    build.exporters.push(Exporter { kind: "moby".to_owned(), attrs });
    Ok(build)
}

fn joined(list: impl IntoIterator<Item = String>) -> Option<String> {
    let list: Vec<String> = list.into_iter().collect();
    (!list.is_empty()).then(|| list.join(","))
}

fn limits(given: &[String]) -> Result<Vec<String>, Failure> {
    given
        .iter()
        .map(|text| {
            let limit = ulimit::ulimit(text).map_err(Failure::new)?;
            Ok(format!("{}={}:{}", limit.name, limit.soft, limit.hard))
        })
        .collect()
}

/// The context and the Dockerfile.
fn source(build: &mut Build, options: &Options) -> Result<(), Failure> {
    let from = options.context.as_str();
    if from == "-" {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text)?;
        if super::build::is_archive(&text) {
            return Err(Failure::new(
                "an archive from standard input does not go with --secret and others of BuildKit's: unpack it",
            ));
        }
        for name in ["context", "dockerfile"] {
            build.offers.directories.insert(name.into(), Directory::File("Dockerfile".into(), text.clone()));
        }
        build.attributes.insert("filename".into(), "Dockerfile".into());
        return Ok(());
    }
    if is_remote(from) {
        build.attributes.insert("context".into(), from.to_owned());
        build
            .attributes
            .insert("filename".into(), options.file.clone().unwrap_or_else(|| "Dockerfile".into()));
        return Ok(());
    }
    let directory = Path::new(from);
    build.offers.directories.insert("context".into(), Directory::open(directory)?);
    let (holder, name) = match options.file.as_deref() {
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            (Directory::File("Dockerfile".into(), text), "Dockerfile".to_owned())
        }
        file => of_file(directory, file)?,
    };
    build.offers.directories.insert("dockerfile".into(), holder);
    build.attributes.insert("filename".into(), name);
    Ok(())
}

/// The directory that a Dockerfile is in, and its name there.
pub(crate) fn of_file(context: &Path, file: Option<&str>) -> Result<(Directory, String), Failure> {
    let path = match file {
        Some(file) => file.into(),
        None => context.join("Dockerfile"),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !path.is_file() {
        return Err(Failure::new(format!(
            "failed to read dockerfile: open {}: no such file or directory",
            path.display()
        )));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Directory::open(parent)?, name))
}

/// `id=name,src=path` or `id=name,env=NAME`; by itself the variable of that name, or a file.
fn secret(given: &str) -> Result<(String, Secret), Failure> {
    let (mut id, mut kind, mut path, mut variable) = (None, "", None, None);
    for field in given.split(',') {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("invalid field '{field}' must be a key=value pair")))?;
        match name.trim().to_ascii_lowercase().as_str() {
            "type" if matches!(value, "file" | "env") => kind = value,
            "type" => return Err(Failure::new(format!("unsupported secret type {value:?}"))),
            "id" => id = Some(value.to_owned()),
            "src" | "source" => path = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            other => return Err(Failure::new(format!("unexpected key '{other}' in '{field}'"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| Failure::new("secret missing ID"))?;
    if kind == "env" && variable.is_none() {
        variable = path.take();
    }
    let secret = match (path, variable) {
        (Some(path), _) => Secret::File(path.into()),
        (None, Some(name)) => Secret::Variable(name),
        // As Docker's client: the variable goes before the file.
        (None, None) if kind != "file" && std::env::var_os(&id).is_some() => Secret::Variable(id.clone()),
        (None, None) => Secret::File(id.clone().into()),
    };
    if let Secret::File(path) = &secret
        && let Err(e) = std::fs::metadata(path)
    {
        return Err(Failure::file("failed to stat", path, &e));
    }
    Ok((id, secret))
}

fn cache(from: &[String], to: &[String]) -> Result<Option<CacheOptions>, Failure> {
    let entry = |text: &String| {
        if !text.contains('=') {
            let attrs = BTreeMap::from([("ref".to_owned(), text.clone())]);
            return Ok(CacheOptionsEntry { kind: "registry".to_owned(), attrs });
        }
        let mut attrs = BTreeMap::new();
        for field in text.split(',') {
            let (name, value) =
                field.split_once('=').ok_or_else(|| Failure::new(format!("invalid value {field}")))?;
            attrs.insert(name.to_owned(), value.to_owned());
        }
        let kind =
            attrs.remove("type").ok_or_else(|| Failure::new(format!("type required form> {text:?}")))?;
        Ok(CacheOptionsEntry { kind, attrs })
    };
    let imports: Vec<_> = from.iter().map(entry).collect::<Result<_, Failure>>()?;
    let exports: Vec<_> = to.iter().map(entry).collect::<Result<_, Failure>>()?;
    let any = !imports.is_empty() || !exports.is_empty();
    Ok(any.then_some(CacheOptions { exports, imports }))
}

/// What becomes of the result; whether that is an image of the engine.
fn exporters(build: &mut Build, options: &Options) -> Result<bool, Failure> {
    let mut wanted: Vec<Wanted> =
        options.buildkit.output.iter().map(|text| Output::parse(text)).collect::<Result<_, _>>()?;
    if wanted.len() > 1 {
        return Err(Failure::new("multiple outputs currently unsupported"));
    }
    let names = options.tag.join(",");
    let Wanted { kind, mut attributes, output } = wanted.pop().unwrap_or_else(|| Wanted {
        kind: "moby".to_owned(),
        attributes: BTreeMap::new(),
        output: None,
    });
    let is_image = output.is_none() && kind != "cacheonly";
    if options.buildkit.push && !is_image {
        return Err(Failure::new(format!("push and {kind:?} output can't be used together")));
    }
    if options.buildkit.push && names.is_empty() && !attributes.contains_key("name") {
        return Err(Failure::new("tag is needed when pushing to registry"));
    }
    if kind == "registry" || options.buildkit.push {
        attributes.insert("push".to_owned(), "true".to_owned());
    }
    if !names.is_empty() && !matches!(kind.as_str(), "tar" | "cacheonly") {
        attributes.entry("name".to_owned()).or_insert(names);
    }
    let kind = match kind.as_str() {
        // The engine's own images; Docker's engine calls them so.
        "docker" | "image" | "registry" if is_image => "moby".to_owned(),
        _ => kind,
    };
    if kind != "cacheonly" {
        build.exporters.push(Exporter { kind, attrs: attributes });
    }
    build.offers.output = output;
    Ok(is_image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s").display().to_string();
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(secret(&format!("id=a,src={path}")).unwrap(), (id, Secret::File(_)) if id == "a"));
        assert!(matches!(secret("id=a,env=B").unwrap().1, Secret::Variable(name) if name == "B"));
        assert!(matches!(secret("type=env,id=a,src=B").unwrap().1, Secret::Variable(name) if name == "B"));
        assert!(matches!(secret("id=PATH").unwrap().1, Secret::Variable(name) if name == "PATH"));
        for bad in ["a", "id=", "src=/x", "id=a,src=/nonexistent", "id=a,colour=red", "type=x,id=a"] {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }
}
