//! `run`: create a container, join its streams, start it and wait for its end.

use super::create::create;
use super::flags::ContainerFlags;
use super::healthy::Patience;
use super::{path, request};
use crate::context::{Context, line};
use crate::failure::{ENGINE_FAILED, Failure, Outcome};
use crate::stream::session::{End, Session};
use crate::stream::signals::{self, Tasks};
use crate::stream::terminal::stdin_is_terminal;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::detach;
use wharf_docker_api::types::container::{CreateRequest, WaitResponse};

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave it in the background and print its id
    #[arg(short = 'd', long)]
    detach: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Pass signals on to the container's process
    #[arg(long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    sig_proxy: bool,
    #[command(flatten)]
    wait: Patience,
    #[command(flatten)]
    container: ContainerFlags,
}

const NOT_A_TTY: &str = "the input device is not a TTY";
const BOTH: &str = "conflicting options: cannot specify both --attach and --detach";

/// Which of our streams are joined.
#[derive(Debug, Clone, Copy)]
struct Attached {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let failed = |failure: Failure| match failure.message.as_str() {
        NOT_A_TTY | BOTH => failure,
        _ => told(&failure, "run"),
    };
    let flags = &options.container;
    let mut request = request::build(flags).map_err(|why| failed(Failure::new(why)))?;
    request::add_proxies(context, &mut request).map_err(failed)?;
    let attached = attached(&options, &mut request).map_err(failed)?;
    if attached.is_some() && options.wait.is_wanted() {
        return Err(failed(Failure::new("--wait is for containers in the background: add --detach")));
    }
    let id = create(context, flags, request).await.map_err(failed)?;
    let Some(attached) = attached else {
        let started = context.client.done(Call::post(path(&id, "/start"))).await;
        // The container is there even if it did not start: who called knows which.
        line(&id)?;
        started.map_err(|e| failed(e.into()))?;
        return options.wait.until_healthy(context, &id).await;
    };
    foreground(context, &options, &id, attached).await.map_err(|failure| match failure.status {
        0 => failure,
        _ => failed(failure),
    })
}

/// The failure as `run` tells it, with its own exit statuses.
pub(super) fn told(failure: &Failure, verb: &str) -> Failure {
    Failure {
        status: status_of(&failure.message, failure.status),
        message: match failure.message.as_str() {
            "" => String::new(),
            said => format!("wharf: {said}\n\nRun 'wharf {verb} --help' for more information"),
        },
    }
}

/// Decides which streams are joined; `None` runs the container in the background.
fn attached(options: &Options, request: &mut CreateRequest) -> Result<Option<Attached>, Failure> {
    let flags = &options.container;
    if options.detach {
        if !flags.attach.is_empty() {
            return Err(Failure::new(BOTH));
        }
        return Ok(None);
    }
    let asked = |name: &str| flags.attach.iter().any(|stream| stream.eq_ignore_ascii_case(name));
    let any = !flags.attach.is_empty();
    let attached = Attached {
        stdin: if any { asked("stdin") } else { flags.interactive },
        stdout: !any || asked("stdout"),
        stderr: !any || asked("stderr"),
    };
    if attached.stdin && flags.tty && !stdin_is_terminal() {
        return Err(Failure::new(NOT_A_TTY));
    }
    let config = &mut request.config;
    config.attach_stdin = attached.stdin;
    config.attach_stdout = attached.stdout;
    config.attach_stderr = attached.stderr;
    config.stdin_once = flags.interactive && attached.stdin;
    Ok(Some(attached))
}

async fn foreground(context: &Context, options: &Options, id: &str, attached: Attached) -> Outcome {
    let flags = &options.container;
    let client = &context.client;
    let keys = options.detach_keys.clone();
    let query = Query::new()
        .with("stream", 1)
        .flag("stdin", attached.stdin)
        .flag("stdout", attached.stdout)
        .flag("stderr", attached.stderr)
        .maybe("detachKeys", keys.as_ref());
    let attach = client.hijack(Call::post(path(id, "/attach")).query(query));
    // The answer to `wait` begins when the engine has begun to wait: nothing of the end is missed.
    let condition = if flags.rm { "removed" } else { "next-exit" };
    let wait = client.stream(Call::post(path(id, "/wait")).query(Query::new().with("condition", condition)));
    let (connection, wait) = tokio::try_join!(attach, wait)?;
    let session = Session {
        tty: flags.tty,
        stdin: attached.stdin,
        stdout: attached.stdout,
        stderr: attached.stderr,
        detach_keys: keys.unwrap_or_else(|| detach::DEFAULT.into()),
    };
    client.done(Call::post(path(id, "/start"))).await?;
    let _tasks = match (flags.tty, options.sig_proxy) {
        (true, _) => signals::follow_size(client, path(id, "/resize"))?,
        (false, true) => signals::proxy(client, id)?,
        (false, false) => Tasks::default(),
    };
    if session.run(connection).await? == End::Detached {
        return Ok(0);
    }
    let Some(ended) = wait.json::<WaitResponse>().next().await? else {
        return Err(Failure::with_status(ENGINE_FAILED, "the engine stopped before the container did"));
    };
    match ended.error {
        Some(error) => Err(Failure::with_status(ENGINE_FAILED, error.message)),
        None => Ok(i32::try_from(ended.status_code).unwrap_or(ENGINE_FAILED)),
    }
}

/// 127 when the command is not there, 126 when it cannot be run, else 125.
pub(super) fn status_of(message: &str, status: i32) -> i32 {
    if status != crate::failure::FAILED {
        return status;
    }
    let said = |words: &str| message.contains(words);
    if said("executable file not found")
        || said("no such file or directory")
        || said("system cannot find the file")
    {
        127
    } else if said("permission denied") || said("is a directory") {
        126
    } else {
        ENGINE_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(status_of("exec: \"x\": executable file not found in $PATH", 1), 127);
        assert_eq!(status_of("exec /: permission denied", 1), 126);
        assert_eq!(status_of("No such image", 1), 125);
        assert_eq!(status_of("", 0), 0);
    }
}
