//! Instructions and their arguments, not yet expanded.

use super::lines::{Heredoc, Line};
use super::mount::RunMount;
use super::words::split_raw;

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(String),
    /// The program and its arguments.
    Exec(Vec<String>),
}

/// COPY and ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Paths or patterns in the source.
    pub sources: Vec<String>,
    /// Files written in the Dockerfile itself.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub target: String,
    /// A stage or an image, instead of the context.
    pub from: Option<String>,
    /// `user[:group]`.
    pub chown: Option<String>,
    /// Permission bits, octal or as chmod(1) changes them.
    pub chmod: Option<String>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// The digest a fetched source must have.
    pub checksum: Option<String>,
    /// Sources keep the directories they are in.
    pub parents: bool,
    /// Whether archives are unpacked; `None` is the instruction's own way.
    pub unpack: Option<bool>,
    /// A repository comes with its `.git`.
    pub keep_git: bool,
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`.
    None,
    /// A command with its options: interval, timeout, start period, start interval, retries.
    Check {
        /// What is run.
        command: Command,
        /// `--name=value`, checked when it is executed.
        options: Vec<(String, String)>,
    },
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `FROM [--platform=p] image [AS name]`
    From {
        /// The image, a stage's name or `scratch`.
        image: String,
        /// The platform, when it is not the build's.
        platform: Option<String>,
        /// The stage's name, in lower case.
        name: Option<String>,
    },
    /// `ARG name[=value] …`
    Arg(Vec<(String, Option<String>)>),
    /// `ENV name=value …`
    Env(Vec<(String, String)>),
    /// `LABEL name=value …`
    Label(Vec<(String, String)>),
    /// `RUN …`
    Run {
        /// What is run.
        command: Command,
        /// Text for the command: appended to a shell line, or a script of its own.
        heredocs: Vec<Heredoc>,
        /// `default`, `none` or `host`.
        network: Option<String>,
        /// The texts of `--mount`, variables not expanded; each is one that [`RunMount`] reads.
        mounts: Vec<String>,
        /// `--security=insecure`: with all rights.
        insecure: bool,
    },
    /// `CMD …`
    Cmd(Command),
    /// `ENTRYPOINT …`
    Entrypoint(Command),
    /// `COPY …`
    Copy(Transfer),
    /// `ADD …`
    Add(Transfer),
    /// `WORKDIR path`
    Workdir(String),
    /// `USER user[:group]`
    User(String),
    /// `EXPOSE port[/protocol] …`
    Expose(String),
    /// `VOLUME path …`
    Volume(Vec<String>),
    /// `MAINTAINER text`
    Maintainer(String),
    /// `STOPSIGNAL signal`
    StopSignal(String),
    /// `SHELL ["program", …]`
    Shell(Vec<String>),
    /// `HEALTHCHECK …`
    Healthcheck(Healthcheck),
    /// `ONBUILD instruction`
    OnBuild(String),
}

impl Instruction {
    /// Whether it brings or makes files, rather than only change the configuration.
    pub fn may_make_files(&self) -> bool {
        matches!(self, Self::From { .. } | Self::Run { .. } | Self::Copy(_) | Self::Add(_) | Self::Workdir(_))
    }
}

/// `--name=value` and `--name` before the arguments.
fn flags(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let flag = &rest[2..end];
        if flag.is_empty() {
            break;
        }
        let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
        found.push((name.to_owned(), value.to_owned()));
        rest = rest[end..].trim_start();
    }
    (found, rest)
}

fn command(text: &str) -> Command {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if text.trim_start().starts_with('[') => Command::Exec(words),
        _ => Command::Shell(text.to_owned()),
    }
}

/// `name=value` pairs; or the old form, a name and the rest of the line.
fn pairs(name: &str, text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = split_raw(text, escape);
    let first = words.first().ok_or_else(|| format!("{name} requires at least one argument"))?;
    if !first.contains('=') {
        let (key, value) =
            text.split_once(char::is_whitespace).ok_or_else(|| format!("{name} must have two arguments"))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{name} names can not be blank")),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
        })
        .collect()
}

fn switch(flag: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("expecting boolean value for flag {flag}, not: {value}")),
    }
}

fn transfer(name: &str, line: &Line, text: &str, escape: char) -> Result<Transfer, String> {
    let (flags, rest) = flags(text);
    let mut found = Transfer::default();
    for (flag, value) in flags {
        match flag.as_str() {
            "from" if name == "COPY" => found.from = Some(value),
            "chown" => found.chown = Some(value),
            "chmod" => found.chmod = Some(value),
            "exclude" => found.exclude.push(value),
            "checksum" if name == "ADD" => found.checksum = Some(value),
            // Layers are independent of what is below them as it is.
            "link" => drop(switch(&flag, &value)?),
            "parents" if name == "COPY" => found.parents = switch(&flag, &value)?,
            "unpack" if name == "ADD" => found.unpack = Some(switch(&flag, &value)?),
            "keep-git-dir" if name == "ADD" => found.keep_git = switch(&flag, &value)?,
            other => return Err(format!("unknown flag: --{other} of {name}")),
        }
    }
    let mut words = match command(rest) {
        Command::Exec(words) => words,
        Command::Shell(_) => split_raw(rest, escape),
    };
    found.target = words.pop().ok_or_else(|| format!("{name} requires at least two arguments"))?;
    found.heredocs.clone_from(&line.heredocs);
    // `<<NAME` words stand for their documents.
    found.sources =
        words.into_iter().filter(|word| line.heredocs.is_empty() || !word.starts_with("<<")).collect();
    if found.sources.is_empty() && found.heredocs.is_empty() {
        return Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        ));
    }
    Ok(found)
}

fn run(line: &Line, text: &str) -> Result<Instruction, String> {
    let (flags, rest) = flags(text);
    let (mut network, mut mounts, mut insecure) = (None, Vec::new(), false);
    for (flag, value) in flags {
        match (flag.as_str(), value.as_str()) {
            ("mount", _) => {
                RunMount::parse(&value, None)?;
                mounts.push(value);
            }
            ("security", "sandbox" | "insecure") => insecure = value == "insecure",
            ("security", other) => {
                return Err(format!("security {other:?} is not valid: sandbox or insecure"));
            }
            ("network", "default" | "none" | "host") => network = Some(value),
            ("network", other) => {
                return Err(format!("invalid network mode {other:?}: default, none or host"));
            }
            (other, _) => {
                return Err(format!("unknown flag: --{other} of RUN"));
            }
        }
    }
    if rest.is_empty() {
        return Err("RUN requires at least one argument".into());
    }
    let heredocs = line.heredocs.clone();
    Ok(Instruction::Run { command: command(rest), heredocs, network, mounts, insecure })
}

fn healthcheck(text: &str) -> Result<Instruction, String> {
    let (options, rest) = flags(text);
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if options.is_empty() && rest.trim().is_empty() => {
            Ok(Instruction::Healthcheck(Healthcheck::None))
        }
        "NONE" => Err("HEALTHCHECK NONE takes no arguments".into()),
        "CMD" if !rest.trim().is_empty() => {
            Ok(Instruction::Healthcheck(Healthcheck::Check { command: command(rest.trim()), options }))
        }
        "CMD" => Err("Missing command after HEALTHCHECK CMD".into()),
        other => Err(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
    }
}

fn from(text: &str) -> Result<Instruction, String> {
    let (flags, rest) = flags(text);
    let mut platform = None;
    for (flag, value) in flags {
        match flag.as_str() {
            "platform" => platform = Some(value),
            other => return Err(format!("unknown flag: --{other} of FROM")),
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, word, name] if word.eq_ignore_ascii_case("as") => (image, Some(name.to_ascii_lowercase())),
        _ => return Err("FROM requires either one or three arguments".into()),
    };
    if let Some(name) = &name {
        let valid = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !valid || name == "scratch" {
            return Err(format!("invalid name for build stage: {name:?}"));
        }
    }
    Ok(Instruction::From { image: image.to_owned(), platform, name })
}

pub(super) fn parse(line: &Line, escape: char) -> Result<Instruction, String> {
    let (name, rest) = line.text.split_once(char::is_whitespace).unwrap_or((&line.text, ""));
    let (name, rest) = (name.to_ascii_uppercase(), rest.trim());
    let asked = |count: &str| match rest {
        "" => Err(format!("{name} requires {count} one argument")),
        rest => Ok(rest.to_owned()),
    };
    let (needed, one) = (|| asked("at least"), || asked("exactly"));
    Ok(match name.as_str() {
        "FROM" => from(rest)?,
        "ARG" => {
            let words = split_raw(&needed()?, escape);
            let pair = |word: &String| match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            Instruction::Arg(words.iter().map(pair).collect())
        }
        "ENV" => Instruction::Env(pairs("ENV", rest, escape)?),
        "LABEL" => Instruction::Label(pairs("LABEL", rest, escape)?),
        "RUN" => run(line, rest)?,
        "CMD" => Instruction::Cmd(command(rest)),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
        "COPY" => Instruction::Copy(transfer("COPY", line, rest, escape)?),
        "ADD" => Instruction::Add(transfer("ADD", line, rest, escape)?),
        "WORKDIR" => Instruction::Workdir(one()?),
        "USER" => Instruction::User(one()?),
        "EXPOSE" => Instruction::Expose(needed()?),
        "VOLUME" => match command(&needed()?) {
            Command::Exec(paths) => Instruction::Volume(paths),
            Command::Shell(text) => Instruction::Volume(split_raw(&text, escape)),
        },
        "MAINTAINER" => Instruction::Maintainer(one()?),
        "STOPSIGNAL" => Instruction::StopSignal(one()?),
        "SHELL" => match command(rest) {
            Command::Exec(words) if !words.is_empty() => Instruction::Shell(words),
            _ => return Err("SHELL requires the arguments to be in JSON form".into()),
        },
        "HEALTHCHECK" => healthcheck(rest)?,
        "ONBUILD" => {
            let trigger = needed()?;
            let word = trigger.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if matches!(word.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(format!("{word} isn't allowed as an ONBUILD trigger"));
            }
            let inner = Line { text: trigger.clone(), ..line.clone() };
            parse(&inner, escape)?;
            Instruction::OnBuild(trigger)
        }
        other => return Err(format!("unknown instruction: {other}{}", super::near::hint(other))),
    })
}
