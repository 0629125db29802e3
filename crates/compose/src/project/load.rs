//! From words of the command line and variables to a project.

use super::scalars::Map;
use super::service::Service;
use super::tree::Tree;
use super::{Project, names, normalize, profiles, read, resolve, validate};
use crate::error::Error;
use crate::files::remote::{self, Remote};
use crate::files::{Environment, Load, Node, Source, dotenv, interpolate, paths, yaml};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the command line says about a project.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `-f`.
    pub files: Vec<String>,
    /// `--project-directory`.
    pub dir: Option<PathBuf>,
    /// `--env-file`.
    pub env_files: Vec<PathBuf>,
    /// `-p`.
    pub name: Option<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// Who fetches files that are not on this machine.
    pub remote: Option<Remote>,
    /// `--no-interpolate`.
    pub no_interpolate: bool,
    /// `--no-path-resolution`.
    pub no_paths: bool,
    /// `--no-normalize`.
    pub no_normalize: bool,
    /// `--no-consistency`.
    pub no_consistency: bool,
    /// `--no-env-resolution`.
    pub no_env_resolution: bool,
    /// `--compatibility`: names of the first Compose.
    pub compatibility: bool,
}

/// A project and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// Services of profiles that are not active.
    pub disabled: Map<Service>,
    /// The project with all services that the files have, whether they are meant now or not: none of theirs is an orphan,
    /// and images may be built from those of others.
    pub whole: Project,
    /// Its directory.
    pub dir: PathBuf,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Files of variables that were read because they were named.
    pub env_files: Vec<PathBuf>,
    /// The variables that it was interpolated with.
    pub environment: Environment,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The merged files, before anything was made of them: what is shown where variables stay as they are.
    pub raw: Tree,
    /// What stands between the parts of names: `-`, and `_` as in the first Compose.
    pub separator: char,
}

/// Where a project is, before its files are read.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its directory.
    pub dir: PathBuf,
    /// The directory whose name is the project's, where nothing else says one.
    named_after: PathBuf,
    /// Its files, none where there are none.
    pub files: Vec<PathBuf>,
    /// Standard input among them.
    stdin: bool,
    /// The variables.
    pub environment: Environment,
    /// Files of variables that were named.
    pub env_files: Vec<PathBuf>,
}

/// Finds a project's files and reads its variables.
pub fn place(options: &Options) -> Result<Place, Error> {
    let cwd = std::env::current_dir().map_err(|source| Error::Read { path: ".".into(), source })?;
    let mut environment = Environment::of_process();
    let given = options.dir.as_ref().map(|dir| paths::join(&cwd, &dir.to_string_lossy()));
    let env_files = env_files(options, &environment, &cwd);
    // Files may be named by `.env` of the directory that we are in.
    let early = given.clone().unwrap_or_else(|| cwd.clone());
    read_env(&mut environment, &env_files, &early)?;
    let mut files = options.files.clone();
    if files.is_empty()
        && let Some(listed) = environment.get("COMPOSE_FILE").filter(|listed| !listed.is_empty())
    {
        let separator = environment.get("COMPOSE_PATH_SEPARATOR").unwrap_or(":");
        files = listed.split(separator).map(str::to_owned).collect();
    }
    let stdin = files.iter().any(|file| file == "-");
    let far = files.first().is_some_and(|file| remote::is_remote(file));
    let files: Vec<PathBuf> = if files.is_empty() {
        names::find(&early).unwrap_or_default()
    } else {
        let named = files.iter().filter(|file| *file != "-");
        named.map(|file| remote::locate(options.remote.as_ref(), &cwd, file)).collect::<Result<_, _>>()?
    };
    let is_far = given.is_none() && far;
    let dir = given.or_else(|| files.first()?.parent().map(Path::to_owned)).unwrap_or_else(|| cwd.clone());
    if dir != early {
        read_env(&mut environment, &env_files, &dir)?;
    }
    // The directory of a fetched file is called by its digest.
    let named_after = if is_far { cwd } else { dir.clone() };
    Ok(Place { dir, named_after, files, stdin, environment, env_files })
}

fn env_files(options: &Options, environment: &Environment, cwd: &Path) -> Vec<PathBuf> {
    let mut named: Vec<PathBuf> = options.env_files.clone();
    if named.is_empty() {
        let listed = environment.get("COMPOSE_ENV_FILES").unwrap_or_default();
        named = listed.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    }
    named.iter().map(|path| paths::join(cwd, &path.to_string_lossy())).collect()
}

fn read_env(environment: &mut Environment, named: &[PathBuf], dir: &Path) -> Result<(), Error> {
    let usual = dir.join(".env");
    let disabled = environment.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|on| ["1", "true"].contains(&on));
    let files = match named {
        [] if !disabled && usual.is_file() => vec![usual],
        named => named.to_vec(),
    };
    // The last file counts, and the process before all of them.
    let process = environment.clone();
    let mut found: Vec<(String, String)> = Vec::new();
    for path in files {
        let before = found.clone();
        let lookup = |name: &str| {
            let earlier =
                || before.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            process.get(name).map(str::to_owned).or_else(earlier)
        };
        for (name, value) in dotenv::read(&path, false, &lookup).map_err(missing)? {
            if let Some(value) = value {
                found.push((name, value));
            }
        }
    }
    for (name, value) in found.into_iter().rev() {
        environment.or_set(&name, value);
    }
    Ok(())
}

fn missing(error: Error) -> Error {
    match error {
        Error::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::project(format!("couldn't find env file: {}", path.display()))
        }
        other => other,
    }
}

