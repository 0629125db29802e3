//! What is due at a place of a command line: by the flag before it, else by the verb's usage.

use crate::verb::{Verb, find};
use clap::{Arg, Command};

/// Names of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Containers of these statuses; of all when there are none.
    Containers(&'static [&'static str]),
    Images,
    Networks,
    Volumes,
    Contexts,
    /// These words.
    Words(&'static [&'static str]),
}

/// What is due, and what stands before its name in the same word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) head: String,
}

/// Values of flags, whatever verb they are of.
const FLAGS: [(&str, Kind); 9] = [
    ("net", Kind::Networks),
    ("network", Kind::Networks),
    ("volumes-from", Kind::Containers(&[])),
    ("link", Kind::Containers(&[])),
    ("restart", Kind::Words(&["always", "no", "on-failure", "unless-stopped"])),
    ("pull", Kind::Words(&["always", "missing", "never"])),
    ("log-driver", Kind::Words(&["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"])),
    ("signal", Kind::Words(&["SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"])),
    ("type", Kind::Words(&["container", "image", "network", "volume"])),
];

/// Which containers a verb can do something with; the others take all.
const STATUSES: [(&str, &[&str]); 9] = [
    ("start", &["created", "exited"]),
    ("unpause", &["paused"]),
    ("attach", &["running"]),
    ("exec", &["running"]),
    ("pause", &["running"]),
    ("top", &["running"]),
    ("stats", &["running"]),
    ("stop", &["running", "paused", "restarting"]),
    ("kill", &["running", "paused", "restarting"]),
];

/// `words` are those before the one that is being typed, without the program and its own flags.
pub(super) fn wanted(words: &[&str], typed: &str) -> Option<Wanted> {
    let (verb, used) = find(words)?;
    let command = (verb.command)();
    let place = place(&command, &words[used..], verb.usage.contains("[ARG"));
    if let Place::Value(flag) = place {
        return value(verb, flag, typed, String::new());
    }
    match typed.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
        Some((flag, typed)) => value(verb, flag, typed, format!("--{flag}=")),
        None if typed.starts_with('-') => None,
        None => {
            let Place::Positional(number) = place else { return None };
            Some(Wanted { kind: positional(verb, number)?, head: String::new() })
        }
    }
}

fn value(verb: &Verb, flag: &str, typed: &str, head: String) -> Option<Wanted> {
    // Of `volume ls` and others these are something else.
    if flag == "type" && verb.names[0] != "inspect" || flag == "pull" && verb.names[0] == "build" {
        return None;
    }
    if matches!(flag, "net" | "network") && typed.starts_with("container:") {
        return Some(Wanted { kind: Kind::Containers(&["running"]), head: format!("{head}container:") });
    }
    let (_, kind) = FLAGS.iter().find(|(name, _)| *name == flag)?;
    Some(Wanted { kind: *kind, head })
}

/// What the word that is being typed is.
enum Place<'a> {
    /// The value of a flag.
    Value(&'a str),
    /// The argument of this number, or a flag.
    Positional(usize),
}

fn place<'a>(command: &'a Command, words: &[&str], runs_program: bool) -> Place<'a> {
    let (mut number, mut waiting, mut flags) = (0, None, true);
    for word in words {
        if waiting.take().is_some() {
            continue;
        }
        match word.strip_prefix('-').filter(|rest| flags && !rest.is_empty()) {
            Some("-") => flags = false,
            Some(flag) => waiting = taker(command, flag),
            None => {
                number += 1;
                // What follows is the program's.
                flags &= !runs_program;
            }
        }
    }
    match waiting.and_then(Arg::get_long) {
        Some(flag) => Place::Value(flag),
        None => Place::Positional(number),
    }
}

