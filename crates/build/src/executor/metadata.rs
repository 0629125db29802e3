//! Instructions that only change the configuration.

use super::Build;
use super::state::State;
use crate::dockerfile::{Command, Healthcheck, Instruction, expand_word, expand_words};
use wharf_model::{Error, Result};
use wharf_oci::image_config::{self, Config};

impl Build<'_> {
    /// Applies an instruction; returns it as history shows it.
    pub(super) fn metadata(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        text: &str,
    ) -> Result<String> {
        match instruction {
            Instruction::Arg(pairs) => self.arg(state, pairs),
            instruction => apply(state, instruction, text, self.file.escape),
        }
    }

    fn arg(&mut self, state: &mut State, pairs: &[(String, Option<String>)]) -> Result<String> {
        let mut shown = Vec::new();
        for (name, default) in pairs {
            let given = self.given(name);
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(state, default)?),
                (None, None) => self.globals.get(name).cloned(),
            };
            shown.push(value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}")));
            match value {
                Some(value) => drop(state.args.insert(name.clone(), value)),
                None => drop(state.args.remove(name)),
            }
        }
        // The value counts where it is used, in RUN and in what it is expanded into, not here.
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        tracing::trace!(values = shown.join(" "), "ARG");
        Ok(format!("ARG {}", names.join(" ")))
    }
}

/// Applies an instruction that needs nothing but what the stage is so far.
pub(super) fn apply(
    state: &mut State,
    instruction: &Instruction,
    text: &str,
    escape: char,
) -> Result<String> {
    Ok(match instruction {
        Instruction::Env(pairs) => {
            // All see the environment as it was before.
            let before = state.clone();
            let mut shown = Vec::new();
            for (name, value) in pairs {
                let (name, value) = (expand(&before, escape, name)?, expand(&before, escape, value)?);
                state.set_env(&name, &value);
                shown.push(format!("{name}={value}"));
            }
            format!("ENV {}", shown.join(" "))
        }
        Instruction::Label(pairs) => {
            let mut shown = Vec::new();
            for (name, value) in pairs {
                let (name, value) = (expand(state, escape, name)?, expand(state, escape, value)?);
                shown.push(format!("{name}={value}"));
                state.config.config.labels.insert(name, value);
            }
            format!("LABEL {}", shown.join(" "))
        }
        Instruction::Cmd(command) => {
            let words = command_words(state, command);
            state.cmd_is_ours = true;
            let shown = format!("CMD {}", shown_words(&words));
            state.config.config.cmd = Some(words).filter(|words| !words.is_empty());
            shown
        }
        Instruction::Entrypoint(command) => {
            let words = command_words(state, command);
            if !state.cmd_is_ours {
                state.config.config.cmd = None;
            }
            let shown = format!("ENTRYPOINT {}", shown_words(&words));
            state.config.config.entrypoint = Some(words).filter(|words| !words.is_empty());
            shown
        }
        Instruction::User(user) => {
            let user = expand(state, escape, user)?;
            let shown = format!("USER {user}");
            state.config.config.user = user;
            shown
        }
        Instruction::Expose(ports) => {
            let ports = expand_words(ports, escape, &|name| state.variable(name)).map_err(Error::invalid)?;
            for port in &ports {
                state.config.config.exposed_ports.extend(parse_ports(port)?);
            }
            format!("EXPOSE {}", ports.join(" "))
        }
        Instruction::Volume(paths) => {
            let mut shown = Vec::new();
            for path in paths {
                let path = expand(state, escape, path)?;
                if path.trim().is_empty() {
                    return Err(Error::invalid("VOLUME specified can not be an empty string"));
                }
                shown.push(path.clone());
                state.config.config.volumes.insert(path);
            }
            format!("VOLUME {}", shown_words(&shown))
        }
        Instruction::Maintainer(name) => {
            state.config.author = Some(name.clone());
            format!("MAINTAINER {name}")
        }
        Instruction::StopSignal(signal) => {
            let signal = expand(state, escape, signal)?;
            let name = signal.to_ascii_uppercase();
            let valid = signal.parse::<u8>().is_ok_and(|n| (1..=64).contains(&n))
                || name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-'));
            if !valid || signal.is_empty() {
                return Err(Error::invalid(format!("invalid signal: {signal}")));
            }
            let shown = format!("STOPSIGNAL {signal}");
            state.config.config.stop_signal = Some(signal);
            shown
        }
        Instruction::Shell(words) => {
            state.config.config.shell = Some(words.clone());
            format!("SHELL {}", shown_words(words))
        }
        Instruction::Healthcheck(check) => {
            state.config.config.healthcheck = Some(healthcheck(state, escape, check)?);
            text.to_owned()
        }
        Instruction::OnBuild(trigger) => {
            state.config.config.on_build.push(trigger.clone());
            format!("ONBUILD {trigger}")
        }
        Instruction::From { .. }
        | Instruction::Run { .. }
        | Instruction::Arg(_)
        | Instruction::Copy(_)
        | Instruction::Add(_)
        | Instruction::Workdir(_) => {
            return Err(Error::internal(format!("{text} is no instruction of the configuration")));
        }
    })
}

