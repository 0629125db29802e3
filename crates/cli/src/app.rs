//! From the words of the command line to the end of a command.

use crate::config::ConfigFile;
use crate::config::contexts::{DEFAULT, Store};
use crate::context::{Context, Hooks, note, print};
use crate::failure::{ENGINE_FAILED, FAILED, Failure, Outcome};
use crate::verb::{GROUPS, Verb, absent, find};
use crate::{complete, flags, help};
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use wharf_docker_api::client::{Client, Endpoint, TlsFiles};

/// The engine that is looked for when none is named.
pub(crate) const DEFAULT_SOCKET: &str = "/run/wharf.sock";

/// What stands before the verb.
#[derive(Debug, Default)]
struct Globals {
    host: Option<String>,
    config_dir: Option<PathBuf>,
    help: bool,
    version: bool,
    context: Option<String>,
    tls: TlsFlags,
    compose: crate::verb::compose::Globals,
}

/// `--tls…`
#[derive(Debug, Default)]
struct TlsFlags {
    on: bool,
    verify: Option<bool>,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsFlags {
    /// The files, when TLS is wanted: by flag, or by `DOCKER_TLS_VERIFY` or `DOCKER_TLS`. What is not named is looked
    /// for in `DOCKER_CERT_PATH`, or where the configuration is.
    fn files(self, config_dir: &Path) -> Option<TlsFiles> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let verify = self.verify.unwrap_or_else(|| variable("DOCKER_TLS_VERIFY").is_some());
        if !self.on && !verify && variable("DOCKER_TLS").is_none() {
            return None;
        }
        let dir = variable("DOCKER_CERT_PATH").map_or_else(|| config_dir.to_owned(), PathBuf::from);
        let certificate = self.certificate.unwrap_or_else(|| dir.join("cert.pem"));
        let key = self.key.unwrap_or_else(|| dir.join("key.pem"));
        Some(TlsFiles {
            authority: verify.then(|| self.authority.unwrap_or_else(|| dir.join("ca.pem"))),
            identity: certificate.exists().then_some((certificate, key)),
        })
    }
}

/// Runs a command and returns its exit status. `arguments` begins with the name of the program.
pub fn main(arguments: Vec<OsString>, hooks: Hooks) -> i32 {
    let mut arguments = arguments.into_iter();
    let program = arguments
        .next()
        .and_then(|path| PathBuf::from(path).file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "wharf".into());
    match run(&program, arguments.collect(), hooks) {
        Ok(status) => status,
        Err(failure) => {
            if !failure.message.is_empty() {
                note(wharf_docker_api::words::without_numbers(&failure.message));
            }
            failure.status
        }
    }
}

fn run(program: &str, arguments: Vec<OsString>, hooks: Hooks) -> Outcome {
    let (mut globals, mut words) = globals(arguments)?;
    if words.first().is_some_and(|word| word == complete::VERB) {
        return names(words.split_off(1), hooks);
    }
    if words.first().is_some_and(|word| word == "compose") {
        (words, globals.compose) = crate::verb::compose::globals(&words)?;
    }
    if globals.version {
        print(format!(
            "Wharf version {}, build {}\n",
            hooks.version,
            option_env!("WHARF_BUILD").unwrap_or("release")
        ))?;
        return Ok(0);
    }
    let names: Vec<&str> = words.iter().map_while(|word| word.to_str()).take(2).collect();
    let (Some(first), false) = (names.first(), globals.help) else {
        print(help::program(program, &hooks))?;
        return Ok(0);
    };
    if *first == "help" {
        return help_for(program, &words[1..], &hooks);
    }
    if let Some((verb, used)) = find(&names) {
        let arguments = words[used..].to_vec();
        return call(program, verb, arguments, globals, hooks);
    }
    if GROUPS.iter().any(|(group, _)| group == first) {
        return match names.get(1) {
            None => {
                note(help::group(program, first).trim_end());
                Ok(0)
            }
            Some(&"--help" | &"-h") => {
                print(help::group(program, first))?;
                Ok(0)
            }
            Some(second) if let Some(why) = absent::why(first) => {
                Err(Failure::new(format!("{program} {first} {second}: {why}")))
            }
            Some(second) => Err(unknown(program, &format!("{first} {second}"), &format!("{first} "))),
        };
    }
    if let Some(why) = absent::why(first) {
        return Err(Failure::new(format!("{program} {first}: {why}")));
    }
    Err(unknown(program, first, ""))
}

