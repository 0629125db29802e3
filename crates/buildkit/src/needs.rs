//! What of its context a build needs, as far as the Dockerfile tells before anything is executed: a client with a big directory
//! then sends a few files of it, or nothing.

use std::collections::BTreeSet;
use wharf_build::dockerfile::{Dockerfile, Instruction, MountKind, RunMount, Transfer};

/// What is needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Everything, or nobody knows.
    All,
    /// These paths and patterns, and what is below them; maybe none.
    Paths(Vec<String>),
}

/// Looks at the stages that a target needs. `has_triggers` says whether a base image has ONBUILD instructions, which may need
/// anything.
pub(crate) fn needs(
    file: &Dockerfile,
    target: usize,
    global: &dyn Fn(&str) -> Option<String>,
    elsewhere: &dyn Fn(&str) -> bool,
    has_triggers: &dyn Fn(&str) -> bool,
) -> Needs {
    let mut paths = BTreeSet::new();
    for at in file.needed(target, global, elsewhere) {
        for statement in &file.stages[at].statements {
            let found = match &statement.instruction {
                Instruction::From { image, .. } => {
                    let name = wharf_build::dockerfile::expand_word(image, file.escape, global);
                    let is_known = name.is_ok_and(|name| {
                        name == "scratch"
                            || !elsewhere(&name) && file.find_named(&name, at).is_some()
                            || !has_triggers(&name)
                    });
                    is_known.then(Vec::new)
                }
                Instruction::OnBuild(_) => None,
                Instruction::Copy(transfer) => sources(transfer),
                Instruction::Add(transfer) => sources(transfer),
                Instruction::Run { mounts, .. } => mounted(mounts),
                _ => Some(Vec::new()),
            };
            let Some(found) = found else { return Needs::All };
            paths.extend(found);
        }
    }
    Needs::Paths(paths.into_iter().collect())
}

/// `None`: it cannot be told.
fn sources(transfer: &Transfer) -> Option<Vec<String>> {
    if transfer.from.is_some() {
        return Some(Vec::new());
    }
    transfer.sources.iter().filter(|source| !source.contains("://")).map(|source| path(source)).collect()
}

fn mounted(mounts: &[String]) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    for text in mounts {
        let mount = RunMount::parse(text, None).ok()?;
        if mount.kind == MountKind::Bind && mount.from.is_none() {
            paths.push(path(&mount.source)?);
        }
    }
    Some(paths)
}

/// A path from the context's root. `None` for the root, and where a variable or an escape is in it.
fn path(source: &str) -> Option<String> {
    if source.contains(['$', '\\', '"', '\'']) {
        return None;
    }
    let path = wharf_oci::path::clean(source).split_off(1);
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Needs {
        let file = Dockerfile::parse(text).unwrap();
        let target = file.stages.len() - 1;
        needs(&file, target, &|_| None, &|name| name == "other", &|name| name == "triggers")
    }

    fn paths(paths: &[&str]) -> Needs {
        Needs::Paths(paths.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_instructions_name() {
        assert_eq!(of("FROM a\nRUN x\n"), paths(&[]));
        assert_eq!(
            of("FROM a\nCOPY ./p.json /lock* sub/ /x/\nADD https://x/y z /\n"),
            paths(&["lock*", "p.json", "sub", "z"])
        );
        assert_eq!(
            of("FROM a AS b\nCOPY one /\nFROM a\nCOPY --from=b /one two\nCOPY three /\n"),
            paths(&["one", "three"])
        );
        assert_eq!(of("FROM a AS b\nCOPY . /\nFROM a\nCOPY three /\n"), paths(&["three"]));
        assert_eq!(
            of("FROM a\nRUN --mount=type=bind,source=s,target=/s x\nRUN --mount=type=cache,target=/c x\n"),
            paths(&["s"])
        );
        assert_eq!(of("FROM a\nRUN --mount=type=bind,from=other,target=/s x\nCOPY <<E /x\nE\n"), paths(&[]));
    }

    #[test]
    fn what_cannot_be_told_needs_all() {
        for text in [
            "FROM a\nCOPY . /\n",
            "FROM a\nCOPY a/.. /\n",
            "FROM a\nARG X\nCOPY $X /\n",
            "FROM a\nRUN --mount=type=bind,target=/s x\n",
            "FROM triggers\nRUN x\n",
            "FROM a AS b\nONBUILD COPY x /\nFROM b\n",
        ] {
            assert_eq!(of(text), Needs::All, "{text}");
        }
    }
}
