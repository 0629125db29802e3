//! Progress of long operations as Docker's stream of JSON messages.

use crate::error::ApiResult;
use crate::peer::Peer;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use wharf_docker_api::types::build::{ErrorDetail, Message, Progress as Bar, PushResult};
use wharf_engine::images::{Event, Progress};
use wharf_model::Error;

/// What goes through a stream.
enum Item {
    News(Box<Message>),
    /// The operation failed, with the exit code of what it ran.
    Failed(Error, i64),
}

impl Item {
    fn into_message(self) -> Message {
        match self {
            Self::News(message) => *message,
            Self::Failed(error, code) => {
                let message = error.full();
                let error_detail = Some(ErrorDetail { code, message: message.clone() });
                Message { error_detail, error: message, ..Message::default() }
            }
        }
    }
}

/// The sending side of a stream of messages. A client that went away ends nothing.
#[derive(Clone)]
pub(crate) struct MessageStream(mpsc::UnboundedSender<Item>);

/// The receiving side, from which the response is made.
pub(crate) struct Messages(mpsc::UnboundedReceiver<Item>);

impl Messages {
    /// The response, which is a failure's when that is all there is to tell.
    pub(crate) async fn answer(mut self) -> ApiResult {
        match self.0.recv().await {
            Some(Item::Failed(error, _)) => Err(error.into()),
            first => Ok(self.stream(first)),
        }
    }

    /// The response as a stream whatever comes.
    pub(crate) fn response(self) -> Response {
        self.stream(None)
    }

    fn stream(self, first: Option<Item>) -> Response {
        let lines = futures_util::stream::unfold((first, self.0), |(first, mut receiver)| async {
            let item = match first {
                Some(item) => item,
                None => receiver.recv().await?,
            };
            // Wire types are plain data, which always serialise.
            let mut line = serde_json::to_vec(&item.into_message()).unwrap_or_default();
            line.extend_from_slice(b"\r\n");
            Some((Ok::<_, Infallible>(line), (None, receiver)))
        });
        let mut response = Body::from_stream(lines).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl MessageStream {
    /// Both sides of a stream.
    pub(crate) fn new() -> (Self, Messages) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Messages(receiver))
    }

    pub(crate) fn send(&self, message: Message) {
        // A client that went away needs no messages.
        let _ = self.0.send(Item::News(Box::new(message)));
    }

    /// A message that is a line of text.
    pub(crate) fn text(&self, stream: impl Into<String>) {
        self.send(Message { stream: stream.into(), ..Message::default() });
    }

    /// A message that is a status line.
    pub(crate) fn status(&self, status: impl Into<String>) {
        self.send(Message { status: status.into(), ..Message::default() });
    }

    /// The last message of a failed operation.
    pub(crate) fn error(&self, error: Error, code: i64) {
        // As above.
        let _ = self.0.send(Item::Failed(error, code));
    }

    /// News of the image service.
    pub(crate) fn event(&self, event: Event) {
        if let Event::PushedManifest { tag, digest, size } = &event {
            // Clients show a message's status or its aux, never both.
            self.status(format!("{tag}: digest: {digest} size: {size}"));
        }
        self.send(message(event));
    }

    /// Where the image service tells its progress.
    pub(crate) fn sink(&self) -> Progress {
        let stream = self.clone();
        Arc::new(move |event| stream.event(event))
    }

    /// Waits until the client is gone, also while there is no news for it.
    pub(crate) async fn abandoned(&self, peer: Peer) {
        tokio::select! {
            () = self.0.closed() => {}
            () = peer.left() => {}
        }
    }
}

fn message(event: Event) -> Message {
    let line = |id: String, status: &str| Message {
        status: status.to_owned(),
        progress_detail: Some(Bar::default()),
        id,
        ..Message::default()
    };
    let bar = |id: String, status: &str, current: u64, total: u64| Message {
        progress_detail: Some(Bar { current: current as i64, total: total as i64, ..Bar::default() }),
        progress: drawn(current, total),
        ..line(id, status)
    };
    let status = |text: String| Message { status: text, ..Message::default() };
    match event {
        Event::PullingFrom { selector, path } => {
            Message { id: selector, ..status(format!("Pulling from {path}")) }
        }
        Event::PullingLayer { id } => line(id, "Pulling fs layer"),
        Event::AlreadyExists { id } => line(id, "Already exists"),
        Event::Downloading { id, current, total } => bar(id, "Downloading", current, total),
        Event::Verifying { id } => line(id, "Verifying Checksum"),
        Event::Downloaded { id } => line(id, "Download complete"),
        Event::Extracting { id, current, total } => bar(id, "Extracting", current, total),
        Event::Pulled { id } => line(id, "Pull complete"),
        Event::Digest(digest) => status(format!("Digest: {digest}")),
        Event::Status(text) => status(format!("Status: {text}")),
        Event::PushingTo { repository } => status(format!("The push refers to repository [{repository}]")),
        Event::Preparing { id } => line(id, "Preparing"),
        Event::Pushing { id, current, total } => bar(id, "Pushing", current, total),
        Event::Pushed { id } => line(id, "Pushed"),
        Event::LayerExists { id } => line(id, "Layer already exists"),
        Event::Mounted { id, from } => line(id, &format!("Mounted from {from}")),
        Event::PushedManifest { tag, digest, size } => Message {
            aux: serde_json::to_value(PushResult { tag, digest: digest.to_string(), size: size as i64 }).ok(),
            ..Message::default()
        },
        Event::Loaded { reference: Some(name), .. } => {
            Message { stream: format!("Loaded image: {name}\n"), ..Message::default() }
        }
        Event::Loaded { reference: None, id } => {
            Message { stream: format!("Loaded image ID: {id}\n"), ..Message::default() }
        }
    }
}

/// The bar as Docker's older clients print it.
fn drawn(current: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    if total == 0 {
        return String::new();
    }
    let done = (current.min(total) * WIDTH / total) as usize;
    let head = if done < WIDTH as usize { ">" } else { "" };
    let rest = WIDTH as usize - done - head.len();
    format!("[{}{head}{}]  {}/{}", "=".repeat(done), " ".repeat(rest), size(current), size(total))
}

/// Bytes in decimal units, as Docker writes them.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = if value >= 100.0 || unit == "B" {
                0
            } else if value >= 10.0 {
                2
            } else {
                3
            };
            return format!("{value:.digits$}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.2}TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(drawn(0, 0), "");
        assert!(drawn(50, 100).starts_with("[=========================>                        ]"));
        assert!(drawn(100, 100).contains("[==================================================]"));
        assert_eq!((size(999).as_str(), size(1500).as_str()), ("999B", "1.500kB"));
    }
}