/// What may be typed after these words.
fn names(words: Vec<OsString>, hooks: Hooks) -> Outcome {
    let (globals, words) = globals(words)?;
    let context = context(globals, hooks, false)?;
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    runtime()?.block_on(complete::run(&context, &words))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("start the runtime: {e}")))
}

fn unknown(program: &str, words: &str, group: &str) -> Failure {
    Failure::new(format!(
        "{program}: unknown command: {program} {words}\n\nRun '{program} {group}--help' for more information"
    ))
}

fn help_for(program: &str, words: &[OsString], hooks: &Hooks) -> Outcome {
    let names: Vec<&str> = words.iter().map_while(|word| word.to_str()).take(2).collect();
    if let Some((verb, _)) = find(&names) {
        print(help::verb(program, verb))?;
    } else if let Some((group, _)) = names.first().and_then(|n| GROUPS.iter().find(|(g, _)| g == n)) {
        print(help::group(program, group))?;
    } else {
        print(help::program(program, hooks))?;
    }
    Ok(0)
}

fn call(
    program: &str,
    verb: &'static Verb,
    arguments: Vec<OsString>,
    globals: Globals,
    hooks: Hooks,
) -> Outcome {
    let command = decorate(verb);
    let mut words = vec![OsString::from(program)];
    words.extend(flags::normalise(&command, arguments));
    let matches = match command.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return usage(program, verb, &error),
    };
    let context = context(globals, hooks, verb.needs_engine)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        if verb.needs_engine {
            context.engine().await?;
        }
        (verb.run)(&context, matches).await
    });
    // A thread may still wait for standard input, which nobody will read any more.
    runtime.shutdown_background();
    outcome
}

/// The verb's flags and `--help`. Of a flag that is there twice the last one counts.
pub(crate) fn decorate(verb: &Verb) -> clap::Command {
    let command =
        (verb.command)().disable_version_flag(true).disable_help_flag(true).args_override_self(true);
    let takes_h = command.get_arguments().any(|argument| argument.get_short() == Some('h'));
    let mut help = clap::Arg::new("help").long("help").action(clap::ArgAction::Help).help("Print usage");
    if !takes_h {
        help = help.short_alias('h');
    }
    command.arg(help)
}

/// What clap has to say, as Docker says it.
fn usage(program: &str, verb: &Verb, error: &clap::Error) -> Outcome {
    if error.kind() == ErrorKind::DisplayHelp {
        print(help::verb(program, verb))?;
        return Ok(0);
    }
    let path = verb.names[0];
    let rendered = error.render().to_string();
    let first = rendered.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let named = error.get(clap::error::ContextKind::InvalidArg).map(ToString::to_string);
    let (status, said) = match (error.kind(), named) {
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with("--") => {
            (ENGINE_FAILED, format!("unknown flag: {}", flag.split('=').next().unwrap_or(&flag)))
        }
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with('-') => {
            (ENGINE_FAILED, format!("unknown shorthand flag: '{}' in {flag}", flag.trim_start_matches('-')))
        }
        (ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues, _) => {
            (FAILED, format!("{program}: '{program} {path}' {}", arity(&(verb.command)())))
        }
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(flag)) => {
            (ENGINE_FAILED, invalid_value(&(verb.command)(), &flag, error).unwrap_or(first))
        }
        _ => (ENGINE_FAILED, first),
    };
    let see = if said.contains("requires at least") && !said.contains("at most") { "See" } else { "Run" };
    Err(Failure::with_status(
        status,
        format!(
            "{said}\n\nUsage:  {}\n\n{see} '{program} {path} --help' for more information",
            format!("{program} {path} {}", verb.usage).trim_end()
        ),
    ))
}

/// What is wrong with a flag's value.
fn invalid_value(command: &clap::Command, named: &str, error: &clap::Error) -> Option<String> {
    use std::error::Error;
    let long = named.strip_prefix("--")?.split([' ', '[', '=']).next()?;
    let flag = command.get_arguments().find(|argument| argument.get_long() == Some(long))?;
    let short = flag.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let value = error.get(clap::error::ContextKind::InvalidValue)?;
    let why = error.source()?;
    Some(format!("invalid argument {:?} for \"{short}--{long}\" flag: {why}", value.to_string()))
}