/// Applies such an instruction to a configuration by itself.
pub(crate) fn apply_to(config: Config, instruction: &Instruction, text: &str) -> Result<Config> {
    let mut state = State::default();
    state.config.config = config;
    // ENTRYPOINT leaves CMD alone here.
    state.cmd_is_ours = true;
    apply(&mut state, instruction, text, '\\')?;
    Ok(state.config.config)
}

pub(super) fn expand(state: &State, escape: char, text: &str) -> Result<String> {
    expand_word(text, escape, &|name| state.variable(name)).map_err(Error::invalid)
}

pub(super) fn command_words(state: &State, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(line) if line.is_empty() => Vec::new(),
        Command::Shell(line) => state.shell().into_iter().chain([line.clone()]).collect(),
    }
}

fn healthcheck(state: &State, escape: char, check: &Healthcheck) -> Result<image_config::Healthcheck> {
    let Healthcheck::Check { command, options } = check else {
        return Ok(image_config::Healthcheck { test: vec!["NONE".into()], ..Default::default() });
    };
    let test = match command {
        Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
        Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
    };
    let mut found = image_config::Healthcheck { test, ..Default::default() };
    for (name, value) in options {
        let value = expand(state, escape, value)?;
        match name.as_str() {
            "interval" => found.interval = duration_ns(&value)?,
            "timeout" => found.timeout = duration_ns(&value)?,
            "start-period" => found.start_period = duration_ns(&value)?,
            "start-interval" => found.start_interval = duration_ns(&value)?,
            "retries" => {
                found.retries =
                    value.parse().map_err(|_| Error::invalid(format!("--retries={value} is no number")))?;
            }
            other => return Err(Error::invalid(format!("unknown flag: --{other} of HEALTHCHECK"))),
        }
    }
    Ok(found)
}

fn shown_words(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// `80`, `80/udp`, `80-82/tcp`.
fn parse_ports(text: &str) -> Result<Vec<String>> {
    let bad = || Error::invalid(format!("Invalid containerPort: {text}"));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Error::invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first == 0 || first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Go's durations: `1h2m3.5s`, `500ms`; at least a millisecond, or 0.
fn duration_ns(text: &str) -> Result<i64> {
    let bad = || Error::invalid(format!("invalid duration {text:?}: write it as 30s or 1m30s"));
    let (mut total, mut rest) = (0f64, text);
    if text == "0" {
        return Ok(0);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let value: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(bad()),
        };
        total += value * factor;
        rest = &rest[unit..];
    }
    if text.is_empty() || (total > 0.0 && total < 1e6) || total > 9e18 {
        return Err(bad());
    }
    Ok(total as i64)
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn durations_and_ports() {
        assert_eq!(duration_ns("1m30s").unwrap(), 90_000_000_000);
        assert_eq!(duration_ns("1.5s").unwrap(), 1_500_000_000);
        assert!(duration_ns("5").is_err() && duration_ns("1ns").is_err() && duration_ns("").is_err());
        assert_eq!(parse_ports("80-81/UDP").unwrap(), ["80/udp", "81/udp"]);
        assert!(parse_ports("0").is_err() && parse_ports("a").is_err() && parse_ports("2-1").is_err());
    }
}
