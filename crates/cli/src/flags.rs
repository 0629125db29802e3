//! Flags as Docker's users write them, made fit for clap.

use clap::{ArgAction, Command};
use std::ffi::OsString;

/// Rewrites `--flag=true` and `-f=false` of flags without value, and, where the command stops at its first
/// positional argument (`run`, `exec`), protects what follows it.
pub(crate) fn normalise(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let stops = command.get_positionals().any(|p| p.is_trailing_var_arg_set());
    let mut out = Vec::with_capacity(arguments.len() + 1);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            out.push(argument);
            continue;
        };
        if text == "--" {
            out.push(argument);
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            match (kind(command, |a| has_long(a, name)), value) {
                (Some(Kind::Switch), Some(value)) => match crate::parse::boolean(value) {
                    Ok(true) => out.push(format!("--{name}").into()),
                    Ok(false) => {}
                    Err(_) => out.push(argument),
                },
                (Some(Kind::Valued), None) => {
                    out.push(argument);
                    take_value(&mut out, arguments.next());
                }
                _ => out.push(argument),
            }
            continue;
        }
        match text.strip_prefix('-') {
            Some(cluster) if !cluster.is_empty() => {
                if short(command, cluster, &mut out) {
                    take_value(&mut out, arguments.next());
                }
            }
            _ if stops => {
                out.push("--".into());
                out.push(argument);
                break;
            }
            _ => out.push(argument),
        }
    }
    out.extend(arguments);
    out
}

/// The value of the last flag. One that begins with a dash (`--tail -1`) is tied to it, or clap takes it for a flag.
fn take_value(out: &mut Vec<OsString>, value: Option<OsString>) {
    match (value, out.last_mut()) {
        (Some(value), Some(flag)) if value.len() > 1 && value.as_encoded_bytes().starts_with(b"-") => {
            flag.push("=");
            flag.push(value);
        }
        (value, _) => out.extend(value),
    }
}

/// Takes a cluster of short flags apart; whether the last of them waits for a value.
fn short(command: &Command, cluster: &str, out: &mut Vec<OsString>) -> bool {
    let mut rest = cluster;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        match kind(command, |a| a.get_short() == Some(letter) || has_short_alias(a, letter)) {
            Some(Kind::Joined) if after.starts_with('=') => {
                out.push(format!("-{rest}").into());
                return false;
            }
            Some(Kind::Switch | Kind::Joined) => match after.strip_prefix('=').map(crate::parse::boolean) {
                Some(Ok(on)) => {
                    if on {
                        out.push(format!("-{letter}").into());
                    }
                    return false;
                }
                _ => {
                    out.push(format!("-{letter}").into());
                    rest = after;
                }
            },
            Some(Kind::Valued) => {
                out.push(format!("-{rest}").into());
                return after.is_empty();
            }
            // Unknown: clap says so.
            None => {
                out.push(format!("-{rest}").into());
                return false;
            }
        }
    }
    false
}

/// How a flag takes its value.
#[derive(Clone, Copy)]
enum Kind {
    /// It has none.
    Switch,
    /// With `=` alone: a switch that is on by default, `--flag=false`.
    Joined,
    /// With `=`, or as the next word.
    Valued,
}

/// `None` when there is no such flag.
fn kind(command: &Command, is_it: impl Fn(&clap::Arg) -> bool) -> Option<Kind> {
    let argument = command.get_arguments().find(|argument| is_it(argument))?;
    if argument.is_require_equals_set() {
        return Some(Kind::Joined);
    }
    Some(match argument.get_action() {
        ArgAction::SetTrue
        | ArgAction::SetFalse
        | ArgAction::Count
        | ArgAction::Help
        | ArgAction::Version => Kind::Switch,
        _ => Kind::Valued,
    })
}

fn has_long(argument: &clap::Arg, name: &str) -> bool {
    argument.get_long() == Some(name) || argument.get_all_aliases().is_some_and(|all| all.contains(&name))
}

fn has_short_alias(argument: &clap::Arg, letter: char) -> bool {
    argument.get_all_short_aliases().is_some_and(|all| all.contains(&letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn check(words: &str, expected: &str) {
        let command = Command::new("x")
            .arg(Arg::new("tty").short('t').long("tty").action(ArgAction::SetTrue))
            .arg(Arg::new("rm").long("rm").action(ArgAction::SetTrue))
            .arg(
                Arg::new("human")
                    .short('H')
                    .long("human")
                    .action(ArgAction::SetTrue)
                    .default_value("true")
                    .num_args(0..=1)
                    .require_equals(true)
                    .value_parser(crate::parse::boolean),
            )
            .arg(Arg::new("env").short('e').long("env").action(ArgAction::Append))
            .arg(Arg::new("image"))
            .arg(Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true));
        let words = words.split(' ').map(OsString::from).collect();
        let found = normalise(&command, words);
        let understood = command.no_binary_name(true).try_get_matches_from(&found);
        if let Ok(matches) = understood {
            assert_eq!(matches.get_flag("human"), !expected.contains("=false"), "{expected}");
        }
        let found: Vec<&str> = found.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn words() {
        check("--rm=true --tty=false -t=0 img -t", "--rm -- img -t");
        check("-te A=1 img ls -l --rm=true", "-t -e A=1 -- img ls -l --rm=true");
        check("-eA=1 --env B=2 --env=C=3 img", "-eA=1 --env B=2 --env=C=3 -- img");
        check("--nope img", "--nope -- img");
        check("-- img -x", "-- img -x");
        check("--human=false img", "--human=false -- img");
        check("-tH=false img -x", "-t -H=false -- img -x");
        check("--human --rm=true img -x", "--human --rm -- img -x");
        check("-Ht img", "-H -t -- img");
        check("-te -1 --env -x=y img", "-t -e=-1 --env=-x=y -- img");
    }
}
