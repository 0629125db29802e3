//! `attach`.

use super::path;
use crate::context::{Context, note};
use crate::failure::{Failure, Outcome};
use crate::stream::session::{End, Session};
use crate::stream::signals;
use crate::stream::signals::Tasks;
use crate::stream::terminal::stdin_is_terminal;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::detach;
use wharf_docker_api::types::container::{Inspect, WaitResponse};

/// Flags of `attach`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keys that leave the container running
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Keep standard input here
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container's process
    #[arg(long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    sig_proxy: bool,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let client = &context.client;
    let container: Inspect = client.json(Call::get(path(&options.container, "/json"))).await?;
    if !container.state.running {
        return Err(Failure::new("You cannot attach to a stopped container, start it first"));
    }
    if container.state.paused {
        return Err(Failure::new("You cannot attach to a paused container, unpause it first"));
    }
    if container.state.restarting {
        return Err(Failure::new("You cannot attach to a restarting container, wait until it is running"));
    }
    let tty = container.config.tty;
    let stdin = !options.no_stdin && container.config.open_stdin;
    if stdin && tty && !stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let wait = Call::post(path(&container.id, "/wait"));
    let query = Query::new()
        .with("stream", 1)
        .flag("stdin", stdin)
        .with("stdout", 1)
        .with("stderr", 1)
        .maybe("detachKeys", options.detach_keys.as_ref());
    let connection = client.hijack(Call::post(path(&container.id, "/attach")).query(query)).await?;
    let wait = client.stream(wait).await?;
    let _tasks = match (tty, options.sig_proxy) {
        (true, _) => signals::follow_size(client, path(&container.id, "/resize"))?,
        (false, true) => signals::proxy(client, &container.id)?,
        (false, false) => Tasks::default(),
    };
    let keys = options.detach_keys.unwrap_or_else(|| detach::DEFAULT.into());
    let session = Session { tty, stdin, stdout: true, stderr: true, detach_keys: keys };
    if session.run(connection).await? == End::Detached {
        note("read escape sequence");
        return Ok(0);
    }
    let ended = wait.json::<WaitResponse>().next().await?;
    Ok(ended.map_or(0, |ended| i32::try_from(ended.status_code).unwrap_or(1)))
}
