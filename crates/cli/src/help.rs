//! The help of the program, of groups and of verbs.

use crate::context::Hooks;
use crate::verb::{GROUPS, VERBS, Verb};
use clap::{Arg, ArgAction, Command};
use std::fmt::Write;

/// Width of the column of names.
const NAME_WIDTH: usize = 12;

/// What completion and manual pages call the program.
pub(crate) const PROGRAM: &str = "wharf";

/// The whole command line as one tree, for completion and manual pages.
pub(crate) fn tree(programs: Vec<Command>) -> Command {
    let leaf = |verb: &Verb, name| crate::app::decorate(verb).name(name).about(verb.about);
    let mut root = Command::new(PROGRAM)
        .about("Containers, images, networks and volumes")
        .disable_help_subcommand(true)
        .subcommands(VERBS.iter().filter_map(|verb| Some(leaf(verb, verb.top()?))));
    for (group, about) in GROUPS {
        let within = VERBS.iter().filter_map(|verb| Some(leaf(verb, verb.within(group)?)));
        let group = Command::new(group).about(about).disable_help_subcommand(true).subcommands(within);
        root = root.subcommand(group);
    }
    root.subcommands(programs)
}

/// The help of the program.
pub(crate) fn program(name: &str, hooks: &Hooks) -> String {
    let mut text = format!("Usage:  {name} [OPTIONS] COMMAND\n\nContainers, images, networks and volumes\n");
    let mut section = |title: &str, entries: &mut dyn Iterator<Item = (&str, &str)>| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{title}:\n");
        for (name, about) in entries {
            let _ = writeln!(text, "  {name:<NAME_WIDTH$}{about}");
        }
    };
    section("Commands", &mut VERBS.iter().filter_map(|verb| Some((verb.top()?, verb.about))));
    section("Management Commands", &mut GROUPS.iter().copied());
    if !hooks.commands.is_empty() {
        section("Engine Commands", &mut hooks.commands.iter().copied());
    }
    text + "
Global Options:
      --config string      Directory of the client's configuration (default \"~/.docker\")
  -D, --debug              Say more about what goes wrong
  -H, --host string        Engine to talk to: unix:///path or tcp://host:port
      --tls                Speak TLS on tcp://
      --tlscacert string   Authority of the engine's certificate (default \"~/.docker/ca.pem\")
      --tlscert string     Our certificate (default \"~/.docker/cert.pem\")
      --tlskey string      Its key (default \"~/.docker/key.pem\")
      --tlsverify          Speak TLS and see whose certificate the engine has
  -v, --version            Print the version and quit

Run '" + name
        + " COMMAND --help' for more information on a command.
"
}

/// The help of a group of verbs, such as `container`.
pub(crate) fn group(name: &str, group: &str) -> String {
    let about = GROUPS.iter().find(|(known, _)| *known == group).map_or("", |(_, about)| about);
    let mut text = format!("Usage:  {name} {group} COMMAND\n\n{about}\n\nCommands:\n");
    for (verb, about) in VERBS.iter().filter_map(|verb| Some((verb.within(group)?, verb.about))) {
        let _ = writeln!(text, "  {verb:<NAME_WIDTH$}{about}");
    }
    if group == "compose" {
        text.push_str(COMPOSE_OPTIONS);
    }
    text + "\nRun '" + name + " " + group + " COMMAND --help' for more information on a command.\n"
}

/// What stands between `compose` and its verb.
const COMPOSE_OPTIONS: &str = "
Options, before the command:
      --all-resources              Keep resources that no service uses
      --ansi string                Colours and moving progress: never, always or auto
      --dry-run                    Say what would be done, and do nothing
      --env-file stringArray       File of variables instead of .env
  -f, --file stringArray           Compose file; more than one are merged
      --parallel int               Most calls of the engine at a time
      --profile stringArray        Profile to turn on
      --progress string            How steps are shown: auto, tty, plain, json or quiet
      --project-directory string   Directory that paths are relative to (default: that of the first file)
  -p, --project-name string        Name of the project
";

/// The help of a verb, made from its flags.
pub(crate) fn verb(program: &str, verb: &Verb) -> String {
    let usage = format!("{program} {} {}", verb.names[0], verb.usage);
    let mut text = format!("Usage:  {}\n\n{}\n", usage.trim_end(), verb.about);
    if verb.names.len() > 1 {
        let all: Vec<String> = verb.names.iter().map(|name| format!("{program} {name}")).collect();
        // Writing to a string does not fail.
        let _ = write!(text, "\nAliases:\n  {}\n", all.join(", "));
    }
    let command = crate::app::decorate(verb);
    let mut flags: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some_and(|long| long != "help") && !arg.is_hide_set())
        .collect();
    flags.sort_by_key(|arg| arg.get_long());
    let left: Vec<String> = flags.iter().map(|arg| name(arg)).collect();
    let width = left.iter().map(String::len).max().unwrap_or(0);
    if flags.is_empty() {
        return text;
    }
    text.push_str("\nOptions:\n");
    for (arg, left) in flags.iter().zip(left) {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {left:<width$}   {about}{}", default(arg));
    }
    text
}

fn name(arg: &Arg) -> String {
    let short = arg.get_short().map_or_else(|| "    ".into(), |short| format!("-{short}, "));
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    // A switch that is on by default is shown like a switch.
    let value =
        arg.get_value_names().and_then(<[_]>::first).filter(|name| takes_value && name.as_str() != "bool");
    let value = value.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{short}--{}{value}", arg.get_long().unwrap_or_default())
}

fn default(arg: &Arg) -> String {
    let value = arg.get_default_values().first().filter(|_| !arg.is_hide_default_value_set());
    match value.and_then(|value| value.to_str()) {
        None | Some("false") => String::new(),
        Some(value) if value == "true" || value.parse::<i64>().is_ok() => format!(" (default {value})"),
        Some(value) => format!(" (default \"{value}\")"),
    }
}
