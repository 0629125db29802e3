//! Contexts that are no directory: archives that the client hands over, and what there is at an address.

use crate::BuildKit;
use crate::caller::{Asked, Caller};
use crate::error::status;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, HeaderValue};
use std::io;
use std::sync::Arc;
use tokio_util::io::{StreamReader, SyncIoBridge};
use wharf_build::Context;
use wharf_build::remote::{Fetched, Remote};
use wharf_engine::transfer;
use wharf_grpc::proto::session::{BytesMessage, UPLOAD};
use wharf_grpc::{HeaderMap, Messages, Status};

/// What clients call themselves in the address of what they hand over.
const SESSION_HOST: &str = "buildkit-session";

/// Gets what an address means.
pub(crate) async fn fetch(kit: &BuildKit, caller: &Arc<Caller>, address: &str) -> Result<Fetched, Status> {
    let scratch = &kit.builder.scratch;
    let fetched = match session_path(address) {
        Some(path) => {
            let bytes = Box::pin(handed_over(caller, path)?);
            let reader = SyncIoBridge::new(StreamReader::new(bytes));
            let scratch = scratch.clone();
            let received = transfer::run(move || Context::receive(reader, &scratch)).await;
            received.and_then(|received| received).map(|context| Fetched { context, dockerfile: None })
        }
        None => {
            let session = Asked(Arc::clone(caller));
            let remote = Remote { client: kit.builder.images.client(), scratch, session: &session };
            remote.context(address).await
        }
    };
    fetched.map_err(|e| {
        let why = status(&e);
        Status { message: format!("failed to read the context {address}: {}", why.message), ..why }
    })
}

/// The path of what the client hands over; `None` for anything else.
fn session_path(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("http://")?.strip_prefix(SESSION_HOST)?;
    rest.starts_with('/').then_some(rest)
}

fn handed_over(
    caller: &Arc<Caller>,
    path: &str,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, Status> {
    let value = |text: &str| HeaderValue::try_from(text).map_err(|e| Status::invalid(e.to_string()));
    let mut metadata = HeaderMap::new();
    metadata.insert(HeaderName::from_static("urlpath"), value(path)?);
    metadata.insert(HeaderName::from_static("urlhost"), value(SESSION_HOST)?);
    let (requests, messages) = caller.stream(UPLOAD, metadata)?;
    // The request stays open as long as the answer is read.
    let stream = futures_util::stream::try_unfold((requests, messages), |(requests, mut messages)| async {
        let message = next(&mut messages).await?;
        Ok(message.map(|message| (message.data, (requests, messages))))
    });
    Ok(stream)
}

async fn next(messages: &mut Messages) -> io::Result<Option<BytesMessage>> {
    messages.next().await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_hands_over() {
        assert_eq!(session_path("http://buildkit-session/abc"), Some("/abc"));
        assert_eq!(session_path("http://buildkit-session.example/abc"), None);
        assert_eq!(session_path("https://x.example/abc"), None);
    }
}
