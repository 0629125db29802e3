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

pub(crate) async fn run(_: &Context, options: Options) -> Outcome {
    print(script(options.shell)?)?;
    Ok(0)
}

fn script(shell: Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut help::tree(), help::PROGRAM, &mut script);
    String::from_utf8(script).map_err(|e| Failure::new(format!("write the script: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_verbs_and_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell).unwrap();
            for word in ["network", "disconnect", "health-on-failure"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
