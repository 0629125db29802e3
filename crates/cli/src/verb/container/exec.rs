//! `exec`.

use super::path;
use super::run::status_of;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::parse::env;
use crate::stream::session::{End, Session};
use crate::stream::signals;
use crate::stream::terminal::{self, stdin_is_terminal};
use wharf_docker_api::client::{Call, segment};
use wharf_docker_api::detach;
use wharf_docker_api::types::IdResponse;
use wharf_docker_api::types::exec::{ExecCreateRequest, ExecInspect, ExecStartRequest};

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not wait for the command
    #[arg(short = 'd', long)]
    detach: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Variable for the environment, NAME=value or NAME
    #[arg(short = 'e', long, value_name = "list")]
    env: Vec<String>,
    /// File with variables, one a line
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Give the command our standard input
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Run the command with every privilege
    #[arg(long)]
    privileged: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// Who runs it: name or uid, and :group or :gid
    #[arg(short = 'u', long, value_name = "string", default_value = "", hide_default_value = true)]
    user: String,
    /// Directory to run in
    #[arg(short = 'w', long, value_name = "string", default_value = "", hide_default_value = true)]
    workdir: String,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
    #[arg(value_name = "COMMAND", required = true, num_args(1..), trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    command: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let client = &context.client;
    let attached = !options.detach;
    let stdin = options.interactive && attached;
    if stdin && options.tty && !stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let console_size = terminal::size().filter(|_| options.tty);
    let request = ExecCreateRequest {
        user: options.user,
        privileged: options.privileged,
        tty: options.tty,
        console_size,
        attach_stdin: stdin,
        attach_stderr: attached,
        attach_stdout: attached,
        detach_keys: options.detach_keys.clone().unwrap_or_default(),
        env: Some(env::variables(&options.env_file, &options.env).map_err(Failure::new)?),
        working_dir: options.workdir,
        cmd: Some(options.command),
    };
    let created: IdResponse =
        client.json(Call::post(path(&options.container, "/exec")).json(&request)?).await?;
    let exec = |call: &str| format!("/exec/{}{call}", segment(&created.id));
    let failed = |error: wharf_docker_api::client::Error| {
        let message = error.to_string();
        Failure::with_status(status_of(&message, crate::failure::FAILED), message)
    };
    let start = ExecStartRequest { detach: options.detach, tty: options.tty, console_size };
    let start = Call::post(exec("/start")).json(&start)?;
    if options.detach {
        client.done(start).await.map_err(failed)?;
        return Ok(0);
    }
    let connection = client.hijack(start).await.map_err(failed)?;
    let _tasks = match options.tty {
        true => signals::follow_size(client, exec("/resize"))?,
        false => signals::Tasks::default(),
    };
    let keys = options.detach_keys.unwrap_or_else(|| detach::DEFAULT.into());
    let session = Session { tty: options.tty, stdin, stdout: true, stderr: true, detach_keys: keys };
    if session.run(connection).await? == End::Detached {
        return Ok(0);
    }
    let ended: ExecInspect = client.json(Call::get(exec("/json"))).await?;
    Ok(ended.exit_code.map_or(0, |code| i32::try_from(code).unwrap_or(1)))
}
