//! `completion`.

use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use crate::help;
use clap_complete::aot::{Shell, generate};

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "SHELL", required = true, hide = true)]
    shell: Shell,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    print(script(options.shell, (context.hooks.programs)())?)?;
    Ok(0)
}

fn script(shell: Shell, programs: Vec<clap::Command>) -> Result<String, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut help::tree(programs), help::PROGRAM, &mut script);
    let script = String::from_utf8(script).map_err(|e| Failure::new(format!("write the script: {e}")))?;
    Ok(script + names(shell))
}

/// Names of what the engine has come from the program itself, verbs and flags from the script.
fn names(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completion/names.bash"),
        Shell::Zsh => include_str!("completion/names.zsh"),
        Shell::Fish => include_str!("completion/names.fish"),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_verbs_and_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell, vec![clap::Command::new("registry")]).unwrap();
            for word in ["network", "disconnect", "health-on-failure", "registry", crate::complete::VERB] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