/// The name of a project, from the command line, the variables, its files or its directory.
pub fn name(options: &Options, place: &Place) -> Result<String, Error> {
    let named =
        options.name.clone().or_else(|| place.environment.get("COMPOSE_PROJECT_NAME").map(str::to_owned));
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        names::check(&name)?;
        return Ok(name);
    }
    for path in place.files.iter().rev() {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        if !text
            .lines()
            .any(|line| line.starts_with("name") || line.starts_with("\"name") || line.starts_with('{'))
        {
            continue;
        }
        let documents = yaml::parse(&text, &path.display().to_string().into())?;
        let said = documents.iter().rev().find_map(|document| document.given("name"));
        if let Some(said) = said.and_then(Node::as_text) {
            let filled = interpolate::expand(said, &mut |name| place.environment.asked(name));
            let name = filled
                .map_err(|_| Error::project(format!("invalid interpolation format for name: {said:?}")))?;
            names::check(&name)?;
            return Ok(name);
        }
    }
    let dir = place
        .named_after
        .file_name()
        .map(|name| names::normalize(&name.to_string_lossy()))
        .unwrap_or_default();
    if dir.is_empty() {
        return Err(Error::project("project name must not be empty: give one with -p"));
    }
    Ok(dir)
}

/// Reads a whole project.
pub fn load(options: &Options) -> Result<Loaded, Error> {
    load_from(options, place(options)?)
}

/// Reads a project whose files are known.
pub fn load_from(options: &Options, mut place: Place) -> Result<Loaded, Error> {
    if place.files.is_empty() && !place.stdin {
        return Err(Error::NotFound("no configuration file provided: not found".into()));
    }
    let name = name(options, &place)?;
    place.environment.set("COMPOSE_PROJECT_NAME", &name);
    let separator = separator(options, &place.environment);
    let mut sources: Vec<Source> = place.files.iter().cloned().map(Source::File).collect();
    if place.stdin {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|source| Error::Read { path: "-".into(), source })?;
        sources.push(Source::Text(text));
    }
    let load = Load {
        sources,
        dir: place.dir.clone(),
        remote: options.remote.clone(),
        no_interpolate: options.no_interpolate,
        no_paths: options.no_paths,
        // Variables stand for values of any type.
        check: (!options.no_interpolate).then_some(check),
    };
    let merged = load.run(&place.environment)?;
    let mut tree = merged.tree;
    tree.remove("include");
    tree.remove("name");
    if options.no_interpolate {
        if !options.no_normalize {
            let context = if options.no_paths { Path::new(".") } else { &place.dir };
            normalize::written(&mut tree, &name, context);
        }
        let raw = Tree::from_node(&tree);
        let project = Project { name, ..Project::default() };
        return Ok(Loaded {
            whole: project.clone(),
            project,
            disabled: Map::new(),
            dir: place.dir,
            files: place.files,
            env_files: place.env_files,
            environment: place.environment,
            warnings: merged.warnings,
            raw,
            separator,
        });
    }
    let mut project: Project = read::read(&tree, "")?;
    project.name = name;
    let mut active = options.profiles.clone();
    if active.is_empty() {
        let listed = place.environment.get("COMPOSE_PROFILES").unwrap_or_default();
        active = listed.split(',').filter(|profile| !profile.is_empty()).map(str::to_owned).collect();
    }
    normalize::targets(&mut project);
    if !options.no_normalize {
        let context = if options.no_paths { Path::new(".") } else { &place.dir };
        normalize::normalize(&mut project, context);
    }
    let disabled = profiles::apply(&mut project, &active);
    if !options.no_consistency && !options.no_normalize {
        validate::validate(&project, &disabled)?;
    }
    resolve::labels(&mut project, &place.environment, &place.dir)?;
    resolve::inherited(&mut project, &place.environment);
    if !options.no_env_resolution {
        resolve::resolve(&mut project, &place.environment, &place.dir)?;
    }
    let mut whole = project.clone();
    whole.services.extend(disabled.iter().map(|(name, service)| (name.clone(), service.clone())));
    Ok(Loaded {
        whole,
        project,
        disabled,
        dir: place.dir,
        files: place.files,
        env_files: place.env_files,
        environment: place.environment,
        warnings: merged.warnings,
        raw: Tree::Null,
        separator,
    })
}

/// What stands between the parts of names.
pub fn separator(options: &Options, environment: &Environment) -> char {
    let asked = environment.get("COMPOSE_COMPATIBILITY").is_some_and(|on| ["1", "true"].contains(&on));
    if options.compatibility || asked { '_' } else { '-' }
}

/// Finds fault with one file, in long forms: attributes that are not there, values of wrong types.
pub fn check(file: &Node) -> Result<(), Error> {
    read::read::<Alone>(file, "").map(drop)
}

/// A file by itself: a project, with what only files have.
#[derive(Debug, Default, serde::Deserialize)]
struct Alone {
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default, rename = "include")]
    _include: Vec<Include>,
    #[serde(default, rename = "services")]
    _services: Map<Service>,
    #[serde(default, rename = "networks")]
    _networks: Map<super::Network>,
    #[serde(default, rename = "volumes")]
    _volumes: Map<super::Volume>,
    #[serde(default, rename = "secrets")]
    _secrets: Map<super::FileObject>,
    #[serde(default, rename = "configs")]
    _configs: Map<super::FileObject>,
    #[serde(default, rename = "models")]
    _models: Map<super::resources::Model>,
    #[serde(default, rename = "#x")]
    _extensions: super::Extensions,
}

#[derive(Debug, Default, serde::Deserialize)]
struct Include {
    #[serde(default, rename = "path")]
    _path: Vec<String>,
    #[serde(default, rename = "env_file")]
    _env_file: Vec<String>,
    #[serde(default, rename = "project_directory")]
    _project_directory: String,
}
