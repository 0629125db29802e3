//! Signals that are passed on to containers, and changes of the terminal's size.

use super::terminal;
use crate::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use wharf_docker_api::client::{Call, Client, Query};

/// What a user or a supervisor sends to a program in the foreground (signal(7)).
const PROXIED: [(SignalKindOf, &str); 6] = [
    (SignalKind::interrupt, "INT"),
    (SignalKind::terminate, "TERM"),
    (SignalKind::hangup, "HUP"),
    (SignalKind::quit, "QUIT"),
    (SignalKind::user_defined1, "USR1"),
    (SignalKind::user_defined2, "USR2"),
];

type SignalKindOf = fn() -> SignalKind;

/// Tasks that end when dropped.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Passes our signals on to a container, through calls on a connection of their own.
pub(crate) fn proxy(client: &Client, container: &str) -> Result<Tasks, Failure> {
    let mut tasks = Tasks::default();
    for (kind, name) in PROXIED {
        let mut signals = signal(kind()).map_err(|e| Failure::new(format!("listen to SIG{name}: {e}")))?;
        let client = Client::with_version(client.endpoint().clone(), &client.version());
        let path = format!("/containers/{}/kill", wharf_docker_api::client::segment(container));
        tasks.0.push(tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let call = Call::post(&path).query(Query::new().with("signal", name));
                // The container may have ended just now; its end is what the user sees then.
                let _ = client.done(call).await;
            }
        }));
    }
    Ok(tasks)
}

/// Gives a terminal our size, now and whenever it changes. `path` is that of the resize call.
pub(crate) fn follow_size(client: &Client, path: String) -> Result<Tasks, Failure> {
    let mut changes =
        signal(SignalKind::window_change()).map_err(|e| Failure::new(format!("listen to SIGWINCH: {e}")))?;
    let client = Client::with_version(client.endpoint().clone(), &client.version());
    Ok(Tasks(vec![tokio::spawn(async move {
        loop {
            if let Some([height, width]) = terminal::size() {
                let query = Query::new().with("h", height).with("w", width);
                // Before the start and after the end there is no terminal to size.
                let _ = client.done(Call::post(&path).query(query)).await;
            }
            if changes.recv().await.is_none() {
                return;
            }
        }
    })]))
}
