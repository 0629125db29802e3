//! A Dockerfile as stages, and which of them a target needs.

use super::instruction::{Instruction, Transfer, parse};
use super::lines::{Line, split};
use super::mount::RunMount;
use super::{ParseError, words};
use std::collections::BTreeSet;

/// One instruction with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// Its text, continuations joined.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// One stage: from a `FROM` up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name, in lower case.
    pub name: Option<String>,
    /// The `FROM` and all that follows.
    pub statements: Vec<Statement>,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character.
    pub escape: char,
    /// `ARG`s before the first `FROM`.
    pub globals: Vec<(String, Option<String>)>,
    /// The stages; never empty.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// Parses a file.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let lines = split(text)?;
        let mut file = Self { escape: lines.escape, globals: Vec::new(), stages: Vec::new() };
        for line in lines.lines {
            let at = line.number;
            let instruction = parse(&line, lines.escape).map_err(|why| ParseError { line: at, why })?;
            match (instruction, file.stages.last_mut()) {
                (instruction @ Instruction::From { .. }, _) => {
                    let Instruction::From { name, .. } = &instruction else { continue };
                    let name = name.clone();
                    let statement = Statement { line: at, text: line.text, instruction };
                    file.stages.push(Stage { name, statements: vec![statement] });
                }
                (Instruction::Arg(pairs), None) => file.globals.extend(pairs),
                (_, None) => {
                    return Err(ParseError {
                        line: at,
                        why: "no build stage in current context: begin with FROM".into(),
                    });
                }
                (instruction, Some(stage)) => {
                    stage.statements.push(Statement { line: at, text: line.text, instruction });
                }
            }
        }
        if file.stages.is_empty() {
            return Err(ParseError { line: 1, why: "file with no instructions".into() });
        }
        Ok(file)
    }

    /// Parses instructions of a configuration, which belong to no stage: only those that `allowed` takes by their
    /// names in capitals.
    pub fn parse_changes(text: &str, allowed: &dyn Fn(&str) -> bool) -> Result<Vec<Statement>, ParseError> {
        let lines = split(text)?;
        let statement = |line: Line| {
            let at = line.number;
            let word = line.text.split_whitespace().next().unwrap_or_default();
            if !allowed(&word.to_ascii_uppercase()) {
                return Err(ParseError { line: at, why: format!("{word} is not a valid change command") });
            }
            let instruction = parse(&line, lines.escape).map_err(|why| ParseError { line: at, why })?;
            Ok(Statement { line: at, text: line.text, instruction })
        };
        let statements: Vec<Statement> = lines.lines.into_iter().map(statement).collect::<Result<_, _>>()?;
        match statements.is_empty() {
            true => Err(ParseError { line: 1, why: "file with no instructions".into() }),
            false => Ok(statements),
        }
    }

    /// Parses one instruction, of an `ONBUILD` trigger.
    pub fn parse_trigger(text: &str) -> Result<Instruction, ParseError> {
        let line = Line { number: 1, text: text.to_owned(), heredocs: Vec::new() };
        parse(&line, '\\')
            .map_err(|why| ParseError { line: 1, why: format!("{why} (in the ONBUILD trigger {text:?})") })
    }

    /// The stage a name or a number means, looking at those before `before`.
    pub fn find(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let named = self.stages[..before].iter().rposition(|stage| stage.name.as_ref() == Some(&lower));
        named.or_else(|| name.parse().ok().filter(|at| *at < before))
    }

    /// The stages that `target` needs, itself the last, in the file's order. What is `elsewhere` is no stage, whatever
    /// the stages' names.
    pub fn needed(
        &self,
        target: usize,
        global: &dyn Fn(&str) -> Option<String>,
        elsewhere: &dyn Fn(&str) -> bool,
    ) -> Vec<usize> {
        let named = |name: &str, at| self.find_named(name, at).filter(|_| !elsewhere(name));
        let any = |name: &str, at| self.find(name, at).filter(|_| !elsewhere(name));
        let mut needed = BTreeSet::from([target]);
        for at in (0..=target).rev() {
            if !needed.contains(&at) {
                continue;
            }
            for statement in &self.stages[at].statements {
                match &statement.instruction {
                    Instruction::From { image, .. } => {
                        let image = words::expand_word(image, self.escape, global).unwrap_or_default();
                        needed.extend(named(&image, at));
                    }
                    Instruction::Copy(Transfer { from: Some(from), .. }) => {
                        let from = words::expand_word(from, self.escape, global).unwrap_or_default();
                        needed.extend(any(&from, at));
                    }
                    Instruction::Run { mounts, .. } => {
                        let from = |text: &String| RunMount::parse(text, None).ok()?.from;
                        needed.extend(mounts.iter().filter_map(from).filter_map(|from| any(&from, at)));
                    }
                    _ => {}
                }
            }
        }
        needed.into_iter().collect()
    }

    /// A stage by name only: `FROM 1` is an image.
    pub fn find_named(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        self.stages[..before].iter().rposition(|stage| stage.name.as_ref() == Some(&lower))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Healthcheck};
    use super::*;

    fn only(text: &str) -> Instruction {
        let file = Dockerfile::parse(&format!("FROM a\n{text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        file.stages[0].statements[1].instruction.clone()
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.into(), b.into())
    }

    #[test]
    fn instructions() {
        use Instruction as I;
        assert_eq!(
            only("run echo [a]"),
            I::Run {
                command: Command::Shell("echo [a]".into()),
                heredocs: vec![],
                network: None,
                mounts: vec![],
                insecure: false
            }
        );
        assert_eq!(only("CMD [\"a\", \"b c\"]"), I::Cmd(Command::Exec(vec!["a".into(), "b c".into()])));
        assert_eq!(only("CMD ['a']"), I::Cmd(Command::Shell("['a']".into())));
        assert_eq!(only("ENV a=b c=\"d e\""), I::Env(vec![pair("a", "b"), pair("c", "\"d e\"")]));
        assert_eq!(only("ENV a b  c"), I::Env(vec![pair("a", "b  c")]));
        assert_eq!(only("ARG a b=$c"), I::Arg(vec![("a".into(), None), ("b".into(), Some("$c".into()))]));
        let I::Copy(copy) = only("COPY --from=x --chown=1:2 --chmod=755 a \"b c\" /d/") else { panic!() };
        assert_eq!(
            (copy.sources, copy.target, copy.from.as_deref()),
            (vec!["a".into(), "\"b c\"".into()], "/d/".into(), Some("x"))
        );
        assert_eq!((copy.chown.as_deref(), copy.chmod.as_deref()), (Some("1:2"), Some("755")));
        let I::Healthcheck(Healthcheck::Check { command, options }) =
            only("HEALTHCHECK --interval=5s CMD curl x")
        else {
            panic!()
        };
        assert_eq!((command, options), (Command::Shell("curl x".into()), vec![pair("interval", "5s")]));
        assert_eq!(only("VOLUME /a /b"), I::Volume(vec!["/a".into(), "/b".into()]));
        assert_eq!(only("ONBUILD RUN x"), I::OnBuild("RUN x".into()));
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            "",
            "RUN x",
            "FROM",
            "FROM a b",
            "FROM a AS 1x",
            "FROM a\nNOPE x",
            "FROM a\nCOPY x",
            "FROM a\nRUN",
            "FROM a\nENV a",
            "FROM a\nENV a=b c",
            "FROM a\nSHELL sh",
            "FROM a\nONBUILD FROM x",
            "FROM a\nHEALTHCHECK x",
            "FROM a\nRUN --mount=type=cache y",
            "FROM a\nRUN --nope=1 y",
            "FROM a\nRUN --security=none y",
            "FROM a\nCOPY --nope=1 a b",
        ] {
            assert!(Dockerfile::parse(bad).is_err(), "{bad:?}");
        }
        let error = Dockerfile::parse("FROM a\n\nNOPE x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "dockerfile parse error on line 3: unknown instruction: NOPE (did you mean COPY?)"
        );
    }

    #[test]
    fn stages_that_are_needed() {
        let text = "ARG base=one\nFROM a AS one\nFROM b AS two\nFROM c AS three\nCOPY --from=Two /x /\nFROM ${base}\nCOPY --from=0 /y /\nFROM d\nRUN --mount=target=/x,from=three x";
        let file = Dockerfile::parse(text).unwrap();
        let global = |name: &str| (name == "base").then(|| "one".to_owned());
        assert_eq!(file.needed(3, &global, &|_| false), [0, 3]);
        assert_eq!(file.needed(2, &global, &|_| false), [1, 2]);
        assert_eq!(file.needed(4, &global, &|_| false), [1, 2, 4]);
        assert_eq!(file.needed(4, &global, &|name| name == "three"), [4]);
        assert_eq!(file.find("TWO", 4), Some(1));
        assert_eq!(file.find("9", 4), None);
    }
}
