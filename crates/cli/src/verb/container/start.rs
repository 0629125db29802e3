//! `start`.

use super::healthy::Patience;
use super::path;
use crate::context::{Context, each, note};
use crate::failure::{Failure, Outcome};
use crate::stream::session::{End, Session};
use crate::stream::signals;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::detach;
use wharf_docker_api::types::container::{Inspect, WaitResponse};

/// Flags of `start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Join its output and pass signals on
    #[arg(short = 'a', long)]
    attach: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Join its input
    #[arg(short = 'i', long)]
    interactive: bool,
    #[command(flatten)]
    wait: Patience,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if !options.attach && !options.interactive {
        let mut failed = Vec::new();
        let status = each(&options.containers, async |name| {
            context
                .client
                .done(Call::post(path(name, "/start")))
                .await
                .inspect_err(|_| failed.push(name.to_owned()))?;
            options.wait.until_healthy(context, name).await?;
            Ok(name.to_owned())
        })
        .await?;
        if !failed.is_empty() {
            note(format!("Error: failed to start containers: {}", failed.join(", ")));
        }
        return Ok(status);
    }
    let [name] = options.containers.as_slice() else {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    };
    let client = &context.client;
    let container: Inspect = client.json(Call::get(path(name, "/json"))).await?;
    let tty = container.config.tty;
    let stdin = options.interactive && container.config.open_stdin;
    let query = Query::new()
        .with("stream", 1)
        .flag("stdin", stdin)
        .with("stdout", 1)
        .with("stderr", 1)
        .maybe("detachKeys", options.detach_keys.as_ref());
    let connection = client.hijack(Call::post(path(&container.id, "/attach")).query(query)).await?;
    let condition = if container.host_config.auto_remove { "removed" } else { "next-exit" };
    let wait = Call::post(path(&container.id, "/wait")).query(Query::new().with("condition", condition));
    let wait = client.stream(wait).await?;
    client.done(Call::post(path(&container.id, "/start"))).await?;
    let _tasks = if tty {
        signals::follow_size(client, path(&container.id, "/resize"))?
    } else {
        signals::proxy(client, &container.id)?
    };
    let keys = options.detach_keys.unwrap_or_else(|| detach::DEFAULT.into());
    let session = Session { tty, stdin, stdout: true, stderr: true, detach_keys: keys };
    if session.run(connection).await? == End::Detached {
        return Ok(0);
    }
    let ended = wait.json::<WaitResponse>().next().await?;
    Ok(ended.map_or(0, |ended| i32::try_from(ended.status_code).unwrap_or(1)))
}
