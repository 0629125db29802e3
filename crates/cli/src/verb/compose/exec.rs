//! `compose exec`.

use super::delegate;
use super::work::Work;
use crate::context::{Context, line};
use crate::failure::Outcome;
use crate::stream::terminal::{stdin_is_terminal, stdout_is_terminal};

/// Flags of `compose exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not wait for the command
    #[arg(short = 'd', long)]
    detach: bool,
    /// Variable for the environment, NAME=value or NAME
    #[arg(short = 'e', long, value_name = "stringArray")]
    env: Vec<String>,
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    /// Give the command no terminal
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Give the command our standard input: it has it anyway
    #[arg(short = 'i', long, hide = true)]
    interactive: bool,
    /// Give the command a terminal: it has one anyway
    #[arg(short = 't', long, hide = true)]
    tty: bool,
    /// Run the command with every privilege
    #[arg(long)]
    privileged: bool,
    /// Who runs it
    #[arg(short = 'u', long, value_name = "string")]
    user: Option<String>,
    /// Directory to run in
    #[arg(short = 'w', long, value_name = "string")]
    workdir: Option<String>,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    service: String,
    #[arg(value_name = "COMMAND", required = true, num_args(1..), trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    command: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    let one = work.container(context, &options.service, options.index).await?;
    if context.compose.dry_run {
        line(format!("would run {:?} in {}", options.command, one.name))?;
        return Ok(0);
    }
    let mut words = Vec::new();
    if options.detach {
        words.push("--detach".to_owned());
    } else {
        words.push("--interactive".to_owned());
    }
    if !options.no_tty && stdin_is_terminal() && stdout_is_terminal() {
        words.push("--tty".to_owned());
    }
    if options.privileged {
        words.push("--privileged".to_owned());
    }
    for variable in &options.env {
        words.extend(["--env".to_owned(), variable.clone()]);
    }
    for (flag, value) in [("--user", &options.user), ("--workdir", &options.workdir)] {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value.clone()]);
        }
    }
    words.push("--".to_owned());
    words.push(one.id);
    words.extend(options.command);
    delegate::call(context, "exec", words).await
}
