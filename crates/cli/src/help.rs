//! The help of the program itself. Verbs have theirs from their flags.

use crate::context::Hooks;
use crate::verb::{GROUPS, VERBS};
use std::fmt::Write;

/// How the help of a verb is laid out.
pub(crate) const TEMPLATE: &str = "Usage:  {usage}\n\n{about}\n{after-help}\n{all-args}";

/// Width of the column of names.
const NAME_WIDTH: usize = 12;

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
    text + "\nRun '" + name + " " + group + " COMMAND --help' for more information on a command.\n"
}
