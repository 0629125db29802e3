//! Projects of several services: what stands between `compose` and its verb, and what the verbs share.

pub(crate) mod attach;
mod attached;
mod block;
pub(crate) mod build;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod create;
pub(super) mod delegate;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod export;
mod flags;
pub(crate) mod images;
pub(crate) mod kill;
mod lifecycle;
pub(crate) mod logs;
pub(crate) mod ls;
mod menu;
mod outside;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod ps;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod push;
mod remote;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod scale;
mod screen;
mod secrets;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod unpause;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod viz;
pub(crate) mod volumes;
pub(crate) mod wait;
pub(crate) mod watch;
pub(super) mod work;

use crate::context::{Context, note};
use crate::failure::Failure;
use std::ffi::OsString;
use std::path::PathBuf;
use wharf_compose::Error;
use wharf_compose::project::{self, Loaded, Options as ProjectOptions};

/// What stands between `compose` and its verb.
#[derive(Debug, Clone, Default)]
pub(crate) struct Globals {
    pub(crate) project: ProjectOptions,
    /// never, always or auto.
    pub(crate) ansi: Option<String>,
    /// auto, tty, plain, json or quiet.
    pub(crate) progress: Option<String>,
    pub(crate) dry_run: bool,
    /// Most engine calls at a time; -1 is no bound.
    pub(crate) parallel: Option<i64>,
    /// Show what providers say for whoever debugs them.
    pub(crate) verbose: bool,
    /// Keep resources that no service uses.
    pub(crate) all_resources: bool,
}

const FLAGS: [(&str, &str); 9] = [
    ("-f", "--file"),
    ("-p", "--project-name"),
    ("", "--project-directory"),
    ("", "--workdir"),
    ("", "--env-file"),
    ("", "--profile"),
    ("", "--ansi"),
    ("", "--progress"),
    ("", "--parallel"),
];

/// Takes the flags before the verb off the words, which begin with `compose`.
pub(crate) fn globals(words: &[OsString]) -> Result<(Vec<OsString>, Globals), Failure> {
    let mut globals = Globals::default();
    let mut rest = words[1..].iter();
    let mut left = vec![words[0].clone()];
    while let Some(word) = rest.next() {
        let Some(text) = word.to_str().filter(|text| text.starts_with('-') && *text != "-") else {
            left.push(word.clone());
            break;
        };
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (text, None),
        };
        match name {
            "--help" | "-h" | "--version" | "-v" => {
                left.push(if name.contains('v') { "version".into() } else { word.clone() });
                break;
            }
            "--dry-run" => globals.dry_run = inline.as_deref() != Some("false"),
            "--all-resources" => globals.all_resources = inline.as_deref() != Some("false"),
            "--compatibility" => globals.project.compatibility = inline.as_deref() != Some("false"),
            "--verbose" | "-D" | "--debug" => globals.verbose = inline.as_deref() != Some("false"),
            _ => {
                let short = name.get(..2).filter(|short| {
                    !name.starts_with("--") && name.len() > 2 && FLAGS.iter().any(|(s, _)| s == short)
                });
                let (name, inline) = match short {
                    Some(short) => (short, Some(name[2..].trim_start_matches('=').to_owned())),
                    None => (name, inline),
                };
                let Some((_, long)) =
                    FLAGS.iter().find(|(short, long)| *long == name || (!short.is_empty() && *short == name))
                else {
                    return Err(Failure::with_status(
                        crate::failure::FAILED,
                        format!("unknown flag: {text}"),
                    ));
                };
                let inline = inline.or_else(|| rest.next().and_then(|word| word.to_str()).map(str::to_owned));
                let Some(value) = inline else {
                    return Err(Failure::new(format!("flag needs an argument: {name}")));
                };
                take(&mut globals, long, value)?;
            }
        }
    }
    left.extend(rest.cloned());
    Ok((left, globals))
}

fn take(globals: &mut Globals, long: &str, value: String) -> Result<(), Failure> {
    let project = &mut globals.project;
    match long {
        "--file" => project.files.push(value),
        "--project-name" => project.name = Some(value),
        "--project-directory" | "--workdir" => project.dir = Some(PathBuf::from(value)),
        "--env-file" => project.env_files.push(PathBuf::from(value)),
        "--profile" => project.profiles.push(value),
        "--ansi" if ["never", "always", "auto"].contains(&value.as_str()) => globals.ansi = Some(value),
        "--ansi" => {
            return Err(Failure::new(format!("unknown value {value:?} for --ansi: never, always or auto")));
        }
        "--progress" if ["auto", "tty", "plain", "json", "quiet"].contains(&value.as_str()) => {
            globals.progress = Some(value);
        }
        "--progress" => return Err(Failure::new(format!("unsupported --progress value {value:?}"))),
        _ => {
            let wrong = |_| Failure::new(format!("invalid argument {value:?} for --parallel"));
            globals.parallel = Some(value.parse().map_err(wrong)?);
        }
    }
    Ok(())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::with_status(error.status(), error.to_string())
    }
}

/// What the command line says about the project.
pub(crate) fn options(context: &Context) -> ProjectOptions {
    ProjectOptions { remote: Some(remote::of(context)), ..context.compose.project.clone() }
}

/// Reads the project and says what the user should know.
pub(crate) fn load(context: &Context, change: impl FnOnce(&mut ProjectOptions)) -> Result<Loaded, Failure> {
    let mut options = options(context);
    change(&mut options);
    let loaded = project::load(&options)?;
    loaded.warnings.iter().for_each(|warning| note(format!("WARN[0000] {warning}")));
    Ok(loaded)
}