/// How many arguments a verb takes, in words.
fn arity(command: &clap::Command) -> String {
    let (mut min, mut max) = (0, Some(0));
    for positional in command.get_positionals() {
        let many = matches!(positional.get_action(), clap::ArgAction::Append);
        min += usize::from(positional.is_required_set());
        max = if many { None } else { max.map(|max| max + 1) };
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    match (min, max) {
        (_, Some(0)) => "accepts no arguments".into(),
        (min, None) => format!("requires at least {min} argument{}", plural(min)),
        (0, Some(max)) => format!("requires at most {max} argument{}", plural(max)),
        (min, Some(max)) if min == max => format!("requires {min} argument{}", plural(min)),
        (min, Some(max)) => format!("requires at least {min} and at most {max} arguments"),
    }
}

fn context(globals: Globals, hooks: Hooks, needs_engine: bool) -> Result<Context, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if globals.host.is_some() && globals.context.is_some() {
        return Err(Failure::new("conflicting options: cannot specify both --host and --context"));
    }
    // Of what is not written here and now the environment is the nearest.
    let in_environment = || variable("WHARF_HOST").or_else(|| variable("DOCKER_HOST"));
    let named = globals.host.or_else(|| in_environment().filter(|_| globals.context.is_none()));
    let config_dir = config_dir(globals.config_dir);
    let chosen = match &named {
        Some(_) => DEFAULT.to_owned(),
        None => current(&config_dir, globals.context.or_else(|| variable("DOCKER_CONTEXT")))?,
    };
    let is_default_engine = named.is_none() && chosen == DEFAULT;
    let endpoint = match named {
        Some(named) => Endpoint::parse(&named, globals.tls.files(&config_dir))?,
        None if is_default_engine => Endpoint::Unix(DEFAULT_SOCKET.into()),
        None => {
            let store = Store::of(&config_dir);
            let found = store.find(&chosen).and_then(|engine| {
                Ok(Endpoint::parse(&engine.endpoints.docker.host, store.tls_files(&engine))?)
            });
            match found {
                // A context that is gone must not keep anybody from choosing another.
                Err(_) if !needs_engine => Endpoint::Unix(DEFAULT_SOCKET.into()),
                found => found?,
            }
        }
    };
    let client = match variable("DOCKER_API_VERSION") {
        Some(version) => Client::with_version(endpoint, &version),
        None => Client::new(endpoint),
    };
    Ok(Context { client, config_dir, hooks, is_default_engine, chosen, compose: globals.compose })
}

/// Where the user's configuration is.
pub(crate) fn config_dir(named: Option<PathBuf>) -> PathBuf {
    let variable = || std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(variable).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        PathBuf::from(home).join(".docker")
    })
}

/// The context in use: the one named, else the one of `context use`.
fn current(config_dir: &Path, named: Option<String>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named);
    }
    let config = ConfigFile::load(config_dir)?;
    Ok(config.text("currentContext").unwrap_or(DEFAULT).to_owned())
}

/// Reads the flags before the verb.
fn globals(arguments: Vec<OsString>) -> Result<(Globals, Vec<OsString>), Failure> {
    let mut globals = Globals::default();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) =
        arguments.next_if(|word| word.to_str().is_some_and(|w| w.starts_with('-') && w.len() > 1))
    {
        let text = argument.to_string_lossy().into_owned();
        let (name, mut value) = match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            // -Hvalue
            None if text.starts_with("-H") && text.len() > 2 => ("-H".into(), Some(text[2..].to_owned())),
            None => (text.clone(), None),
        };
        let mut take = || {
            value
                .take()
                .or_else(|| arguments.next().map(|word| word.to_string_lossy().into_owned()))
                .ok_or_else(|| Failure::with_status(ENGINE_FAILED, format!("flag needs an argument: {name}")))
        };
        match name.as_str() {
            "-H" | "--host" => globals.host = Some(take()?),
            "--config" => globals.config_dir = Some(take()?.into()),
            "-c" | "--context" => globals.context = Some(take()?),
            "-l" | "--log-level" => drop(take()?),
            "-D" | "--debug" => {}
            "-v" | "--version" => globals.version = true,
            "-h" | "--help" => globals.help = true,
            "--tls" => globals.tls.on = value.as_deref() != Some("false"),
            "--tlsverify" => globals.tls.verify = Some(value.as_deref() != Some("false")),
            "--tlscacert" => globals.tls.authority = Some(take()?.into()),
            "--tlscert" => globals.tls.certificate = Some(take()?.into()),
            "--tlskey" => globals.tls.key = Some(take()?.into()),
            _ => {
                return Err(Failure::with_status(
                    ENGINE_FAILED,
                    format!("unknown flag: {name}\n\nRun with --help for more information"),
                ));
            }
        }
    }
    Ok((globals, arguments.collect()))
}