/// The flag that takes the next word for its value; `flag` is without its first dash.
fn taker<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let is_open = |arg: &&Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    let mut all = command.get_arguments();
    if let Some(long) = flag.strip_prefix('-') {
        let is_called = |arg: &Arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
        };
        return all.find(|arg| is_called(arg)).filter(is_open);
    }
    // Of several letters the last one, where none before it has the rest for its value.
    let args: Vec<&Arg> = all.collect();
    let of = |letter| args.iter().copied().find(|arg| arg.get_short() == Some(letter));
    let takes = |letter: &char| of(*letter).is_some_and(|arg| is_open(&arg));
    let first = flag.chars().find(takes)?;
    flag.ends_with(first).then(|| of(first)).flatten()
}

/// By the verb's usage, in which each argument is called as what it names.
fn positional(verb: &Verb, number: usize) -> Option<Kind> {
    let words: Vec<&str> = verb.usage.split_whitespace().filter(|word| *word != "[OPTIONS]").collect();
    let last = words.last().filter(|word| word.contains("..."));
    let word = words.get(number).or(last)?.trim_matches(['[', ']', '.']);
    let name = word.split(['[', '|', ':']).next().unwrap_or(word);
    let is_new = verb.names[0].ends_with(" create") || verb.names[0] == "context import";
    match name {
        "CONTAINER" if !word.contains(':') => {
            let statuses = STATUSES.iter().find(|(of, _)| *of == verb.names[0]);
            Some(Kind::Containers(statuses.map_or(&[], |(_, statuses)| statuses)))
        }
        "IMAGE" | "SOURCE_IMAGE" => Some(Kind::Images),
        "NAME" if verb.names[0] == "push" => Some(Kind::Images),
        "NAME" if verb.names[0] == "inspect" => Some(Kind::Containers(&[])),
        "NETWORK" if !is_new => Some(Kind::Networks),
        "VOLUME" if !is_new => Some(Kind::Volumes),
        "SOURCE" if verb.names[0] == "volume clone" => Some(Kind::Volumes),
        "CONTEXT" if !is_new => Some(Kind::Contexts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: &str) -> Option<Kind> {
        let mut words: Vec<&str> = line.split(' ').collect();
        let typed = words.pop().unwrap_or_default();
        wanted(&words, typed).map(|wanted| wanted.kind)
    }

    #[test]
    fn arguments_are_what_usage_calls_them() {
        assert_eq!(kind("stop "), Some(Kind::Containers(&["running", "paused", "restarting"])));
        assert_eq!(kind("container rm -f a b c"), Some(Kind::Containers(&[])));
        assert_eq!(kind("logs --tail 5 -f "), Some(Kind::Containers(&[])));
        assert_eq!((kind("rmi "), kind("push x")), (Some(Kind::Images), Some(Kind::Images)));
        assert_eq!(kind("network disconnect "), Some(Kind::Networks));
        assert_eq!(kind("network disconnect bridge "), Some(Kind::Containers(&[])));
        assert_eq!((kind("volume rm a "), kind("volume create ")), (Some(Kind::Volumes), None));
        assert_eq!(kind("context use "), Some(Kind::Contexts));
    }

    #[test]
    fn a_program_and_its_flags_are_its_own() {
        assert_eq!(kind("run -it -v a:b --name x "), Some(Kind::Images));
        assert_eq!((kind("run busybox "), kind("run busybox --network ")), (None, None));
        assert_eq!((kind("ps "), kind("stop -"), kind("nope "), kind("")), (None, None, None, None));
    }

    #[test]
    fn values_are_what_their_flag_names() {
        assert_eq!(kind("run --network "), Some(Kind::Networks));
        assert_eq!(kind("run --network=b"), Some(Kind::Networks));
        assert_eq!(wanted(&["run"], "--network=b").unwrap().head, "--network=");
        assert_eq!(wanted(&["run", "--net"], "container:").unwrap().head, "container:");
        assert!(matches!(kind("kill -s "), Some(Kind::Words(_))));
        assert_eq!((kind("build --pull "), kind("run -v ")), (None, None));
    }
}
